package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/posthorn/posthorn/internal/config"
	"github.com/posthorn/posthorn/monitor"
)

// Bounds of the server of probes: its clients are on this host.
const (
	probeWithin = 5 * time.Second
	probeHeader = 8 << 10
)

// A probe serves the judgement of a monitor over HTTP. It asks nobody for a
// password, so it listens on loopback only.
type probe struct{ monitor *monitor.Monitor }

// listenLocally listens on an address that only this host can reach.
func listenLocally(ctx context.Context, address string) (net.Listener, error) {
	if err := config.CheckLoopback(address); err != nil {
		return nil, fmt.Errorf("listen for probes: %w", err)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for probes: %w", err)
	}
	if at, ok := l.Addr().(*net.TCPAddr); !ok || !at.IP.IsLoopback() { // localhost may be any address
		err := fmt.Errorf("listen for probes: %s is %s, which is not loopback", address, l.Addr())
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// run serves until ctx ends, and closes the listener.
func (p probe) run(ctx context.Context, l net.Listener) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", p.healthz)
	mux.HandleFunc("GET /readyz", p.readyz)
	server := &http.Server{
		Handler: mux, ReadTimeout: probeWithin, WriteTimeout: probeWithin, IdleTimeout: probeWithin,
		MaxHeaderBytes: probeHeader,
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	wg.Go(func() {
		<-ctx.Done()
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if server.Shutdown(last) != nil {
			_ = server.Close() // whoever still asks is cut off
		}
	})
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve probes: %w", err)
	}
	return nil
}

// healthz says whether this process works: it fails when no judgement has been
// made for long, whatever the judgement is. A restart would help.
func (p probe) healthz(w http.ResponseWriter, _ *http.Request) {
	p.answer(w, p.monitor.Beats(), p.monitor.Verdict())
}

// readyz fails while something is critical or unknown.
func (p probe) readyz(w http.ResponseWriter, _ *http.Request) {
	v := p.monitor.Verdict()
	p.answer(w, p.monitor.Beats() && v.Level < monitor.Unknown, v)
}

func (p probe) answer(w http.ResponseWriter, good bool, v monitor.Verdict) {
	body, err := json.Marshal(document{
		Kind: "Health", Version: documentVersion, Items: v.Conditions,
		Extra: map[string]any{"level": v.Level, "at": v.At, "actions": v.Actions},
	})
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if !good || err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_, _ = w.Write(append(body, '\n')) // whoever asked has gone
}
