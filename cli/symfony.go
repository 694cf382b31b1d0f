package cli

import (
	"strings"

	"github.com/spf13/cobra"
)

// symfonyCommands are the names that Symfony's users have in their fingers and
// scripts. They run the native commands and are not listed in the help.
func (s *session) symfonyCommands() []*cobra.Command {
	show := s.failedShowCommand()
	s.withoutIDs(show)
	return []*cobra.Command{
		s.alias("messenger:consume", "consume", s.consumeCommand()),
		s.alias("messenger:stats", "stats", s.statsCommand()),
		s.alias("messenger:stop-workers", "stop-workers", s.stopCommand()),
		s.alias("messenger:setup-transports", "transport setup", s.transportSetupCommand()),
		s.alias("messenger:failed:show", "failed show", show),
		s.alias("messenger:failed:retry", "failed retry", s.changeCommand(retryLetters())),
		s.alias("messenger:failed:remove", "failed remove", s.changeCommand(removeLetters())),
		s.alias("messenger:health-check", "health", s.healthCommand()),
	}
}

// alias gives a native command another name, and says on a terminal what the
// native one is.
func (s *session) alias(name, native string, cmd *cobra.Command) *cobra.Command {
	_, args, _ := strings.Cut(cmd.Use, " ")
	cmd.Use, cmd.Hidden = strings.TrimSpace(name+" "+args), true
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if s.io.StderrTerminal {
			s.say("%s is `%s %s` here\n", name, s.app.Name, native)
		}
		return run(cmd, args)
	}
	return cmd
}

// withoutIDs makes show a list when it is given no id, as Symfony's is.
func (s *session) withoutIDs(show *cobra.Command) {
	most := defaultLetters
	show.Use, show.Args = "show [ID...]", cobra.ArbitraryArgs
	countFlag(show.Flags(), &most, "max", "at most `N`, without an id")
	run := show.RunE
	show.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return s.listFailed(cmd.Context(), letterFlags{limit: most}, cmd.Flag("output").Value.String())
		}
		return run(cmd, args)
	}
}
