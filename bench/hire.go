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
	"strings"
	"sync/atomic"
)

// A child is a worker process.
type child struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	out   *bufio.Reader
	said  bytes.Buffer // on standard error
}

// hire starts a worker process that works at once.
func hire(ctx context.Context, o order) (*child, error) {
	c, err := prepare(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := c.begin(); err != nil {
		return nil, errors.Join(err, c.end())
	}
	return c, nil
}

// prepare starts a worker process and waits until it could begin.
func prepare(ctx context.Context, o order) (*child, error) {
	self, err := o.program, error(nil)
	if self == "" {
		self, err = os.Executable()
	}
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

// begin lets it work.
func (c *child) begin() error {
	_, err := io.WriteString(c.stdin, "begin\n")
	return err
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

// listen adds what the process says it has seen, until it reports.
func (c *child) listen(seen *atomic.Int64) (rep report, err error) {
	before := int64(0)
	for {
		line, err := c.out.ReadString('\n')
		if err != nil {
			return rep, fmt.Errorf("listen to worker process: %w", err)
		}
		if strings.HasPrefix(line, "{") {
			return rep, json.Unmarshal([]byte(line), &rep)
		}
		var now int64
		if _, err := fmt.Sscanf(line, lineSeen, &now); err != nil {
			return rep, fmt.Errorf("worker process said %q: %w", line, err)
		}
		seen.Add(now - before)
		before = now
	}
}
