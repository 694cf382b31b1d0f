package worker_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/worker"
)

// A good message checks that its session is virgin and inserts its effect.
type good struct{ N int }

// Kind names it.
func (good) Kind() string { return "good" }

// An evil is the message of a nasty handler.
type evil struct{ Case string }

type (
	evilTx     struct{ evil } // handled by HandleTx
	evilEffect struct{ evil } // handled by HandleEffect
	evilRaw    struct{ evil } // handled by HandleTx with WithRawTx
	evilSlow   struct{ evil } // handled by HandleTx with a short deadline
)

// Kind names it.
func (evilTx) Kind() string { return "evil_tx" }

// Kind names it.
func (evilEffect) Kind() string { return "evil_effect" }

// Kind names it.
func (evilRaw) Kind() string { return "evil_raw" }

// Kind names it.
func (evilSlow) Kind() string { return "evil_slow" }

// virginity is what a fresh session answers.
func virginity() map[string]string {
	return map[string]string{
		"pragma foreign_keys": "1", "pragma synchronous": "1", "pragma journal_mode": "wal", "pragma query_only": "0",
		"pragma recursive_triggers": "0", "pragma read_uncommitted": "0", "pragma locking_mode": "normal",
		"pragma temp_store": "0", "pragma writable_schema": "0", "pragma ignore_check_constraints": "0",
		"pragma defer_foreign_keys": "0", "pragma busy_timeout": "15000", "pragma reverse_unordered_selects": "0",
		"pragma mmap_size": "0", "pragma wal_autocheckpoint": "4000", "pragma journal_size_limit": "67108864",
		"select count(*) from temp.sqlite_master":                                           "0",
		"select group_concat(name) from pragma_database_list where name <> 'temp'":          "main",
		"select count(*) from sqlite_master where name like 'posthorn%' and type = 'table'": "15",
	}
}

// handleGood is the innocent neighbour.
func handleGood(ctx context.Context, tx *posthorn.Tx, id string) error {
	for query, want := range virginity() {
		var got string
		if err := tx.QueryRowContext(ctx, query).Scan(&got); err != nil {
			return fmt.Errorf("%s: %w", query, err)
		}
		if got != want {
			return fmt.Errorf("session is not clean: %s is %s, want %s", query, got, want)
		}
	}
	// DDL fails where somebody's statement is still open.
	const ddl = "create table passing (a); drop table passing; drop table if exists own"
	if _, err := tx.ExecContext(ctx, ddl); err != nil {
		return fmt.Errorf("ddl: %w", err)
	}
	_, err := tx.ExecContext(ctx, "insert into effect values (?)", id)
	return err
}

// nastyStore is a store with the tables that the corpus wants.
func nastyStore(t *testing.T) *store.Store {
	t.Helper()
	s := newStore(t)
	exec(t, s, `create table parent (id integer primary key);
		create table child (id integer references parent deferrable initially deferred);
		create table strict_child (id integer references parent);
		create table sole (id integer primary key);
		insert into sole values (1);
		create table fuse (id integer);
		create trigger blow before insert on fuse begin select raise(rollback, 'blown'); end;
		create table stray (id text)`)
	return s
}

// unit makes a unit of a delivery, as a worker would.
func unit(t *testing.T, s *store.Store, d driver.Delivery, effect posthorn.Effect) driver.Unit {
	return driver.Unit{
		Delivery: d, Timeout: time.Second, Effect: effect.Bind(dispatcher(t, s)),
		Context: posthorn.WithDelivery(t.Context(), d, silent),
	}
}

// bystander is the unit of a good message.
func bystander(t *testing.T, s *store.Store, d driver.Delivery) driver.Unit {
	return unit(t, s, d, func(ctx context.Context, tx *posthorn.Tx) error { return handleGood(ctx, tx, d.ID) })
}

// Each nasty handler runs in one group with two innocent neighbours, and one
// more innocent follows, all on one connection as long as it is clean.
func TestNastyHandlerLeavesNeighboursAndTheNextMessageUnharmed(t *testing.T) {
	for name, alone := range map[string]bool{"in a group": false, "with a raw transaction": true} {
		t.Run(name, func(t *testing.T) { t.Parallel(); runCorpus(t, alone) })
	}
}

func runCorpus(t *testing.T, alone bool) {
	s := nastyStore(t)
	for _, c := range cases(alone) {
		t.Run(c.name, func(t *testing.T) { runNasty(t, s, c, alone) })
	}
	if n := count(t, s, "select count(*) from effect where id = 'ghost'"); n != 0 {
		t.Errorf("%d effects were committed without a settlement", n)
	}
}

// cases are those of the corpus that are worth a run with or without a raw
// transaction.
func cases(alone bool) (out []nasty) {
	for _, c := range corpus() {
		if alone && !c.grouped || !alone && !c.rawOnly {
			out = append(out, c)
		}
	}
	return out
}

func runNasty(t *testing.T, s *store.Store, c nasty, alone bool) {
	ids := make([]string, 4)
	for i := range ids {
		ids[i] = dispatch(t, s, good{N: i})
	}
	consumer, ds := claim(t, s, 4)
	defer func() { _ = consumer.Close() }()
	sc := newScene(t, ids[1])
	defer sc.finish()
	culprit := unit(t, s, ds[1], func(ctx context.Context, tx *posthorn.Tx) error { return sc.run(ctx, tx, c) })
	culprit.Alone = alone
	if c.slow {
		culprit.Timeout = 30 * time.Millisecond
	}
	first := unit(t, s, ds[0], func(ctx context.Context, tx *posthorn.Tx) error {
		_, err := tx.ExecContext(ctx, "insert into effect values (?)", ids[0])
		return err
	})
	errs := s.Transact(t.Context(), []driver.Unit{first, culprit, bystander(t, s, ds[2])})
	if errs[0] != nil || errs[2] != nil {
		t.Errorf("neighbours were harmed: %v, %v", errs[0], errs[2])
	}
	checkFate(t, s, ids[1], fate{c, errs[1]})
	if errs := s.Transact(t.Context(), []driver.Unit{bystander(t, s, ds[3])}); errs[0] != nil {
		t.Errorf("the next message was harmed: %v", errs[0])
	}
	checkInnocents(t, s, ids[0], ids[2], ids[3])
	if errs[1] != nil { // out of the way of the next case
		if err := consumer.Settle(t.Context(), driver.Settlement{Delivery: ds[1]}); err != nil {
			t.Errorf("the culprit cannot be settled: %v", err)
		}
	}
}

