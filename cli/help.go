package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// groupKey is the annotation of a flag that holds its group.
const groupKey = "posthorn_group"

// group puts flags under a title in the command's help.
func group(cmd *cobra.Command, title string, names ...string) {
	for _, name := range names {
		_ = cmd.Flags().SetAnnotation(name, groupKey, []string{title}) // fails only for a flag that does not exist
	}
}

// help writes a command's help: examples first, then its flags in groups.
func (s *session) help(cmd *cobra.Command) {
	w := s.io.Stdout
	cmd.Flags().SortFlags = false
	about := cmd.Long
	if about == "" {
		about = cmd.Short + "."
	}
	_, _ = fmt.Fprintln(w, strings.TrimSpace(about))
	if cmd.Example != "" {
		_, _ = fmt.Fprintf(w, "\nExamples\n%s\n", cmd.Example)
	}
	if cmd.HasAvailableSubCommands() {
		_, _ = fmt.Fprintf(w, "\nUsage\n  %s COMMAND\n", cmd.CommandPath())
		s.helpCommands(cmd)
	} else {
		_, _ = fmt.Fprintf(w, "\nUsage\n  %s\n", cmd.UseLine())
	}
	helpFlags(w, "Flags", cmd.LocalNonPersistentFlags())
	helpFlags(w, "Flags of every command", cmd.Root().PersistentFlags())
	if cmd.HasAvailableSubCommands() {
		_, _ = fmt.Fprintf(w, "\n%s COMMAND --help says more about a command.\n", cmd.CommandPath())
	}
}

func (s *session) helpCommands(cmd *cobra.Command) {
	groups := cmd.Groups()
	if len(groups) == 0 {
		groups = []*cobra.Group{{Title: "Commands"}}
	}
	for _, g := range groups {
		title := "\n" + g.Title + "\n"
		for _, sub := range cmd.Commands() {
			if sub.GroupID != g.ID || !sub.IsAvailableCommand() {
				continue
			}
			_, _ = fmt.Fprintf(s.io.Stdout, "%s  %-14s %s\n", title, sub.Name(), sub.Short)
			title = ""
		}
	}
}

// helpFlags writes flags in their groups, in the order in which the groups
// first appear; those without one come last.
func helpFlags(w io.Writer, title string, flags *pflag.FlagSet) {
	flags.SortFlags = false
	sets, order := map[string]*pflag.FlagSet{}, []string(nil)
	flags.VisitAll(func(f *pflag.Flag) {
		name := title
		if g := f.Annotations[groupKey]; len(g) > 0 {
			name = g[0]
		}
		if f.Hidden {
			return
		}
		if sets[name] == nil {
			sets[name] = pflag.NewFlagSet(name, pflag.ContinueOnError)
			sets[name].SortFlags = false
			order = append(order, name)
		}
		sets[name].AddFlag(f)
	})
	slices.SortStableFunc(order, func(a, b string) int {
		switch {
		case a == title && b != title:
			return 1
		case b == title && a != title:
			return -1
		}
		return 0
	})
	for _, name := range order {
		_, _ = fmt.Fprintf(w, "\n%s\n%s", name, sets[name].FlagUsages())
	}
}
