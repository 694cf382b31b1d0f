package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/failure"
	"github.com/posthorn/posthorn/failure/view"
	"github.com/posthorn/posthorn/store"
)

// tryFlags are the flags of failed try.
type tryFlags struct {
	letterFlags
	all, slow bool
	output    string
}

// triedLetters is how many dead letters are tried when a filter chooses more.
const triedLetters = 20

func (s *session) failedTryCommand() *cobra.Command {
	var f tryFlags
	cmd := &cobra.Command{
		Use: "try [ID...]", Short: "Run today's handlers on dead letters, and undo it",
		Long: `Run the handlers of this program on dead letters, each in a transaction that is always rolled back, and say
what would have become of them. Nothing is sent, and the letters stay as they are. Only transactional handlers can be
tried. One that fails leaves nothing behind: of what it had touched and sent before, only what it sends outside its
transaction counts as sent. What a handler does by other ways than its transaction is not undone: the slow part of a
handler runs only with --with-slow-part.`,
		Example: s.example(`
			failed try ID
			failed try --kind welcome --limit 5
			failed try --all --limit 100 -o json`),
		RunE: func(cmd *cobra.Command, args []string) error { return s.tryFailed(cmd.Context(), args, f) },
	}
	f.define(cmd)
	cmd.Flags().BoolVar(&f.all, "all", false, "any dead letters")
	f.limit = triedLetters
	countFlag(cmd.Flags(), &f.limit, "limit", "at most `N`, the oldest first")
	cmd.Flags().BoolVar(&f.slow, "with-slow-part", false, "run the slow part of handlers: what it does is done")
	group(cmd, "Which", "all", "limit")
	group(cmd, "What", "with-slow-part")
	outputFlag(cmd, &f.output)
	return cmd
}

// trialRow is a failure.Trial, as output shows it.
type trialRow struct {
	view.Trial
	trial *failure.Trial
}

func (s *session) tryFailed(ctx context.Context, ids []string, f tryFlags) error {
	switch {
	case len(ids) == 0 && !f.all && !f.any():
		return usage("no dead letter is named", "give ids, a filter such as --kind, or --all")
	case len(ids) > 0 && (f.all || f.any()):
		return usage("ids and filters contradict each other", "give one of them")
	case len(s.app.Mux.Kinds()) == 0 && s.app.Setup == nil:
		return &fault{
			Code: "E-NO-HANDLERS", Title: "this program has no handlers", Exit: exitFailed,
			What: "handlers are in the application's own program", Try: "PROGRAM failed try, where PROGRAM calls cli.Main",
		}
	}
	st, err := s.existing(ctx)
	if err != nil {
		return err
	}
	env, err := s.prepare(ctx)
	if err != nil {
		return err
	}
	letters, missing, err := s.toTry(ctx, st, ids, f)
	if err != nil {
		return err
	}
	switch {
	case len(letters) > 0:
	case len(missing) > 0:
		return s.absent(ctx, st, missing, len(missing))
	default:
		return s.nothingFits()
	}
	if err := s.sayAbsent(ctx, st, missing); err != nil {
		return err
	}
	t := trials{letters: letters}
	t.run(ctx, st, failure.TryOptions{Mux: s.app.Mux, Dispatcher: env.Dispatcher, SlowPart: f.slow, Log: env.Log})
	if t.stopped != nil && len(t.rows) == 0 {
		return t.stopped
	}
	if err := s.showTrials(f.output, t); err != nil {
		return err
	}
	switch {
	case t.stopped != nil:
		return s.stoppedTrials(ctx, t)
	case len(missing) > 0:
		return outcome(exitPartly)
	}
	return trialVerdict(t.rows)
}

// trials are what becomes of letters that are tried one after the other.
type trials struct {
	letters []store.Letter
	rows    []trialRow // of the first ones, all if nothing has stopped it
	begun   string     // the letter whose trial was cut off, if one was
	stopped error      // what has: a signal, or the store
}

// left is how many letters were not tried to their end.
func (t *trials) left() int { return len(t.letters) - len(t.rows) }

// run tries them until something stops it.
func (t *trials) run(ctx context.Context, st *store.Store, o failure.TryOptions) {
	for _, l := range t.letters {
		if t.stopped = context.Cause(ctx); t.stopped != nil {
			return
		}
		tried, err := failure.Try(ctx, st, l, o)
		if err != nil {
			t.begun, t.stopped = l.ID, err
			return
		}
		t.rows = append(t.rows, trialRow{view.OfTrial(&tried), &tried})
	}
}

