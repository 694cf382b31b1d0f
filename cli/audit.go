package cli

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/failure/view"
	"github.com/posthorn/posthorn/store"
)

// what is what it was done to, in few words.
func what(r view.Act) string {
	const most = 3
	switch {
	case r.Subject != "":
		return r.Subject
	case len(r.Messages) > most:
		return strings.Join(r.Messages[:most], ", ") + fmt.Sprintf(" and %d others", r.Count-most)
	}
	return cmp.Or(strings.Join(r.Messages, ", "), "-")
}

func (s *session) auditCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "audit", Short: "Show what operators have done, and who",
		Example: s.example(`
			audit list
			audit list --verb retry --after '2026-01-31 08:00'`),
		Args: cobra.ArbitraryArgs, RunE: s.family,
	}
	cmd.AddCommand(s.auditListCommand())
	return cmd
}

// auditFlags choose acts.
type auditFlags struct {
	verb, actor, subject, message, after, before string
	past                                         int64
	limit                                        int
}

func (s *session) auditListCommand() *cobra.Command {
	var f auditFlags
	var output string
	cmd := &cobra.Command{
		Use: "list", Short: "List acts, the newest first",
		Long: `List what operators have done: retries, removals, pauses, orders to workers, operations. An act is kept in the
transaction of what was done: neither is there without the other. Acts are kept for 400 days, a million at most.`,
		Example: s.example(`
			audit list
			audit list --verb operation --by ann@shop
			audit list --message ID -o json`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return s.listActs(cmd.Context(), f, output) },
	}
	fs := cmd.Flags()
	fs.StringVar(&f.verb, "verb", "", "only this `verb`, like retry or queue.pause, or a family like operation")
	fs.StringVar(&f.actor, "by", "", "only of this `actor`")
	fs.StringVar(&f.subject, "subject", "", "only on this `subject`: a queue, a worker, an operation")
	fs.StringVar(&f.message, "message", "", "only on the message with this `id`")
	fs.StringVar(&f.after, "after", "", "only at this `time` or later")
	fs.StringVar(&f.before, "before", "", "only before this `time`")
	pastFlag(fs, &f.past, "only those before the one with this `number`, for the next page")
	f.limit = defaultLetters
	countFlag(fs, &f.limit, "limit", "at most `N`")
	group(cmd, "Which", "verb", "by", "subject", "message", "after", "before", "past", "limit")
	outputFlag(cmd, &output)
	return cmd
}

func (f auditFlags) filter() (out store.ActFilter, err error) {
	if err := checkVerb(f.verb); err != nil {
		return out, err
	}
	out = store.ActFilter{
		Verb: store.Verb(f.verb), Actor: f.actor, Subject: f.subject, Message: f.message,
		Past: f.past, Limit: f.limit + 1,
	}
	if out.After, err = parseTime("after", f.after); err != nil {
		return out, err
	}
	out.Before, err = parseTime("before", f.before)
	return out, err
}

// checkVerb refuses a verb that no act has. The beginning of some, up to a dot, is good
// for all of them.
func checkVerb(verb string) error {
	var words []string
	for _, v := range store.Verbs() {
		word := string(v)
		if verb == "" || word == verb || strings.HasPrefix(word, verb+".") {
			return nil
		}
		words = append(words, word)
	}
	return usage("--verb "+verb+" is none that is kept", meant(verb, words, "it is one of "+strings.Join(words, ", ")))
}

func (s *session) listActs(ctx context.Context, f auditFlags, as string) error {
	filter, err := f.filter()
	if err != nil {
		return err
	}
	st, err := s.existing(ctx)
	if err != nil {
		return err
	}
	acts, err := st.Acts(ctx, filter) // one more than wanted tells whether there are more
	if err != nil {
		return err
	}
	rows := make([]view.Act, min(len(acts), f.limit))
	for i := range rows {
		rows[i] = view.OfAct(acts[i])
	}
	l := actListing(rows)
	if len(acts) > f.limit {
		next := rows[len(rows)-1].Seq
		l.extra = map[string]any{"next_past": next}
		defer s.say("there are more: show them with --past %d\n", next)
	}
	return show(s, as, l)
}

func actListing(rows []view.Act) listing[view.Act] {
	return listing[view.Act]{
		kind: "AuditList", rows: rows, name: func(r view.Act) string { return strconv.FormatInt(r.Seq, 10) },
		columns: []column[view.Act]{
			{head: "NUMBER", yields: 4, right: true, cell: func(r view.Act) string { return strconv.FormatInt(r.Seq, 10) }},
			when("AT", func(r view.Act) time.Time { return r.At }),
			{head: "BY", flex: true, cell: func(r view.Act) string { return cmp.Or(r.Actor, "-") }},
			{head: "VERB", cell: func(r view.Act) string { return r.Verb }},
			{head: "COUNT", yields: 3, right: true, cell: func(r view.Act) string { return strconv.Itoa(r.Count) }},
			{head: "WHAT", flex: true, cell: what},
			{head: "FILTER", yields: 2, flex: true, cell: func(r view.Act) string { return cmp.Or(r.Filter, "-") }},
			{head: "BEFORE", wide: true, cell: func(r view.Act) string { return cmp.Or(r.Was, "-") }},
			{head: "AFTER", wide: true, cell: func(r view.Act) string { return cmp.Or(r.Became, "-") }},
			{head: "REASON", yields: 1, flex: true, cell: func(r view.Act) string { return cmp.Or(r.Reason, "-") }},
		},
	}
}
