package guard

import (
	"context"
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
