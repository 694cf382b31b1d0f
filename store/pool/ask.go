package pool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/posthorn/posthorn/driver"
)

// errSilent: the server did not answer in time. Nobody knows what it has done.
var errSilent = fmt.Errorf("%w: the server does not answer", driver.ErrUnavailable)

// ask runs a statement of Posthorn's own. A connection on which nothing comes
// back for long is given up: the other end may have vanished without a word, or
// hang, which no keepalive tells.
func (s *session) ask(ctx context.Context, fn func(context.Context) error) error {
	if s.dialect.Deadline != nil && ctx.Done() == nil {
		return s.askPlainly(ctx, fn)
	}
	bounded, cancel := context.WithTimeoutCause(ctx, s.answer, errSilent)
	defer cancel()
	return s.heard(bounded, fn(bounded))
}

// askPlainly is ask where no context ends the statement: then the connection alone knows how long it may be
// silent, and no goroutine has to watch a context.
func (s *session) askPlainly(ctx context.Context, fn func(context.Context) error) error {
	end := time.Now().Add(s.answer)
	s.dialect.Deadline(s.conn, end)
	err := fn(ctx)
	s.dialect.Deadline(s.conn, time.Time{})
	if err != nil && errors.Is(err, os.ErrDeadlineExceeded) && !time.Now().Before(end) {
		s.broken = true
		return fmt.Errorf("%w: %w", errSilent, err)
	}
	return s.note(err)
}

// heard notes a fault, and gives up a connection whose server was silent.
func (s *session) heard(ctx context.Context, err error) error {
	if err != nil && errors.Is(context.Cause(ctx), errSilent) {
		s.broken = true
		return fmt.Errorf("%w: %w", errSilent, err)
	}
	return s.note(err)
}

// askRaw is ask for a raw transaction, whose context has to live as long as it
// does.
func (s *session) askRaw(ctx context.Context, fn func(context.Context) error) error {
	if s.end == nil {
		s.life, s.end = context.WithCancelCause(ctx)
	}
	end := s.end
	timer := time.AfterFunc(s.answer, func() { end(errSilent) })
	defer timer.Stop()
	return s.heard(s.life, fn(s.life))
}

// endRaw forgets a raw transaction that is over.
func (s *session) endRaw() {
	s.end(nil)
	s.raw, s.end = nil, nil
}
