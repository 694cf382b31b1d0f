package torture

import (
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/torture/oracle"
)

// poisonExit is the exit code of a process that a message ended.
const poisonExit = 3

// hastyTimeout is the deadline of the handlers that are to miss it.
const hastyTimeout = 300 * time.Millisecond

// askAgain is how long a message waits whose history could not be read.
const askAgain = 50 * time.Millisecond

// longRetries outlast any fault of a run.
const longRetries = 50

// clockSlack is what the store's clock may be ahead of this process's.
const clockSlack = 20 * time.Millisecond

// Errors of handlers that are to fail.
var (
	errPlanned = errors.New("as planned")
	errAway    = errors.New("the partner is away")
)

// A cast has the handlers of a worker process.
type cast struct {
	words  words
	say    func(event)
	rebind func(string) string

	db      *sql.DB
	history string // the table of attempts
	away    string // a file that is there while the partner of some handlers is away
}

// mux registers the handlers.
func (c *cast) mux() *posthorn.Mux {
	m := posthorn.NewMux()
	short, long := posthorn.WithRetry(policy(2)), posthorn.WithRetry(policy(longRetries))
	calm := posthorn.WithTimeout(time.Minute)
	posthorn.HandleTx(m, func(ctx context.Context, tx *posthorn.Tx, p planTx) error {
		return c.effect(ctx, tx, p.plan)
	}, short, calm)
	posthorn.HandleTx(m, func(ctx context.Context, tx *posthorn.Tx, p planRaw) error {
		return c.effect(ctx, tx, p.plan)
	}, short, calm, posthorn.WithRawTx())
	posthorn.HandleEffect(m, func(ctx context.Context, p planEffect) (posthorn.Effect, error) {
		wait(ctx, rand.N(3*time.Millisecond))
		return c.later(p.plan), ctx.Err()
	}, short, calm)
	posthorn.HandleEffect(m, func(ctx context.Context, p planHasty) (posthorn.Effect, error) {
		return c.later(p.plan), c.dawdle(ctx, p.Fate)
	}, long, posthorn.WithTimeout(hastyTimeout))
	posthorn.HandleTx(m, func(ctx context.Context, tx *posthorn.Tx, p planPatient) error {
		return c.effect(ctx, tx, p.plan)
	}, long, calm)
	return m
}

func (c *cast) later(p plan) posthorn.Effect {
	return func(ctx context.Context, tx *posthorn.Tx) error { return c.effect(ctx, tx, p) }
}

// dawdle misses the deadline the first time: it heeds the end of its context, or it does
// not, and costs a worker.
func (c *cast) dawdle(ctx context.Context, fate oracle.Fate) error {
	d, _ := posthorn.DeliveryFrom(ctx)
	switch {
	case d.Attempt > 0 || fate == oracle.HangOnce && d.Deliveries > 1:
		return nil
	case fate == oracle.HangOnce:
		select {}
	}
	<-ctx.Done()
	return ctx.Err()
}

// effect writes the row that must exist once, and then does what its fate says.
func (c *cast) effect(ctx context.Context, tx *posthorn.Tx, p plan) error {
	d, _ := posthorn.DeliveryFrom(ctx)
	if d.Attempt > p.Fate.Charged() {
		c.say(event{Charge: &oracle.Charge{ID: d.ID, Attempt: d.Attempt}})
	}
	if err := c.insert(ctx, tx, d.ID, p.Fate); err != nil {
		return err
	}
	switch p.Fate {
	case oracle.Reject, oracle.Typo:
		return posthorn.Reject(errPlanned)
	case oracle.Mended, oracle.Relapse:
		return c.live(ctx, d.ID, p.Fate)
	case oracle.Fail:
		return errPlanned
	case oracle.Panic:
		panic("as planned")
	case oracle.Poison:
		c.die(d, true)
	case oracle.Dirty:
		return c.soil(ctx, tx)
	case oracle.Spawn:
		_, err := tx.Dispatch(ctx, planTx{plan{Fate: oracle.Done}},
			posthorn.WithID(oracle.ChildOf(d.ID)), posthorn.WithQueue(queue))
		return err
	case oracle.Deadlock:
		return c.cross(ctx, tx, p.N)
	case oracle.Patient:
		return c.lean(d)
	}
	return c.first(ctx, tx, d, p.Fate)
}

