package cli

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/failure"
	"github.com/posthorn/posthorn/store"
)

// changeBatch is how many dead letters one transaction changes.
const changeBatch = 500

// A change is retry or remove: what can be done to dead letters.
type change struct {
	use, short, long string
	examples         string
	verb, done       string // for the question and for the report
	action           store.Action
	discarded        bool // it is about those that were removed
	final            bool // it cannot be taken back
	apply            func(*store.Store) failure.Change
}

func retryLetters() change {
	return change{
		use: "retry [ID...]", short: "Put dead letters back on their queues",
		long: `Put dead letters back on their own queues, due at once, with their ids and their history. Workers handle them;
nothing runs inside this command. More than 100 are put back by an operation: one first, then ten, then the rest, as
long as they do not fail again: see ops.`,
		examples: `
			failed retry ID
			failed retry --kind welcome --failed-after '2026-01-31 08:00'
			failed retry --all --yes
			failed retry --kind welcome --to slow --rate 50 --wait`,
		verb: "retry", done: "put back", action: store.ActionRetry,
		apply: func(st *store.Store) failure.Change { return st.RetryLetters },
	}
}

func removeLetters() change {
	return change{
		use: "remove [ID...]", short: "Remove dead letters",
		long: `Remove dead letters. They are listed with --discarded, and can be restored, until their retention is over;
then they are deleted. With --purge they are deleted at once.`,
		examples: `
			failed remove ID
			failed remove --reason invalid --failed-before 2026-01-01
			failed remove --all --yes
			failed remove --purge ID`,
		verb: "remove", done: "removed", action: store.ActionRemove,
		apply: func(st *store.Store) failure.Change { return st.RemoveLetters },
	}
}

// changeFlags are the flags of retry, remove and restore.
type changeFlags struct {
	letterFlags
	bulkFlags
	all, yes, purge bool
	ids             []string
}

func (s *session) changeCommand(c change) *cobra.Command {
	var f changeFlags
	cmd := &cobra.Command{
		Use: c.use, Short: c.short, Long: c.long, Example: s.example(c.examples),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.ids = args
			switch {
			case f.purge:
				c = purgeLetters(f.discarded)
			case f.discarded:
				return usage("--discarded goes with --purge", "restore them, or add --purge")
			}
			f.discarded = c.discarded
			return s.change(cmd.Context(), c, f)
		},
	}
	if c.verb == "remove" {
		purgeFlags(cmd, &f)
	}
	f.letterFlags.define(cmd)
	f.bulkFlags.define(cmd, c.action == store.ActionRetry)
	cmd.Flags().BoolVar(&f.all, "all", false, "all dead letters")
	countFlag(cmd.Flags(), &f.limit, "limit", "at most `N`, the oldest first")
	group(cmd, "Which", "all", "limit")
	confirmFlags(cmd, &f.yes)
	return cmd
}

// chosen are the dead letters that a command is about.
type chosen struct {
	seqs    []int64
	ids     map[int64]string
	missing []string       // ids that are no dead letters
	why     map[string]int // kind and reason → how many
	newest  int64          // the number of the last act before they were chosen
}

func (c *chosen) add(l store.Letter) {
	c.seqs = append(c.seqs, l.Seq)
	c.ids[l.Seq] = l.ID
	c.why[l.Kind+", "+l.Reason]++
}

func (f changeFlags) check() error {
	switch {
	case len(f.ids) == 0 && !f.all && !f.any():
		return usage("no dead letter is named", "give ids, a filter such as --kind, or --all")
	case len(f.ids) > 0 && (f.all || f.limit > 0 || f.any()):
		return usage("ids and filters contradict each other", "give one of them")
	case f.purge && f.asked():
		return usage("--purge goes by no operation", "leave the flags of operations out")
	}
	return nil
}

// change does it at once where the letters are few, and by an operation where they are
// many or the flags ask for one.
func (s *session) change(ctx context.Context, c change, f changeFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	ctx = store.Acting(ctx, store.Act{Filter: f.words(), Reason: f.because})
	st, err := s.existing(ctx)
	if err != nil {
		return err
	}
	if f.asked() && c.action != "" {
		return s.bulk(ctx, st, c, f)
	}
	picked, err := s.choose(ctx, st, c, f)
	switch {
	case err != nil:
		return err
	case len(f.ids) == 0 && c.action != "" && failure.Many(len(picked.seqs)):
		return s.bulk(ctx, st, c, f)
	case len(picked.seqs) == 0 && len(f.ids) > 0:
		return s.absent(ctx, st, picked.missing, len(f.ids))
	case len(picked.seqs) == 0:
		return s.nothingFits()
	case len(picked.seqs) > 1 || f.all || f.any():
		question := s.preview(c, picked, f.yes)
		if err := s.confirmChange(c, picked, question, f.yes); err != nil {
			return err
		}
	case c.final:
		question := fmt.Sprintf("%s %s for good?", c.verb, picked.ids[picked.seqs[0]])
		if err := s.confirmChange(c, picked, question, f.yes); err != nil {
			return err
		}
	}
	return s.changeAll(ctx, st, c, picked)
}

