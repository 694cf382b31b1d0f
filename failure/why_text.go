package failure

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
)

// living reports whether a worker has been heard of lately.
func living(w driver.WorkerRecord, now time.Time) bool { return now.Sub(w.Seen) <= store.WorkerSilence }

// leaving reports whether a worker takes no more messages, since it is about to end.
func leaving(w driver.WorkerRecord) bool { return w.Told == driver.OrderStop || w.State == "stopping" }

// consumers are the living workers of a queue that take messages.
func consumers(all []driver.WorkerRecord, queue string, now time.Time) (out []driver.WorkerRecord) {
	for _, w := range all {
		if living(w, now) && !leaving(w) && slices.Contains(w.Queues, queue) {
			out = append(out, w)
		}
	}
	return out
}

// nobody says that a queue has no living worker, and who was the last.
func nobody(all []driver.WorkerRecord, queue string, now time.Time) string {
	text := "no living worker consumes queue " + queue
	var last driver.WorkerRecord
	for _, w := range all {
		if slices.Contains(w.Queues, queue) && w.Seen.After(last.Seen) {
			last = w
		}
	}
	if last.ID == "" {
		return text
	}
	if living(last, now) {
		return fmt.Sprintf("%s but %s on %s, which is about to end", text, last.ID, last.Host)
	}
	return fmt.Sprintf("%s; the last one, %s on %s, fell silent %s ago",
		text, last.ID, last.Host, span(now.Sub(last.Seen)))
}

// Unconsumed says that no worker takes what an operation has put back, and who was the last;
// empty: one does, or nothing is in flight, or it is not known on which queue that is, since
// neither the operation nor its filter names one. It reads only.
func Unconsumed(ctx context.Context, st *store.Store, o store.Operation) (string, error) {
	queue := cmp.Or(o.To, o.Filter.Queue)
	if o.Action != store.ActionRetry || o.Flying == 0 || queue == "" {
		return "", nil
	}
	workers, now, err := st.Workers(ctx)
	if err != nil || len(consumers(workers, queue, now)) > 0 {
		return "", err
	}
	return nobody(workers, queue, now), nil
}

// served are the other queues of some workers.
func served(ws []driver.WorkerRecord, queue string) (others []string) {
	for _, w := range ws {
		for _, q := range w.Queues {
			if q != queue && !slices.Contains(others, q) {
				others = append(others, q)
			}
		}
	}
	return others
}

// PauseText says who paused a queue, since when, why and until when.
func PauseText(p store.Pause) string {
	text := fmt.Sprintf("by %s since %s because %s", cmp.Or(p.Actor, "somebody"), moment(p.Since),
		cmp.Or(p.Reason, "of no reason that was given"))
	if p.Until.IsZero() {
		return text + " until it is resumed"
	}
	return text + " until " + moment(p.Until)
}

// pauseFor waits.
func pauseFor(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// moment shows a time in the local zone, with the zone.
func moment(t time.Time) string { return t.Local().Format(time.RFC3339) }

// span is a length of time for a sentence.
func span(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return "a moment"
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d >= 48*time.Hour:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	}
	text := d.Round(time.Second).String()
	if short, ok := strings.CutSuffix(text, "m0s"); ok {
		text = short + "m"
	}
	if short, ok := strings.CutSuffix(text, "h0m"); ok {
		text = short + "h"
	}
	return text
}

// count is a number of things.
func count(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// joined is a list in a sentence.
func joined(names []string) string {
	const most = 5
	if len(names) > most {
		names = append(slices.Clone(names[:most]), fmt.Sprintf("%d others", len(names)-most))
	}
	return strings.Join(names, ", ")
}
