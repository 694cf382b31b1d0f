package main

import (
	"cmp"
	"slices"
	"testing"
)

// measurable reports whether a figure of a work is measured of a subject.
func measurable(w work, s subject) bool {
	if s.System == rawName {
		return w.raw != nil && slices.Contains(storeNames(), s.Store)
	}
	i := slices.IndexFunc(systems(), func(t system) bool { return t.subject == s })
	return i >= 0 && (w.takes(systems()[i]) || slices.Contains(systems()[i].pending, w.name))
}

func workNamed(t *testing.T, name string) work {
	t.Helper()
	i := slices.IndexFunc(allWorks(fullSizes()), func(w work) bool { return w.name == name })
	if i < 0 {
		t.Fatalf("there is no work %q", name)
	}
	return allWorks(fullSizes())[i]
}

func TestEachGoalIsAboutFiguresThatAreMeasured(t *testing.T) {
	for _, g := range goals() {
		w := workNamed(t, g.work)
		if !slices.ContainsFunc(w.figures, func(f figure) bool { return f.Key == g.key }) {
			t.Errorf("goal %+v: the work has no such figure", g)
		}
		if !measurable(w, subject{g.store, ours}) {
			t.Errorf("goal %+v: Posthorn is not measured there", g)
		}
		if g.peer != "" && !measurable(workNamed(t, cmp.Or(g.peerWork, g.work)), subject{g.store, g.peer}) {
			t.Errorf("goal %+v: the peer is not measured there", g)
		}
	}
}

func TestASystemHasAStoreAndANameOfItsOwnThere(t *testing.T) {
	seen := map[subject]bool{}
	for _, s := range systems() {
		if !slices.Contains(storeNames(), s.Store) {
			t.Errorf("%v: there is no such store", s.subject)
		}
		if seen[s.subject] {
			t.Errorf("%v is listed twice", s.subject)
		}
		seen[s.subject] = true
	}
}
