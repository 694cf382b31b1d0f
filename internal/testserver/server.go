//go:build linux || darwin

package testserver

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/posthorn/posthorn/internal/proxy"
)

// How long a server may take. The bounds are generous, because a machine that
// runs many tests is slow; who waits for them has found a fault.
const (
	startWithin = time.Minute
	stopWithin  = time.Minute
	execWithin  = time.Minute

	answerWithin = 2 * time.Second // one try of many
)

// Options of a server. The zero value is a durable server with data of its own.
type Options struct {
	// Settings of the server, such as max_connections or wait_timeout.
	Settings map[string]string

	// Dir is where the data and the log live. Data that is there already, say
	// from another server, is taken as it is. Default: a directory that is
	// removed at the end of the test.
	Dir string

	// Volatile gives up durability for speed: data outlives a kill of the
	// server, but not a power cut.
	Volatile bool

	// InMemory lets the data lie in memory, where there is room: for tests that are not
	// about a disk. Files are made slowly on a disk where many were just removed.
	InMemory bool

	// Env is added to the server's environment, as NAME=value.
	Env []string
}

// A Server is a private database server. Its methods may be called
// concurrently, also from goroutines that are not the test's own.
type Server struct {
	product  product
	options  Options
	programs programs
	account  *account
	place    *place
	port     int

	mu    sync.Mutex
	proc  *process // nil while the server is down
	watch *watch   // not nil while it is paused
}

// PostgreSQL starts a server that ends with the test. Where PostgreSQL is not
// installed the test is skipped, or fails if the environment says CI=true.
func PostgreSQL(t Test, o Options) *Server {
	t.Helper()
	return start(t, postgreSQL(), o)
}

// MariaDB starts a server that ends with the test. Where MariaDB is not
// installed the test is skipped, or fails if the environment says CI=true.
func MariaDB(t Test, o Options) *Server {
	t.Helper()
	return start(t, mariaDB(), o)
}

func start(t Test, p product, o Options) *Server {
	t.Helper()
	s, err := launch(p, o)
	if err != nil {
		giveUp(t, err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the last words of %s:\n%s", p.name, s.lastWords())
		}
		if err := s.end(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// giveUp ends a test that has no server.
func giveUp(t Test, err error) {
	t.Helper()
	var missing *missingError
	ci, _ := strconv.ParseBool(os.Getenv("CI"))
	if errors.As(err, &missing) && !ci {
		t.Skip(err)
	}
	t.Fatal(err)
}

// LaunchPostgreSQL starts a server for a program that is no test: the caller
// closes it. Errors: ErrMissing.
func LaunchPostgreSQL(o Options) (*Server, error) { return launch(postgreSQL(), o) }

// LaunchMariaDB is LaunchPostgreSQL for MariaDB.
func LaunchMariaDB(o Options) (*Server, error) { return launch(mariaDB(), o) }

// Close kills the server and removes what it leaves. It is for who launched it.
func (s *Server) Close() error { return s.end() }

// launch starts a server that its caller has to end.
func launch(p product, o Options) (*Server, error) {
	progs, err := p.find()
	if err != nil {
		return nil, err
	}
	who, err := accountFor(p.accounts)
	if err != nil {
		return nil, err
	}
	s := &Server{product: p, options: o, programs: progs, account: who}
	if s.place, err = newPlace(o, who); err != nil {
		return nil, err
	}
	if err = s.fill(); err == nil {
		err = s.findPort()
	}
	if err != nil {
		return nil, errors.Join(err, s.end())
	}
	return s, nil
}

// fill lays fresh data down where there is none.
func (s *Server) fill() error {
	if _, err := os.Stat(s.data()); err == nil {
		return nil
	}
	from, err := template(s.product, s.programs, s.account)
	if err != nil {
		return err
	}
	return copyTree(from, s.data(), s.account)
}

// findPort starts the server on a port that nobody else takes meanwhile.
func (s *Server) findPort() error {
	for tries := 0; ; tries++ {
		port, err := proxy.FreePort()
		if err != nil {
			return err
		}
		s.port = port
		if err = s.Start(); err == nil || tries == 5 || isFree(s.Addr()) {
			return err
		}
	}
}

func isFree(addr string) bool {
	var lc net.ListenConfig
	l, err := lc.Listen(context.Background(), "tcp", addr)
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// Addr is the server's address, host:port. It stays the same over restarts.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// Superuser is the user who may do everything: postgres or root.
func (s *Server) Superuser() string { return s.product.superuser }

// DSN is the data source name for the server's Go driver. No user has to give
// a password. Without a database it leads to one that each server has: postgres,
// or test.
func (s *Server) DSN(user, database string) string { return s.DSNAt(s.Addr(), user, database) }

// DSNAt is like DSN, by another address: that of a proxy before the server.
func (s *Server) DSNAt(addr, user, database string) string {
	return s.product.dsn(addr, user, cmp.Or(database, s.product.database))
}

// Open returns a pool of connections, which the caller closes.
func (s *Server) Open(user, database string) (*sql.DB, error) {
	return s.product.open(s.DSN(user, database))
}

// Exec runs statements one by one, as the superuser and outside a transaction.
func (s *Server) Exec(statements ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), execWithin)
	defer cancel()
	db, err := s.Open(s.product.superuser, "")
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	for _, statement := range statements {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("execute %q: %w", statement, err)
		}
	}
	return nil
}

// Start starts the server again, on the same data and the same port, and waits
// until it answers. A server that runs is left as it is.
func (s *Server) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc != nil && !s.proc.hasEnded() {
		return nil
	}
	proc, err := s.spawn()
	if err != nil {
		return fmt.Errorf("start %s: %w", s.product.name, err)
	}
	s.proc = proc
	ctx, cancel := context.WithTimeout(context.Background(), startWithin)
	defer cancel()
	if err := s.await(ctx); err != nil {
		said := s.lastWords()
		return errors.Join(fmt.Errorf("start %s: %w\n%s", s.product.name, err, said), s.kill())
	}
	return nil
}

