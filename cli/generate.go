package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/cli/generate"
)

// generated is what the kinds of generated files have in common: their flags.
type generated struct {
	name, user, binary, directory, environment string
	out                                        string
	force, perProgram                          bool
}

func (s *session) generateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "generate", Short: "Write files for systemd, Supervisor, cron, Kubernetes, Prometheus and Grafana",
		Long: `Write the files by which another process manager runs the workers of the configuration: hardened, complete, and
without secrets. They go to stdout, or with --out into a directory. The store is not asked.`,
		Example: s.example(`
			generate systemd --out /etc/systemd/system
			generate supervisor --user www-data
			generate k8s --image registry.example.org/shop:1.2`),
		Args: cobra.ArbitraryArgs, RunE: s.family,
	}
	cmd.AddCommand(s.generateSystemdCommand(), s.generateSupervisorCommand(), s.generateKubernetesCommand(),
		s.generateCronCommand())
	cmd.AddCommand(s.generateSightCommands()...)
	return cmd
}

// defineOut gives a command the flags that say where the files go.
func (g *generated) defineOut(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&g.out, "out", "", "write into this `directory` instead of stdout")
	fs.BoolVar(&g.force, "force", false, "overwrite files that exist")
	group(cmd, "Where to", "out", "force")
}

// define gives a command the flags of those that run workers.
func (g *generated) define(cmd *cobra.Command, s *session) {
	g.defineOut(cmd)
	fs := cmd.Flags()
	fs.StringVar(&g.name, "name", s.app.Name, "with which all `names` begin")
	fs.StringVar(&g.binary, "binary", "", "the program's `path` (default: where this one is)")
}

// defineHost adds the flags of those that run processes on this host.
func (g *generated) defineHost(cmd *cobra.Command, user, directory string) {
	fs := cmd.Flags()
	fs.StringVar(&g.user, "user", "", user)
	fs.StringVar(&g.directory, "working-directory", "", directory)
	fs.StringVar(&g.environment, "environment-file", "",
		"a `file` with secrets; it may be missing (default /etc/NAME/NAME.env)")
}

// plan collects what the files are made of.
func (s *session) plan(cmd *cobra.Command, g *generated) (generate.Plan, error) {
	cfg, err := s.config()
	if err != nil {
		return generate.Plan{}, err
	}
	p := generate.Plan{
		Name: g.name, User: g.user, Programs: cfg.Programs, PerProgram: g.perProgram, Flags: s.passedFlags(),
		Notifies: hasCommand(cmd, "work"), Monitor: []string{"health"},
	}
	if hasCommand(cmd, "monitor") {
		p.Monitor = []string{"monitor", "--once"}
	}
	if p.Binary, err = s.binary(g.binary); err != nil {
		return p, fmt.Errorf("find this program: %w", err)
	}
	if p.Directory, err = filepath.Abs(g.directory); err != nil {
		return p, err
	}
	p.Environment = cmp.Or(g.environment, filepath.Join("/etc", p.Name, p.Name+".env"))
	if cfg.File != "" {
		if p.Config, err = filepath.Abs(cfg.File); err != nil {
			return p, err
		}
	}
	p.Database = sqliteFile(cfg.Store.Reveal(), p.Directory)
	if len(s.app.Mux.Kinds()) == 0 && s.app.Setup == nil && g.binary == "" {
		s.say("note: %s has no handler compiled in; name your application's own program by --binary\n", s.app.Name)
	}
	return p, nil
}

// hasCommand reports whether the command line has a command.
func hasCommand(cmd *cobra.Command, name string) bool {
	return slices.ContainsFunc(cmd.Root().Commands(), func(c *cobra.Command) bool { return c.Name() == name })
}

// passedFlags are the flags of every command that were given to this one.
func (s *session) passedFlags() []string {
	var out []string
	for _, f := range []struct{ name, value string }{
		{"--store", s.flags.store}, {"--log-format", s.flags.logFormat}, {"--log-level", s.flags.logLevel},
	} {
		if f.value != "" {
			out = append(out, f.name, f.value)
		}
	}
	return out
}

// binary is where the program is, or will be.
func (s *session) binary(named string) (string, error) {
	if named != "" {
		return filepath.Abs(named)
	}
	return os.Executable()
}

// sqliteFile is the path of SQLite's file, or "" for a server.
func sqliteFile(dsn, dir string) string {
	rest, ok := strings.CutPrefix(dsn, "sqlite:")
	if !ok {
		return ""
	}
	file, _, _ := strings.Cut(strings.TrimPrefix(rest, "//"), "?")
	if !filepath.IsAbs(file) {
		file = filepath.Join(dir, file)
	}
	return filepath.Clean(file)
}

// hostPlan is a plan for processes on this host; it says what they will take
// for the store if that is not plain to see.
func (s *session) hostPlan(cmd *cobra.Command, g *generated) (generate.Plan, error) {
	p, err := s.plan(cmd, g)
	if err != nil {
		return p, err
	}
	if strings.Contains(p.Binary, "/go-build") {
		return p, &fault{
			Code: "E-GENERATE-BINARY", Title: "this program will not last", Exit: exitUsage,
			What: p.Binary + " is a build of `go run`",
			Try:  "build it, and run generate of what was built, or name it by --binary",
		}
	}
	at, _ := s.cfg.Setting("store")
	if strings.Contains(at.Origin, "env ") {
		s.say("note: the store's address is from %s; write it to %s, too\n", at.Origin, p.Environment)
	}
	if p.Database != "" && !strings.Contains(at.Value, p.Database) {
		s.say("note: the store is %s; elsewhere than in that directory, %s means another one\n", p.Database, at.Value)
	}
	return p, nil
}

// emit writes the files, or tells why there are none.
func (s *session) emit(g *generated, files []generate.File, err error) error {
	var refused *generate.RefusalError
	switch {
	case errors.As(err, &refused):
		return &fault{Code: refused.Code, Title: refused.Title, What: refused.What, Where: refused.Where, Try: refused.Try,
			Exit: exitUsage, err: err}
	case err != nil:
		return err
	case g.out == "":
		for _, f := range files {
			if len(files) > 1 {
				s.print("# file: %s\n", f.Name)
			}
			if _, err := io.WriteString(s.io.Stdout, f.Text); err != nil { // it is made of what has been checked
				return err
			}
		}
		return nil
	}
	return s.emitInto(g.out, files, g.force)
}

// emitInto writes all the files, or none if one of them exists.
func (s *session) emitInto(dir string, files []generate.File, force bool) error {
	for _, f := range files {
		path := filepath.Join(dir, f.Name)
		if _, err := os.Lstat(path); err == nil && !force {
			return &fault{
				Code: "E-EXISTS", Title: "a file exists already", What: path + " would be overwritten; nothing was written",
				Exit: exitFailed, Try: "another directory, or --force",
			}
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // other programs read what is in it
		return cannotWrite(err)
	}
	for _, f := range files {
		path := filepath.Join(dir, f.Name)
		if err := replaceFile(path, f.Text); err != nil {
			return cannotWrite(err)
		}
		s.print("%s\n", path)
	}
	return nil
}

// replaceFile writes a file at once: who reads it sees the old one or the new
// one, and a link is replaced, not followed.
func replaceFile(path, text string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".posthorn-*")
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()) // other programs read it
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
