// Package torture proves Posthorn on the store that somebody means to use: it runs
// producers and workers as processes, harms them, the store and the way to it on
// purpose, and then asks a ledger outside the store what became of every message.
//
// A run uses scratch tables of its own, which it removes afterwards, and touches no
// others. All that it does by chance follows from one seed, so that a run can be
// repeated as far as the operating system allows.
package torture

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/torture/oracle"
)

// ErrNoServer: the private server that was asked for is not installed.
var ErrNoServer = errors.New("there is no such server here")

// The defaults of Options.
const (
	DefaultTime   = 10 * time.Minute
	DefaultResume = 10 * time.Second // S12: the longest pause of a worker whose store is away, and 5 s
	DefaultStuck  = 2 * time.Minute  // the longest delay after a fault is 30 s
)

// How long a run waits for things that must come. Who waits so long has found a
// fault.
const (
	drainMost   = time.Hour        // all that is left when the producers have ended
	reachWithin = 20 * time.Second // the store, by the run itself
	judgeWithin = 10 * time.Minute // the evidence is collected: a long run has millions of rows
)

// Options of a run.
type Options struct {
	Open    Opener   // opens a store
	Command []string // starts this program as a process of a run: it calls Process.Run
	Store   string   // the address of the store beside whose tables the scratch is; or
	Private string   // PrivatePostgreSQL or PrivateMariaDB: a server of the run's own

	Time     time.Duration // of the load and the faults; 0 means 10 min
	Messages int           // after which the load ends earlier; 0 means as many as the time holds
	Seed     uint64        // of all that happens by chance
	Faults   []Fault       // to inject; none means all that the store allows
	Resume   time.Duration // S12: within which work must go on after a fault; 0 means 10 s
	Stuck    time.Duration // without progress, after which nothing more is waited for; 0 means 2 min

	Progress io.Writer // what happens, for people; nil means nobody
	// Dir is for the ledgers and logs, and stays when a promise is broken. Empty means a
	// new one among the temporary files.
	Dir string
}

// A stage is a run under way.
type stage struct {
	opts    Options
	place   *place
	crew    *crew
	control *store.Store // of the run itself, by the direct way
	admin   *sql.DB
	words   words
	chosen  []kind
	report  *Report
	started time.Time
	resumed map[Fault]*Recovery
}

// Run runs until the time or the messages are over, and judges. It returns a
// report also when ctx ended it early. Errors: ErrStore, ErrNoServer, those of
// Options.Open.
func Run(ctx context.Context, o Options) (r *Report, err error) {
	if o.Time == 0 {
		o.Time = DefaultTime
	}
	if o.Resume == 0 {
		o.Resume = DefaultResume
	}
	if o.Stuck == 0 {
		o.Stuck = DefaultStuck
	}
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	if o.Dir == "" {
		if o.Dir, err = os.MkdirTemp("", "posthorn-torture-"); err != nil {
			return nil, fmt.Errorf("torture: %w", err)
		}
	}
	p, err := findPlace(ctx, o)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(o.Dir))
	}
	s := &stage{opts: o, place: p, resumed: map[Fault]*Recovery{}}
	r, err = s.run(ctx)
	err = errors.Join(err, p.close(context.WithoutCancel(ctx)))
	if err == nil && r.Held() {
		return r, os.RemoveAll(o.Dir)
	}
	if r != nil {
		r.Dir = o.Dir
	}
	return r, err
}

// run is the whole of it: set, play, drain, judge.
func (s *stage) run(ctx context.Context) (*Report, error) {
	if err := s.set(ctx); err != nil {
		return nil, err
	}
	s.crew.hire()
	s.play(ctx)
	s.tell("the load ends; waiting until nothing is left")
	s.crew.dismiss(roleProducer)
	s.crew.dismiss(roleOperator)
	s.drain(context.WithoutCancel(ctx))
	s.crew.dismiss(roleWorker)
	s.report.Seconds = time.Since(s.started).Seconds()
	return s.report, s.judge(context.WithoutCancel(ctx))
}

// set opens the store, makes the tables of the run, and prepares the crew.
func (s *stage) set(ctx context.Context) (err error) {
	quiet := store.Options{Log: slog.New(slog.DiscardHandler), Server: store.ServerOptions{Session: s.place.session}}
	if s.control, err = s.opts.Open(ctx, s.place.direct, quiet); err != nil {
		return err
	}
	if s.place.kind == "postgres" && s.place.server == nil {
		s.place.leave = append(s.place.leave, s.dropSchema)
	} else {
		s.place.leave = append(s.place.leave, func(context.Context) error { return s.control.Close() })
	}
	s.words = speak(s.control.Dialect())
	for _, stmt := range s.words.tables {
		if _, err := s.control.DB().ExecContext(ctx, stmt); err != nil {
			return fmt.Errorf("%w: make tables: %w", ErrStore, err)
		}
	}
	s.admin = s.control.DB()
	if s.place.server != nil {
		if s.admin, err = s.place.server.Open(s.place.server.Superuser(), ""); err != nil {
			return err
		}
		s.admin.SetMaxOpenConns(1) // it stays, so that a server that is full has room for it
		s.place.leave = append(s.place.leave, func(context.Context) error { return s.admin.Close() })
	}
	var skipped []Skipped
	s.chosen, skipped = choose(s.place, s.opts.Faults)
	s.report = &Report{Seed: s.opts.Seed, Store: s.control.Dialect(), Durability: s.control.Capabilities().Durability,
		Skipped: skipped, Points: map[string]int{}, Private: s.place.server != nil}
	j := job{DSN: s.place.dsn, Session: s.place.session, Without: without(s.chosen), Away: s.away()}
	s.crew = newCrew(s.opts.Command, s.opts.Dir, j, s.opts.Seed)
	s.crew.count, s.crew.release = s.opts.Messages, s.releaseDead
	s.started = time.Now()
	return nil
}

