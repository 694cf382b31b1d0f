//go:build linux || darwin

package testserver

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// readyWithin is how long a server that Serve starts has until it is ready.
const readyWithin = 2 * time.Minute

// Serve runs a server that speaks HTTP until the test ends, or its process dies, and waits
// until it answers the address ready with 200. Its last words are logged when the test
// fails.
func Serve(t testing.TB, ready, path string, args ...string) {
	t.Helper()
	var log bytes.Buffer                                            // read only when the process has ended
	cmd := exec.CommandContext(context.Background(), path, args...) //nolint:gosec // a test names it
	cmd.Dir, cmd.Stdout, cmd.Stderr = t.TempDir(), &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	endWithParent(cmd.SysProcAttr, syscall.SIGKILL)
	p, err := startProcess(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.kill(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("the last words of %s:\n%s", path, &log)
		}
	})
	if err := awaitAnswer(t.Context(), p, ready); err != nil {
		t.Fatal(err)
	}
}

// awaitAnswer asks until the answer is 200, or the process has ended.
func awaitAnswer(ctx context.Context, p *process, address string) (err error) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: readyWithin}
	ask := func() error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("it answers %s", resp.Status)
		}
		_ = resp.Body.Close()
		return err
	}
	answered := await(readyWithin, func() bool {
		if p.hasEnded() {
			return true
		}
		err = ask()
		return err == nil
	})
	switch {
	case p.hasEnded():
		return fmt.Errorf("the server has ended: %w", p.err)
	case !answered:
		return fmt.Errorf("the server is not ready after %s: %w", readyWithin, err)
	}
	return nil
}
