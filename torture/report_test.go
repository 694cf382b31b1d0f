package torture_test

import (
	"reflect"
	"slices"
	"testing"

	"github.com/posthorn/posthorn/torture"
	"github.com/posthorn/posthorn/torture/oracle"
)

func TestAScheduleDependsOnItsSeedAlone(t *testing.T) {
	faults := torture.Faults()
	a, b := torture.Schedule(7, faults, 100), torture.Schedule(7, faults, 100)
	if len(a) != 100 || !reflect.DeepEqual(a, b) {
		t.Errorf("the same seed gives %d steps, and others the next time", len(a))
	}
	if c := torture.Schedule(8, faults, 100); reflect.DeepEqual(a, c) {
		t.Error("another seed gives the same steps")
	}
	round := map[torture.Fault]int{}
	for _, s := range a[:len(faults)+2] {
		round[s.Fault]++
		if s.After <= 0 {
			t.Errorf("step %+v comes at once", s)
		}
	}
	for _, f := range faults {
		if want := map[bool]int{true: 3, false: 1}[f == torture.KillWorker]; round[f] != want {
			t.Errorf("%s comes %d times in the first round, want %d", f, round[f], want)
		}
	}
	if s := torture.Schedule(7, nil, 100); len(s) != 0 {
		t.Errorf("no faults make %d steps", len(s))
	}
}

// eventful is a report of a run in which all happened that a promise is about.
func eventful() *torture.Report {
	r := &torture.Report{CutBefore: 1, CutAfter: 1, Steps: make([]torture.Step, 3)}
	r.Messages = torture.Messages{Intents: 9, Accepted: 8}
	r.Crew.Refused, r.Crew.Killed = 1, 1
	for _, f := range torture.Faults() {
		r.Faults = append(r.Faults, torture.Recovery{Fault: f, Injected: 1})
	}
	return r
}

// with lists the promises with a verdict.
func with(r *torture.Report, v torture.Verdict) (ids []string) {
	for _, p := range r.Promises {
		if p.Verdict == v {
			ids = append(ids, p.ID)
		}
		if p.Reason == "" {
			ids = append(ids, p.ID+" without a reason")
		}
	}
	return ids
}

func TestAFindingBreaksThePromisesItIsAbout(t *testing.T) {
	for finding, want := range map[oracle.Promise][]string{
		"":                  nil,
		oracle.ExactlyOnce:  {"S1", "S2", "S4", "S9"},
		oracle.ByteEqual:    {"S1"},
		oracle.Counted:      {"S7", "S10"},
		oracle.Conserved:    {"S11"},
		oracle.Resumed:      {"S8", "S12"},
		oracle.CleanEnd:     {"S12"},
		oracle.NothingLeaks: {"S12"},
	} {
		r := eventful()
		if finding != "" {
			r.Findings = []oracle.Finding{{Promise: finding}}
		}
		r.Judge()
		if got := with(r, torture.Broken); !slices.Equal(got, want) {
			t.Errorf("a finding of %q breaks %v, want %v", finding, got, want)
		}
		if got := with(r, torture.NotTested); !slices.Equal(got, []string{"S3", "S5", "S6"}) {
			t.Errorf("not tested: %v", got)
		}
		if len(r.Promises) != 12 || r.Held() != (finding == "") {
			t.Errorf("%d promises, held %v", len(r.Promises), r.Held())
		}
	}
}

func TestWhatDidNotHappenIsNotTested(t *testing.T) {
	r := &torture.Report{}
	r.Judge()
	if got := with(r, torture.NotTested); len(got) != 12 {
		t.Errorf("not tested: %v", got)
	}
	r.Findings = []oracle.Finding{{Promise: oracle.ExactlyOnce}}
	r.Judge()
	if got := with(r, torture.Broken); !slices.Equal(got, []string{"S1"}) {
		t.Errorf("without cuts or zombies, a finding breaks %v", got)
	}
}
