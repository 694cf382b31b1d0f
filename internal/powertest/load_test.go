//go:build linux

package powertest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/witness"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/transport/open"
	"github.com/posthorn/posthorn/worker"
)

// senders send messages at once.
const senders = 4

// mail is a message that has one effect.
type mail struct {
	N int

	Secret witness.Hidden `json:"secret"`
}

// Kind of a mail.
func (mail) Kind() string { return "mail" }

// A load sends and handles messages, and says what it was told.
type load struct {
	store *store.Store
	last  atomic.Int64 // number of a message
	mu    sync.Mutex   // of stdout
}

// run goes on until SIGTERM.
func run(dsn string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	s, err := open.Store(ctx, dsn, store.Options{})
	if err != nil {
		return err
	}
	if _, err := s.DB().ExecContext(ctx, "create table effect (n integer)"); err != nil {
		return err
	}
	l := &load{store: s}
	l.say("ready %d", 0)
	var sending sync.WaitGroup
	for range senders {
		sending.Go(func() { l.send(ctx) })
	}
	err = l.work(ctx)
	sending.Wait()
	return errors.Join(err, s.Close())
}

func (l *load) say(format string, n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = fmt.Fprintf(os.Stdout, format+"\n", n)
}

// send sends messages until ctx ends. One that is not accepted is left.
func (l *load) send(ctx context.Context) {
	d, err := posthorn.NewDispatcher(l.store, posthorn.DispatcherOptions{})
	if err != nil {
		panic(err)
	}
	for ctx.Err() == nil {
		n := l.last.Add(1)
		id := posthorn.WithID(strconv.FormatInt(n, 10))
		if _, err := d.Dispatch(ctx, mail{N: int(n)}, id); err == nil {
			l.say("ok %d", n)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// work handles messages until ctx ends.
func (l *load) work(ctx context.Context) error {
	mux := posthorn.NewMux()
	posthorn.HandleEffect(mux, func(_ context.Context, m mail) (posthorn.Effect, error) {
		return func(ctx context.Context, tx *posthorn.Tx) error {
			_, err := tx.ExecContext(ctx, fmt.Sprintf("insert into effect values (%d)", m.N))
			return err
		}, nil
	})
	w, err := worker.New(l.store, mux, worker.Options{Observe: func(e worker.Event) {
		if n, err := strconv.ParseInt(e.Delivery.ID, 10, 64); err == nil && e.Class == driver.ClassDone {
			l.say("done %d", n)
		}
	}})
	if err != nil {
		return err
	}
	return w.Run(ctx)
}
