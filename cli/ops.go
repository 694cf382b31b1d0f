package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/failure"
	"github.com/posthorn/posthorn/failure/view"
	"github.com/posthorn/posthorn/store"
)

func (s *session) opsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "ops", Short: "List, watch, pause, resume and cancel bulk operations on dead letters",
		Example: s.example(`
			ops list
			ops watch ID
			ops cancel ID`),
		Args: cobra.ArbitraryArgs, RunE: s.family,
	}
	cmd.AddCommand(s.opsListCommand(), s.opsShowCommand(), s.opsWatchCommand())
	for _, t := range s.turns() {
		cmd.AddCommand(s.turnCommand(t))
	}
	return cmd
}

func (s *session) opsListCommand() *cobra.Command {
	var (
		f      store.OperationFilter
		output string
	)
	cmd := &cobra.Command{
		Use: "list", Short: "List operations, the newest first",
		Example: s.example(`
			ops list
			ops list --active -o name`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return s.listOps(cmd.Context(), f, output) },
	}
	cmd.Flags().BoolVar(&f.Active, "active", false, "only those of which something is left to do")
	f.Limit = defaultLetters
	pastFlag(cmd.Flags(), &f.Past, "only those before the one with this `number`, for the next page")
	countFlag(cmd.Flags(), &f.Limit, "limit", "at most `N`")
	group(cmd, "Which", "active", "past", "limit")
	outputFlag(cmd, &output)
	return cmd
}

func (s *session) listOps(ctx context.Context, f store.OperationFilter, as string) error {
	st, err := s.existing(ctx)
	if err != nil {
		return err
	}
	limit := f.Limit
	f.Limit++ // one more tells whether there are more
	os, err := st.Operations(ctx, f)
	if err != nil {
		return err
	}
	rows := make([]view.Operation, min(len(os), limit))
	for i := range rows {
		rows[i] = view.OfOperation(os[i], s.app.Mux)
	}
	l := operationListing(rows)
	if len(os) > limit {
		next := rows[len(rows)-1].Key()
		l.extra = map[string]any{"next_past": next}
		defer s.say("there are more: show them with --past %d\n", next)
	}
	return show(s, as, l)
}

func operationListing(rows []view.Operation) listing[view.Operation] {
	number := func(n func(view.Operation) int) func(view.Operation) string {
		return func(r view.Operation) string { return strconv.Itoa(n(r)) }
	}
	return listing[view.Operation]{
		kind: "OperationList", rows: rows, name: func(r view.Operation) string { return r.ID },
		columns: []column[view.Operation]{
			{head: "ID", cell: func(r view.Operation) string { return r.ID }},
			{head: "ACTION", yields: 2, cell: func(r view.Operation) string { return string(r.Action) }},
			{head: "STATE", cell: func(r view.Operation) string { return string(r.State) }},
			{head: "TOTAL", yields: 3, right: true, cell: number(func(r view.Operation) int { return r.Total })},
			{head: "OK", right: true, cell: number(func(r view.Operation) int { return r.Done })},
			{head: "FAILED", right: true, cell: number(func(r view.Operation) int { return r.Failed })},
			{head: "IN FLIGHT", yields: 4, right: true, cell: number(func(r view.Operation) int { return r.Flying })},
			{head: "GONE", right: true, wide: true, cell: number(func(r view.Operation) int { return r.Gone })},
			{head: "REFUSED", right: true, wide: true, cell: number(func(r view.Operation) int { return r.Refused })},
			{head: "LEFT", right: true, cell: number(func(r view.Operation) int { return r.Left })},
			{head: "BY", yields: 6, flex: true, cell: func(r view.Operation) string { return cmp.Or(r.Actor, "-") }},
			when("SINCE", func(r view.Operation) time.Time { return r.Created }).yielding(5),
			{head: "CARRIED ON BY", wide: true, cell: func(r view.Operation) string { return cmp.Or(r.Holder, "-") }},
			{head: "FILTER", yields: 1, flex: true, cell: func(r view.Operation) string { return cmp.Or(r.Chosen, "-") }},
		},
	}
}

func (s *session) opsShowCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "show ID", Short: "Show an operation: what it is about, and how far it is",
		Example: s.example(`
			ops show ID
			ops show ID -o json`),
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return s.showOp(cmd.Context(), args[0], output) },
	}
	outputFlag(cmd, &output)
	return cmd
}

func (s *session) showOp(ctx context.Context, id, as string) error {
	st, err := s.existing(ctx)
	if err != nil {
		return err
	}
	o, err := st.Operation(ctx, id)
	if err != nil {
		return s.opFault(id, err)
	}
	if as != formTable && as != formWide {
		return show(s, as, operationListing([]view.Operation{view.OfOperation(o, s.app.Mux)}))
	}
	why, err := failure.Unconsumed(ctx, st, o)
	if err != nil {
		return err
	}
	s.describeOp(o, why)
	return nil
}

