//go:build posthorn_failpoints

package crashtest_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/failpoint"
	"github.com/posthorn/posthorn/internal/runs"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/transport/open"
)

// A drama is a store with actors, of whom some die at a point.
type drama struct {
	t     *testing.T
	point failpoint.Point
	place func(t *testing.T) (dsn string)
	dsn   string
	dir   string // of armed points
	store *store.Store

	tried, sent map[int]bool // messages
	worker      string       // the id of the last one that died
	killed      int          // actors
	deaths      int          // of workers
	most        int          // crashes that a message may be charged with
	buried      int          // messages that are to be buried for the deaths of their workers
}

// opener is where a worker dies before the point of an actor who comes after it.
const opener = failpoint.AfterEffect

// crashed says whether a death at a point is one that a message has to be charged with:
// 1 surely, 0 maybe, -1 surely not, since nobody holds anything.
func crashed(p failpoint.Point) int {
	switch p {
	case failpoint.MidMigrate, failpoint.MidSend, failpoint.AfterSend, failpoint.MidLetterBack, failpoint.MidOperation:
		return -1
	case failpoint.MidClaim, failpoint.MidAck, failpoint.AfterCommit, failpoint.AfterSettle, failpoint.MidPromote:
		return 0
	}
	return 1
}

// record is where the long form writes what it found.
var record = flag.String("record", "", "add the run to the record in this `file`")

// ownWords are the points at which each database has statements of its own; the short form
// tries the others on SQLite alone.
func ownWords() []failpoint.Point {
	return []failpoint.Point{
		failpoint.MidMigrate, failpoint.MidSend, failpoint.MidClaim, failpoint.MidAck, failpoint.AfterCommit,
		failpoint.MidRescue,
	}
}

func TestADeathAtEachPointLosesAndDoublesNothing(t *testing.T) {
	var k kept
	t.Run("at", func(t *testing.T) {
		for _, p := range failpoint.Points() {
			dieAt(t, p, &k)
		}
	})
	if *record == "" {
		return
	}
	for _, r := range k.runs {
		if t.Failed() {
			r.Broken = max(r.Broken, 1)
		}
		if err := runs.Add(*record, *r); err != nil {
			t.Error(err)
		}
	}
}

// dieAt plays the drama of a point on each store.
func dieAt(t *testing.T, p failpoint.Point, k *kept) {
	for name, place := range places() {
		if testing.Short() && name != onSQLite && !slices.Contains(ownWords(), p) {
			continue
		}
		t.Run(string(p)+" "+name, func(t *testing.T) {
			t.Parallel()
			d := &drama{
				t: t, point: p, place: place, dsn: place(t), dir: t.TempDir(), tried: map[int]bool{}, sent: map[int]bool{},
			}
			d.play(k)
		})
	}
}

// kept are the runs by store.
type kept struct {
	mu   sync.Mutex
	runs map[string]*runs.Run
}

// note adds what became of one death.
func (k *kept) note(d *drama) {
	k.mu.Lock()
	defer k.mu.Unlock()
	dialect := d.store.Dialect()
	if k.runs[dialect] == nil {
		version, err := runs.Version(d.t.Context(), d.store.DB(), dialect)
		if err != nil {
			d.t.Error(err)
		}
		if k.runs == nil {
			k.runs = map[string]*runs.Run{}
		}
		k.runs[dialect] = &runs.Run{Check: "failpoints", Fault: "P-2", Store: dialect,
			Class: d.store.Capabilities().Durability, Host: runs.Here(version)}
	}
	r := k.runs[dialect]
	r.Times += d.killed
	r.Accepted += len(d.sent)
	if d.t.Failed() {
		r.Broken++
	}
}

// migrate makes the tables. Where the point is in there, it does so in a new place for each
// moment at which the first actor can die, and another one finishes its work.
func (d *drama) migrate() {
	died := 0
	for ; d.point == failpoint.MidMigrate; died++ {
		d.dsn = d.place(d.t)
		cmd, _ := d.start(part{Role: roleMigrate}, d.point, make([]byte, died)...)
		err := cmd.Wait()
		if err == nil {
			break // there is no moment after so many
		}
		d.wantKilled(err, d.point)
		d.do(part{Role: roleMigrate}, "")
	}
	d.do(part{Role: roleMigrate}, "")
	if d.point == failpoint.MidMigrate && died < 2 {
		d.t.Errorf("%d moments of the migrations were cut off", died)
	}
}