// nothingFits says that no dead letter fits the filter.
func (s *session) nothingFits() error {
	return &fault{
		Code: "E-NOTHING-MATCHED", Title: "nothing matched", What: "no dead letter fits the filter", Exit: exitNothing,
		Try: s.app.Name + " failed list",
	}
}

// choose finds the dead letters by their ids, or by the filter. What can be done by an
// operation is, if there are more than are changed at once: then one more is enough.
func (s *session) choose(
	ctx context.Context, st *store.Store, c change, f changeFlags,
) (*chosen, error) {
	picked := &chosen{ids: map[int64]string{}, why: map[string]int{}}
	acts, err := st.Acts(ctx, store.ActFilter{Limit: 1})
	if err != nil {
		return nil, err
	}
	for _, a := range acts {
		picked.newest = a.Seq
	}
	if len(f.ids) > 0 {
		ls, missing, err := failure.Named(ctx, st, f.ids, f.discarded)
		for _, l := range ls {
			picked.add(l)
		}
		picked.missing = missing
		return picked, err
	}
	filter, err := s.narrow(ctx, st, &f.letterFlags)
	if err != nil {
		return nil, err
	}
	filter.Bare = true
	most := f.limit
	if c.action != "" && (most == 0 || failure.Many(most)) {
		most = failure.AtOnce + 1
	}
	for {
		filter.Limit = changeBatch
		if most > 0 {
			filter.Limit = min(changeBatch, most-len(picked.seqs))
		}
		ls, err := st.Letters(ctx, filter)
		for _, l := range ls {
			picked.add(l)
			filter.Past = l.Seq
		}
		if err != nil || len(ls) < changeBatch || most > 0 && len(picked.seqs) >= most {
			return picked, err
		}
	}
}

// preview tells what would be changed, and returns the question.
func (s *session) preview(c change, picked *chosen, yes bool) string {
	const most = 5
	if !yes {
		keys := slices.SortedFunc(maps.Keys(picked.why), func(a, b string) int {
			return cmp.Or(cmp.Compare(picked.why[b], picked.why[a]), cmp.Compare(a, b))
		})
		for _, key := range keys[:min(most, len(keys))] {
			s.say("%8d  %s\n", picked.why[key], key)
		}
		if len(keys) > most {
			s.say("          and %d other kinds and reasons\n", len(keys)-most)
		}
	}
	return fmt.Sprintf("%s %s?", c.verb, plural(len(picked.seqs), "dead letter"))
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// A tally is what a change has done so far.
type tally struct {
	done    int
	acts    []int    // how many letters each act of this command is about
	refused []string // ids that are taken
	cause   error    // what ended it early
}

// changeAll works in batches, each wholly or not at all.
func (s *session) changeAll(ctx context.Context, st *store.Store, c change, picked *chosen) error {
	bar := newProgress(s, nil)
	bar.noun, bar.total = c.done, int64(len(picked.seqs))
	t := tally{}
	for batch := range slices.Chunk(picked.seqs, changeBatch) {
		did, err := c.apply(st).Apply(ctx, batch...)
		t.done, t.acts = t.done+did.Done, append(t.acts, did.Each...)
		for _, seq := range did.Clashed {
			t.refused = append(t.refused, picked.ids[seq])
		}
		bar.set(t.done, int64(t.done))
		if t.cause = err; err != nil {
			break
		}
	}
	bar.end()
	s.say("%s %s\n", c.done, plural(t.done, "dead letter"))
	if len(t.refused) > 0 {
		s.say("%s has the same id: %s\n", failure.Taker(c.action), strings.Join(t.refused, ", "))
	}
	if t.cause == nil {
		t.cause = s.sayOvertaken(ctx, st, picked, t)
	}
	if t.cause == nil {
		t.cause = s.sayAbsent(ctx, st, picked.missing)
	}
	return s.verdict(c, picked, t)
}

// verdict is the exit code of a bulk change.
func (s *session) verdict(c change, picked *chosen, t tally) error {
	switch {
	case t.cause != nil && t.done == 0:
		return t.cause
	case t.cause != nil:
		f := *s.explainAny(t.cause)
		f.Exit, f.What = exitPartly, fmt.Sprintf("%s, after %d were %s", f.What, t.done, c.done)
		return &f
	case t.done == len(picked.seqs) && len(picked.missing) == 0:
		return nil
	case t.done == 0:
		return outcome(exitFailed)
	}
	return outcome(exitPartly)
}
