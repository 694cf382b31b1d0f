package cli

import (
	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/cli/generate"
	"github.com/posthorn/posthorn/metrics"
)

// generateSightCommands write files for what looks at the workers from outside. They are
// the same for every configuration.
func (s *session) generateSightCommands() []*cobra.Command {
	return []*cobra.Command{
		s.generateFixedCommand(fixedFiles{
			use: "prometheus-rules", short: "Write recording and alerting rules for Prometheus",
			example: `
				generate prometheus-rules
				generate prometheus-rules --out /etc/prometheus/rules`,
			files: func() ([]generate.File, error) {
				return []generate.File{{Name: "posthorn-rules.yml", Text: string(metrics.Rules())}}, nil
			},
		}),
		s.generateFixedCommand(fixedFiles{
			use: "alertmanager", short: "Write an example of a configuration for Alertmanager",
			example: `generate alertmanager`,
			files: func() ([]generate.File, error) {
				return []generate.File{{Name: "alertmanager.yml", Text: string(metrics.Alertmanager())}}, nil
			},
		}),
		s.generateFixedCommand(fixedFiles{
			use: "grafana", short: "Write dashboards for Grafana: overview, queues, workers, dead letters",
			example: `generate grafana --out /var/lib/grafana/dashboards`, files: dashboardFiles,
		}),
	}
}

// fixedFiles are files that do not depend on the configuration, and their command.
type fixedFiles struct {
	use, short, example string
	files               func() ([]generate.File, error)
}

func (s *session) generateFixedCommand(f fixedFiles) *cobra.Command {
	var g generated
	cmd := &cobra.Command{
		Use: f.use, Short: f.short, Example: s.example(f.example), Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			files, err := f.files()
			return s.emit(&g, files, err)
		},
	}
	g.defineOut(cmd)
	return cmd
}

func dashboardFiles() ([]generate.File, error) {
	boards, err := metrics.Dashboards()
	var files []generate.File
	for _, b := range boards {
		files = append(files, generate.File{Name: b.Name + ".json", Text: string(b.JSON)})
	}
	return files, err
}