// play lets the point's actor die, and others go on.
func (d *drama) play(k *kept) {
	d.migrate()
	s, err := open.Store(d.t.Context(), d.dsn, store.Options{})
	if err != nil {
		d.t.Fatal(err)
	}
	d.store = s
	defer func() {
		if err := s.Close(); err != nil {
			d.t.Error(err)
		}
	}()
	if _, err := s.DB().Exec("create table effect (n integer, attempt integer, crashes integer)"); err != nil {
		d.t.Fatal(err)
	}
	d.produce()
	switch d.point {
	case failpoint.MidMigrate, failpoint.MidSend, failpoint.AfterSend:
	case failpoint.MidLetterBack:
		d.finish()
		d.do(part{Role: roleOperate}, d.point)
	case failpoint.MidOperation:
		d.finish()
		d.do(part{Role: roleExecute}, d.point)
	case failpoint.MidRescue:
		d.die(opener)
		d.die(d.point)
	case failpoint.MidReap, failpoint.MidReapBury:
		d.die(opener)
		d.reap(d.holds())
	case failpoint.MidFree:
		d.die(opener)
		d.reap(d.holds())
		d.die(d.point)
	default:
		d.die(d.point)
		if len(d.dsn)%2 == 0 { // as a supervisor does; else the lease has to run out
			d.reap(nil)
		}
	}
	d.finish()
	d.check()
	k.note(d)
}

// start starts an actor, armed with a point that is passed some times before.
func (d *drama) start(p part, armed failpoint.Point, before ...byte) (*exec.Cmd, *strings.Builder) {
	d.t.Helper()
	p.DSN = d.dsn
	text, err := json.Marshal(p)
	if err != nil {
		d.t.Fatal(err)
	}
	if armed != "" {
		if err := os.WriteFile(filepath.Join(d.dir, string(armed)), before, 0o600); err != nil {
			d.t.Fatal(err)
		}
	}
	out := &strings.Builder{}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), actorEnv+"="+string(text), failpoint.Variable+"="+d.dir)
	cmd.Stdout, cmd.Stderr = out, d.t.Output()
	if err := cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	return cmd, out
}

// do lets an actor do its work. Where that is the point's, it dies, and another one does it.
func (d *drama) do(p part, at failpoint.Point) string {
	d.t.Helper()
	said := ""
	if d.point == at {
		cmd, out := d.start(p, at)
		d.wantKilled(cmd.Wait(), at)
		said = out.String()
		if p.Role == roleProduce {
			p.First = strings.Count(said, "try")
		}
	}
	cmd, out := d.start(p, "")
	if err := cmd.Wait(); err != nil {
		d.t.Fatalf("%s ended by %v", p.Role, err)
	}
	return said + out.String()
}

// wantKilled makes sure that an actor has died at its point.
func (d *drama) wantKilled(err error, at failpoint.Point) {
	d.t.Helper()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		d.t.Fatalf("armed with %s, it ended by %v", at, err)
	}
	if _, err := os.Stat(filepath.Join(d.dir, string(at))); !errors.Is(err, os.ErrNotExist) {
		d.t.Fatalf("%s was not passed: %v", at, err)
	}
	d.killed++
}

// produce sends the messages.
func (d *drama) produce() {
	at := d.point
	if at != failpoint.MidSend {
		at = failpoint.AfterSend
	}
	for line := range strings.Lines(d.do(part{Role: roleProduce}, at)) {
		var n int
		if _, err := fmt.Sscanf(line, "try %d", &n); err == nil {
			d.tried[n] = true
		}
		if _, err := fmt.Sscanf(line, "ok %d", &n); err == nil {
			d.sent[n] = true
		}
	}
}

// die runs a worker until it dies at a point.
func (d *drama) die(at failpoint.Point) {
	d.t.Helper()
	cmd, out := d.start(part{Role: roleWork}, at)
	late := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	defer late.Stop()
	d.wantKilled(cmd.Wait(), at)
	d.worker = strings.TrimSpace(out.String())
	d.deaths++
	d.most = max(d.most, d.deaths)
}

// finish runs a worker until nothing is left.
func (d *drama) finish() {
	cmd, _ := d.start(part{Role: roleWork}, "")
	waitUntilEmpty(d.t, d.store)
	_ = cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		d.t.Errorf("the last worker ended by %v", err)
	}
}

// holds are the claims of the worker that died.
func (d *drama) holds() (tokens []driver.Token) {
	for _, row := range d.rows("select seq, token from posthorn_message where worker = '" + d.worker + "'") {
		tokens = append(tokens, driver.Token(row[0]+"."+row[1]))
	}
	if len(tokens) == 0 {
		d.t.Fatal("the worker held nothing when it died")
	}
	return tokens
}

