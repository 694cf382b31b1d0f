package posthorn_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/sqlite"
	"github.com/posthorn/posthorn/worker"
)

// A Welcome greets a new customer.
type Welcome struct {
	Name string `json:"name"`
}

// Kind is its stable name.
func (Welcome) Kind() string { return "welcome" }

// temporaryStore opens a store that goes with its directory.
func temporaryStore() (s *store.Store, remove func()) {
	dir, err := os.MkdirTemp("", "posthorn")
	if err != nil {
		log.Fatal(err)
	}
	s, err = sqlite.Open(context.Background(), "sqlite:"+filepath.Join(dir, "posthorn.db"), store.Options{})
	if err != nil {
		log.Fatal(err)
	}
	return s, func() { _ = errors.Join(s.Close(), os.RemoveAll(dir)) }
}

// handleUntil runs a worker until it has reported n outcomes.
func handleUntil(n int, s *store.Store, m *posthorn.Mux) {
	ctx, stop := context.WithCancel(context.Background())
	w, err := worker.New(s, m, worker.Options{Observe: func(worker.Event) {
		if n--; n == 0 {
			stop()
		}
	}})
	if err != nil {
		log.Fatal(err)
	}
	if err := w.Run(ctx); err != nil {
		log.Fatal(err)
	}
}

func dispatchWelcome(s *store.Store, name string) {
	d, err := posthorn.NewDispatcher(s, posthorn.DispatcherOptions{})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := d.Dispatch(context.Background(), Welcome{Name: name}); err != nil {
		log.Fatal(err)
	}
}

// printLetters prints the dead letters.
func printLetters(s *store.Store) {
	letters, err := s.Letters(context.Background(), store.LetterFilter{})
	if err != nil {
		log.Fatal(err)
	}
	for _, l := range letters {
		fmt.Printf("dead: %s, %s: %s\n", l.Kind, l.Reason, l.Error)
	}
}

func ExampleHandle() {
	s, remove := temporaryStore()
	defer remove()
	m := posthorn.NewMux()
	posthorn.Handle(m, func(_ context.Context, msg Welcome) error {
		fmt.Println("hello", msg.Name)
		return nil
	})
	dispatchWelcome(s, "Ada")
	handleUntil(1, s, m)
	// Output: hello Ada
}

func ExampleHandleTx() {
	s, remove := temporaryStore()
	defer remove()
	if _, err := s.DB().Exec("create table greeted (name text)"); err != nil {
		log.Fatal(err)
	}
	m := posthorn.NewMux()
	posthorn.HandleTx(m, func(ctx context.Context, tx *posthorn.Tx, msg Welcome) error {
		_, err := tx.ExecContext(ctx, "insert into greeted values (?)", msg.Name)
		return err
	})
	dispatchWelcome(s, "Ada")
	handleUntil(1, s, m)
	var n int
	err := s.DB().QueryRow("select count(*) from greeted").Scan(&n)
	fmt.Println(n, err)
	// Output: 1 <nil>
}

func ExampleHandleEffect() {
	s, remove := temporaryStore()
	defer remove()
	if _, err := s.DB().Exec("create table greeted (name text, answer text)"); err != nil {
		log.Fatal(err)
	}
	m := posthorn.NewMux()
	posthorn.HandleEffect(m, func(_ context.Context, msg Welcome) (posthorn.Effect, error) {
		answer := "250 OK" // the slow part: a mail server's answer, with no transaction open
		return func(ctx context.Context, tx *posthorn.Tx) error {
			_, err := tx.ExecContext(ctx, "insert into greeted values (?, ?)", msg.Name, answer)
			return err
		}, nil
	})
	dispatchWelcome(s, "Ada")
	handleUntil(1, s, m)
	var name, answer string
	err := s.DB().QueryRow("select name, answer from greeted").Scan(&name, &answer)
	fmt.Println(name, answer, err)
	// Output: Ada 250 OK <nil>
}

