package cli

import (
	"bufio"
	"strings"

	"github.com/spf13/cobra"
)

// confirmFlags gives a command --yes and Symfony's word for it.
func confirmFlags(cmd *cobra.Command, yes *bool) {
	cmd.Flags().BoolVarP(yes, "yes", "y", false, "do not ask")
	cmd.Flags().BoolVar(yes, "force", false, "the same, in Symfony's word")
	group(cmd, "Confirmation", "yes", "force")
}

// confirm asks before bulk work. Without a terminal nobody can be asked.
func (s *session) confirm(question string, yes bool) error {
	if yes {
		return nil
	}
	if !s.io.StdinTerminal {
		return &fault{
			Code: "E-CONFIRM", Title: "confirmation needed", What: question, Exit: exitConfirm,
			Try: "add --yes; there is no terminal to ask on",
		}
	}
	s.say("%s [y/N] ", question)
	answer, err := bufio.NewReader(s.io.Stdin).ReadString('\n')
	if err != nil {
		s.say("\n")
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return &fault{
		Code: "E-CONFIRM", Title: "not confirmed", What: "nothing was changed", Exit: exitConfirm,
		Try: "answer y, or add --yes",
	}
}
