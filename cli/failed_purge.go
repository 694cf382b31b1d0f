package cli

import (
	"bufio"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/failure"
	"github.com/posthorn/posthorn/store"
)

func restoreLetters() change {
	return change{
		use: "restore [ID...]", short: "Take back that dead letters were removed",
		long: `Make letters dead again that somebody removed. One is refused while a live message or another dead letter has
its id.`,
		examples: `
			failed restore ID
			failed restore --kind welcome
			failed restore --all --yes`,
		verb: "restore", done: "restored", action: store.ActionRestore, discarded: true,
		apply: func(st *store.Store) failure.Change { return st.RestoreLetters },
	}
}

// purgeLetters is what remove becomes with --purge.
func purgeLetters(discarded bool) change {
	return change{
		verb: "purge", done: "purged", final: true, discarded: discarded,
		apply: func(st *store.Store) failure.Change { return st.PurgeLetters },
	}
}

func purgeFlags(cmd *cobra.Command, f *changeFlags) {
	cmd.Flags().BoolVar(&f.purge, "purge", false, "delete them for good, with their history and revisions")
	cmd.Flags().BoolVar(&f.discarded, "discarded", false, "with --purge: those that were removed already")
	group(cmd, "What", "purge", "discarded")
}

// confirmChange asks y/N; what cannot be taken back has to be named.
func (s *session) confirmChange(c change, picked *chosen, question string, yes bool) error {
	if !c.final {
		return s.confirm(question, yes)
	}
	name := fmt.Sprintf("%s %d", c.verb, len(picked.seqs))
	if len(picked.seqs) == 1 {
		name = picked.ids[picked.seqs[0]]
	}
	return s.confirmName(question, name, yes)
}

// confirmName asks for a name to be typed before what cannot be taken back.
func (s *session) confirmName(question, name string, yes bool) error {
	if yes || !s.io.StdinTerminal {
		return s.confirm(question, yes)
	}
	s.say("%s It cannot be taken back. Type %s: ", question, name)
	answer, err := bufio.NewReader(s.io.Stdin).ReadString('\n')
	if err != nil {
		s.say("\n")
	}
	if strings.TrimSpace(answer) == name {
		return nil
	}
	return &fault{
		Code: "E-CONFIRM", Title: "not confirmed", What: "nothing was changed", Exit: exitConfirm,
		Try: "type " + name + ", or add --yes",
	}
}
