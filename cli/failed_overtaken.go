package cli

import (
	"context"
	"slices"

	"github.com/posthorn/posthorn/failure"
	"github.com/posthorn/posthorn/store"
)

// actsSeen is how many acts of others are looked through for who was faster.
const actsSeen = 200

// sayOvertaken says how many of the chosen letters somebody else had changed before this
// command did, who that was, and when: whoever confirmed late must not believe that it was
// their doing.
func (s *session) sayOvertaken(ctx context.Context, st *store.Store, picked *chosen, t tally) error {
	left := len(picked.seqs) - t.done - len(t.refused)
	if left <= 0 {
		return nil
	}
	s.say("%s had gone in the meantime\n", plural(left, "dead letter"))
	acts, err := st.Acts(ctx, store.ActFilter{Limit: actsSeen + len(t.acts)})
	if err != nil {
		return err
	}
	ids := map[string]bool{}
	for _, id := range picked.ids {
		ids[id] = true
	}
	own := slices.Clone(t.acts)
	for _, a := range slices.Backward(acts) {
		if a.Seq <= picked.newest {
			continue
		}
		n := 0
		for _, id := range a.Messages {
			if ids[id] {
				n++
			}
		}
		if i := slices.Index(own, a.Count); n > 0 && a.Actor == s.actor() && i >= 0 {
			own = slices.Delete(own, i, i+1) // what this command has done
			continue
		}
		switch {
		case n > 0:
			s.say("  %s of them: %s\n", plural(n, "letter"), failure.ActText(a))
		case a.Verb == store.VerbCreate:
			s.say("  by %s perhaps: %s\n", a.Subject, failure.ActText(a))
		}
	}
	return nil
}