// describeOp writes an operation for a reader, and why it does not move, if that is known.
func (s *session) describeOp(o store.Operation, why string) {
	line := func(name, value string) {
		if value != "" {
			s.print("%-11s %s\n", name, value)
		}
	}
	line("operation", o.ID)
	line("action", strings.TrimSuffix(string(o.Action)+" to "+o.To, " to "))
	line("patch", string(view.OfOperation(o, s.app.Mux).Patch))
	line("state", strings.TrimSuffix(string(o.State)+": "+o.Why, ": "))
	line("filter", o.Chosen)
	line("by", o.Actor)
	line("because", o.Reason)
	line("since", moment(o.Created))
	if !o.Ended.IsZero() {
		line("until", moment(o.Ended))
	}
	line("letters", strconv.Itoa(o.Total))
	line("progress", strings.TrimSuffix(progressOf(o)+": "+why, ": "))
	line("stage", stageOf(o))
	line("rate", rateOf(o))
	line("pace", paceOf(o))
	line("carried on", carriedOn(o))
}

// progressOf is how far an operation is.
func progressOf(o store.Operation) string {
	parts := []string{fmt.Sprintf("%d ok", o.Done), fmt.Sprintf("%d failed again", o.Failed)}
	refused := fmt.Sprintf("refused, since %s has the id", failure.Taker(o.Action))
	if o.Action == store.ActionEdit {
		refused = "refused, since the patch or the handler does not fit"
	}
	for _, p := range []struct {
		n    int
		what string
	}{
		{o.Gone, "gone"}, {o.Refused, refused}, {o.Flying, "in flight"},
		{o.Left(), "left"},
	} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.what))
		}
	}
	return strings.Join(parts, ", ")
}

func stageOf(o store.Operation) string {
	switch {
	case !o.Canary || o.Ends():
		return ""
	case o.Canaries.Stage == 0:
		return "one canary"
	case o.Canaries.Stage == 1:
		return "ten canaries"
	}
	return "the rest"
}

func rateOf(o store.Operation) string {
	if o.Rate > 0 {
		return strconv.FormatFloat(o.Rate, 'g', -1, 64) + "/s at most"
	}
	return ""
}

// paceOf says why an operation is slow.
func paceOf(o store.Operation) string {
	if o.Yields == "" || o.Holder == "" {
		return ""
	}
	return "slow: messages of the queue " + o.Yields + " wait, and go first"
}

// carriedOn says who carries an operation on.
func carriedOn(o store.Operation) string {
	switch {
	case o.Holder != "":
		return "by " + o.Holder
	case o.Active():
		return "by nobody now: start up, consume, monitor or ops watch"
	}
	return ""
}

// opFault words why an operation cannot be read or changed.
func (s *session) opFault(id string, err error) error {
	switch {
	case errors.Is(err, store.ErrNoOperation):
		return &fault{
			Code: "E-NOTHING-MATCHED", Title: "no such operation", What: id, Exit: exitNothing,
			Try: s.app.Name + " ops list",
		}
	case errors.Is(err, store.ErrOperationState):
		return &fault{
			Code: "E-OPERATION-STATE", Title: "the operation is in another state", What: err.Error(), Exit: exitFailed,
			Try: s.app.Name + " ops show " + id,
		}
	}
	return err
}

// A turnover is a change of an operation's state by hand.
type turnover struct {
	use, short, long, done string
	apply                  func(ctx context.Context, st *store.Store, id, why string) (store.Operation, error)
}

func (s *session) turns() []turnover {
	return []turnover{
		{
			use: "pause", short: "Let no more letters of an operation have their turn", done: "paused",
			long: "Let no more letters of an operation have their turn, until it is resumed. What is in flight goes on.",
			apply: func(ctx context.Context, st *store.Store, id, why string) (store.Operation, error) {
				return st.PauseOperation(ctx, id, why)
			},
		},
		{
			use: "resume", short: "Let an operation go on that is paused, or has stopped by itself", done: "resumed",
			long: `Let an operation go on that is paused, or has stopped by itself. In that case it begins with canaries again,
if it has any.`,
			apply: func(ctx context.Context, st *store.Store, id, why string) (store.Operation, error) {
				return st.ResumeOperation(store.Acting(ctx, store.Act{Reason: why}), id)
			},
		},
		{
			use: "cancel", short: "End an operation; what had no turn stays dead", done: "cancelled",
			long: `End an operation. Letters that have had no turn stay dead letters. What is in flight is handled all the
same.`,
			apply: func(ctx context.Context, st *store.Store, id, why string) (store.Operation, error) {
				return st.CancelOperation(ctx, id, why)
			},
		},
	}
}

func (s *session) turnCommand(t turnover) *cobra.Command {
	var why string
	cmd := &cobra.Command{
		Use: t.use + " ID", Short: t.short, Long: t.long,
		Example: s.example(fmt.Sprintf("ops %s ID\nops %s ID --reason 'wrong ones'", t.use, t.use)),
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			st, err := s.existing(cmd.Context())
			if err != nil {
				return err
			}
			o, err := t.apply(cmd.Context(), st, args[0], why)
			if err != nil {
				return s.opFault(args[0], err)
			}
			s.say("%s is %s: %s\n", o.ID, t.done, progressOf(o))
			return nil
		},
	}
	cmd.Flags().StringVar(&why, "reason", "", "why, for all who wonder")
	group(cmd, "Why", "reason")
	return cmd
}
