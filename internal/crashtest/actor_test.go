package crashtest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/failure"
	"github.com/posthorn/posthorn/internal/witness"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/transport/open"
	"github.com/posthorn/posthorn/worker"
)

// actorEnv makes the test binary an actor that plays the part it holds.
const actorEnv = "POSTHORN_CRASHTEST_PART"

// A part is what an actor does, as JSON.
type part struct {
	Role  string
	DSN   string
	First int // of a producer: the message to begin with
	Death driver.Death
}

// The roles of actors.
const (
	roleMigrate = "migrate" // brings the schema forward
	roleProduce = "produce" // sends the messages of the cast, from First on
	roleWork    = "work"    // handles messages until it is told to end
	roleReap    = "reap"    // tells of Death, as a supervisor does
	roleOperate = "operate" // puts all dead letters back
	roleExecute = "execute" // does so by an operation, or carries on the one that there is
)

// The actors' times.
const (
	actorLease    = time.Second
	actorPatience = 300 * time.Millisecond // of suspects
)

// act plays a part until it is over, or SIGTERM.
func act(text string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var p part
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		return err
	}
	s, err := open.Store(ctx, p.DSN, store.Options{SuspectPatience: actorPatience})
	if err != nil {
		return err
	}
	switch p.Role {
	case roleProduce:
		err = p.produce(ctx, s)
	case roleWork:
		err = perform(ctx, s)
	case roleReap:
		_, err = s.ReleaseDead(ctx, p.Death)
	case roleOperate:
		err = putBack(ctx, s)
	case roleExecute:
		err = carryOn(ctx, s)
	}
	return errors.Join(err, s.Close())
}

// A scene is a message whose handler does what Fate says.
type scene struct {
	N    int
	Fate string

	Secret witness.Hidden `json:"secret"`
}

// Kind of a scene that is handled in two parts.
func (scene) Kind() string { return "scene" }

// sceneTx is handled in one transaction.
type sceneTx struct{ scene }

// Kind of a scene in one transaction.
func (sceneTx) Kind() string { return "scene_tx" }

// scenePlain is handled at least once, outside any transaction.
type scenePlain struct{ scene }

// Kind of a scene outside any transaction.
func (scenePlain) Kind() string { return "scene_plain" }

// The fates of scenes.
const (
	fateDone   = "done"
	fatePlain  = "plain"  // it may have more than one effect
	fateFail   = "fail"   // once
	fateReject = "reject" // it is a dead letter
	fateSnooze = "snooze" // once
	fateSlow   = "slow"   // longer than a renewal of its lease
	fateLater  = "later"  // it is due after a while
)

// scenes are the fates of the messages of the cast, by their numbers.
func scenes() []string {
	return []string{
		fateDone, fateDone, fateFail, fateReject, fateSnooze, fateLater, fatePlain, fateSlow, fateDone, fateDone,
	}
}

// message is the n-th message of the cast.
func message(n int) posthorn.Message {
	s := scene{N: n, Fate: scenes()[n]}
	switch {
	case s.Fate == fatePlain:
		return scenePlain{s}
	case n%2 == 0:
		return sceneTx{s}
	}
	return s
}

// produce says before and after each message what it does.
func (p part) produce(ctx context.Context, s *store.Store) error {
	d, err := posthorn.NewDispatcher(s, posthorn.DispatcherOptions{})
	if err != nil {
		return err
	}
	for n := p.First; n < len(scenes()); n++ {
		opts := []posthorn.DispatchOption{posthorn.WithID(messageID(n))}
		if scenes()[n] == fateLater {
			opts = append(opts, posthorn.WithDelay(200*time.Millisecond))
		}
		fmt.Println("try", n)
		if _, err := d.Dispatch(ctx, message(n), opts...); err != nil {
			return err
		}
		fmt.Println("ok", n)
	}
	return nil
}

func messageID(n int) string { return fmt.Sprintf("scene-%d", n) }

// perform is the life of a worker.
func perform(ctx context.Context, s *store.Store) error {
	insert := placeholders(s, "insert into effect (n, attempt, crashes) values (?, ?, ?)")
	mux := posthorn.NewMux()
	posthorn.HandleTx(mux, func(ctx context.Context, tx *posthorn.Tx, m sceneTx) error {
		return m.effect(ctx, tx, insert)
	})
	posthorn.HandleEffect(mux, func(_ context.Context, m scene) (posthorn.Effect, error) {
		if m.Fate == fateSlow {
			time.Sleep(actorLease / 2)
		}
		return func(ctx context.Context, tx *posthorn.Tx) error { return m.effect(ctx, tx, insert) }, nil
	})
	posthorn.Handle(mux, func(ctx context.Context, m scenePlain) error {
		d, _ := posthorn.DeliveryFrom(ctx)
		_, err := s.DB().ExecContext(ctx, insert, m.N, d.Attempt, d.Crashes)
		return err
	})
	w, err := worker.New(s, mux, worker.Options{
		Lease: actorLease, Heartbeat: time.Second, Concurrency: 3, Prefetch: -1,
		Retry: posthorn.RetryPolicy{Delay: 20 * time.Millisecond},
	})
	if err != nil {
		return err
	}
	fmt.Println(w.ID())
	return w.Run(ctx)
}

// effect writes the row that must exist once, with what the message has cost so far.
func (m scene) effect(ctx context.Context, tx *posthorn.Tx, insert string) error {
	d, _ := posthorn.DeliveryFrom(ctx)
	if _, err := tx.ExecContext(ctx, insert, m.N, d.Attempt, d.Crashes); err != nil {
		return err
	}
	switch {
	case m.Fate == fateReject:
		return posthorn.Reject(errors.New("as planned"))
	case m.Fate == fateFail && d.Attempt == 0:
		return errors.New("as planned, once")
	case m.Fate == fateSnooze && d.Deliveries == 1:
		return posthorn.Snooze(20 * time.Millisecond)
	}
	return nil
}

// putBack retries all dead letters.
func putBack(ctx context.Context, s *store.Store) error {
	ls, err := s.Letters(ctx, store.LetterFilter{})
	if err != nil {
		return err
	}
	for _, l := range ls {
		if _, err := s.RetryLetters(ctx, l.Seq); err != nil {
			return err
		}
	}
	return nil
}

// carryOn retries all dead letters by an operation, until each has had its turn.
func carryOn(ctx context.Context, s *store.Store) error {
	ops, err := s.Operations(ctx, store.OperationFilter{})
	if err == nil && len(ops) == 0 {
		_, err = s.StartOperation(ctx, store.Operation{Action: store.ActionRetry})
	}
	if err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(ctx, 30*time.Second)
	var executing sync.WaitGroup
	executing.Go(func() {
		_ = failure.NewExecutor(s, failure.ExecutorOptions{ // it returns nil
			Name: fmt.Sprint(os.Getpid()), Lease: actorLease, Poll: actorLease / 10, Share: 1,
		}).Run(ctx)
	})
	defer executing.Wait()
	defer stop()
	for ctx.Err() == nil {
		ops, err := s.Operations(ctx, store.OperationFilter{})
		if err != nil || ops[0].State == store.OperationRunning && ops[0].Left() == 0 {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
	return ctx.Err()
}

// played plays the part of this process, if it has one.
func played() (is bool, err error) {
	text := os.Getenv(actorEnv)
	if text == "" {
		return false, nil
	}
	return true, act(text)
}
