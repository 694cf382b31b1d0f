package mysql

import (
	"context"
	"fmt"
	"time"

	"github.com/posthorn/posthorn/driver"
)

// A procedure can end the transaction and let the session commit by itself from
// then on, and so can text that is executed; functions and triggers cannot. So
// a savepoint is set before they run. When it is gone afterwards, the
// transaction has ended, and nothing but a rollback is let through.
const (
	beforeCall = "savepoint posthorn_call"
	afterCall  = "release savepoint posthorn_call"
)

// askWithin bounds the question after a call, which has no context of its own.
const askWithin = 5 * time.Second

// mayEnd reports whether a statement that was not refused may end the transaction
// without saying so. It is read for less than isCall is: whoever runs it must not have
// settled anything for others, so all that is not known to be harmless counts.
func mayEnd(query string) bool {
	_, plain := skipLead(query)
	return !plain || !harmless(firstWords(query)[0])
}

// isCall reports whether a statement may end the transaction without saying so.
func isCall(query string) bool {
	verb := firstWords(query)[0]
	return verb == "call" || verb == "execute"
}

// calling makes ready for a statement that may be a call.
func (w *watched) calling(ctx context.Context, call bool) error {
	if !call {
		return nil
	}
	_, err := w.rawConn.ExecContext(ctx, beforeCall, nil)
	w.called = err == nil
	return w.note(err)
}

// judge asks, before anything else runs, what a call has done.
func (w *watched) judge() {
	w.called = false
	ctx, cancel := context.WithTimeout(context.Background(), askWithin)
	defer cancel()
	_, err := w.rawConn.ExecContext(ctx, afterCall, nil)
	switch {
	case err == nil || w.doom != nil:
	case number(err) != 0: // there is no such savepoint
		w.doom = fmt.Errorf("%w: %w", driver.ErrTxEnded, err)
	default:
		w.doom = err
	}
}
