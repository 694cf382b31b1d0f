package worker_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn/worker"
)

// While two lanes are busy a third one waits for more than a few effects, for one of the two, or for a while.
func TestLanesGatherEffects(t *testing.T) {
	for what, c := range map[string]struct {
		then  func(*worker.Lanes)
		want  int
		after time.Duration
	}{
		"nothing happens":  {func(*worker.Lanes) {}, 1, 2 * time.Millisecond},
		"more come":        {func(l *worker.Lanes) { l.Put(20) }, 21, time.Millisecond},
		"some more come":   {func(l *worker.Lanes) { l.Put(3) }, 4, 2 * time.Millisecond},
		"a lane is back":   {func(l *worker.Lanes) { l.Back(time.Microsecond) }, 1, time.Millisecond},
		"effects are slow": {func(l *worker.Lanes) { l.Back(time.Second); l.Put(1); l.Next(1) }, 1, time.Millisecond},
		"the worker ends":  {func(l *worker.Lanes) { l.Close() }, 1, time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			l, began := twoBusyLanes(t), time.Now()
			l.Put(1)
			time.AfterFunc(time.Millisecond, func() { c.then(l) })
			if got := l.Next(500); got != c.want || time.Since(began) != c.after {
				t.Errorf("%s: %d effects after %s, want %d after %s", what, got, time.Since(began), c.want, c.after)
			}
		})
	}
}

// twoBusyLanes have taken an effect each, at once, as the third has, which is back: nothing was known of effects then.
func twoBusyLanes(t *testing.T) *worker.Lanes {
	l, began := worker.NewLanes(), time.Now()
	for range 3 {
		l.Put(1)
		if got := l.Next(500); got != 1 || time.Since(began) > 0 {
			t.Errorf("a lane that is among the first gets %d after %s", got, time.Since(began))
		}
	}
	l.Back(time.Microsecond)
	return l
}

// How long effects have waited that another lane took says nothing of those that come later.
func TestLanesGatherAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, took := twoBusyLanes(t), make(chan time.Time, 2)
		l.Put(1)
		for range 2 {
			go func() {
				l.Next(500)
				took <- time.Now()
			}()
		}
		synctest.Wait()
		l.Back(time.Microsecond)
		<-took
		time.Sleep(time.Second)
		began := time.Now()
		l.Put(1)
		if waited := (<-took).Sub(began); waited != 2*time.Millisecond {
			t.Errorf("an effect waited for %s, since others had", waited)
		}
	})
}

// Many effects wait for nothing, and are shared by the lanes.
func TestLanesTakeManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, began := worker.NewLanes(), time.Now()
		l.Put(1020)
		for _, want := range []int{500, 500, 20} {
			if got := l.Next(500); got != want || time.Since(began) > 0 {
				t.Errorf("%d effects after %s, want %d", got, time.Since(began), want)
			}
		}
		l.Close()
		if got := l.Next(500); got != 0 {
			t.Errorf("%d effects at the end", got)
		}
	})
}
