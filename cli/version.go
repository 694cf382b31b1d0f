package cli

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// versionRow is the program's version, as output shows it.
type versionRow struct {
	Program string `json:"program"`
	Version string `json:"version"`
	Go      string `json:"go"`
	System  string `json:"system"`
}

// version is the application's version, or else that of its main module.
func (s *session) version() string {
	if s.app.Version != "" {
		return s.app.Version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}

func (s *session) versionCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "version", Short: "Print the version",
		Example: s.example(`
			version
			version -o json`),
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			row := versionRow{s.app.Name, s.version(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
			if output == formTable || output == formWide {
				s.print("%s %s (%s, %s)\n", row.Program, row.Version, row.Go, row.System)
				return nil
			}
			return show(s, output, listing[versionRow]{
				kind: "VersionList", rows: []versionRow{row}, name: func(r versionRow) string { return r.Version },
			})
		},
	}
	outputFlag(cmd, &output)
	return cmd
}
