package metrics_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/metrics"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/worker"
)

func TestWhatWorkerProcessesCountIsShownExactly(t *testing.T) {
	e := start(t, metrics.Options{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			child := metrics.NewTally(metrics.Known{})
			stop := run(t, metrics.NewReporter(e.Socket(), child, nil).Run)
			for i := range 1000 {
				child.Observe(handled("q", fmt.Sprintf("k%d", i%700)))        // more than fits into a line
				time.Sleep(time.Duration(i%300/299) * 300 * time.Millisecond) // over a report, sometimes
			}
			stop()
		})
	}
	wg.Wait()
	text := await(t, e, `posthorn_message_wait_seconds_count{queue="q"} 4000`)
	want(t, text,
		`posthorn_message_run_seconds_count{kind="k1"} 8`,
		`posthorn_message_run_seconds_bucket{kind="k1",le="0.005"} 8`,
		`posthorn_message_run_seconds_count{kind="k699"} 4`,
		`posthorn_messages_total{class="done",kind="k1",queue="q",transport="none",verdict="ack"} 8`,
	)
}

func TestWhatCouldNotBePassedOnIsPassedOnLater(t *testing.T) {
	e := start(t, metrics.Options{})
	child := metrics.NewTally(metrics.Known{})
	link := newLink(t, e.Socket())
	stop := run(t, metrics.NewReporter(link.path, child, nil).Run)
	child.Observe(handled("q", "k"))
	await(t, e, `posthorn_message_run_seconds_count{kind="k"} 1`)
	link.cut()
	for range 5 {
		child.Observe(handled("q", "k"))
		time.Sleep(100 * time.Millisecond) // over some reports that find nobody
	}
	link.mend()
	await(t, e, `posthorn_message_run_seconds_count{kind="k"} 6`)
	stop()
	want(t, scrape(t, e), `posthorn_message_run_seconds_count{kind="k"} 6`)
}

func TestConnectionsOfAProcessThatEndedAreGone(t *testing.T) {
	own := []store.PoolUse{{Name: "effects", Size: 4, Open: 1}}
	e := start(t, metrics.Options{Pools: func() []store.PoolUse { return own }})
	waits := int64(0)
	var mu sync.Mutex
	stop := run(t, metrics.NewReporter(e.Socket(), metrics.NewTally(metrics.Known{}), func() []store.PoolUse {
		mu.Lock()
		defer mu.Unlock()
		waits = min(waits+2, 10)
		waited := time.Duration(waits) * time.Second
		return []store.PoolUse{{Name: "effects", Size: 4, Open: 2, Busy: 1, Waits: waits, Waited: waited}}
	}).Run)
	text := await(t, e, `posthorn_pool_waits_total{pool="effects"} 10`)
	want(t, text, `posthorn_pool_size{pool="effects"} 8`, `posthorn_pool_open_connections{pool="effects"} 3`,
		`posthorn_pool_busy_connections{pool="effects"} 1`, `posthorn_pool_wait_seconds_total{pool="effects"} 10`)
	stop()
	text = await(t, e, `posthorn_pool_open_connections{pool="effects"} 1`)
	want(t, text, `posthorn_pool_waits_total{pool="effects"} 10`) // what was counted stays
}

func TestNonsenseOnTheSocketCountsNothing(t *testing.T) {
	e := start(t, metrics.Options{})
	for _, text := range []string{
		`{"series":[{"f":"posthorn_stuck_handlers_total","l":["k"],"s":1}]}`, // cut off: no line break
		"no json\n",
		`{"series":[{"f":"posthorn_unknown_total","s":1},{"f":"posthorn_stuck_handlers_total","s":1}]}` + "\n",
		`{"series":[{"f":"posthorn_message_run_seconds","l":["k"],"n":1,"s":1,"b":[1]}]}` + "\n",
		`{"series":[{"f":"posthorn_stuck_handlers_total","l":["k"],"s":-5}]}` + "\n",
		strings.Repeat("x", 5<<20) + "\n",
	} {
		conn, err := net.Dial("unix", e.Socket())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write([]byte(text))
		_ = conn.Close()
	}
	child := metrics.NewTally(metrics.Known{})
	run(t, metrics.NewReporter(e.Socket(), child, nil).Run)
	child.Observe(worker.Event{Stuck: true, Class: driver.ClassTimeout,
		Delivery: driver.Delivery{Envelope: driver.Envelope{Kind: "good"}}})
	text := await(t, e, `posthorn_stuck_handlers_total{kind="good"} 1`)
	if strings.Contains(text, "unknown_total") || strings.Contains(text, `kind="k"`) {
		t.Errorf("nonsense was counted:\n%s", ours(text))
	}
}

// A link is a socket before another one, which can be cut.
type link struct {
	t        *testing.T
	path, to string

	mu    sync.Mutex
	l     net.Listener
	conns []net.Conn
	wg    sync.WaitGroup
}

func newLink(t *testing.T, to string) *link {
	t.Helper()
	k := &link{t: t, path: t.TempDir() + "/s", to: to}
	k.mend()
	t.Cleanup(k.cut)
	return k
}

func (k *link) mend() {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "unix", k.path)
	if err != nil {
		k.t.Fatal(err)
	}
	k.l = l
	k.wg.Go(func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("unix", k.to)
			if err != nil {
				return
			}
			k.mu.Lock()
			k.conns = append(k.conns, from, to)
			k.mu.Unlock()
			k.wg.Go(func() {
				_, _ = io.Copy(to, from)
				_ = to.Close()
			})
		}
	})
}

func (k *link) cut() {
	_ = k.l.Close()
	k.mu.Lock()
	for _, c := range k.conns {
		_ = c.Close()
	}
	k.conns = nil
	k.mu.Unlock()
	k.wg.Wait()
}
