package faulttest_test

import (
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/tap"
)

// An outcome is what a producer knows of a message that it wanted to send.
type outcome string

// The outcomes.
const (
	accepted outcome = "ok"
	refused  outcome = "fail"    // the store says that it has not taken it
	unknown  outcome = "unknown" // the connection was lost while it was being committed
)

// A ledger is what producers wanted and got. It is outside the store, and no
// fault reaches it.
type ledger struct {
	mu    sync.Mutex
	lines []line // by the number of the message
}

// A line is one message: the intent is written before it is sent.
type line struct {
	fate    string
	outcome outcome
}

// intend writes an intent. Until the outcome is known, it is unknown.
func (l *ledger) intend(fate string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line{fate, unknown})
	return len(l.lines) - 1
}

// note writes the outcome.
func (l *ledger) note(n int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil:
		l.lines[n].outcome = accepted
	case !errors.Is(err, driver.ErrOutcomeUnknown):
		l.lines[n].outcome = refused
	}
}

// tally counts the outcomes.
func (l *ledger) tally() map[outcome]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[outcome]int{}
	for _, line := range l.lines {
		out[line.outcome]++
	}
	return out
}

// produce sends messages until ctx ends, or until there are enough. A pause
// between them lets the workers keep up.
func (l *ledger) produce(ctx context.Context, d *posthorn.Dispatcher, pause time.Duration) {
	for ctx.Err() == nil {
		l.send(ctx, d, pickFate())
		time.Sleep(pause)
	}
}

// send sends one message, in one of the two ways that are handled once only.
// What has begun is waited for, whatever ctx says.
func (l *ledger) send(ctx context.Context, d *posthorn.Dispatcher, fate string) error {
	n := l.intend(fate)
	var m posthorn.Message = plan{N: n, Fate: fate}
	if n%2 == 0 {
		m = planTx{plan{N: n, Fate: fate}}
	}
	_, err := d.Dispatch(ctx, m, posthorn.WithHeader("authorization", tap.Secret))
	l.note(n, err)
	return err
}

// The fates of a message.
const (
	done     = "done"
	failOnce = "fail_once"
	reject   = "reject"
	dawdle   = "dawdle"   // thinks for too long in its transaction, once
	linger   = "linger"   // has a statement under way for a while, once
	deadlock = "deadlock" // takes two locks, in one order or the other
	conflict = "conflict" // cannot be ordered, twice
	locked   = "locked"   // wants a lock at once
)

// conflicts are the fates that run into each other.
func conflicts() []string { return []string{deadlock, conflict, locked} }

// pickFate makes some handlers fail on purpose, so that the tests see whether
// what failed otherwise is told apart.
func pickFate() string {
	switch n := rand.IntN(100); {
	case n < 2:
		return reject
	case n < 5:
		return failOnce
	}
	return done
}

// A verdict is what the checker found.
type verdict struct{ lost, doubled, ghosts, both, dead, effects int }

// check compares the ledger with the effects and the dead letters, by number.
func (l *ledger) check(t *testing.T, effects map[int]int, dead map[int]string) verdict {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	v := verdict{dead: len(dead)}
	for n, line := range l.lines {
		if line.wrong(effects[n], dead[n] != "", &v) {
			t.Errorf("message %d, to be %s, %s: %d effects, dead letter %q", n, line.fate, line.outcome, effects[n], dead[n])
		}
	}
	for n, count := range effects {
		v.effects += count
		if n < 0 || n >= len(l.lines) {
			t.Errorf("effect %d without an intent", n)
		}
	}
	return v
}

// wrong judges one message.
func (l line) wrong(effects int, dead bool, v *verdict) bool {
	there := effects > 0 || dead
	before := *v
	switch {
	case effects > 1:
		v.doubled++
	case effects == 1 && dead, dead != (there && l.fate == reject):
		v.both++
	case l.outcome == accepted && !there:
		v.lost++
	case l.outcome == refused && there:
		v.ghosts++
	}
	return *v != before
}

// effectsOf reads the effects by number. The table has no unique key.
func effectsOf(t *testing.T, db *sql.DB) map[int]int {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), "select n, count(*) from effect group by n")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	out := map[int]int{}
	for rows.Next() {
		var n, count int
		if err := rows.Scan(&n, &count); err != nil {
			t.Fatal(err)
		}
		out[n] = count
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestTheCheckerSeesWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		line    line
		effects int
		dead    bool
		want    verdict
	}{
		{"all is well", line{done, accepted}, 1, false, verdict{}},
		{"nobody knew, and it came", line{done, unknown}, 1, false, verdict{}},
		{"nobody knew, and it did not come", line{done, unknown}, 0, false, verdict{}},
		{"rejected", line{reject, accepted}, 0, true, verdict{}},
		{"refused", line{done, refused}, 0, false, verdict{}},
		{"lost", line{done, accepted}, 0, false, verdict{lost: 1}},
		{"doubled", line{done, accepted}, 2, false, verdict{doubled: 1}},
		{"doubled, though nobody knew", line{done, unknown}, 2, false, verdict{doubled: 1}},
		{"refused, and it came", line{done, refused}, 1, false, verdict{ghosts: 1}},
		{"done and dead", line{reject, accepted}, 1, true, verdict{both: 1}},
		{"dead without a reason", line{done, accepted}, 0, true, verdict{both: 1}},
		{"alive against its fate", line{reject, accepted}, 1, false, verdict{both: 1}},
	} {
		var v verdict
		if c.line.wrong(c.effects, c.dead, &v); v != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, v, c.want)
		}
	}
}
