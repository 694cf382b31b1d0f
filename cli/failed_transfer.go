package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/failure"
	"github.com/posthorn/posthorn/store"
)

func (s *session) failedExportCommand() *cobra.Command {
	var f letterFlags
	var out string
	var all bool
	cmd := &cobra.Command{
		Use: "export", Short: "Write dead letters to a file, to be imported elsewhere",
		Long: `Write dead letters with all that belongs to them as NDJSON, one a line, bodies in base64. Nothing is changed. A
file is new and of mode 0600.`,
		Example: s.example(`
			failed export --kind welcome -o welcome.ndjson
			failed export --all > letters.ndjson
			failed export --all --discarded -o removed.ndjson`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !all && !f.any() {
				return usage("no dead letter is named", "give a filter such as --kind, or --all")
			}
			return s.exportFailed(cmd.Context(), f, out)
		},
	}
	f.define(cmd)
	fs := cmd.Flags()
	fs.BoolVar(&all, "all", false, "all dead letters")
	fs.BoolVar(&f.discarded, "discarded", false, "those that somebody removed")
	countFlag(fs, &f.limit, "limit", "at most `N`, the oldest first")
	fs.StringVarP(&out, "output", "o", "-", "a new `file`; - is stdout")
	group(cmd, "Which", "all", "discarded", "limit")
	group(cmd, "Output", "output")
	return cmd
}

func (s *session) exportFailed(ctx context.Context, f letterFlags, name string) error {
	st, filter, err := s.narrowed(ctx, &f)
	if err != nil {
		return err
	}
	n, err := s.exportTo(ctx, st, filter, name)
	if err != nil {
		return err
	}
	if n == 0 {
		return s.nothingFits()
	}
	s.say("exported %s\n", plural(n, "dead letter"))
	return nil
}

// exportTo writes the letters to a new file, or to stdout. A file is left only when it is
// complete and holds a letter.
func (s *session) exportTo(
	ctx context.Context, st *store.Store, f store.LetterFilter, name string,
) (n int, err error) {
	if name == "-" {
		return failure.Export(ctx, st, f, s.io.Stdout)
	}
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return 0, usage(name+" is there already", "give the name of a new file")
	}
	if err != nil {
		return 0, fmt.Errorf("make the file: %w", err)
	}
	n, err = failure.Export(ctx, st, f, file)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil || n == 0 {
		err = errors.Join(err, os.Remove(name))
	}
	return n, err
}

func (s *session) failedImportCommand() *cobra.Command {
	var o failure.ImportOptions
	cmd := &cobra.Command{
		Use: "import FILE|-", Short: "Add dead letters from a file that export wrote",
		Long: `Add the dead letters of a file as they were: with their ids, history, revisions and state. Every line is
checked before the first one is added. An id that a live message or a letter has is refused.`,
		Example: s.example(`
			failed import letters.ndjson
			failed import letters.ndjson --skip-existing
			failed import -`),
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return s.importFailed(cmd.Context(), args[0], o) },
	}
	cmd.Flags().BoolVar(&o.SkipExisting, "skip-existing", false, "leave out those whose ids are taken")
	group(cmd, "Which", "skip-existing")
	return cmd
}

func (s *session) importFailed(ctx context.Context, name string, o failure.ImportOptions) (err error) {
	st, err := s.existing(ctx)
	if err != nil {
		return err
	}
	file, closing, err := s.importFile(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closing()) }()
	done, err := failure.Import(ctx, st, file, o)
	if err == nil && done == (failure.Imported{}) {
		return &fault{
			Code: "E-NOTHING-MATCHED", Title: "nothing to import", What: "no line of it is a dead letter", Where: name,
			Try: "give a file that failed export has written", Exit: exitNothing,
		}
	}
	if err == nil || done.Letters > 0 {
		s.say("imported %s\n", plural(done.Letters, "dead letter"))
	}
	if done.Skipped > 0 {
		s.say("left out %s, whose ids are taken\n", plural(done.Skipped, "dead letter"))
	}
	if err == nil {
		return nil
	}
	f := *s.explainAny(err)
	var bad *failure.LineError
	if errors.As(err, &bad) {
		f = fault{
			Code: "E-IMPORT", Title: "cannot import the file", What: bad.Err.Error(), Exit: exitFailed, err: err,
			Where: fmt.Sprintf("%s:%d", name, bad.Line), Try: "correct the line; nothing was added",
		}
		if errors.Is(err, driver.ErrDuplicate) {
			f.Try = "leave it out by --skip-existing, or remove the line; nothing was added"
		}
	}
	if done.Letters > 0 {
		f.Exit, f.Try = exitPartly, "go on with --skip-existing"
	}
	return &f
}

// importFile opens a file to be read twice. What comes by stdin is kept in one of mode
// 0600 meanwhile.
func (s *session) importFile(name string) (file *os.File, closing func() error, err error) {
	if name != "-" {
		file, err = os.Open(name)
		if err != nil {
			return nil, nil, fmt.Errorf("open the file: %w", err)
		}
		return file, file.Close, nil
	}
	if file, err = os.CreateTemp("", "posthorn-*.ndjson"); err != nil {
		return nil, nil, fmt.Errorf("make a file for stdin: %w", err)
	}
	closing = func() error { return errors.Join(file.Close(), os.Remove(file.Name())) }
	_, err = io.Copy(file, s.io.Stdin)
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("read stdin: %w", err), closing())
	}
	return file, closing, nil
}
