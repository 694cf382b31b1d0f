package faulttest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// libraries are where packages put libfaketime.
var libraries = "/usr/lib/*/faketime/libfaketime.so.1"

// C-1. Times are those of the server's clock, which jumps. Forward, all leases
// are over at once, and whoever holds a message has lost it; backward, what was
// due soon is due later.
func TestAClockThatJumpsLosesAndDoublesNothing(t *testing.T) {
	found, _ := filepath.Glob(libraries)
	if len(found) == 0 {
		t.Skip("libfaketime is not installed; run: apt-get install libfaketime")
	}
	onEachKind(t, func(t *testing.T, k kind) {
		clock := filepath.Join(newPublicDir(t), "clock")
		set := func(offset string) {
			if err := os.WriteFile(clock, []byte(offset+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		set("+0")
		o := k.with(nil)
		o.Env = []string{
			"LD_PRELOAD=" + found[0], "FAKETIME_TIMESTAMP_FILE=" + clock, "FAKETIME_NO_CACHE=1",
			"FAKETIME_DONT_FAKE_MONOTONIC=1",
		}
		r := newRig(t, k, o)
		r.work(r.server.Addr())
		r.load(r.server.Addr())
		jumps := []int{3600, 0, -3600, 0}
		for range times(1, 5) {
			for _, jump := range jumps {
				whileLoaded(time.Second)
				set(fmt.Sprintf("%+d", jump))
				r.checkClock(jump)
				r.healed()
			}
		}
		set("+7200") // what was put off is due now
		r.settle(len(jumps))
	})
}

// checkClock sees to it that the server's clock has jumped.
func (r *rig) checkClock(offset int) {
	r.t.Helper()
	var now int64
	if err := r.admin.QueryRowContext(r.t.Context(), r.kind.now).Scan(&now); err != nil {
		r.t.Fatal(err)
	}
	if off := int(now - time.Now().Unix()); off < offset-60 || off > offset+60 {
		r.t.Fatalf("the server's clock is %d s ahead, want %d: the test shows nothing", off, offset)
	}
}

// newPublicDir is a directory that the server's user can read.
func newPublicDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "posthorn-clock-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { // it holds no secret
		t.Fatal(err)
	}
	return dir
}
