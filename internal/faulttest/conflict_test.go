package faulttest_test

import (
	"testing"
)

// D-9. Handlers run into each other, on purpose and often.
func TestConflictsInHandlersCostNoAttempt(t *testing.T) {
	onEachKind(t, func(t *testing.T, k kind) {
		r := newRig(t, k, k.with(k.hasty))
		messages := times(150, 2000)
		for range messages {
			r.sendAll(conflicts()...)
		}
		r.work(r.server.Addr())
		r.settle(messages)
		for _, fate := range conflicts() {
			if r.seen.conflicts(fate) == 0 {
				t.Errorf("no handler met a conflict of kind %s: the test shows nothing", fate)
			}
		}
		t.Logf("conflicts met: %v", r.seen.forced)
	})
}
