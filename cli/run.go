package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/config"
	"github.com/posthorn/posthorn/internal/tap"
	"github.com/posthorn/posthorn/store"
)

// The groups of commands in the help.
const (
	groupRun     = "run"
	groupOperate = "operate"
	groupSetup   = "setup"
	groupApp     = "app"
)

// Run runs one command line and returns its exit code. It returns when
// everything that it started has ended.
func Run(ctx context.Context, app App, std IO) int {
	if app.Mux == nil {
		app.Mux = posthorn.NewMux()
	}
	if app.Name == "" {
		app.Name = std.Program
	}
	if app.Name == "" {
		app.Name = "posthorn"
	}
	if !std.StderrTerminal { // there lines are written over
		std.Stderr = tap.Writer(tap.Line, std.Stderr)
	}
	s := &session{app: app, io: std}
	ctx, stop := s.watchSignals(store.Acting(ctx, store.Act{Actor: s.actor()}))
	defer stop()
	root := s.root()
	root.SetArgs(std.Args)
	cmd, err := root.ExecuteContextC(ctx)
	if !s.ran && err != nil {
		err = usageFault(cmd, err)
	}
	err = s.interruption(ctx, err)
	if closing := s.close(); err == nil {
		err = closing
	}
	return s.report(err)
}

// root builds the command tree.
func (s *session) root() *cobra.Command {
	root := &cobra.Command{
		Use: s.app.Name, Version: s.version(),
		Short: "Background messages: dispatch them, handle them, and see what became of them",
		Example: s.example(`
			init                             # write a configuration and a first handler
			dispatch welcome '{"to":"a@b"}'  # send a message
			why ID                           # where a message is, and what it waits for`),
		SilenceErrors: true, SilenceUsage: true, Args: cobra.ArbitraryArgs,
		RunE:              s.family,
		PersistentPreRunE: func(*cobra.Command, []string) error { s.ran = true; return nil },
	}
	root.SetIn(s.io.Stdin)
	root.SetOut(s.io.Stdout)
	root.SetErr(s.io.Stderr)
	root.SetFlagErrorFunc(flagFault)
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) { s.help(cmd) })
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	s.globalFlags(root)
	root.AddGroup(
		&cobra.Group{ID: groupRun, Title: "Run"}, &cobra.Group{ID: groupOperate, Title: "Operate"},
		&cobra.Group{ID: groupSetup, Title: "Set up"}, &cobra.Group{ID: groupApp, Title: "This application"},
	)
	s.add(root, groupRun, s.upCommand(), s.superviseCommand(), s.consumeCommand(), s.dispatchCommand(), s.stopCommand(),
		s.restartCommand(), s.monitorCommand())
	root.AddCommand(s.workCommand(), s.guardCommand())
	s.add(root, groupOperate, s.statusCommand(), s.statsCommand(), s.healthCommand(), s.failedCommand(), s.opsCommand(),
		s.whyCommand(), s.queuesCommand(), s.workersCommand(), s.auditCommand(), s.doctorCommand(), s.tortureCommand(),
		s.alertsCommand())
	s.add(root, groupSetup, s.initCommand(), s.configCommand(), s.transportCommand(), s.migrateCommand(),
		s.versionCommand())
	s.add(root, groupOperate, s.aliveCommand())
	s.add(root, groupSetup, s.generateCommand())
	root.AddCommand(s.symfonyCommands()...)
	root.AddCommand(s.listenerCommand())
	checkArguments(root)
	if s.app.Commands != nil {
		s.add(root, groupApp, s.app.Commands(s.prepare)...)
	}
	root.SetCompletionCommandGroupID(groupSetup)
	root.SetHelpCommandGroupID(groupSetup)
	return root
}

func (s *session) add(root *cobra.Command, group string, cmds ...*cobra.Command) {
	for _, cmd := range cmds {
		cmd.GroupID = group
		root.AddCommand(cmd)
	}
}

func (s *session) globalFlags(root *cobra.Command) {
	f := root.PersistentFlags()
	f.StringVar(&s.flags.config, "config", "", "configuration `file` (default $POSTHORN_CONFIG, else posthorn.yaml)")
	f.StringVar(&s.flags.store, "store", "", "`address` of the store, like sqlite:posthorn.db")
	f.StringVar(&s.flags.logFormat, "log-format", "", "text or json")
	f.StringVar(&s.flags.logLevel, "log-level", "", "debug, info, warn or error")
	f.CountVarP(&s.flags.verbose, "verbose", "v", "log everything: --log-level=debug")
}

// family is what a command does that only has subcommands: it shows them, or
// says which one was meant.
func (s *session) family(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		s.help(cmd)
		return nil
	}
	var names []string
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	slices.Sort(names)
	try := cmd.CommandPath() + " --help"
	if meant := config.Suggest(args[0], names); meant != "" {
		try = fmt.Sprintf("did you mean `%s %s`?", cmd.CommandPath(), meant)
	}
	return &fault{
		Code: "E-USAGE", Title: fmt.Sprintf("unknown command `%s`", args[0]), Exit: exitUsage, Try: try,
		What: fmt.Sprintf("%s has no command `%s`", cmd.CommandPath(), args[0]),
	}
}

// example sets the program's name before each line.
func (s *session) example(lines string) string {
	var out []string
	for line := range strings.Lines(strings.TrimSpace(lines)) {
		out = append(out, "  "+s.app.Name+" "+strings.TrimSpace(line))
	}
	return strings.Join(out, "\n")
}