// checkInnocents checks that good messages are done, once.
func checkInnocents(t *testing.T, s *store.Store, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if n := count(t, s, "select count(*) from effect where id = ?", id); n != 1 {
			t.Errorf("message %s has %d effects, want 1", id, n)
		}
		if p := place(t, s, id); p != "" {
			t.Errorf("message %s is %s, want it done", id, p)
		}
	}
}

// A fate is how a case ended.
type fate struct {
	nasty
	err error
}

// checkFate checks that the culprit ended as it should, and that its effects
// and its settlement share one fate.
func checkFate(t *testing.T, s *store.Store, id string, f fate) {
	t.Helper()
	c, err := f.nasty, f.err
	effects, left := count(t, s, "select count(*) from effect where id = ?", id), place(t, s, id)
	if c.want == nil && !c.either || c.either && err == nil {
		if err != nil || effects != 1 || left != "" {
			t.Errorf("want it done, got error %v, %d effects, place %q", err, effects, left)
		}
		return
	}
	if !c.either && !c.matches(err) {
		t.Errorf("error is %v, want %v", err, c.want)
	}
	if effects != 0 || left != store.PlaceLeased {
		t.Errorf("want nothing kept, got %d effects, place %q", effects, left)
	}
}

// matches reports whether err is what the case must end with.
func (c nasty) matches(err error) bool {
	return err != nil && (errors.Is(c.want, errSome) || errors.Is(err, c.want) ||
		posthorn.ClassOf(err) == driver.ClassTimeout && errors.Is(c.want, driver.ErrTimeout))
}

// nastyMux registers all the cases with each kind of handler.
func nastyMux(s *scenes) *posthorn.Mux {
	m := posthorn.NewMux()
	posthorn.HandleTx(m, func(ctx context.Context, tx *posthorn.Tx, _ good) error {
		d, _ := posthorn.DeliveryFrom(ctx)
		_, err := tx.ExecContext(ctx, "insert into effect values (?)", d.ID)
		return err
	}, noRetry())
	posthorn.HandleTx(m, func(ctx context.Context, tx *posthorn.Tx, e evilTx) error {
		return s.run(ctx, tx, e.evil)
	}, noRetry())
	posthorn.HandleEffect(m, func(_ context.Context, e evilEffect) (posthorn.Effect, error) {
		return func(ctx context.Context, tx *posthorn.Tx) error { return s.run(ctx, tx, e.evil) }, nil
	}, noRetry())
	posthorn.HandleTx(m, func(ctx context.Context, tx *posthorn.Tx, e evilRaw) error {
		return s.run(ctx, tx, e.evil)
	}, noRetry(), posthorn.WithRawTx())
	posthorn.HandleTx(m, func(ctx context.Context, tx *posthorn.Tx, e evilSlow) error {
		return s.run(ctx, tx, e.evil)
	}, noRetry(), posthorn.WithTimeout(30*time.Millisecond))
	return m
}

func TestNastyHandlersInterleavedWithGoodOnesDoubleAndLoseNothing(t *testing.T) {
	t.Parallel()
	s, all := nastyStore(t), newScenes(t)
	expect := map[string]nasty{}
	add := func(msg posthorn.Message, c nasty) { expect[dispatch(t, s, msg)] = c }
	for i, c := range corpus() {
		for range 3 {
			add(good{N: i}, nasty{})
		}
		e := evil{Case: c.name}
		if c.slow {
			add(evilSlow{e}, c)
			continue
		}
		if !c.rawOnly {
			add(evilTx{e}, c)
			add(evilEffect{e}, c)
		}
		if !c.grouped {
			add(evilRaw{e}, c)
		}
	}
	t.Logf("%d messages", len(expect))
	r := start(t, s, nastyMux(all), worker.Options{Concurrency: 16})
	r.until(len(expect)-1, func(e worker.Event) bool { return !e.Stuck && e.Verdict != driver.Release })
	all.finish() // one handler is stuck until now: its message is still claimed
	r.until(len(expect), func(e worker.Event) bool { return !e.Stuck && e.Verdict != driver.Release })
	checkEnds(t, s, expect)
}

// checkEnds checks that what should be done has one effect, and the rest is
// dead and has none.
func checkEnds(t *testing.T, s *store.Store, expect map[string]nasty) {
	t.Helper()
	for id, c := range expect {
		n, left := count(t, s, "select count(*) from effect where id = ?", id), place(t, s, id)
		done, dead := n == 1 && left == "", n == 0 && left == store.PlaceDead
		if ok := (c.want == nil || c.either) && done || (c.want != nil || c.either) && dead; !ok {
			t.Errorf("%q, %s: %d effects, place %q, want it to end with %v", c.name, id, n, left, c.want)
		}
	}
	if n := count(t, s, "select count(*) from effect where id = 'ghost'"); n != 0 {
		t.Errorf("%d effects were committed without a settlement", n)
	}
}
