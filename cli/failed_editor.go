package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/posthorn/posthorn/failure"
)

// A draft is what somebody writes in an editor: a file that nobody else may read. The zero
// one is none.
type draft struct {
	file string
	was  []byte // the text that the editor was given
}

// begin makes the file.
func (d *draft) begin(text []byte) error {
	f, err := os.CreateTemp("", "posthorn-*.json") // of mode 0600
	if err != nil {
		return fmt.Errorf("make a file for the editor: %w", err)
	}
	d.file, d.was = f.Name(), text
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
}

// written reports whether the file has what would be lost with it. One that cannot be read
// may have.
func (d *draft) written() bool {
	text, err := os.ReadFile(d.file)
	return err != nil && !errors.Is(err, os.ErrNotExist) || err == nil && !bytes.Equal(text, d.was)
}

// keep removes a draft that has become a version, or that nobody has written in. What was
// refused stays where it is, since it was work, and the error says how to give it back.
func (e *editing) keep(err error) error {
	d := e.draft
	switch {
	case d.file == "":
		return err
	case err != nil && d.written():
		f := *e.explainAny(err)
		f.Try = strings.TrimPrefix(f.Try+"\n", "\n") +
			fmt.Sprintf("%s failed edit %s --document @%s  # what was written is kept there", e.app.Name, e.letter.ID, d.file)
		return &f
	}
	if gone := os.Remove(d.file); !errors.Is(gone, os.ErrNotExist) { // an editor may have removed it
		return errors.Join(err, gone)
	}
	return err
}

// byEditor lets the user's editor change a version.
func (e *editing) byEditor(ctx context.Context, v failure.Version) (out failure.Version, err error) {
	editor := e.editor()
	if len(editor) == 0 {
		return v, &fault{
			Code: "E-EDITOR", Title: "there is no editor", What: "neither VISUAL nor EDITOR is set", Exit: exitUsage,
			Try: "set EDITOR, or edit by --patch",
		}
	}
	text, err := v.Document()
	if err != nil {
		return v, err
	}
	if err := e.draft.begin(text); err != nil {
		return v, err
	}
	cmd := exec.CommandContext(ctx, editor[0], append(editor[1:], e.draft.file)...) //nolint:gosec // the user's own editor
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Env = e.io.Stdin, e.io.Stderr, e.io.Stderr, e.io.Environ
	if err := cmd.Run(); err != nil {
		return v, &fault{
			Code: "E-EDITOR", Title: "the editor failed", What: editor[0] + ": " + err.Error(), Exit: exitFailed,
			Try: "look at VISUAL and EDITOR; nothing was saved", err: err,
		}
	}
	if text, err = os.ReadFile(e.draft.file); err != nil {
		return v, fmt.Errorf("read what was edited: %w", err)
	}
	if out, err = v.Read(text); err != nil {
		return v, notEdited(err)
	}
	return out, nil
}

// versionText reads a whole version: itself, @FILE, or - for stdin. With its spaces and
// escapes it may be larger than a body can be.
func (s *session) versionText(arg string) ([]byte, error) {
	name, isFile := strings.CutPrefix(arg, "@")
	if !isFile {
		return s.given(arg)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read document: %w", err)
	}
	return text, nil
}

// editor is the user's editor with its arguments. No shell reads it: a space ends an
// argument, and nothing else has a meaning.
func (s *session) editor() []string {
	visual, _ := s.lookup("VISUAL")
	plain, _ := s.lookup("EDITOR")
	return strings.Fields(cmp.Or(visual, plain))
}
