package sim_test

import (
	"bytes"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/posthorn/posthorn/internal/sim"
)

// seeds is how many the tests play; make sim plays more.
const seeds = 60

func TestAllPromisesHoldInEachSeed(t *testing.T) {
	t.Parallel()
	var all sim.Counts
	for seed := uint64(1); seed <= seeds; seed++ {
		r := sim.Run(seed, nil)
		if r.Broken != "" {
			t.Fatalf("seed %d: %s\n%s", seed, r.Broken, r.Tail)
		}
		all.Add(r.Counts)
	}
	for what, n := range map[string]int{
		"messages": all.Messages, "deaths": all.Deaths, "suspects": all.Suspects, "restarts": all.Restarts,
		"effects": all.Effects, "letters": all.Letters, "stale settlements": all.Stale, "lost answers": all.Cut,
		"undone commits": all.Undone, "operations": all.Operations, "letters put back": all.Retried,
		"operations that stopped by themselves": all.Halts, "fenced steps": all.Fenced,
		"steps that rested": all.Rests, "letters in hand": all.InHand,
	} {
		if n == 0 {
			t.Errorf("%d seeds had no %s: they show nothing", seeds, what)
		}
	}
}

func TestSeedsThatHaveFoundSomethingFindItNoMore(t *testing.T) {
	t.Parallel()
	for _, seed := range []uint64{3584, 7148, 8397, 17681} { // a suspect charged for its neighbours
		if r := sim.Run(seed, nil); r.Broken != "" {
			t.Errorf("seed %d: %s\n%s", seed, r.Broken, r.Tail)
		}
	}
}

func TestTheSameSeedHasTheSameTraceWhateverElseRuns(t *testing.T) {
	procs := runtime.GOMAXPROCS(1)
	defer runtime.GOMAXPROCS(procs)
	alone := hashes(1)
	runtime.GOMAXPROCS(4)
	beside := hashes(4)
	for i := range alone {
		if alone[i] != beside[i] {
			t.Errorf("seed %d has the traces %016x and %016x", i+1, alone[i], beside[i])
		}
		if i > 0 && alone[i] == alone[i-1] {
			t.Errorf("seeds %d and %d have the same trace", i, i+1)
		}
	}
}

// hashes plays seeds, some at a time.
func hashes(jobs int) []uint64 {
	out := make([]uint64, seeds/3)
	var wg sync.WaitGroup
	for job := range jobs {
		wg.Go(func() {
			for i := job; i < len(out); i += jobs {
				out[i] = sim.Run(uint64(i+1), nil).Hash
			}
		})
	}
	wg.Wait()
	return out
}

func TestATraceTellsWhatHappens(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	r := sim.Run(3, &out) // one with operations
	text := out.String()
	for _, want := range []string{
		"seed 3: ", "is accepted", "enters the handler of", "all faults have healed", "takes op1", "is put back by op",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the trace of %d steps does not say %q", r.Steps, want)
		}
	}
	if r.Hash != sim.Run(3, nil).Hash {
		t.Error("who listens changes the trace")
	}
}
