package cli

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/cli/generate"
	"github.com/posthorn/posthorn/internal/config"
)

func (s *session) generateSystemdCommand() *cobra.Command {
	var g generated
	var version int
	cmd := &cobra.Command{
		Use: "systemd", Short: "Write units for systemd",
		Long: `Write a service that runs ` + "`up`" + `, or with --per-program a template for each program, whose instances
are workers, a target that starts them all, and a timer that judges them.`,
		Example: s.example(`
			generate systemd --user shop
			generate systemd --out /etc/systemd/system --config /etc/shop/posthorn.yaml
			generate systemd --per-program --out units`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			g.user = cmp.Or(g.user, g.name)
			g.directory = cmp.Or(g.directory, filepath.Join("/var/lib", g.name))
			p, err := s.hostPlan(cmd, &g)
			if err != nil {
				return err
			}
			files, err := generate.Systemd(p, version)
			return s.emit(&g, files, err)
		},
	}
	g.define(cmd, s)
	g.defineHost(cmd, "who runs it: a `user` (default: the name)",
		"its `directory` (default /var/lib/NAME, which systemd makes)")
	cmd.Flags().BoolVar(&g.perProgram, "per-program", false, "let systemd run each worker, instead of `up`")
	cmd.Flags().IntVar(&version, "systemd-version", generate.SystemdDefault, "the `version` on the host that is meant")
	return cmd
}

func (s *session) generateSupervisorCommand() *cobra.Command {
	var g generated
	var o generate.SupervisorOptions
	cmd := &cobra.Command{
		Use: "supervisor", Short: "Write a configuration for Supervisor",
		Long: `Write a file for Supervisor's conf.d: a program for each program of the configuration, a group of them, and an
event listener that starts again what Supervisor gave up. With --standalone it is a whole configuration, for a
supervisord of its own that needs no root.`,
		Example: s.example(`
			generate supervisor --user www-data --out /etc/supervisor/conf.d
			generate supervisor --standalone --out deploy`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !o.Standalone {
				g.user = cmp.Or(g.user, g.name)
				o.Logs = cmp.Or(o.Logs, "/var/log/supervisor")
			}
			p, err := s.hostPlan(cmd, &g)
			if err != nil {
				return err
			}
			o.Listener = listenerName
			o.Logs = cmp.Or(o.Logs, p.Directory)
			files, err := generate.Supervisor(p, o)
			return s.emit(&g, files, err)
		},
	}
	g.define(cmd, s)
	g.defineHost(cmd, "who runs the workers: a `user` (default: the name; with --standalone, who runs supervisord)",
		"their `directory` (default: this one)")
	cmd.Flags().StringVar(&o.Logs, "log-directory", "",
		"where log files go: a `directory` (default /var/log/supervisor; with --standalone, the working directory)")
	cmd.Flags().BoolVar(&o.Standalone, "standalone", false, "a whole configuration, for `supervisord -c`")
	return cmd
}

func (s *session) generateCronCommand() *cobra.Command {
	var g generated
	var o generate.CronOptions
	cmd := &cobra.Command{
		Use: "cron", Short: "Write a crontab that judges each minute",
		Long: `Write a crontab that judges the health each minute, never twice at the same time, and makes cron mail when it
is bad. Without --user it is for the command crontab; with --user it is a file for /etc/cron.d.`,
		Example: s.example(`
			generate cron
			generate cron --user shop --out /etc/cron.d
			generate cron --mail-to ops@example.org`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := s.hostPlan(cmd, &g)
			if err != nil {
				return err
			}
			o.System = g.user != ""
			o.Logs = cmp.Or(o.Logs, p.Directory)
			files, err := generate.Cron(p, o)
			return s.emit(&g, files, err)
		},
	}
	g.define(cmd, s)
	g.defineHost(cmd, "the `user` of a line in /etc/cron.d", "its `directory` (default: this one)")
	cmd.Flags().StringVar(&o.Logs, "log-directory", "",
		"where the log file goes: a `directory` (default: the working directory)")
	cmd.Flags().StringVar(&o.MailTo, "mail-to", "", "an `address` for MAILTO")
	return cmd
}

func (s *session) generateKubernetesCommand() *cobra.Command {
	var g generated
	var o generate.KubernetesOptions
	cmd := &cobra.Command{
		Use: "k8s", Aliases: []string{"kubernetes"}, Short: "Write a manifest for Kubernetes",
		Long: `Write a manifest: a ConfigMap with posthorn.yaml, a Deployment that runs ` + "`up`" + `, or with --per-program
one for each program, and a PodDisruptionBudget. A store in SQLite gets a StatefulSet of one replica with a volume.`,
		Example: s.example(`
			generate k8s --image registry.example.org/shop:1.2
			generate k8s --image shop:1.2 --namespace shop --replicas 3
			generate k8s --image shop:1.2 --per-program --cron-job`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Image == "" {
				return usage("k8s needs an image", "name the one that has the program: --image registry.example.org/shop:1.2")
			}
			p, err := s.plan(cmd, &g)
			if err != nil {
				return err
			}
			if g.binary == "" {
				p.Binary = "/usr/local/bin/" + filepath.Base(p.Binary)
			}
			if at := slices.Index(p.Flags, "--store"); at >= 0 { // the pods have it from the Secret
				p.Flags = slices.Delete(p.Flags, at, at+2)
			}
			if o.ConfigMap, err = publicText(p.Config); err != nil {
				return err
			}
			o.Secret = cmp.Or(o.Secret, p.Name+"-env")
			files, err := generate.Kubernetes(p, o)
			return s.emit(&g, files, err)
		},
	}
	g.define(cmd, s)
	fs := cmd.Flags()
	fs.Lookup("binary").Usage = "the program's `path` in the image (default /usr/local/bin and this one's name)"
	fs.StringVar(&o.Image, "image", "", "the `image` that has the program")
	fs.StringVar(&o.Namespace, "namespace", "", "the `namespace` (default: kubectl's)")
	o.Replicas = 1
	countFlag(fs, &o.Replicas, "replicas", "`N` pods, without --per-program")
	fs.StringVar(&o.Secret, "secret", "", "the `name` of the Secret with POSTHORN_STORE (default NAME-env)")
	fs.StringVar(&o.Storage, "storage", "5Gi", "the `size` of SQLite's volume")
	fs.BoolVar(&g.perProgram, "per-program", false, "a Deployment for each program, whose pods are workers")
	fs.BoolVar(&o.CronJob, "cron-job", false, "also a CronJob that judges each minute")
	return cmd
}

// publicText reads the configuration file, and refuses it when a line of it may
// hold a secret: whoever may look at the cluster can read a ConfigMap.
func publicText(file string) (string, error) {
	if file == "" {
		return "# no configuration file: the defaults\n", nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("read configuration: %w", err)
	}
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		if config.NewDSN(strings.TrimSpace(line)).HasSecret() {
			return "", &fault{
				Code: "E-GENERATE-SECRET", Title: "the configuration may hold a secret", Exit: exitConfig,
				Where: fmt.Sprintf("%s:%d", file, number), What: "whoever may look at the cluster can read a ConfigMap",
				Try: "write ${NAME} there, like store: ${POSTHORN_STORE}, and put the value into the Secret",
			}
		}
	}
	return string(text), nil
}
