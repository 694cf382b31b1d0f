package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// processWorks are the works with a worker process of its own.
func processWorks() []work {
	return []work{
		{
			name: "latency", run: latency, linux: true,
			figures: []figure{
				{key: "p50_ms", title: "latency at 100 messages/s, two processes, p50", unit: millis},
				{key: "p99_ms", title: "the same, p99", unit: millis},
				{key: "max_ms", title: "the same, longest", unit: millis},
			},
		},
		{
			name: "rss", run: residentMemory, linux: true,
			figures: []figure{
				{key: "peak_mb", title: "resident memory at concurrency 64, peak", unit: megabytes},
				{key: "after_mb", title: "the same, after the backlog", unit: megabytes},
			},
		},
		{
			name: "idle", run: idleCPU, once: true, linux: true,
			figures: []figure{{key: "percent", title: "CPU of an idle worker, of one core", unit: percent}},
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
		c, err := hire(ctx, order{subject: s.subject, Address: address, Until: warmUp + n, Times: warmUp + n})
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
		figures = map[string]float64{
			"p50_ms": inMillis(quantile(rep.Latencies, 0.50)),
			"p99_ms": inMillis(quantile(rep.Latencies, 0.99)),
			"max_ms": inMillis(quantile(rep.Latencies, 1)),
		}
		return nil
	})
	return figures, err
}

func inMillis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func sendSteadily(ctx context.Context, b bus, n int) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for i := range n {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := b.send(ctx, newNote(i)); err != nil {
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

// A child is a worker process.
type child struct {
	cmd   *exec.Cmd
	stdin io.Closer
	out   *bufio.Reader
	said  bytes.Buffer // on standard error
}

// hire starts a worker process and waits until it is ready.
func hire(ctx context.Context, o order) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	c := &child{cmd: exec.CommandContext(ctx, self, asWorker, string(text))}
	c.cmd.Stderr = &c.said
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.out = bufio.NewReader(out)
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start worker process: %w", err)
	}
	if err := c.expect(lineReady); err != nil {
		return nil, errors.Join(err, c.end())
	}
	return c, nil
}

// expect waits for a line.
func (c *child) expect(want string) error {
	line, err := c.out.ReadString('\n')
	if err == nil && line == want+"\n" {
		return nil
	}
	return fmt.Errorf("worker process said %q, not %q: %w", line, want, err)
}

// report does the parent's part, then ends the process and reads its report.
func (c *child) report(part func() error) (report, error) {
	var rep report
	err := part()
	_ = c.stdin.Close() // the process ends with its input
	if err == nil {
		err = json.NewDecoder(c.out).Decode(&rep)
	}
	return rep, errors.Join(err, c.end())
}

func (c *child) end() error {
	_ = c.stdin.Close()
	if err := c.cmd.Wait(); err != nil {
		return fmt.Errorf("worker process: %w: %s", err, bytes.TrimSpace(c.said.Bytes()))
	}
	return nil
}
