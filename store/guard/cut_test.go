package guard

import (
	"context"
	sqldriver "database/sql/driver"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var errDriver = errors.New("the driver's")

// A counted cutter counts how often it was asked.
type counted struct{ cut, mended atomic.Int32 }

func (c *counted) Cut()  { c.cut.Add(1) }
func (c *counted) Mend() { c.mended.Add(1) }

// asked is how often it was asked for either.
func (c *counted) asked() [2]int32 { return [2]int32{c.cut.Load(), c.mended.Load()} }

// second runs a statement for a second, whose handler's life ends after a time, and returns what its
// cuts make of the error.
func second(t *testing.T, c *cuts, lives time.Duration, err error) error {
	t.Helper()
	life, end := context.WithTimeout(t.Context(), lives)
	defer end()
	c.begin(life)
	time.Sleep(time.Second)
	return c.finish(err)
}

func TestAStatementIsCutOffSoonAfterItsHandlersLife(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		by := &counted{}
		c := &cuts{cutter: by}
		if err := second(t, c, time.Minute, errDriver); !errors.Is(err, errDriver) || by.asked() != [2]int32{} {
			t.Errorf("in its time: %v, %v", err, by.asked())
		}
		time.Sleep(time.Second)
		err := second(t, c, time.Second-cutEvery-time.Millisecond, errDriver)
		if asked := by.asked(); asked[0] == 0 || asked[1] != 1 {
			t.Errorf("after its time: %v", asked)
		}
		said := strings.Contains(err.Error(), errDriver.Error())
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errDriver) || !said {
			t.Errorf("it ended with %v", err)
		}
		if err := second(t, c, time.Minute, errDriver); !errors.Is(err, errDriver) || by.mended.Load() != 1 {
			t.Errorf("the one after it ended with %v, %v", err, by.asked())
		}
	})
}

// What had just succeeded when it was cut off has succeeded, and the connection is mended for the next one.
func TestAStatementThatSucceedsAllTheSameLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		by := &counted{}
		c := &cuts{cutter: by}
		if err := second(t, c, 10*time.Millisecond, nil); err != nil || by.mended.Load() != 1 {
			t.Errorf("%v, %v", err, by.asked())
		}
		asked := by.cut.Load()
		if asked < 2 {
			t.Errorf("it was cut off %d times only while it went on", asked)
		}
		time.Sleep(time.Minute)
		if by.cut.Load() != asked {
			t.Error("it goes on looking though nothing runs")
		}
	})
}

// A breaking connection panics in each statement.
type breaking struct{ Raw }

func (breaking) ExecContext(context.Context, string, []sqldriver.NamedValue) (sqldriver.Result, error) {
	panic("a value of the handler's")
}

func (breaking) Close() error { return nil }

func (breaking) PrepareContext(context.Context, string) (sqldriver.Stmt, error) {
	return brokenStmt{}, nil
}

// A brokenStmt panics, too.
type brokenStmt struct{ rawStmt }

func (brokenStmt) ExecContext(context.Context, []sqldriver.NamedValue) (sqldriver.Result, error) {
	panic("a value of the handler's")
}

// A statement that has ended by a panic has ended: the connection is the next one's.
func TestAStatementThatPanicsIsNotCutOff(t *testing.T) {
	t.Parallel()
	for name, run := range map[string]func(context.Context, *Conn) error{
		"directly": func(ctx context.Context, c *Conn) error { _, err := c.ExecContext(ctx, "", nil); return err },
		"prepared": func(ctx context.Context, c *Conn) error {
			s, err := c.PrepareContext(ctx, "")
			if err != nil {
				return err
			}
			_, err = s.(*stmt).ExecContext(ctx, nil)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { panics(t, run) })
		})
	}
}

func panics(t *testing.T, run func(context.Context, *Conn) error) {
	t.Helper()
	by := &counted{}
	c := &Conn{Raw: breaking{}, Guard: &Guard{}, stmts: map[*stmt]bool{}, cuts: cuts{cutter: by}}
	life, end := context.WithCancel(t.Context())
	c.Guard.Enter(life, false)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("it has not panicked")
			}
		}()
		t.Error(run(life, c))
	}()
	end()
	time.Sleep(time.Second)
	if by.asked() != [2]int32{} {
		t.Errorf("cut off and mended %v times", by.asked())
	}
}

// Nothing of a closed connection is touched, even if something seemed to run on it.
func TestAClosedConnectionIsLeftAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		by := &counted{}
		c := &Conn{Raw: breaking{}, Guard: &Guard{}, cuts: cuts{cutter: by}}
		life, end := context.WithCancel(t.Context())
		c.cuts.begin(life)
		c.Kill()
		end()
		time.Sleep(time.Second)
		if err := c.cuts.finish(errDriver); !errors.Is(err, errDriver) || by.asked() != [2]int32{} {
			t.Errorf("%v, cut off and mended %v times", err, by.asked())
		}
	})
}
