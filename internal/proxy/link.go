package proxy

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// errCut ends the two directions of a connection that is cut.
var errCut = errors.New("connection is cut")

// A link is one connection of a client, with its connection to the target.
type link struct {
	proxy  *Proxy
	client *net.TCPConn
	gone   chan struct{} // closed when the link is cut
	once   sync.Once

	mu     sync.Mutex
	server *net.TCPConn // nil until it is dialled

	// awaiting is set while the reply to a COMMIT is to be lost.
	awaiting atomic.Bool
}

func newLink(p *Proxy, client *net.TCPConn) *link {
	return &link{proxy: p, client: client, gone: make(chan struct{})}
}

// run forwards both ways until both are closed, or one is broken.
func (k *link) run() {
	defer k.close()
	if k.hold(0) != nil || k.dial() != nil {
		k.cut()
		return
	}
	up, down := k.proxy.protocol.splitters()
	var wg sync.WaitGroup
	wg.Go(func() { k.pump(k.client, k.server, k.upward(up)) })
	wg.Go(func() { k.pump(k.server, k.client, k.downward(down)) })
	wg.Wait()
}

func (k *link) dial() error {
	d := net.Dialer{Timeout: dialWithin}
	conn, err := d.DialContext(context.Background(), "tcp", k.proxy.target)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.server = conn.(*net.TCPConn)
	select {
	case <-k.gone: // cut saw no server
		reset(k.server)
		return errCut
	default:
		return nil
	}
}

// cut ends the link with a reset on both sides.
func (k *link) cut() {
	k.once.Do(func() { close(k.gone) })
	k.mu.Lock()
	defer k.mu.Unlock()
	reset(k.client)
	if k.server != nil {
		reset(k.server)
	}
}

// reset closes a connection so that the other side sees an error, not an end.
func reset(conn *net.TCPConn) {
	_ = conn.SetLinger(0) // it may be closed already
	_ = conn.Close()
}

func (k *link) close() {
	_ = k.client.Close()
	if k.server != nil {
		_ = k.server.Close()
	}
}

// A splitter reads the next frame of a direction.
type splitter func(r *bufio.Reader) (frame, error)

// A frame is what is forwarded in one piece: its head, and as many more bytes
// as rest says.
type frame struct {
	head []byte
	rest int64

	commit bool // it asks for a COMMIT
	reply  bool // it may be the reply to one
}

// pump forwards one direction. A half that is closed is closed on the other
// side; a fault cuts the link.
func (k *link) pump(from, to *net.TCPConn, next splitter) {
	r, w := bufio.NewReaderSize(from, 64<<10), bufio.NewWriterSize(to, 64<<10)
	err := k.forward(r, w, next)
	if errors.Is(err, io.EOF) && w.Flush() == nil && k.hold(0) == nil && to.CloseWrite() == nil {
		return
	}
	k.cut()
}

func (k *link) forward(r *bufio.Reader, w *bufio.Writer, next splitter) error {
	for {
		f, err := next(r)
		if err != nil {
			_ = w.Flush() // what came before a cut is forwarded
			return err
		}
		if err := k.hold(0); err != nil {
			return err
		}
		if _, err := w.Write(f.head); err != nil {
			return err
		}
		if _, err := io.CopyN(w, r, f.rest); err != nil {
			return err
		}
		if r.Buffered() > 0 { // more of the same burst
			continue
		}
		if err := k.flush(w); err != nil {
			return err
		}
	}
}

func (k *link) flush(w *bufio.Writer) error {
	_, delay := k.proxy.weather()
	if err := k.hold(delay); err != nil {
		return err
	}
	return w.Flush()
}

// hold waits for a time, and as long as the proxy is frozen.
func (k *link) hold(delay time.Duration) error {
	if delay > 0 {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-k.gone:
			return errCut
		}
	}
	thawed, _ := k.proxy.weather()
	select {
	case <-thawed:
		return nil
	case <-k.gone:
		return errCut
	}
}

// upward watches what the client sends for a COMMIT.
func (k *link) upward(next splitter) splitter {
	return func(r *bufio.Reader) (frame, error) {
		f, err := next(r)
		if err != nil || !f.commit {
			return f, err
		}
		if err := k.hold(0); err != nil {
			return f, err
		}
		side, cut := k.proxy.commit()
		if cut && side == Before {
			k.proxy.wasCut(Before)
			return f, errCut
		}
		k.awaiting.Store(cut)
		return f, nil
	}
}

// downward watches what the server sends for the reply to a COMMIT.
func (k *link) downward(next splitter) splitter {
	return func(r *bufio.Reader) (frame, error) {
		f, err := next(r)
		if err != nil || !f.reply || !k.awaiting.Load() {
			return f, err
		}
		k.proxy.wasCut(After)
		return f, errCut
	}
}