// reap tells of the worker's death. Of a message that is to be buried, three others have
// died before.
func (d *drama) reap(begun []driver.Token) {
	if d.point == failpoint.MidReapBury {
		begun = begun[:1]
		seq, _, _ := strings.Cut(string(begun[0]), ".")
		if _, err := d.store.DB().Exec("update posthorn_message set crashes = 3 where seq = " + seq); err != nil {
			d.t.Fatal(err)
		}
		d.buried = 1
	}
	if begun != nil { // suspects that nobody runs count as if they had crashed twice
		d.most = max(d.most, 2)
	}
	at := d.point
	if at != failpoint.MidReapBury {
		at = failpoint.MidReap
	}
	d.do(part{Role: roleReap, Death: driver.Death{Worker: d.worker, Begun: begun, Cause: "killed"}}, at)
}

// rows reads all rows of a query as texts.
func (d *drama) rows(query string) (out [][]string) {
	d.t.Helper()
	rows, err := d.store.DB().Query(query)
	if err != nil {
		d.t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	for err == nil && rows.Next() {
		row := make([]string, len(columns))
		dest := make([]any, len(columns))
		for i := range row {
			dest[i] = &row[i]
		}
		err = rows.Scan(dest...)
		out = append(out, row)
	}
	if err := errors.Join(err, rows.Err()); err != nil {
		d.t.Fatal(err)
	}
	return out
}

// An end is what became of a message.
type end struct {
	effects, letters  int
	attempts, crashes int // before its effect, or its death
	reason            string
}

// check wants one end of each message, and only what it has cost.
func (d *drama) check() {
	ends := make([]end, len(scenes()))
	for _, row := range d.rows("select n, attempt, crashes from effect") {
		var n, attempt, crashes int
		_, _ = fmt.Sscan(strings.Join(row, " "), &n, &attempt, &crashes)
		ends[n].effects, ends[n].attempts, ends[n].crashes = ends[n].effects+1, attempt, crashes
	}
	ls, err := d.store.Letters(d.t.Context(), store.LetterFilter{})
	if err != nil {
		d.t.Fatal(err)
	}
	for _, l := range ls {
		var n int
		if _, err := fmt.Sscanf(l.ID, "scene-%d", &n); err != nil {
			d.t.Fatalf("letter %q: %v", l.ID, err)
		}
		ends[n].letters, ends[n].crashes, ends[n].reason = ends[n].letters+1, l.Crashes, l.Reason
		d.checkHistory(l)
	}
	crashes, buried := 0, 0
	for n, e := range ends {
		if e.reason == driver.ReasonCrashed {
			buried++
			e.crashes -= driver.SuspectDeaths - 1
		}
		d.checkEnd(n, e)
		crashes += e.crashes
	}
	if buried != d.buried {
		d.t.Errorf("%d messages were buried for the deaths of their workers, want %d", buried, d.buried)
	}
	if want := crashed(d.point); want > 0 && crashes == 0 || want < 0 && crashes > 0 {
		d.t.Errorf("%d crashes were noted: %+v", crashes, ends)
	}
}

// checkEnd looks at one message.
func (d *drama) checkEnd(n int, e end) {
	d.t.Helper()
	fate := scenes()[n]
	effects, letters := 1, 0
	if fate == fateReject || e.reason == driver.ReasonCrashed {
		effects, letters = 0, 1
	}
	again := fate == fatePlain && e.effects >= 1 && e.effects <= 1+d.deaths
	unsent := d.tried[n] && !d.sent[n] && e.effects+e.letters == 0
	if (e.effects != effects && !again || e.letters != letters) && !unsent {
		d.t.Errorf("message %d (%s): %+v, want %d effects and %d letters", n, fate, e, effects, letters)
	}
	attempts := 0
	if fate == fateFail && e.effects > 0 {
		attempts = 1
	}
	if e.attempts != attempts || e.crashes > d.most || e.crashes < 0 {
		d.t.Errorf("message %d (%s): %+v, want %d attempts and at most %d crashes", n, fate, e, attempts, d.most)
	}
}

// checkHistory wants a line for each crash of a dead letter, and one for its rejection.
func (d *drama) checkHistory(l store.Letter) {
	lines, err := d.store.Attempts(d.t.Context(), l.ID)
	if err != nil {
		d.t.Fatal(err)
	}
	crashes, rejects := 0, 0
	for _, a := range lines {
		switch a.Class {
		case driver.ClassCrash:
			crashes++
		case driver.ClassReject:
			rejects++
		}
	}
	want := 1
	if d.point == failpoint.MidLetterBack || d.point == failpoint.MidOperation { // the letter was put back, and died again
		want = 2
	}
	if l.Reason == driver.ReasonCrashed { // the deaths before were only said
		crashes, want = crashes+driver.SuspectDeaths-1, 0
	}
	if crashes != l.Crashes || rejects != want {
		d.t.Errorf("letter %s has %d crashes, its history %d and %d rejections", l.ID, l.Crashes, crashes, rejects)
	}
}
