package demo

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/examples/unsubscribe/oneclick"
	"github.com/posthorn/posthorn/examples/unsubscribe/provider"
)

// The environment of a worker process of the demo: where its provider is, and
// the file with the authority that signed the provider's certificate. Without
// them a worker speaks to the world.
const (
	EnvProvider  = "UNSUBSCRIBE_DEMO_PROVIDER"
	EnvAuthority = "UNSUBSCRIBE_DEMO_AUTHORITY"
)

// envWorkerStore tells a worker where the store is: the arguments of a process
// can be read by everybody, its environment cannot.
const envWorkerStore = "POSTHORN_STORE"

// impatience is the client's timeout in the demo: the provider that hangs shall
// not hold the demo up.
const impatience = time.Second

// Client is the client for the world, or, with an address, one that knows only
// the demo's provider.
func Client(address, authority string) (*oneclick.Client, error) {
	if address == "" {
		return oneclick.New(oneclick.Options{})
	}
	addr, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", EnvProvider, err)
	}
	pem, err := os.ReadFile(authority)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", EnvAuthority, err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	routes := map[string]netip.AddrPort{}
	for _, host := range provider.DefaultHosts() {
		routes[host] = addr
	}
	return oneclick.New(oneclick.Options{
		Resolver: oneclick.Offline{}, Routes: routes, RootCAs: pool, Allow: []netip.AddrPort{addr}, Timeout: impatience,
	})
}

// fleet is the set of worker processes.
type fleet struct {
	*stage
	provider string
	workers  []*exec.Cmd
	killed   int
}

// start starts this program again, as a worker.
func (f *fleet) start() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(f.path(fmt.Sprintf("worker-%d.log", len(f.workers)+f.killed)),
		os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the process has its own
	args := []string{"consume", queue, "--concurrency", "16", "--config", f.path("posthorn.yaml")}
	cmd := exec.CommandContext(context.Background(), self, args...) //nolint:gosec // it is this program
	// It is ended by stop, kill or killAll.
	cmd.Env = append(os.Environ(), EnvProvider+"="+f.provider, EnvAuthority+"="+f.path("authority.pem"),
		envWorkerStore+"="+f.dsn)
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, f.dir
	cmd.SysProcAttr = dieWithParent()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start worker: %w", err)
	}
	f.workers = append(f.workers, cmd)
	return nil
}

// kill kills a worker at random, tells the store that it is dead, so that what
// it held is handled at once, and starts another one.
func (f *fleet) kill(ctx context.Context, rnd *rand.Rand) error {
	i := rnd.IntN(len(f.workers))
	cmd := f.workers[i]
	f.workers = append(f.workers[:i], f.workers[i+1:]...)
	if err := cmd.Process.Kill(); err != nil {
		return fmt.Errorf("kill worker: %w", err)
	}
	_ = cmd.Wait() // it says that the process was killed, which is what was wanted
	f.killed++
	held, err := f.bury(ctx, cmd.Process.Pid)
	if err != nil {
		return err
	}
	f.say("killed worker %d with SIGKILL; it held %d messages, which others handle now", cmd.Process.Pid, held)
	return f.start()
}

// bury gives back what a dead process held.
func (f *fleet) bury(ctx context.Context, pid int) (held int64, err error) {
	workers, _, err := f.store.Workers(ctx)
	if err != nil {
		return 0, err
	}
	for _, w := range workers {
		if w.PID != pid {
			continue
		}
		toll, err := f.store.ReleaseDead(ctx, driver.Death{Worker: w.ID})
		if err != nil {
			return held, err
		}
		held += int64(toll.Released)
	}
	return held, nil
}

// stop stops the workers gracefully.
func (f *fleet) stop() (err error) {
	for _, cmd := range f.workers {
		err = errors.Join(err, cmd.Process.Signal(syscall.SIGTERM))
	}
	for _, cmd := range f.workers {
		if e := cmd.Wait(); e != nil {
			err = errors.Join(err, fmt.Errorf("worker %d did not end well: %w", cmd.Process.Pid, e))
		}
	}
	f.workers = nil
	return err
}

// killAll leaves no process behind when the story ends early.
func (f *fleet) killAll() {
	for _, cmd := range f.workers {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}
