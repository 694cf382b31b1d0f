package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/internal/migrate"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/transport/open"
)

// migrationRow is a step of the schema, as output shows it.
type migrationRow struct {
	Version   int        `json:"version"`
	Name      string     `json:"name"`
	AppliedAt *time.Time `json:"applied_at"`
}

func (s *session) migrateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "migrate", Short: "Bring the store's schema forward, or show its steps",
		Example: s.example(`
			migrate status
			migrate plan
			migrate print
			migrate up`),
		Args: cobra.ArbitraryArgs, RunE: s.family,
	}
	cmd.AddCommand(s.migrateUpCommand(), s.migrateStatusCommand(), s.migratePlanCommand(), s.migratePrintCommand())
	return cmd
}

func (s *session) migrateUpCommand() *cobra.Command {
	return &cobra.Command{
		Use: "up", Short: "Bring the store's schema forward; the store is made if there is none",
		Example: s.example(`
			migrate up
			migrate up --store sqlite:/var/lib/shop/posthorn.db`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			n, err := s.bringForward(cmd.Context())
			if err == nil {
				s.say("applied %s\n", plural(n, "migration"))
			}
			return err
		},
	}
}

func (s *session) bringForward(ctx context.Context) (int, error) {
	cfg, err := s.config()
	if err != nil {
		return 0, err
	}
	n, err := open.Migrate(ctx, cfg.Store.Reveal())
	if err != nil {
		return n, s.storeFault(err)
	}
	return n, nil
}

func (s *session) migrations(ctx context.Context) ([]migrate.Migration, error) {
	cfg, err := s.config()
	if err != nil {
		return nil, err
	}
	ms, err := open.Migrations(ctx, cfg.Store.Reveal())
	if err != nil {
		return nil, s.storeFault(err)
	}
	return ms, nil
}

func (s *session) migrateStatusCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "status", Short: "Show which migrations have been applied",
		Example: s.example(`
			migrate status
			migrate status -o json`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ms, err := s.migrations(cmd.Context())
			if err != nil {
				return err
			}
			return s.showMigrations(output, ms)
		},
	}
	outputFlag(cmd, &output)
	return cmd
}

func (s *session) migratePlanCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "plan", Short: "Show what migrate up would do, and do nothing",
		Example: s.example(`
			migrate plan
			migrate plan -o json`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ms, err := s.migrations(cmd.Context())
			if err != nil {
				return err
			}
			pending := migrate.Pending(ms)
			if len(pending) == 0 {
				s.say("nothing to do\n")
			}
			return s.showMigrations(output, pending)
		},
	}
	outputFlag(cmd, &output)
	return cmd
}

func (s *session) showMigrations(as string, ms []migrate.Migration) error {
	rows := make([]migrationRow, len(ms))
	for i, m := range ms {
		rows[i] = migrationRow{Version: m.Version, Name: m.Name}
		if !m.AppliedAt.IsZero() {
			at := m.AppliedAt.UTC()
			rows[i].AppliedAt = &at
		}
	}
	return show(s, as, listing[migrationRow]{
		kind: "MigrationList", rows: rows, name: func(r migrationRow) string { return strconv.Itoa(r.Version) },
		columns: []column[migrationRow]{
			count("VERSION", func(r migrationRow) int64 { return int64(r.Version) }),
			{head: "NAME", flex: true, cell: func(r migrationRow) string { return r.Name }},
			{head: "APPLIED AT", cell: func(r migrationRow) string {
				if r.AppliedAt == nil {
					return "pending"
				}
				return moment(*r.AppliedAt)
			}},
		},
	})
}

// printFlags are the flags of migrate print.
type printFlags struct {
	pending    bool
	role, user string
}

func (s *session) migratePrintCommand() *cobra.Command {
	var f printFlags
	cmd := &cobra.Command{
		Use: "print [VERSION]", Short: "Print the SQL of the migrations, or of a role's rights, for whoever must approve it",
		Example: s.example(`
			migrate print
			migrate print --pending
			migrate print --role worker --user shop`),
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.role != "" || f.user != "" {
				return s.printGrants(f, args)
			}
			ms, err := s.migrations(cmd.Context())
			if err != nil {
				return err
			}
			return s.printSQL(ms, args, f.pending)
		},
	}
	cmd.Flags().BoolVar(&f.pending, "pending", false, "only those that have not been applied")
	cmd.Flags().StringVar(&f.role, "role", "", "the rights of a role instead: "+roles())
	cmd.Flags().StringVar(&f.user, "user", "", "who gets the rights: NAME, on MySQL NAME@HOST, too")
	_ = cmd.RegisterFlagCompletionFunc("role", // fails only for a flag that does not exist
		func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return strings.Split(roles(), ", "), cobra.ShellCompDirectiveNoFileComp
		})
	return cmd
}

// roles names the roles, for messages.
func roles() string {
	return strings.Join(strings.Fields(strings.Trim(fmt.Sprint(store.Roles()), "[]")), ", ")
}

