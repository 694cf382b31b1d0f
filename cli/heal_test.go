package cli_test

import (
	"context"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/cli"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/sqlite"
)

// bloated registers a worker that takes twice the memory that it may, and hears no
// garbage collector.
func bloated(t *testing.T, st *stage) func() driver.Orders {
	t.Helper()
	text, err := os.ReadFile(st.config)
	if err != nil {
		t.Fatal(err)
	}
	dsn := regexp.MustCompile(`sqlite:\S+`).FindString(string(text))
	s, err := sqlite.Open(t.Context(), dsn, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return func() driver.Orders {
		orders, err := s.Heartbeat(context.WithoutCancel(t.Context()), driver.WorkerRecord{
			ID: "w-fat", Host: "web1", PID: 1, Program: "p", State: "running", Queues: []string{"async"},
			Kinds: []string{"greet"}, Started: time.Now(), RSS: 2 << 30, Concurrency: 8,
			Limits: driver.WorkerLimits{Memory: 1 << 30},
		})
		if err != nil {
			t.Fatal(err)
		}
		return orders
	}
}

// rounds runs monitor --once from so many hosts at once.
func rounds(t *testing.T, st *stage, n int) string {
	t.Helper()
	var wg sync.WaitGroup
	logs := make([]string, n)
	for i := range n {
		wg.Go(func() {
			one := &stage{t: t, app: cli.App{Name: "shop"}, config: st.config, dir: st.dir}
			one.run("monitor", "--once")
			logs[i] = one.errs.String()
		})
	}
	wg.Wait()
	return strings.Join(logs, "")
}

func TestMonitorFromCronRemembersActsOnceAndSaysWhy(t *testing.T) {
	st := newStage(t, "monitor: {rules: {memory: {for: 1ms, warning: 0.9}}}\n")
	st.shop()
	beat := bloated(t, st)
	if beat().Stop {
		t.Fatal("told to stop before anybody has looked")
	}
	log := rounds(t, st, 1) // the first round sees it, the second one knows that it has lasted
	time.Sleep(10 * time.Millisecond)
	beat()
	log += rounds(t, st, 4)
	if !beat().Stop {
		t.Fatalf("the worker was not told to stop; log:\n%s", log)
	}
	time.Sleep(10 * time.Millisecond)
	log += rounds(t, st, 4)
	if n := strings.Count(log, "restart_worker"); n == 0 || !strings.Contains(log, "w-fat") {
		t.Errorf("the log does not say what was done, and why:\n%s", log)
	}
	look := &stage{t: t, app: cli.App{Name: "shop"}, config: st.config, dir: st.dir}
	look.run("status", "-o", "json")
	if n := strings.Count(look.out.String(), `"kind": "restart_worker"`); n != 1 {
		t.Errorf("%d actions are remembered, want 1:\n%s", n, look.out.String())
	}
}
