package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/failure"
	"github.com/posthorn/posthorn/failure/view"
	"github.com/posthorn/posthorn/store"
)

// shortMark is how much of a fingerprint a table shows; as much as finds a group again
// in all but odd cases.
const shortMark = 8

// maxTitle bounds a fault in a table, so that one with a long error does not make the lines
// of all others long.
const maxTitle = 120

// mark is the fingerprint for a table.
func mark(r view.Group) string {
	if r.Fingerprint == "" {
		return "(none yet)"
	}
	return r.Fingerprint[:min(shortMark, len(r.Fingerprint))]
}

// bars draws numbers as bars of eight heights.
func bars(ns []int64) string {
	most := int64(1)
	for _, n := range ns {
		most = max(most, n)
	}
	var b strings.Builder
	for _, n := range ns {
		switch {
		case n == 0:
			b.WriteByte('.')
		default:
			b.WriteRune('▁' + rune((n*8-1)/most))
		}
	}
	return b.String()
}

func (s *session) groupsCommand() *cobra.Command {
	var (
		f          failure.GroupFilter
		states     []string
		by, output string
	)
	cmd := &cobra.Command{
		Use: "groups", Short: "List dead letters by what they died of",
		Long: `List the groups of dead letters: those of one group died of the same fault. Groups that are muted or resolved,
and those whose letters are gone, are shown with --all or --state. With --by it counts the dead letters by kind, queue,
type of error, class or day instead.`,
		Example: s.example(`
			failed groups
			failed groups --by day --kind welcome
			failed groups show 1f0c
			failed groups ack 1f0c --note 'the bank changed its format'`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, state := range states {
				if !slices.Contains(store.GroupStates(), store.GroupState(state)) {
					return usage("--state "+state+" is none", "open, acknowledged, muted, resolved or regressed")
				}
				f.States = append(f.States, store.GroupState(state))
			}
			switch {
			case by == "":
				return s.listGroups(cmd.Context(), f, output)
			case f.All || len(states) > 0:
				return usage("--by contradicts --all and --state", "only groups by fault have a state")
			}
			filter := store.LetterFilter{Kind: f.Kind, Class: string(f.Class)}
			return s.listFacets(cmd.Context(), store.Facet(by), filter, output)
		},
	}
	cmd.Flags().StringVar(&by, "by", "", "by this `property` instead: "+facetNames())
	cmd.Flags().BoolVar(&f.All, "all", false, "muted and resolved ones, and those without letters, too")
	cmd.Flags().StringSliceVar(&states, "state", nil, "only in this `state`, like regressed")
	cmd.Flags().StringVar(&f.Kind, "kind", "", "only of this `kind`")
	cmd.Flags().StringVar((*string)(&f.Class), "class", "", "only whose last attempt ended in this `class`")
	group(cmd, "Which", "by", "all", "state", "kind", "class")
	outputFlag(cmd, &output)
	cmd.AddCommand(s.groupShowCommand())
	for _, c := range groupChanges() {
		cmd.AddCommand(s.groupChangeCommand(c))
	}
	return cmd
}

func (s *session) listGroups(ctx context.Context, f failure.GroupFilter, as string) error {
	st, err := s.existing(ctx)
	if err != nil {
		return err
	}
	gs, hidden, err := failure.Groups(ctx, st, f)
	if err == nil && len(gs) == 0 { // a group may have a class that no letter has any more
		err = knownClass(ctx, st, store.LetterFilter{Class: string(f.Class)})
	}
	if err != nil {
		return err
	}
	rows := make([]view.Group, len(gs))
	for i, g := range gs {
		rows[i] = view.OfGroup(g)
		if g.Fingerprint == "" {
			s.say("%s of an older version will be grouped by a worker's housekeeping\n", plural(int(g.Count), "letter"))
		}
	}
	if err := show(s, as, groupListing(rows)); err != nil {
		return err
	}
	s.sayHidden(hidden)
	return nil
}

// sayHidden says what a list of groups has left out although its letters are dead.
func (s *session) sayHidden(hidden []store.Group) {
	letters := 0
	for _, g := range hidden {
		letters += int(g.Count)
	}
	are := map[bool]string{true: "is", false: "are"}[len(hidden) == 1]
	if len(hidden) > 0 {
		s.say("%s with %s %s muted or resolved, and not shown: %s failed groups --all\n", plural(len(hidden), "group"),
			plural(letters, "dead letter"), are, s.app.Name)
	}
}

func groupListing(rows []view.Group) listing[view.Group] {
	return listing[view.Group]{
		kind: "FailedGroups", rows: rows, name: func(r view.Group) string { return r.Fingerprint },
		columns: []column[view.Group]{
			{head: "GROUP", cell: mark},
			{head: "COUNT", right: true, cell: func(r view.Group) string { return strconv.FormatInt(r.Count, 10) }},
			{head: fmt.Sprintf("LAST %d H", store.TrendHours), yields: 2, cell: func(r view.Group) string {
				return bars(r.Trend)
			}},
			{head: "STATE", cell: func(r view.Group) string { return r.State }},
			{head: "KIND", yields: 1, flex: true, cell: func(r view.Group) string { return r.Kind }},
			{head: "CLASS", wide: true, cell: func(r view.Group) string { return r.Class }},
			{head: "TYPE", wide: true, cell: func(r view.Group) string { return r.ErrorType }},
			when("FIRST SEEN", func(r view.Group) time.Time { return r.First }).yielding(5),
			{head: "BUILD", wide: true, cell: func(r view.Group) string { return r.FirstBuild }},
			when("LAST SEEN", func(r view.Group) time.Time { return r.Last }).yielding(4),
			{head: "FAULT", most: maxTitle, flex: true, cell: func(r view.Group) string { return r.Title }},
			{head: "NOTE", yields: 3, flex: true, cell: func(r view.Group) string { return r.Note }},
		},
	}
}