// printGrants prints the rights of a role. The store need not be reachable.
func (s *session) printGrants(f printFlags, args []string) error {
	role := store.Role(f.role)
	try := s.app.Name + " migrate print --role worker --user NAME"
	switch {
	case !slices.Contains(store.Roles(), role):
		return usage(fmt.Sprintf("--role wants one of %s, not %q", roles(), f.role), try)
	case f.user == "":
		return usage("--role wants --user, who gets the rights", try)
	case f.pending || len(args) > 0:
		return usage("--role prints no migrations: leave the version and --pending out", try)
	}
	cfg, err := s.config()
	if err != nil {
		return err
	}
	text, err := open.Grants(cfg.Store.Reveal(), role, f.user)
	switch {
	case errors.Is(err, store.ErrUser):
		return usage("--user: "+err.Error(), try)
	case errors.Is(err, store.ErrNoRoles):
		return &fault{Code: "E-UNSUPPORTED", Title: "there is nobody to grant rights to", What: err.Error(), Exit: exitFailed,
			Try: "give the rights with chown and chmod, or name a server's --store", err: err}
	case err != nil:
		return s.storeFault(err)
	}
	for _, line := range grantNotes(role) {
		s.print("-- %s\n", line)
	}
	_, _ = io.WriteString(s.io.Stdout, text)
	return nil
}

// grantNotes are what an administrator has to know beside the statements.
func grantNotes(role store.Role) []string {
	const after = "Run this after migrate up, and again after an upgrade with a migration."
	switch role {
	case store.RoleOwner:
		return []string{"Run this before migrate up, which this user runs."}
	case store.RoleWorker:
		return []string{after, "The tables of the application need grants of their own."}
	}
	return []string{after}
}

func (s *session) printSQL(ms []migrate.Migration, args []string, pending bool) error {
	printed := 0
	for _, m := range ms {
		version := strconv.Itoa(m.Version)
		if len(args) > 0 && strings.TrimLeft(args[0], "0") != version || pending && !m.AppliedAt.IsZero() {
			continue
		}
		s.print("-- %04d %s\n", m.Version, m.Name)
		_, _ = io.WriteString(s.io.Stdout, strings.TrimSpace(m.SQL)+"\n")
		printed++
	}
	if printed > 0 {
		return nil
	}
	return &fault{
		Code: "E-NOTHING-MATCHED", Title: "nothing matched", What: "no migration fits", Exit: exitNothing,
		Try: s.app.Name + " migrate status",
	}
}

// transportRow is a transport, as output shows it.
type transportRow struct {
	Transport  string   `json:"transport"`
	DSN        string   `json:"dsn"`
	Queues     []string `json:"queues"`
	State      string   `json:"state"`
	Durability string   `json:"durability"`
}

func (s *session) transportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "transport", Short: "Set up and check the transports",
		Example: s.example(`
			transport setup
			transport check`),
		Args: cobra.ArbitraryArgs, RunE: s.family,
	}
	cmd.AddCommand(s.transportSetupCommand(), s.transportCheckCommand())
	return cmd
}

func (s *session) transportSetupCommand() *cobra.Command {
	return &cobra.Command{
		Use: "setup", Short: "Make the store, and what the transports need",
		Example: s.example(`
			transport setup
			transport setup --store sqlite:/var/lib/shop/posthorn.db`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return s.setupTransports(cmd.Context()) },
	}
}

func (s *session) setupTransports(ctx context.Context) error {
	n, err := s.bringForward(ctx)
	if err != nil {
		return err
	}
	st, err := s.existing(ctx)
	if err != nil {
		return err
	}
	s.say("store %s: %s, %s applied\n", s.cfg.Store, st.Capabilities().Durability, plural(n, "migration"))
	for _, t := range s.cfg.Transports {
		s.say("transport %s: ready\n", t.Name)
	}
	return nil
}

func (s *session) transportCheckCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "check", Short: "Open each transport, and say what its messages survive",
		Example: s.example(`
			transport check
			transport check -o json`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return s.checkTransports(cmd.Context(), output) },
	}
	outputFlag(cmd, &output)
	return cmd
}

func (s *session) checkTransports(ctx context.Context, as string) error {
	st, err := s.existing(ctx)
	if err != nil {
		return err
	}
	if err := st.Ping(ctx); err != nil {
		return err
	}
	var rows []transportRow
	for _, t := range s.cfg.Transports {
		opened, err := open.Transport(ctx, t.DSN.Reveal(), st)
		if err != nil {
			return fmt.Errorf("open transport %s: %w", t.Name, err)
		}
		rows = append(rows, transportRow{t.Name, t.DSN.String(), t.Queues, "ok", string(opened.Capabilities().Durability)})
	}
	return show(s, as, listing[transportRow]{
		kind: "TransportList", rows: rows, name: func(r transportRow) string { return r.Transport },
		columns: []column[transportRow]{
			{head: "TRANSPORT", cell: func(r transportRow) string { return r.Transport }},
			{head: "DSN", yields: 2, flex: true, cell: func(r transportRow) string { return r.DSN }},
			{head: "QUEUES", flex: true, cell: func(r transportRow) string { return strings.Join(r.Queues, ", ") }},
			{head: "STATE", cell: func(r transportRow) string { return r.State }},
			{head: "DURABILITY", yields: 1, flex: true, cell: func(r transportRow) string { return r.Durability }},
		},
	})
}
