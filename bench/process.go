package main

import (
	"context"
	"time"
)

// processWorks are the works with a worker process of its own.
func processWorks() []work {
	return []work{
		{
			name: "latency", run: latency, raw: rawLatency,
			figures: []figure{
				{"p50_ms", "latency at 100 messages/s, two processes, p50", millis},
				{"p99_ms", "the same, p99", millis},
				{"max_ms", "the same, longest", millis},
			},
		},
		{
			name: "rss", run: residentMemory, linux: true, large: true,
			figures: []figure{
				{"peak_mb", "resident memory at concurrency 64, peak", megabytes},
				{"after_mb", "the same, after the backlog", megabytes},
			},
		},
		{
			name: "idle", run: idleCPU, once: true, large: true,
			figures: []figure{{"percent", "CPU of an idle worker, of one core", percent}},
		},
		{
			name: "cost", run: cost,
			figures: []figure{
				{"cpu_s", "CPU of the worker process for 10,000 messages", seconds},
				{"log_bytes", "log of the server for a message, in and out", octets},
			},
		},
	}
}

// interval is the time between two messages of latency.
const interval = 10 * time.Millisecond

// warmUp is how many messages are sent before latency counts.
const warmUp = 10

// latency sends at a steady rate to a worker in another process.
func latency(ctx context.Context, r *rig, s system) (map[string]float64, error) {
	var figures map[string]float64
	err := r.with(ctx, s, load{}, func(b bus, address string) error {
		n := int(r.latency / interval)
		c, err := hire(ctx, order{subject: s.subject, Address: address, Until: warmUp + n, Warm: warmUp, Times: n})
		if err != nil {
			return err
		}
		rep, err := c.report(func() error {
			if err := sendSteadily(ctx, b, warmUp+n); err != nil {
				return err
			}
			return c.expect(lineDone)
		})
		if err != nil {
			return err
		}
		figures = latencies(rep.Latencies)
		return nil
	})
	return figures, err
}

// latencies are the figures of times that are sorted.
func latencies(sorted []time.Duration) map[string]float64 {
	return map[string]float64{
		"p50_ms": inMillis(quantile(sorted, 0.50)),
		"p99_ms": inMillis(quantile(sorted, 0.99)),
		"max_ms": inMillis(quantile(sorted, 1)),
	}
}

func inMillis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func sendSteadily(ctx context.Context, b bus, n int) error {
	return steadily(ctx, n, func(i int) error { return b.send(ctx, newNote(i)) })
}

// steadily does n pieces of work, one an interval.
func steadily(ctx context.Context, n int, one func(i int) error) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for i := range n {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := one(i); err != nil {
			return err
		}
	}
	return nil
}

// residentMemory is what a worker process needs while it drains a backlog.
func residentMemory(ctx context.Context, r *rig, s system) (map[string]float64, error) {
	var figures map[string]float64
	err := r.with(ctx, s, load{}, func(b bus, address string) error {
		n := r.backlog(s, load{})
		if err := preload(ctx, b, n); err != nil {
			return err
		}
		c, err := hire(ctx, order{subject: s.subject, Address: address, Concurrency: 64, Until: n})
		if err != nil {
			return err
		}
		rep, err := c.report(func() error { return c.expect(lineDone) })
		if err != nil {
			return err
		}
		figures = map[string]float64{"peak_mb": rep.Memory.Peak, "after_mb": rep.Memory.Now}
		return nil
	})
	return figures, err
}

// idleCPU is what a worker process burns without work.
func idleCPU(ctx context.Context, r *rig, s system) (map[string]float64, error) {
	var figures map[string]float64
	err := r.with(ctx, s, load{}, func(_ bus, address string) error {
		c, err := hire(ctx, order{subject: s.subject, Address: address, Idle: true, Settle: r.settle})
		if err != nil {
			return err
		}
		rep, err := c.report(func() error { pause(ctx, r.settle+r.idle); return ctx.Err() })
		if err != nil {
			return err
		}
		figures = map[string]float64{"percent": 100 * rep.CPU.Seconds() / rep.Span.Seconds()}
		return nil
	})
	return figures, err
}

// cost is what a worker process computes, and what the server logs, for the
// messages of a backlog. What it takes to send them is in the log, and not in
// the CPU time.
func cost(ctx context.Context, r *rig, s system) (map[string]float64, error) {
	figures := map[string]float64{}
	err := r.with(ctx, s, load{}, func(b bus, address string) error {
		n := r.backlog(s, load{})
		logged, err := r.siteOf(s).logged(ctx, b.db(), func() error {
			if err := preload(ctx, b, n); err != nil {
				return err
			}
			c, err := hire(ctx, order{subject: s.subject, Address: address, Until: n})
			if err != nil {
				return err
			}
			rep, err := c.report(func() error {
				if err := c.expect(lineDone); err != nil {
					return err
				}
				return emptied(ctx, b)
			})
			figures["cpu_s"] = rep.CPU.Seconds() / float64(n) * 10_000
			return err
		})
		if logged > 0 {
			figures["log_bytes"] = float64(logged) / float64(n)
		}
		return err
	})
	return figures, err
}