func (s *session) groupShowCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "show FINGERPRINT", Short: "Show a group of dead letters",
		Example: s.example(`failed groups show 1f0c`), Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return s.showGroup(cmd.Context(), args[0], output) },
	}
	outputFlag(cmd, &output)
	return cmd
}

func (s *session) showGroup(ctx context.Context, prefix, as string) error {
	st, err := s.existing(ctx)
	if err != nil {
		return err
	}
	g, err := s.findGroup(ctx, st, prefix)
	if err != nil {
		return err
	}
	r := view.OfGroup(g)
	if as != formTable && as != formWide {
		return show(s, as, groupListing([]view.Group{r}))
	}
	line := func(name, value string) { s.print("%-11s %s\n", name, value) }
	line("group", r.Fingerprint)
	line("fault", r.Title)
	line("kind", r.Kind)
	line("class", strings.TrimSpace(r.Class+" "+r.ErrorType))
	line("letters", fmt.Sprintf("%d dead now, by hour %s", r.Count, bars(r.Trend)))
	line("first seen", strings.TrimSpace(moment(r.First)+" "+r.FirstBuild))
	if !r.Last.IsZero() {
		line("last seen", moment(r.Last))
		line("sample", r.Sample+": "+r.SampleError)
	}
	line("state", fmt.Sprintf("%s since %s %s", r.State, moment(r.Changed), r.Actor))
	if r.Note != "" {
		line("note", r.Note)
	}
	s.print("\ntry %s failed list --group %s\n", s.app.Name, mark(r))
	return nil
}

// findGroup finds a group by the beginning of its fingerprint.
func (s *session) findGroup(ctx context.Context, st *store.Store, prefix string) (store.Group, error) {
	g, err := failure.FindGroup(ctx, st, prefix)
	return g, s.groupFault(err)
}

// A groupChange is something to say of a group.
type groupChange struct {
	use, short string
	state      store.GroupState // empty: only the note
}

func groupChanges() []groupChange {
	return []groupChange{
		{"ack FINGERPRINT", "Say that somebody looks after a group", store.GroupAcknowledged},
		{"mute FINGERPRINT", "Do not list a group any more", store.GroupMuted},
		{"resolve FINGERPRINT", "Say that a fault is gone: the next death of it is a regression", store.GroupResolved},
		{"reopen FINGERPRINT", "Make a group an open one again", store.GroupOpen},
		{"note FINGERPRINT TEXT", "Write a note on a group; an empty one removes it", ""},
	}
}

func (s *session) groupChangeCommand(c groupChange) *cobra.Command {
	var note string
	verb, _, _ := strings.Cut(c.use, " ")
	cmd := &cobra.Command{
		Use: c.use, Short: c.short, Args: cobra.ExactArgs(1),
		Example: s.example(`failed groups ` + verb + ` 1f0c --note 'ticket 17'`),
	}
	change := store.GroupChange{}
	if c.state != "" {
		change.State = &c.state
		cmd.Flags().StringVar(&note, "note", "", "write this `text` on it, too")
		group(cmd, "What", "note")
	} else {
		cmd.Args, cmd.Example = cobra.ExactArgs(2), s.example(`failed groups note 1f0c 'ticket 17'`)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case c.state == "":
			change.Note = &args[1]
		case cmd.Flags().Changed("note"):
			change.Note = &note
		}
		return s.changeGroup(cmd.Context(), args[0], change)
	}
	return cmd
}

func (s *session) changeGroup(ctx context.Context, prefix string, c store.GroupChange) error {
	if c.Note != nil && len(*c.Note) > store.MaxNote {
		return usage(fmt.Sprintf("the note has %d bytes, and at most %d are kept", len(*c.Note), store.MaxNote),
			"say it shorter, or write where the rest is")
	}
	st, err := s.existing(ctx)
	if err != nil {
		return err
	}
	g, err := s.findGroup(ctx, st, prefix)
	if err != nil {
		return err
	}
	was, is, err := st.ChangeGroup(ctx, g.Fingerprint, c)
	if err != nil {
		return s.groupFault(err)
	}
	switch {
	case was.State != is.State:
		s.say("group %s is %s, and was %s\n", is.Fingerprint, string(is.State), string(g.State))
		s.sayUnresolved(is, g.Count)
	case was.Note != is.Note:
		s.say("group %s has another note\n", is.Fingerprint)
	default:
		s.say("group %s is as it was\n", is.Fingerprint)
	}
	return nil
}

// sayUnresolved says what a fault that is gone has left behind.
func (s *session) sayUnresolved(g store.Group, letters int64) {
	if g.State != store.GroupResolved || letters == 0 {
		return
	}
	are := map[bool]string{true: "is", false: "are"}[letters == 1]
	s.say("%s of it %s still there: %s failed retry --group %s\n", plural(int(letters), "dead letter"), are, s.app.Name,
		g.Fingerprint)
}

// groupFault words what may be wrong with a fingerprint.
func (s *session) groupFault(err error) error {
	switch {
	case errors.Is(err, store.ErrNoGroup):
		return &fault{
			Code: "E-NOTHING-MATCHED", Title: "no such group", What: err.Error(), Exit: exitNothing,
			Try: s.app.Name + " failed groups --all",
		}
	case errors.Is(err, failure.ErrAmbiguous):
		return usage(err.Error(), "give more of the fingerprint")
	}
	return err
}
