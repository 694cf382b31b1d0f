package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/witness"
	"github.com/posthorn/posthorn/metrics"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/worker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait.
const patience = 30 * time.Second

const token = "token of the test's own, " + witness.Secret

// start runs an exporter until the test ends.
func start(t testing.TB, o metrics.Options) *metrics.Exporter {
	t.Helper()
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	if o.Tally == nil {
		o.Tally = metrics.NewTally(o.Known)
	}
	e, err := metrics.NewExporter(o)
	if err != nil {
		t.Fatal(err)
	}
	run(t, e.Run)
	return e
}

// run runs something until the test ends.
func run(t testing.TB, fn func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- fn(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// ask sends a request and returns its answer.
func ask(t testing.TB, e *metrics.Exporter, change func(*http.Request)) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+e.Address()+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	change(r)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func scrape(t testing.TB, e *metrics.Exporter) string {
	t.Helper()
	code, text := ask(t, e, func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) })
	if code != http.StatusOK {
		t.Fatalf("the scrape gave %d: %s", code, text)
	}
	return text
}

// want fails unless each line is in the text.
func want(t *testing.T, text string, lines ...string) {
	t.Helper()
	for _, l := range lines {
		if !strings.Contains("\n"+text, "\n"+l+"\n") {
			t.Errorf("there is no line %q in\n%s", l, ours(text))
		}
	}
}

// ours are the lines about Posthorn.
func ours(text string) string {
	var b strings.Builder
	for l := range strings.Lines(text) {
		if strings.HasPrefix(l, "posthorn_") {
			b.WriteString(l)
		}
	}
	return b.String()
}

// await asks until the answer has a line.
func await(t *testing.T, e *metrics.Exporter, l string) string {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		text := scrape(t, e)
		if strings.Contains("\n"+text, "\n"+l+"\n") {
			return text
		}
		if time.Now().After(end) {
			t.Fatalf("there is no line %q in\n%s", l, ours(text))
		}
	}
}

// handled is the event of a message that is done.
func handled(queue, kind string) worker.Event {
	return worker.Event{
		Class: driver.ClassDone, Verdict: driver.Ack, Duration: 3 * time.Millisecond, Waited: 40 * time.Millisecond,
		Delivery: driver.Delivery{Envelope: driver.Envelope{Queue: queue, Kind: kind, ID: "m"}},
	}
}

// source is a store as the test wants it.
type source struct {
	mu      sync.Mutex
	queues  []store.QueueStats
	workers []driver.WorkerRecord
	err     error
	hang    chan struct{} // closed by the test; nil answers at once
	reads   int
}

var errAway = errors.New("away: c4n4ry\x1b[31m")

func (s *source) Stats(ctx context.Context) ([]store.QueueStats, error) {
	s.mu.Lock()
	hang := s.hang
	s.reads++
	s.mu.Unlock()
	if hang != nil {
		<-hang // it does not even care for its context
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queues, s.err
}

func (s *source) Workers(context.Context) ([]driver.WorkerRecord, time.Time, error) {
	return s.workers, time.Now(), nil
}

func (s *source) Pauses(context.Context) ([]store.Pause, time.Time, error) {
	return []store.Pause{{Queue: "slow"}}, time.Now(), nil
}

func (s *source) GroupStates(context.Context) (map[store.GroupState]int64, error) {
	return map[store.GroupState]int64{store.GroupRegressed: 2}, nil
}

func number(text, series string) (n float64) {
	for l := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(l, series+" "); ok {
			_, _ = fmt.Sscan(rest, &n)
		}
	}
	return n
}
