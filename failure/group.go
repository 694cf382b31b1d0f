package failure

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
)

// A GroupFilter chooses groups. Zero fields choose those that somebody may have to look
// at: with dead letters, and neither muted nor resolved.
type GroupFilter struct {
	All    bool               // whatever their state, and without letters, too
	States []store.GroupState // only these, without letters, too
	Kind   string
	Class  driver.Class
}

// chooses reports whether the filter chooses a group.
func (f GroupFilter) chooses(g store.Group) bool {
	if f.Kind != "" && f.Kind != g.Kind || f.Class != "" && f.Class != g.Class {
		return false
	}
	switch {
	case len(f.States) > 0:
		return slices.Contains(f.States, g.State)
	case f.All:
		return true
	}
	return g.Count > 0 && g.State != store.GroupMuted && g.State != store.GroupResolved
}

// hides reports whether the filter leaves out a group whose letters are dead for no other
// reason than its state, without having been asked for one.
func (f GroupFilter) hides(g store.Group) bool {
	f.All = true
	return g.Count > 0 && len(f.States) == 0 && f.chooses(g)
}

// Groups lists the groups that a filter chooses, those with the most letters first. hidden
// are those with letters that a filter without states leaves out as muted or resolved.
func Groups(ctx context.Context, s *store.Store, f GroupFilter) (gs, hidden []store.Group, err error) {
	all, _, err := s.Groups(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, g := range all {
		switch {
		case f.chooses(g):
			gs = append(gs, g)
		case f.hides(g):
			hidden = append(hidden, g)
		}
	}
	slices.SortStableFunc(gs, func(a, b store.Group) int { return cmp.Compare(b.Count, a.Count) })
	return gs, hidden, nil
}

// ErrAmbiguous: several groups have fingerprints that begin so.
var ErrAmbiguous = errors.New("several groups begin with this")

// FindGroup finds the one group whose fingerprint begins with a text. Errors:
// store.ErrNoGroup, ErrAmbiguous.
func FindGroup(ctx context.Context, s *store.Store, prefix string) (store.Group, error) {
	if prefix == "" { // letters that have none yet
		return store.Group{}, fmt.Errorf("%w: %q", store.ErrNoGroup, prefix)
	}
	found, err := s.FindGroups(ctx, strings.ToLower(prefix))
	switch {
	case err != nil:
		return store.Group{}, err
	case len(found) == 0:
		return store.Group{}, fmt.Errorf("%w: %q", store.ErrNoGroup, prefix)
	case len(found) > 1:
		return store.Group{}, fmt.Errorf("%w: %q", ErrAmbiguous, prefix)
	}
	return found[0], nil
}
