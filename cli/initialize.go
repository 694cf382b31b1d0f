package cli

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
)

//go:embed skeleton
var skeleton embed.FS

// skeletonFile is a file that init writes.
type skeletonFile struct {
	name   string
	source string      // among the embedded ones; .txt keeps the go tool from taking it for a package
	mode   fs.FileMode // a configuration may come to hold secrets
}

func skeletonFiles() []skeletonFile {
	return []skeletonFile{{"posthorn.yaml", "posthorn.yaml", 0o600}, {"main.go", "main.go.txt", 0o644}}
}

func (s *session) initCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "init [DIRECTORY]", Short: "Write posthorn.yaml and a first handler",
		Example: s.example(`
			init
			init ./shop
			init --force`),
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			dir := "."
			if len(args) > 0 {
				dir = args[0]
			}
			return s.initialize(dir, force)
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "overwrite files that exist")
	return cmd
}

// initialize writes all the files, or none of them if one exists already.
func (s *session) initialize(dir string, force bool) error {
	for _, file := range skeletonFiles() {
		path := filepath.Join(dir, file.name)
		if _, err := os.Lstat(path); err == nil && !force {
			return &fault{
				Code: "E-EXISTS", Title: "a file exists already", What: path + " would be overwritten; nothing was written",
				Exit: exitFailed, Try: "another directory, or --force",
			}
		}
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return cannotWrite(err)
	}
	for _, file := range skeletonFiles() {
		path := filepath.Join(dir, file.name)
		if err := writeSkeleton(path, file, force); err != nil {
			return cannotWrite(err)
		}
		s.print("%s\n", path)
	}
	s.say("next: go mod init, go mod tidy, go run . up; then in another terminal:\n")
	s.say("  go run . dispatch welcome '{\"to\":\"a@example.org\"}'\n")
	return nil
}

func cannotWrite(err error) error {
	return &fault{
		Code: "E-FILE-WRITE", Title: "cannot write a file", What: err.Error(), Exit: exitFailed, err: err,
		Try: "check that this user may write the directory",
	}
}

func writeSkeleton(path string, file skeletonFile, force bool) error {
	text, err := skeleton.ReadFile("skeleton/" + file.source)
	if err != nil {
		return fmt.Errorf("read skeleton: %w", err)
	}
	flag := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if force {
		flag = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	f, err := os.OpenFile(path, flag, file.mode)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
}