// live rejects a message in some of its lives: each of those ended with a line in its
// history, which lasts until it is done. The transaction of the handler has settled the
// message already, so the history is read outside of it.
func (c *cast) live(ctx context.Context, id string, fate oracle.Fate) error {
	n := 0
	stmt := c.rebind("select count(*) from " + c.history + " where message_id = ? and class = ?")
	if err := c.db.QueryRowContext(ctx, stmt, id, string(driver.ClassReject)).Scan(&n); err != nil {
		return posthorn.Snooze(askAgain) // the store is away
	}
	if n < fate.Lives() {
		return posthorn.Reject(errPlanned)
	}
	return nil
}

// first does what is done only the first time.
func (c *cast) first(ctx context.Context, tx *posthorn.Tx, d driver.Delivery, fate oracle.Fate) error {
	switch {
	case fate == oracle.FailOnce && d.Attempt == 0:
		return errPlanned
	case fate == oracle.PanicOnce && d.Attempt == 0:
		panic("as planned, once")
	case fate == oracle.ExitOnce && d.Crashes == 0:
		c.die(d, false)
	case fate == oracle.Conflict && d.Deliveries < 3:
		if c.words.conflict == "" {
			return nil
		}
		_, err := tx.ExecContext(ctx, c.words.conflict)
		return err
	}
	return nil
}

// insert writes the effect, in one of the ways in which a handler can. What is
// queued would find the session that the handler has left dirty itself.
func (c *cast) insert(ctx context.Context, tx *posthorn.Tx, id string, fate oracle.Fate) error {
	stmt := c.rebind(c.words.insert)
	if raw := tx.SQL(); raw != nil {
		return ignoreResult(raw.ExecContext(ctx, stmt, id))
	}
	if rand.IntN(2) == 0 && fate != oracle.Dirty {
		return tx.Queue(ctx, stmt, id)
	}
	return ignoreResult(tx.ExecContext(ctx, stmt, id))
}

func ignoreResult(_ sql.Result, err error) error { return err }

// soil makes a temporary table that hides the one of the effects. Whoever comes
// into this session afterwards would write into it, and lose what he wrote.
func (c *cast) soil(ctx context.Context, tx *posthorn.Tx) error {
	return ignoreResult(tx.ExecContext(ctx, c.words.soil))
}

// cross takes two locks, in one order or the other.
func (c *cast) cross(ctx context.Context, tx *posthorn.Tx, n int) error {
	stmt := c.rebind("update torture_pair set v = v + 1 where id = ?")
	for _, id := range []int{1 + n%2, 2 - n%2} {
		if _, err := tx.ExecContext(ctx, stmt, id); err != nil {
			return err
		}
		wait(ctx, rand.N(2*time.Millisecond))
	}
	return nil
}

// lean asks a partner that may be away: then it fails, as all do that need him.
func (c *cast) lean(d driver.Delivery) error {
	after, least := time.Since(d.SentAt), soonest(policy(longRetries), d.Attempt)
	if after+clockSlack < least {
		c.say(event{Rush: &oracle.Rush{ID: d.ID, Attempt: d.Attempt, After: after, Least: least}})
	}
	if _, err := os.Stat(c.away); err == nil {
		c.say(event{Away: 1})
		return errAway
	}
	return nil
}

// soonest is how long after it was sent a message starts at the soonest that has spent so
// many attempts: the pauses of its policy, each as short as its jitter allows. It is computed
// apart from the policy's own code, which it checks.
func soonest(p posthorn.RetryPolicy, attempts int) (sum time.Duration) {
	for pause := p.Delay; attempts > 0; attempts-- {
		sum += time.Duration(float64(pause) * (1 - posthorn.DefaultJitter))
		pause = min(time.Duration(float64(pause)*posthorn.DefaultMultiplier), p.MaxDelay)
	}
	return sum
}

// die ends the process from within the transaction, by an exit or by an error that
// Go lets nobody recover from. It says so first: the pipe outlives the process.
func (c *cast) die(d driver.Delivery, counted bool) {
	c.say(event{Death: d.ID, Counted: counted})
	if d.Deliveries%2 == 0 {
		var mu sync.Mutex
		mu.Unlock() // fatal: unlock of unlocked mutex
	}
	os.Exit(poisonExit)
}

// wait waits for a time, or the end of the context.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