// spawn starts the server's process; it does not wait until it serves.
func (s *Server) spawn() (*process, error) {
	out, err := os.OpenFile(s.place.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd := s.account.command(s.programs.server, s.product.serve(s.data(), s.port)...)
	cmd.Args = append(cmd.Args, s.product.settings(s.options)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.data(), out, out
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.Env = append(cmd.Env, s.options.Env...)
	endWithParent(cmd.SysProcAttr, s.product.orphan)
	return startProcess(cmd)
}

// await returns when the server answers, or has ended.
func (s *Server) await(ctx context.Context) error {
	db, err := s.Open(s.product.superuser, "")
	if err != nil {
		return err
	}
	defer db.Close()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := s.answers(ctx, db)
		if err == nil {
			return nil
		}
		select {
		case <-s.proc.done:
			return fmt.Errorf("server ended: %w", s.proc.err)
		case <-ctx.Done():
			return fmt.Errorf("server does not answer: %w", err)
		case <-tick.C:
		}
	}
}

// answers asks the server for its data directory, since another server may
// have the port.
func (s *Server) answers(ctx context.Context, db *sql.DB) error {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	var dir string
	if err := db.QueryRowContext(ctx, s.product.whereabouts).Scan(&dir); err != nil {
		return err
	}
	if filepath.Clean(dir) != s.data() {
		return fmt.Errorf("another server, with its data in %s, answers at %s", dir, s.Addr())
	}
	return nil
}

// Stop ends the server in good order.
func (s *Server) Stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		return nil
	}
	if err := s.resume(); err != nil {
		return err
	}
	all := s.proc.family()
	_ = s.proc.cmd.Process.Signal(s.product.stop) // it may have ended by itself
	select {
	case <-s.proc.done:
	case <-time.After(stopWithin):
		return errors.Join(fmt.Errorf("stop %s: it runs on after %s", s.product.name, stopWithin), s.kill())
	}
	err := s.proc.err
	s.proc = nil
	if err != nil {
		err = fmt.Errorf("stop %s: %w", s.product.name, err)
	}
	return errors.Join(err, awaitEnd(all))
}

// Kill ends the whole server at once by SIGKILL, as a crash would, and waits
// until all its processes are gone. It works on a paused server, too.
func (s *Server) Kill() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kill()
}

func (s *Server) kill() error {
	if s.proc == nil {
		return nil
	}
	err := s.proc.kill()
	s.proc = nil
	s.watch.end()
	s.watch = nil
	// All processes are gone: a lock that names their pid says nothing, and
	// would stop the next start if the pid was given to somebody else.
	_ = os.Remove(filepath.Join(s.data(), "postmaster.pid"))
	return err
}

// Pause freezes all processes of the server: connections stay open, and
// nothing answers.
func (s *Server) Pause() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil || s.watch != nil {
		return nil
	}
	all := s.proc.freeze()
	// A frozen process does not see that its parent is dead.
	w, err := watchOver(all)
	if err != nil {
		return errors.Join(err, s.proc.thaw())
	}
	s.watch = w
	return nil
}

// Resume lets a paused server run on.
func (s *Server) Resume() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.resume()
}

func (s *Server) resume() error {
	if s.proc == nil || s.watch == nil {
		return nil
	}
	s.watch.end()
	s.watch = nil
	return s.proc.thaw()
}

// Processes are the ids of the server's processes, none while it is down.
func (s *Server) Processes() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	var pids []int
	if s.proc != nil {
		for _, m := range s.proc.family() {
			pids = append(pids, m.pid)
		}
	}
	return pids
}

// end kills the server and removes what it leaves.
func (s *Server) end() error { return errors.Join(s.Kill(), s.place.leave()) }

func (s *Server) data() string { return filepath.Join(s.place.dir, "data") }

// lastWords is the end of the server's log.
func (s *Server) lastWords() string {
	text, err := os.ReadFile(s.place.log())
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-2000):])
}
