package faulttest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/transport/open"
	"github.com/posthorn/posthorn/worker"
)

// A logbook keeps what a worker logs.
type logbook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write keeps a line.
func (b *logbook) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(line)
}

// failures are the lines of failed attempts: number, class and fault, and what
// comes of it.
func (b *logbook) failures(t *testing.T) []string {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []string
	for line := range bytes.Lines(b.text.Bytes()) {
		l := map[string]any{}
		if err := json.Unmarshal(line, &l); err != nil {
			t.Fatal(err)
		}
		if l["msg"] == "attempt failed" || l["msg"] == "dead letter" {
			out = append(out, fmt.Sprint(l["msg"], " ", l["attempt"], " ", l["class"], " ", l["fault"]))
		}
	}
	return out
}

func TestTheLogNamesTheFaultOfEachFailedAttempt(t *testing.T) {
	onEachKind(t, func(t *testing.T, k kind) {
		r := newRig(t, k, k.with(nil))
		book, conflict := &logbook{}, map[string]string{"PostgreSQL": "serialization", "MariaDB": "deadlock"}[k.name]
		s, err := open.Store(t.Context(), k.at(r.server.Addr()), store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer r.close(s)
		// The handler of a message is in the same trouble until an attempt has ended by it.
		trouble := []string{k.conflict, "insert into pair values (1, 1)", "select nothing from nowhere"}
		var failed atomic.Int64
		m := posthorn.NewMux()
		posthorn.HandleTx(m, func(ctx context.Context, tx *posthorn.Tx, _ planTx) error {
			n := int(failed.Load())
			if n >= len(trouble) {
				return errors.New("not the database's")
			}
			_, err := tx.ExecContext(ctx, trouble[n])
			return err
		}, posthorn.WithRetry(posthorn.RetryPolicy{MaxRetries: 2, Delay: time.Millisecond, Jitter: -1}))
		ended := make(chan struct{})
		w, err := worker.New(s, m, worker.Options{
			Log: slog.New(slog.NewJSONHandler(book, nil)),
			Observe: func(worker.Event) {
				if failed.Add(1) == int64(len(trouble)+1) {
					close(ended)
				}
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		var running sync.WaitGroup
		ctx, stop := context.WithCancel(t.Context())
		running.Go(func() {
			if err := w.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		if _, err := r.dispatcher(s).Dispatch(t.Context(), planTx{}); err != nil {
			t.Error(err)
		}
		r.await(ended)
		stop()
		running.Wait()
		want := []string{
			"attempt failed 1 infrastructure " + conflict, // it has cost none
			"attempt failed 1 failure unique", "attempt failed 2 failure no_table", "dead letter 3 failure <nil>",
		}
		if got := book.failures(t); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("the log has %q, want %q", got, want)
		}
	})
}
