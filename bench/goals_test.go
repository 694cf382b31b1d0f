package main

import (
	"slices"
	"testing"
)

// measurable reports whether a figure of a work is measured of a subject.
func measurable(w work, s subject) bool {
	if s.System == rawName {
		return w.raw != nil && slices.Contains(storeNames(), s.Store)
	}
	i := slices.IndexFunc(systems(), func(t system) bool { return t.subject == s })
	return i >= 0 && systems()[i].offers(w.name)
}

func TestEachGoalIsAboutFiguresThatAreMeasured(t *testing.T) {
	for _, g := range goals() {
		i := slices.IndexFunc(allWorks(), func(w work) bool { return w.name == g.work })
		if i < 0 {
			t.Errorf("goal %+v: there is no such work", g)
			continue
		}
		w := allWorks()[i]
		if !slices.ContainsFunc(w.figures, func(f figure) bool { return f.key == g.key }) {
			t.Errorf("goal %+v: the work has no such figure", g)
		}
		if !measurable(w, subject{g.store, ours}) {
			t.Errorf("goal %+v: Posthorn is not measured there", g)
		}
		if g.peer != "" && !measurable(w, subject{g.store, g.peer}) {
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
