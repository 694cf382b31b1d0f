//go:build linux

package powertest_test

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/runs"
	"github.com/posthorn/posthorn/internal/testserver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/transport/open"
)

// loadEnv makes the test binary the load on the store that it names.
const loadEnv = "POSTHORN_POWERTEST_STORE"

// The size of the test.
var (
	cuts   = flag.Int("cuts", 1, "power cuts of each store")
	record = flag.String("record", "", "add the runs to the record in this `file`")
)

// recording keeps the runs of one process from each other.
var recording sync.Mutex

func TestMain(m *testing.M) {
	dsn := os.Getenv(loadEnv)
	if dsn == "" {
		os.Exit(m.Run())
	}
	if err := run(dsn); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// A site is where a store can be: a file, or a server with its data.
type site struct {
	launch   func(testserver.Options) (*testserver.Server, error) // nil: a file
	dsn      func(s *testserver.Server, dir string) string
	settings map[string]string
	weakened string // the setting that makes it lose; empty: none
}

// file is a SQLite file.
func file(query, weakened string) site {
	return site{weakened: weakened, dsn: func(_ *testserver.Server, dir string) string {
		return "sqlite:" + filepath.Join(dir, "store.db") + query
	}}
}

func postgres(weakened string, settings map[string]string) site {
	return site{launch: testserver.LaunchPostgreSQL, weakened: weakened, settings: settings,
		dsn: func(s *testserver.Server, _ string) string { return s.DSN(s.Superuser(), "postgres") }}
}

func mariaDB(weakened string, settings map[string]string) site {
	return site{launch: testserver.LaunchMariaDB, weakened: weakened, settings: settings,
		dsn: func(s *testserver.Server, _ string) string {
			return fmt.Sprintf("mysql://%s@%s/test", s.Superuser(), s.Addr())
		}}
}

func TestAPowerCutTakesNothingThatWasAcknowledged(t *testing.T) {
	for name, s := range map[string]site{
		"SQLite": file("", ""), "PostgreSQL": postgres("", nil), "MariaDB": mariaDB("", nil),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := suffer(t, s, *cuts)
			if r.Lost+r.Doubled > 0 {
				t.Errorf("%+v", r)
			}
		})
	}
}

// What loses nothing under settings that must lose proves nothing under others.
func TestAPowerCutTakesWhatAWeakenedStoreAcknowledged(t *testing.T) {
	for name, s := range map[string]site{
		"SQLite":     file("?synchronous=normal", "synchronous=normal"),
		"PostgreSQL": postgres("fsync=off", map[string]string{"fsync": "off"}),
		"MariaDB": mariaDB("innodb_flush_log_at_trx_commit=0",
			map[string]string{"innodb_flush_log_at_trx_commit": "0"}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if r := suffer(t, s, 1+*cuts/10); r.Times > 0 && r.Lost == 0 {
				t.Errorf("nothing was lost with %s: the cuts show nothing: %+v", s.weakened, r)
			}
		})
	}
}

// suffer cuts the power of a store under load some times.
func suffer(t *testing.T, s site, times int) (r runs.Run) {
	parent := place(t)
	d, err := makeDisk(parent, "live")
	if errors.Is(err, errMount) {
		t.Logf("NO POWER CUT: %v", err)
		return r
	}
	if err != nil {
		t.Fatal(err)
	}
	defer d.remove(t)
	p := &plant{t: t, site: s, disk: d}
	if s.launch != nil {
		if p.server, err = s.start(d.dir); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := p.server.Close(); err != nil {
				t.Error(err)
			}
		}()
	}
	p.start()
	defer p.end()
	p.describe(&r)
	if err := command("sync", "-f", d.dir); err != nil { // the installation is no part of the test
		t.Fatal(err)
	}
	for i := range times {
		time.Sleep(time.Duration(150+i*97%400) * time.Millisecond)
		p.cut(&r)
	}
	t.Logf("%d cuts, %d messages accepted, %d lost, %d doubled", r.Times, r.Accepted, r.Lost, r.Doubled)
	if r.Accepted == 0 {
		t.Error("nothing was accepted")
	}
	if *record != "" {
		recording.Lock()
		defer recording.Unlock()
		if err := runs.Add(*record, r); err != nil {
			t.Error(err)
		}
	}
	return r
}

