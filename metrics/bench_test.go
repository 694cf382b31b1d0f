//go:build unix

package metrics_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/metrics"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/worker"
)

// crowd is the events of many kinds in many queues, each of which ends in some ways.
func crowd() (events []worker.Event, s *source) {
	s = &source{}
	for i := range 1000 {
		for _, end := range []worker.Event{
			{Class: driver.ClassDone, Verdict: driver.Ack}, {Class: driver.ClassFailure, Verdict: driver.Retry},
			{Class: driver.ClassFailure, Verdict: driver.Bury},
		} {
			ev := handled(fmt.Sprintf("q%d", i%100), fmt.Sprintf("kind.%d", i))
			ev.Class, ev.Verdict, ev.Duration = end.Class, end.Verdict, time.Duration(i)*time.Millisecond+1
			events = append(events, ev)
		}
	}
	for i := range 100 {
		s.queues = append(s.queues, store.QueueStats{Queue: fmt.Sprintf("q%d", i), Ready: 5})
		s.workers = append(s.workers, driver.WorkerRecord{Program: "p", State: "running", Seen: time.Now()})
	}
	return events, s
}

// BenchmarkScrape answers a scrape of 1,000 kinds and 100 queues, over TCP.
func BenchmarkScrape(b *testing.B) {
	events, s := crowd()
	tally := metrics.NewTally(metrics.Known{})
	for _, ev := range events {
		tally.Observe(ev)
	}
	e := start(b, metrics.Options{Tally: tally, Store: s, Token: token})
	size := 0
	defer cpuTime(b)()
	for b.Loop() {
		size = len(scrape(b, e))
	}
	b.ReportMetric(float64(size), "bytes")
}

// cpuTime reports how much CPU the process has used for each operation, which says more
// than the time that has passed where a machine has other things to do.
func cpuTime(b *testing.B) (report func()) {
	b.Helper()
	began := cpu()
	return func() { b.ReportMetric(float64(cpu()-began)/float64(b.N), "cpu-ns/op") }
}

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkObserve counts one event among 1,000 kinds.
func BenchmarkObserve(b *testing.B) {
	events, _ := crowd()
	tally := metrics.NewTally(metrics.Known{})
	b.ReportAllocs()
	defer cpuTime(b)()
	for i := 0; b.Loop(); i++ {
		tally.Observe(events[i%len(events)])
	}
}
