package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/internal/config"
	"github.com/posthorn/posthorn/store"
)

// settingRow is a setting, as output shows it.
type settingRow struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Origin string `json:"origin"`
}

func (s *session) configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "config", Short: "Check, show and explain the configuration",
		Example: s.example(`
			config validate
			config show
			config explain programs.messenger-consume.limits.memory`),
		Args: cobra.ArbitraryArgs, RunE: s.family,
	}
	cmd.AddCommand(s.configValidateCommand(), s.configShowCommand(), s.configExplainCommand())
	return cmd
}

func (s *session) configValidateCommand() *cobra.Command {
	return &cobra.Command{
		Use: "validate", Short: "Check the configuration; every fault is told at once",
		Example: s.example(`
			config validate
			config validate --config /etc/shop/posthorn.yaml`),
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := s.config()
			if err != nil {
				return err
			}
			_, err = tokenOf(cfg, "metrics", cfg.Metrics)
			_, another := tokenOf(cfg, "api", cfg.API)
			if err != nil && another != nil {
				s.report(err) // both are told
			}
			if err = cmp.Or(another, err); err != nil {
				return err
			}
			if first, second := cfg.Clash(config.KeyMetrics, config.KeyAPI, config.KeyHealth); first != "" {
				s.say("%s: processes apart may have it, but up listens at both, and refuses that\n",
					config.ClashText(first, second))
			}
			for _, d := range judgeSecretFiles(cfg) {
				if d.Level != store.LevelOK {
					s.say("%s\n", strings.TrimSuffix(d.Evidence+"; "+d.Fix, "; "))
				}
			}
			s.print("%s: valid\n", cmp.Or(cfg.File, "no configuration file: the defaults"))
			return nil
		},
	}
}

// listenOnce refuses to listen at one address twice in this process.
func listenOnce(cfg *config.Config, keys ...string) error {
	first, second := cfg.Clash(keys...)
	if first == "" {
		return nil
	}
	at, _ := cfg.Setting(second)
	return &fault{
		Code: config.CodeDuplicate, Title: "two listeners have one address", Exit: exitConfig, Where: at.Origin,
		What: config.ClashText(first, second) + ", and this process would listen at both",
		Try:  "give each of them a port of its own",
	}
}

func (s *session) configShowCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "show", Short: "Show every setting with its value and its origin; secrets are hidden",
		Example: s.example(`
			config show
			config show -o json`),
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := s.config()
			if err != nil {
				return err
			}
			return s.showSettings(output, cfg.Settings())
		},
	}
	outputFlag(cmd, &output)
	return cmd
}

func (s *session) showSettings(as string, settings []config.Setting) error {
	rows := make([]settingRow, len(settings))
	for i, v := range settings {
		rows[i] = settingRow{v.Key, v.Value, v.Origin}
	}
	return show(s, as, listing[settingRow]{
		kind: "SettingList", rows: rows, name: func(r settingRow) string { return r.Key },
		columns: []column[settingRow]{
			{head: "KEY", cell: func(r settingRow) string { return r.Key }},
			{head: "VALUE", flex: true, cell: func(r settingRow) string { return r.Value }},
			{head: "FROM", yields: 1, flex: true, cell: func(r settingRow) string { return r.Origin }},
		},
	})
}

func (s *session) configExplainCommand() *cobra.Command {
	return &cobra.Command{
		Use: "explain [KEY]", Short: "Say what a setting means, its value, its origin and its default",
		Example: s.example(`
			config explain
			config explain store
			config explain programs.messenger-consume.limits`),
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				s.explainReference()
				return nil
			}
			return s.explainKey(args[0])
		},
	}
}

// explainReference lists every key that there is.
func (s *session) explainReference() {
	for i, f := range config.Reference() {
		if i > 0 {
			s.print("\n")
		}
		s.print("%s\n", f.Pattern)
		s.explainField(f)
	}
}

func (s *session) explainField(f config.Field) {
	s.print("  means    %s\n", f.Doc)
	unit := string(f.Kind)
	if len(f.Choices) > 0 {
		unit = "one of " + strings.Join(f.Choices, ", ")
	}
	s.print("  unit     %s\n", unit)
	if f.Default != "" {
		s.print("  default  %s\n", f.Default)
	}
	if v := f.Variable(); v != "" {
		s.print("  env      %s\n", v)
	}
}

// explainKey explains a setting, or all the settings below a key. What the configuration
// does not name, and a configuration that cannot be read, leave what the reference says.
func (s *session) explainKey(key string) error {
	fields := slices.DeleteFunc(config.Reference(), func(f config.Field) bool { return !f.Covers(key) })
	cfg, err := s.config()
	if err != nil && len(fields) == 0 {
		return err
	}
	if err != nil {
		cfg = &config.Config{}
		s.say("the configuration has faults, so no values are shown: %s config validate\n", s.app.Name)
	}
	below := slices.DeleteFunc(slices.Clone(cfg.Settings()), func(v config.Setting) bool {
		return v.Key != key && !strings.HasPrefix(v.Key, key+".")
	})
	for i, v := range below {
		if i > 0 {
			s.print("\n")
		}
		s.print("%s\n  value    %s\n  from     %s\n", v.Key, v.Value, v.Origin)
		s.explainField(v.Field)
	}
	if len(below) > 0 {
		return nil
	}
	for i, f := range fields {
		if i > 0 {
			s.print("\n")
		}
		s.print("%s\n", f.Pattern)
		s.explainField(f)
	}
	if len(fields) > 0 {
		return nil
	}
	return unknownKey(cfg, key)
}

func unknownKey(cfg *config.Config, key string) error {
	var keys []string
	for _, v := range cfg.Settings() {
		for k := v.Key; k != ""; k = parent(k) {
			keys = append(keys, k)
		}
	}
	return &fault{
		Code: "E-CONFIG-KEY", Title: fmt.Sprintf("unknown configuration key `%s`", key), Exit: exitUsage,
		What: "no setting has this name", Try: meant(key, keys, "config explain, without a key, lists them all"),
	}
}

func parent(key string) string {
	i := strings.LastIndexByte(key, '.')
	return key[:max(i, 0)]
}