// place is a directory that a server's user can enter, in memory where there is some.
func place(t *testing.T) string {
	parent := "/dev/shm"
	if _, err := os.Stat(parent); err != nil {
		parent = "/tmp"
	}
	dir, err := os.MkdirTemp(parent, "posthorn-power-")
	if err == nil {
		err = os.Chmod(dir, 0o711)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// start starts a server on the data in a directory.
func (s site) start(dir string) (*testserver.Server, error) {
	dir = filepath.Join(dir, "server")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	return s.launch(testserver.Options{Dir: dir, Settings: s.settings})
}

// A plant is a store under load.
type plant struct {
	t      *testing.T
	site   site
	disk   *disk
	server *testserver.Server // nil: a file
	load   *exec.Cmd

	mu       sync.Mutex
	lines    int
	ok, done map[int]bool
}

// start starts the load, and waits until it works.
func (p *plant) start() {
	p.ok, p.done = map[int]bool{}, map[int]bool{}
	p.load = exec.Command(os.Args[0])
	p.load.Env = append(os.Environ(), loadEnv+"="+p.site.dsn(p.server, p.disk.dir))
	p.load.Stderr = p.t.Output()
	out, err := p.load.StdoutPipe()
	if err == nil {
		err = p.load.Start()
	}
	if err != nil {
		p.t.Fatal(err)
	}
	ready := make(chan struct{})
	go p.listen(out, ready)
	select {
	case <-ready:
	case <-time.After(time.Minute):
		p.t.Fatal("the load does not begin")
	}
}

// describe says of what store the run is.
func (p *plant) describe(r *runs.Run) {
	s, err := open.Store(p.t.Context(), p.site.dsn(p.server, p.disk.dir), store.Options{})
	if err != nil {
		p.t.Fatal(err)
	}
	version, err := runs.Version(p.t.Context(), s.DB(), s.Dialect())
	r.Check, r.Fault, r.Store, r.Class = "powercuts", "D-2", s.Dialect(), s.Capabilities().Durability
	r.Weakened, r.Host = p.site.weakened, runs.Here(version)
	if err := errors.Join(err, s.Close()); err != nil {
		p.t.Fatal(err)
	}
}

// listen notes what the load says, until it ends.
func (p *plant) listen(out io.Reader, ready chan<- struct{}) {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var word string
		var n int
		if _, err := fmt.Sscan(lines.Text(), &word, &n); err != nil {
			continue
		}
		if word == "ready" {
			close(ready)
			continue
		}
		p.mu.Lock()
		p.lines++
		if word == "ok" {
			p.ok[n] = true
		} else {
			p.done[n] = true
		}
		p.mu.Unlock()
	}
}

// end ends the load.
func (p *plant) end() {
	_ = p.load.Process.Kill()
	_ = p.load.Wait()
}

// cut stops all who write, copies the disk, lets them go on, and looks at the copy.
func (p *plant) cut(r *runs.Run) {
	p.t.Helper()
	if err := p.load.Process.Signal(syscall.SIGSTOP); err != nil {
		p.t.Fatal(err)
	}
	if p.server != nil {
		if err := p.server.Pause(); err != nil {
			p.t.Fatal(err)
		}
	}
	ok, done := p.heard()
	c, err := p.disk.cut("cut")
	if p.server != nil {
		err = errors.Join(err, p.server.Resume())
	}
	if err := errors.Join(err, p.load.Process.Signal(syscall.SIGCONT)); err != nil {
		p.t.Fatal(err)
	}
	defer c.remove(p.t)
	r.Times++
	r.Accepted += len(ok) // what is looked for on this copy
	if err := p.look(c, ok, done, r); err != nil {
		p.t.Logf("the copy cannot be opened: %v", err)
		r.Lost += len(ok)
	}
}

// heard is what the load has said until it was stopped.
func (p *plant) heard() (ok, done map[int]bool) {
	for before := -1; ; time.Sleep(20 * time.Millisecond) {
		p.mu.Lock()
		if before == p.lines {
			break
		}
		before = p.lines
		p.mu.Unlock()
	}
	defer p.mu.Unlock()
	ok, done = map[int]bool{}, map[int]bool{}
	for n := range p.ok {
		ok[n] = true
	}
	for n := range p.done {
		done[n] = true
	}
	return ok, done
}

// look opens the copy, and compares.
func (p *plant) look(c *disk, ok, done map[int]bool, r *runs.Run) (err error) {
	var server *testserver.Server
	if p.site.launch != nil {
		// After a power cut no process of before is there.
		if err := os.Remove(filepath.Join(c.dir, "server", "data", "postmaster.pid")); err != nil &&
			!errors.Is(err, os.ErrNotExist) {
			return err
		}
		if server, err = p.site.start(c.dir); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, server.Close()) }()
	}
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	s, err := open.Store(ctx, p.site.dsn(server, c.dir), store.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if p.site.launch == nil {
		var verdict string
		if err := s.DB().QueryRow("pragma integrity_check").Scan(&verdict); err != nil || verdict != "ok" {
			return fmt.Errorf("integrity_check: %s, %w", verdict, err)
		}
	}
	return compare(s, ok, done, r)
}

// compare counts what is lost and what is doubled.
func compare(s *store.Store, ok, done map[int]bool, r *runs.Run) error {
	effects, err := numbers(s, "select n, count(*) from effect group by n")
	if err != nil {
		return err
	}
	live, err := numbers(s, "select id, count(*) from posthorn_message group by id")
	if err != nil {
		return err
	}
	for n := range ok {
		switch got := effects[n] + live[n]; {
		case got == 0, done[n] && effects[n] == 0:
			r.Lost++
		case got > 1:
			r.Doubled++
		}
	}
	return nil
}

// numbers reads pairs of numbers.
func numbers(s *store.Store, query string) (out map[int]int, err error) {
	rows, err := s.DB().Query(query)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	out = map[int]int{}
	for rows.Next() {
		var n, count int
		if err := rows.Scan(&n, &count); err != nil {
			return nil, err
		}
		out[n] = count
	}
	return out, rows.Err()
}