func ExampleReject() {
	s, remove := temporaryStore()
	defer remove()
	m := posthorn.NewMux()
	posthorn.Handle(m, func(_ context.Context, msg Welcome) error {
		return posthorn.Reject(fmt.Errorf("%s has left", msg.Name))
	})
	dispatchWelcome(s, "Ada")
	handleUntil(1, s, m)
	printLetters(s)
	// Output: dead: welcome, rejected: Ada has left
}

func ExampleRetryAfter() {
	s, remove := temporaryStore()
	defer remove()
	m := posthorn.NewMux()
	posthorn.Handle(m, func(ctx context.Context, _ Welcome) error {
		d, _ := posthorn.DeliveryFrom(ctx)
		fmt.Println("failed attempts so far:", d.Attempt)
		if d.Attempt == 0 {
			return posthorn.RetryAfter(5*time.Millisecond, errors.New("503"))
		}
		return nil
	})
	dispatchWelcome(s, "Ada")
	handleUntil(2, s, m)
	// Output:
	// failed attempts so far: 0
	// failed attempts so far: 1
}

func ExampleSnooze() {
	s, remove := temporaryStore()
	defer remove()
	m := posthorn.NewMux()
	posthorn.Handle(m, func(ctx context.Context, _ Welcome) error {
		d, _ := posthorn.DeliveryFrom(ctx)
		fmt.Printf("delivery %d, failed attempts so far: %d\n", d.Deliveries, d.Attempt)
		if d.Deliveries == 1 {
			return posthorn.Snooze(5 * time.Millisecond)
		}
		return nil
	})
	dispatchWelcome(s, "Ada")
	handleUntil(2, s, m)
	// Output:
	// delivery 1, failed attempts so far: 0
	// delivery 2, failed attempts so far: 0
}

func ExampleFit() {
	quiet := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	d, _ := posthorn.DeliveryFrom(context.Background())
	ctx := posthorn.WithDelivery(context.Background(), d, quiet)
	fmt.Println(posthorn.Fit(ctx, "title", "  Zürich 🇨🇭 calling  ", 9))
	fmt.Println(posthorn.Fit(ctx, "title", "Zürich 🇨🇭", 8))
	// Output:
	// Zürich 🇨🇭
	// Zürich
}

func ExampleDispatcher_DispatchTx() {
	s, remove := temporaryStore()
	defer remove()
	ctx := context.Background()
	if _, err := s.DB().Exec("create table customer (name text)"); err != nil {
		log.Fatal(err)
	}
	d, err := posthorn.NewDispatcher(s, posthorn.DispatcherOptions{})
	if err != nil {
		log.Fatal(err)
	}
	tx, err := s.DB().BeginTx(ctx, nil)
	if err != nil {
		log.Fatal(err)
	}
	_, insertErr := tx.ExecContext(ctx, "insert into customer values ('Ada')")
	_, dispatchErr := d.DispatchTx(ctx, tx, Welcome{Name: "Ada"})
	fmt.Println(insertErr, dispatchErr, tx.Commit()) // the customer and the message, or neither
	m := posthorn.NewMux()
	posthorn.Handle(m, func(_ context.Context, msg Welcome) error {
		fmt.Println("hello", msg.Name)
		return nil
	})
	handleUntil(1, s, m)
	// Output:
	// <nil> <nil> <nil>
	// hello Ada
}

// A Payment has a field that nobody should read who looks after messages.
type Payment struct {
	Cents int64  `json:"cents"`
	Card  string `json:"card" posthorn:"secret"`
}

// Kind is its stable name.
func (Payment) Kind() string { return "payment" }

// What a type marks as secret is hidden by the workbench of dead letters.
func ExampleHandler_Secrets() {
	m := posthorn.NewMux()
	posthorn.Handle(m, func(context.Context, Payment) error { return nil })
	h, _ := m.Handler("payment")
	fmt.Println(h.Secrets().In("card").Marked(), h.Secrets().In("cents").Marked())
	// Output: true false
}