// stoppedTrials says what was not tried, once the rest is shown.
func (s *session) stoppedTrials(ctx context.Context, t trials) error {
	if ctx.Err() == nil {
		f := *s.explainAny(t.stopped)
		f.Exit, f.What = exitPartly, fmt.Sprintf("%s, after %d were tried, and %d were not", f.What, len(t.rows), t.left())
		return &f
	}
	begun := ""
	if t.begun != "" {
		begun = ", of which " + t.begun + " had begun"
	}
	s.say("interrupted: tried %s, and not %d more%s\n", plural(len(t.rows), "dead letter"), t.left(), begun)
	return outcome(exitPartly)
}

// toTry finds the letters.
func (s *session) toTry(
	ctx context.Context, st *store.Store, ids []string, f tryFlags,
) (ls []store.Letter, missing []string, err error) {
	if len(ids) == 0 {
		filter, err := s.narrow(ctx, st, &f.letterFlags)
		if err != nil {
			return nil, nil, err
		}
		ls, err = st.Letters(ctx, filter)
		return ls, nil, err
	}
	for _, id := range slices.Compact(slices.Sorted(slices.Values(ids))) {
		l, err := st.LastLetter(ctx, id, false)
		if err != nil {
			return nil, nil, err
		}
		if l == nil {
			missing = append(missing, id)
			continue
		}
		ls = append(ls, *l)
	}
	return ls, missing, nil
}

// trialVerdict is the exit code: done when all would be.
func trialVerdict(rows []trialRow) error {
	passed := 0
	for _, r := range rows {
		if r.Outcome == view.TrialPassed {
			passed++
		}
	}
	switch passed {
	case len(rows):
		return nil
	case 0:
		return outcome(exitFailed)
	}
	return outcome(exitPartly)
}

func (s *session) showTrials(as string, t trials) error {
	if as != formTable && as != formWide || len(t.letters) != 1 {
		list := trialListing(t.rows)
		if t.left() > 0 {
			list.extra = map[string]any{"not_tried": t.left()}
		}
		return show(s, as, list)
	}
	r := t.rows[0]
	line := func(name, value string) { s.print("%-11s %s\n", name, value) }
	line("id", r.ID)
	line("outcome", r.Outcome)
	switch {
	case r.Outcome == view.TrialRefused:
		line("because", r.Error)
		return nil
	case r.Outcome == view.TrialFailed && r.Same:
		line("error", fmt.Sprintf("%s (%s), as before", r.Error, r.Class))
	case r.Outcome == view.TrialFailed:
		line("error", fmt.Sprintf("%s (%s)", r.Error, r.Class))
		line("was", fmt.Sprintf("%s (%s)", r.Was, r.trial.Letter.Class))
	}
	name, undone := "would send", ""
	if r.Outcome == view.TrialFailed {
		name, undone = "had sent", ", which is undone, since it fails"
	}
	line("rows", touchedRows(r.Rows)+undone)
	for _, e := range r.Sent {
		line(name, fmt.Sprintf("%s (%s, queue %s)%s", e.ID, e.Kind, e.Queue, undone))
	}
	for _, e := range r.Outside {
		line("sends", fmt.Sprintf("%s (%s, queue %s), outside its transaction: even if it fails", e.ID, e.Kind, e.Queue))
	}
	if r.Dirty != "" {
		line("left dirty", r.Dirty)
	}
	line("took", spent(r.trial.Took))
	s.say("everything was rolled back\n")
	return nil
}

func touchedRows(n int64) string {
	if n < 0 {
		return "unknown"
	}
	return strconv.FormatInt(n, 10) + " touched"
}

// leaves is what would stay of a trial, if it were none: of one that fails only what it
// sends outside its transaction.
func (r trialRow) leaves() (rows, sends string) {
	if r.Outcome == view.TrialFailed {
		return touchedRows(0), strconv.Itoa(len(r.Outside))
	}
	return touchedRows(r.Rows), strconv.Itoa(len(r.Sent) + len(r.Outside))
}

func trialListing(rows []trialRow) listing[trialRow] {
	return listing[trialRow]{
		kind: "TrialList", rows: rows, name: func(r trialRow) string { return r.ID },
		columns: []column[trialRow]{
			{head: "ID", cell: func(r trialRow) string { return r.ID }},
			{head: "KIND", yields: 1, flex: true, cell: func(r trialRow) string { return r.Kind }},
			{head: "OUTCOME", cell: func(r trialRow) string { return r.Outcome }},
			{head: "ROWS", yields: 3, right: true, cell: func(r trialRow) string {
				rows, _ := r.leaves()
				return rows
			}},
			{head: "SENDS", yields: 2, right: true, cell: func(r trialRow) string {
				_, sends := r.leaves()
				return sends
			}},
			{head: "ERROR", flex: true, cell: func(r trialRow) string { return r.Error }},
			{head: "SAME", wide: true, cell: func(r trialRow) string { return strconv.FormatBool(r.Same) }},
			{head: "WAS", flex: true, wide: true, cell: func(r trialRow) string { return r.Was }},
		},
	}
}
