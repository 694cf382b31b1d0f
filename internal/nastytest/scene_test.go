package nastytest_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/testserver"
	"github.com/posthorn/posthorn/store"
)

// patience bounds every wait of a test: it is a safety net, never a measure.
const patience = time.Minute

var (
	// errSome stands for any error.
	errSome = errors.New("some error")
	errBoo  = errors.New("boo")
)

// A kind is one kind of server.
type kind struct {
	name     string
	database func(testing.TB) *testserver.Database
	open     func(context.Context, *testserver.Database, store.Options) (*store.Store, error)
	schema   []string
	virgin   string // → what a handler can leave in a session, and the connection's id
	insert   string // an effect
	stray    string // → inserts what nobody counts
	sleep    string // longer than any deadline here
	nap      string // of 0.3 s
	kill     string // the connection itself
	many     string // rows
	corpus   []nasty
}

// An after is what the session must be after a nasty handler.
type after uint8

// The afters.
const (
	clean  after = iota // the connection is kept
	dirty               // it is destroyed, and the log names the handler
	either              // it may have been lost
)

// A nasty is one way to misbehave in a transaction. Its effect is inserted
// before do is called.
type nasty struct {
	name    string
	rawOnly bool  // needs Tx.SQL
	slow    bool  // runs into its deadline
	want    error // how the unit must end; nil: it is done, with its effect
	early   bool  // with want: the effect and the settlement are committed before the end
	chance  bool  // done or failed, as it happens
	once    bool  // only the first delivery: the next one is done
	after   after
	do      does
}

// does is what a nasty handler does.
type does = func(s *scene, ctx context.Context, tx *posthorn.Tx) error

// A scene is one run of a nasty handler.
type scene struct {
	t      *testing.T
	kind   kind
	id     string
	alone  bool
	strays sync.WaitGroup
	conn   string // the connection's id; written by run
}

// run inserts the effect and misbehaves.
func (s *scene) run(ctx context.Context, tx *posthorn.Tx, c nasty) error {
	virgin, conn, err := look(ctx, tx, s.kind)
	if err != nil {
		return err
	}
	if virgin == "" {
		return errBoo
	}
	s.conn = conn
	if _, err := tx.ExecContext(ctx, s.kind.insert, s.id); err != nil {
		return err
	}
	if d, _ := posthorn.DeliveryFrom(ctx); c.once && d.Deliveries > 1 {
		return nil
	}
	return c.do(s, ctx, tx)
}

// look reads how the session is, and which.
func look(ctx context.Context, tx *posthorn.Tx, k kind) (virgin, conn string, err error) {
	var both string
	if err := tx.QueryRowContext(ctx, k.virgin).Scan(&both); err != nil {
		return "", "", err
	}
	conn, virgin, _ = strings.Cut(both, "|")
	return virgin, conn, nil
}

// says is a handler that runs statements, swallows every error and returns nil.
func says(stmts ...string) does {
	return func(_ *scene, ctx context.Context, tx *posthorn.Tx) error {
		for _, stmt := range stmts {
			_, _ = tx.ExecContext(ctx, stmt)
		}
		return nil
	}
}

// queues is a handler that queues statements.
func queues(stmts ...string) does {
	return func(_ *scene, ctx context.Context, tx *posthorn.Tx) error {
		for _, stmt := range stmts {
			if err := tx.Queue(ctx, stmt); err != nil {
				return err
			}
		}
		return nil
	}
}

// runs is a handler that runs statements, each of which must succeed.
func runs(stmts ...string) does {
	return func(_ *scene, ctx context.Context, tx *posthorn.Tx) error {
		for _, stmt := range stmts {
			if _, err := tx.ExecContext(ctx, stmt); err != nil {
				return err
			}
		}
		return nil
	}
}

// all makes a case of each text.
func all(c nasty, do func(...string) does, stmts ...string) (out []nasty) {
	prefix := c.name
	for _, stmt := range stmts {
		c.name, c.do = prefix+stmt, do(stmt)
		out = append(out, c)
	}
	return out
}