// dropSchema removes the scratch schema, and closes what did so.
func (s *stage) dropSchema(ctx context.Context) error {
	_, err := s.control.DB().ExecContext(ctx, `drop schema "`+s.place.name+`" cascade`)
	return errors.Join(err, s.control.Close())
}

// releaseDead gives back what a dead worker held, as a supervisor does. When the store
// is away, the leases do that.
func (s *stage) releaseDead(d driver.Death) {
	ctx, cancel := context.WithTimeout(context.Background(), reachWithin/4)
	defer cancel()
	_, _ = s.control.ReleaseDead(ctx, d)
}

func (s *stage) tell(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	_, _ = fmt.Fprintf(s.opts.Progress, "%7.1fs  %s\n", time.Since(s.started).Seconds(), line)
}

// play injects fault after fault until the time or the load is over.
func (s *stage) play(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, s.opts.Time)
	defer cancel()
	var watching sync.WaitGroup
	defer watching.Wait()
	watching.Go(func() { s.crew.watchLoad(ctx, cancel) })
	if _, ok := s.crew.pulse.await(ctx, s.opts.Stuck); !ok && ctx.Err() == nil {
		s.crew.find(oracle.Resumed, "no message was done within %s of the start", s.opts.Stuck)
	}
	byID := map[Fault]kind{}
	var ids []Fault
	for _, k := range s.chosen {
		byID[k.id] = k
		if k.inject != nil {
			ids = append(ids, k.id)
		}
	}
	for _, step := range Schedule(s.opts.Seed, ids, int(s.opts.Time/minGap)+1) {
		wait(ctx, step.After)
		if ctx.Err() != nil {
			return
		}
		s.inject(ctx, byID[step.Fault], step)
	}
	<-ctx.Done() // nothing is to be injected
}

// inject does one fault, and measures how soon work goes on.
func (s *stage) inject(ctx context.Context, k kind, step Step) {
	s.report.Steps = append(s.report.Steps, step)
	err := k.inject(context.WithoutCancel(ctx), s, rand.New(rand.NewPCG(step.Seed, 3))) // what began is healed
	if errors.Is(err, errNobody) {
		return // all were on their way to work
	}
	if err != nil {
		s.crew.find(oracle.CleanEnd, "%s: %v", k.id, err)
	}
	took, ok := s.resume(context.WithoutCancel(ctx))
	if !ok && s.idle(ctx) {
		s.tell("%-5s %s: nothing was left to do", k.id, k.about)
		return
	}
	r := s.resumed[k.id]
	if r == nil {
		r = &Recovery{Fault: k.id, About: k.about}
		s.resumed[k.id] = r
	}
	r.Injected++
	r.times = append(r.times, took)
	s.tell("%-5s %s: work went on after %s", k.id, k.about, took.Round(time.Millisecond))
	if !ok || took > s.opts.Resume {
		s.crew.find(oracle.Resumed, "%s at %.1fs: work went on after %s, promised is %s", k.id,
			time.Since(s.started).Seconds(), took.Round(time.Millisecond), s.opts.Resume)
	}
}

// lookIdle is how often somebody who waits for work to go on looks whether there is any.
const lookIdle = 2 * time.Second

// resume waits until another message is done, and returns how long that took. It gives
// up when there is nothing to do, or after a time that no promise allows.
func (s *stage) resume(ctx context.Context) (took time.Duration, ok bool) {
	for most := max(s.opts.Stuck, 2*s.opts.Resume); took < most; {
		part, ok := s.crew.pulse.await(ctx, lookIdle)
		if took += part; ok || s.idle(ctx) {
			return took, ok
		}
	}
	return took, false
}

// idle reports whether nothing is left to do.
func (s *stage) idle(ctx context.Context) bool {
	live, err := s.live(context.WithoutCancel(ctx))
	if err != nil { // it is away, and the ledgers are long
		return false
	}
	fates, err := s.fates()
	return err == nil && len(left(live, fates)) == 0
}

// fates are what the ledgers say of each message.
func (s *stage) fates() (map[string]oracle.Fate, error) {
	all, err := readLedgers(s.opts.Dir)
	out := map[string]oracle.Fate{}
	for _, in := range all.Intents {
		out[in.ID] = in.Fate
	}
	return out, err
}

// live are the rows of messages by id.
func (s *stage) live(ctx context.Context) (map[string]int, error) {
	ctx, cancel := context.WithTimeout(ctx, reachWithin)
	defer cancel()
	return s.countBy(ctx, "select id, count(*) from "+s.control.Names.Table("posthorn_message")+" group by id")
}

// countBy reads pairs of an id and a count.
func (s *stage) countBy(ctx context.Context, query string) (out map[string]int, err error) {
	rows, err := s.control.DB().QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	out = map[string]int{}
	for rows.Next() {
		var id string
		var n int
		if err := rows.Scan(&id, &n); err != nil {
			return nil, err
		}
		out[id] = n
	}
	return out, rows.Err()
}
