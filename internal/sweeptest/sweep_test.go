//go:build linux

package sweeptest_test

import (
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	_ "modernc.org/sqlite" // to look at a store from outside

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/runs"
	"github.com/posthorn/posthorn/internal/testserver"
)

// workEnv makes the test binary the work on the store that it names; stopEnv lets it stop
// at the first error.
const (
	workEnv  = "POSTHORN_SWEEPTEST_STORE"
	firstEnv = "POSTHORN_SWEEPTEST_FIRST"
	stopEnv  = "POSTHORN_SWEEPTEST_STOP"
)

// The size of the sweep.
var (
	all    = flag.Bool("all", false, "cut at every call, not only at a few")
	record = flag.String("record", "", "add the run to the record in this `file`")
	seed   = flag.Uint64("seed", 0, "of the calls that are cut; 0 picks one")
)

func TestMain(m *testing.M) {
	dsn := os.Getenv(workEnv)
	if dsn == "" {
		os.Exit(m.Run())
	}
	first, _ := strconv.Atoi(os.Getenv(firstEnv))
	if err := run(dsn, first, os.Getenv(stopEnv) != ""); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// A cut is what happens at the N-th call of a kind.
type cut struct{ call, how string }

// kill ends the process instead of the call.
const kill = "signal=KILL"

// cuts are those of a sweep. SQLite writes by pwrite64, syncs by fsync, and makes files
// shorter and removes them when it has copied its log.
func cuts() []cut {
	return []cut{
		{"pwrite64", kill}, {"fsync", kill}, {"ftruncate", kill}, {"unlink", kill},
		{"pwrite64", "error=EIO"}, {"fsync", "error=EIO"}, {"pwrite64", "error=ENOSPC"},
	}
}

// sampled is how many calls of a kind the short form cuts.
const sampled = 3

func TestAStoreThatIsCutOffAtAnyCallLosesAndDoublesNothing(t *testing.T) {
	strace := testserver.Program(t, "strace", "strace")
	if !traceable(t, strace) {
		return
	}
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", *seed)
	sum := runs.Run{Check: "sweep", Fault: "P-3", Store: "sqlite", Class: driver.PowerSafe}
	var mu sync.Mutex
	t.Run("by", func(t *testing.T) {
		for _, c := range cuts() {
			t.Run(c.call+" "+c.how, func(t *testing.T) {
				t.Parallel()
				s := &sweep{t: t, strace: strace, cut: c, dir: memory(t)}
				s.all()
				t.Logf("cut %d times, %d messages were accepted", s.times, s.accepted)
				mu.Lock()
				defer mu.Unlock()
				sum.Times, sum.Accepted, sum.Broken = sum.Times+s.times, sum.Accepted+s.accepted, sum.Broken+s.broken
			})
		}
	})
	if sum.Times < len(cuts()) || sum.Accepted == 0 {
		t.Errorf("the sweep shows nothing: %+v", sum)
	}
	if *record != "" {
		keep(t, sum)
	}
}

// A commit whose sync fails stands in the log: whoever opens the file next, after a crash,
// takes it for committed.
func TestASendWhoseSyncFailedIsNotCalledRefused(t *testing.T) {
	strace := testserver.Program(t, "strace", "strace")
	if !traceable(t, strace) {
		return
	}
	s := &sweep{t: t, strace: strace, cut: cut{"fsync", "error=EIO"}, dir: memory(t)}
	calls, unknown := s.count(), 0
	for n := 1; n <= calls && unknown == 0; n++ {
		s.one(n, true)
		for _, word := range s.told {
			if word == "unknown" {
				unknown++
			}
		}
	}
	if unknown == 0 {
		t.Error("no send had an unknown outcome: the test shows nothing")
	}
}

// traceable reports whether processes can be traced here; some containers forbid it.
func traceable(t *testing.T, strace string) bool {
	out, err := exec.Command(strace, "-qq", "-e", "trace=none", "true").CombinedOutput()
	if err != nil {
		t.Logf("NOT SWEPT: processes cannot be traced here: %v: %s", err, out)
	}
	return err == nil
}

// memory is a directory in memory, where there is one: what is cut off is the call, not the
// disk, and a sync costs nothing there.
func memory(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "posthorn-sweep-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// keep adds the sweep to the record.
func keep(t *testing.T, sum runs.Run) {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	version, err := runs.Version(t.Context(), db, "sqlite")
	if err != nil {
		t.Fatal(err)
	}
	sum.Host = runs.Here(version)
	if err := runs.Add(*record, sum); err != nil {
		t.Fatal(err)
	}
}

// A sweep is all runs of one cut.
type sweep struct {
	t      *testing.T
	strace string
	cut    cut
	dir    string
	told   ledger // of the last run
	stop   bool   // the process ends at the first error

	times, accepted, broken int
}

// all cuts at each call, or at a few, until a run is clean.
func (s *sweep) all() {
	if *all {
		for n := 1; s.at(n); n++ {
		}
		return
	}
	rnd := rand.New(rand.NewPCG(*seed, 1))
	calls := s.count()
	for i := range min(sampled, calls) { // one of each part of the run
		from, to := 1+i*calls/sampled, 1+(i+1)*calls/sampled
		s.at(from + rnd.IntN(max(1, to-from)))
	}
}

// count is how many such calls a run makes.
func (s *sweep) count() int {
	trace := filepath.Join(s.dir, "count")
	dsn := "sqlite:" + filepath.Join(s.dir, "count.db")
	if _, err := s.work(dsn, s.strace, "-f", "-qq", "-o", trace, "-e", "trace="+s.cut.call); err != nil {
		s.t.Fatalf("a run that is not cut: %v", err)
	}
	return strings.Count(s.read(trace), s.cut.call+"(")
}

func (s *sweep) read(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

// at cuts at the n-th call. Where that fails, the process goes on once, and once it ends. It
// reports whether there was such a call.
func (s *sweep) at(n int) bool {
	if s.cut.how == kill {
		return s.one(n, false)
	}
	ended := s.one(n, true)
	return s.one(n, false) || ended
}

// one cuts at the n-th call, lets another process finish the work, and looks at what is
// there. It reports whether there was such a call.
func (s *sweep) one(n int, stop bool) bool {
	dir := filepath.Join(s.dir, fmt.Sprint(n, stop))
	if err := os.Mkdir(dir, 0o700); err != nil {
		s.t.Fatal(err)
	}
	s.stop = stop
	file, trace := filepath.Join(dir, "store.db"), filepath.Join(dir, "trace")
	said, err := s.work("sqlite:"+file, s.strace, "-f", "-qq", "-o", trace, "-e", "trace="+s.cut.call, "-e",
		fmt.Sprintf("inject=%s:%s:when=%d", s.cut.call, s.cut.how, n))
	if !strings.Contains(s.read(trace), "INJECTED") && err == nil {
		return false
	}
	s.times++
	told := ledger{}
	told.read(said)
	s.told = told
	if n%2 == 0 { // what looks first brings the log home
		if err := s.look(file, told, false); err != nil {
			s.find(n, err)
		}
	}
	if _, err := s.work("sqlite:"+file, os.Args[0], strconv.Itoa(strings.Count(said, "try"))); err != nil {
		s.find(n, fmt.Errorf("finish the work: %w", err))
	} else if err := s.look(file, told, true); err != nil {
		s.find(n, err)
	}
	if err := os.RemoveAll(dir); err != nil {
		s.t.Error(err)
	}
	return true
}

func (s *sweep) find(n int, err error) {
	s.broken++
	s.t.Errorf("%s at %s %d: %v", s.cut.how, s.cut.call, n, err)
}

// work runs the work under strace, or from a message on, and returns what it said.
func (s *sweep) work(dsn, program string, args ...string) (said string, err error) {
	cmd := exec.Command(program, append(args, os.Args[0])...)
	cmd.Env = append(os.Environ(), workEnv+"="+dsn)
	if program == os.Args[0] {
		cmd = exec.Command(program)
		cmd.Env = append(os.Environ(), workEnv+"="+dsn, firstEnv+"="+args[0])
	} else if s.stop {
		cmd.Env = append(cmd.Env, stopEnv+"=1")
	}
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err = cmd.Run(); err != nil {
		err = fmt.Errorf("%w: %s", err, errs.String())
	}
	return out.String(), err
}

// look looks at the store from outside. When the work is finished, each message has one
// end; before, none has two.
func (s *sweep) look(file string, told ledger, finished bool) error {
	db, err := sql.Open("sqlite", file)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	var verdict string
	if err := db.QueryRow("pragma integrity_check").Scan(&verdict); err != nil || verdict != "ok" {
		return fmt.Errorf("integrity_check: %s, %w", verdict, err)
	}
	if !finished {
		return nil
	}
	var problems []error
	for n := range messages {
		var effects, letters, live int
		err := db.QueryRow(`select (select count(*) from effect where n = ?),
			(select count(*) from posthorn_letter where id = ? and discarded_at is null),
			(select count(*) from posthorn_message where id = ?)`, n, strconv.Itoa(n), strconv.Itoa(n),
		).Scan(&effects, &letters, &live)
		if err != nil {
			return err
		}
		problems = append(problems, judge(n, told[n], [3]int{effects, letters, live}))
	}
	for _, word := range told {
		if word == "ok" || word == "done" {
			s.accepted++
		}
	}
	return errors.Join(problems...)
}

// judge compares what became of a message with what was said of it.
func judge(n int, word string, got [3]int) error {
	want := [3]int{1, 0, 0}
	if n%fates == fateBury {
		want = [3]int{0, 1, 0}
	}
	none := got == [3]int{}
	switch word {
	case "fail":
		if none {
			return nil
		}
		return fmt.Errorf("message %d was refused, and has %v effects, letters and rows", n, got)
	case "try", "unknown":
		if none {
			return nil
		}
	}
	if got != want { // also of those that the second process has sent
		return fmt.Errorf("message %d (%s) has %v effects, letters and rows, want %v", n, word, got, want)
	}
	return nil
}
