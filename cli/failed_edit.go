package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/failure"
	"github.com/posthorn/posthorn/store"
)

// editFlags are the flags of failed edit.
type editFlags struct {
	patch, merge, body    string
	revision              int
	unchecked, retry, yes bool
}

// how counts the ways of editing that were asked for.
func (f editFlags) how() (n int) {
	for _, given := range []bool{f.patch != "", f.merge != "", f.body != "", f.revision != 0} {
		if given {
			n++
		}
	}
	return n
}

func (s *session) failedEditCommand() *cobra.Command {
	var f editFlags
	var many changeFlags
	cmd := &cobra.Command{
		Use: "edit [ID]", Short: "Edit dead letters, and keep what they were",
		Long: `Edit the header and the body of a dead letter, in $VISUAL or $EDITOR, or by a patch. The kind's handler decodes
and validates the new version, if this program has it. What the letter was is kept as a revision. If somebody has
changed the letter in the meantime, nothing is saved. Many letters, which a filter chooses, are edited by --patch in an
operation: those that the patch or the handler does not fit are refused and stay as they are; see ops.`,
		Example: s.example(`
			failed edit ID
			failed edit ID --patch '[{"op":"replace","path":"/to","value":"a@b"}]' --retry
			failed edit ID --body @body.json
			failed edit --kind welcome --query '"no such domain"' --patch @patch.json`),
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.how() > 1 {
				return usage("--patch, --merge, --body and --revision contradict each other", "give one of them, or none")
			}
			if many.ids = args; len(args) == 0 || many.all || many.any() {
				return s.editMany(cmd.Context(), f, many)
			}
			return s.editFailed(cmd.Context(), args[0], f)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&f.patch, "patch", "", "a JSON `patch` for the body (RFC 6902), or @FILE, or -")
	fs.StringVar(&f.merge, "merge", "", "a JSON merge `patch` for the body (RFC 7386), or @FILE, or -")
	fs.StringVar(&f.body, "body", "", "another `body` byte for byte, or @FILE, or -")
	countFlag(fs, &f.revision, "revision", "take revision `N` back")
	fs.BoolVar(&f.unchecked, "unchecked", false, "save it although nothing here can validate it")
	fs.BoolVar(&f.retry, "retry", false, "put it back on its queue at once")
	group(cmd, "What", "patch", "merge", "body", "revision", "unchecked", "retry")
	many.letterFlags.define(cmd)
	many.bulkFlags.define(cmd, false)
	fs.BoolVar(&many.all, "all", false, "all dead letters")
	countFlag(fs, &many.limit, "limit", "at most `N`, the oldest first")
	group(cmd, "Which", "all", "limit")
	confirmFlags(cmd, &f.yes)
	return cmd
}

// editMany edits the letters that a filter chooses, by an operation.
func (s *session) editMany(ctx context.Context, f editFlags, many changeFlags) error {
	if err := many.check(); err != nil {
		return err
	}
	if f.patch == "" || f.retry {
		return usage("many letters are edited by --patch alone", "give --patch, and retry them when it is done")
	}
	patch, err := s.given(f.patch)
	if err != nil {
		return err
	}
	if err := failure.CheckPatch(patch); err != nil {
		return notEdited(err)
	}
	ctx = store.Acting(ctx, store.Act{Filter: many.words(), Reason: many.because})
	st, err := s.existing(ctx)
	if err != nil {
		return err
	}
	if _, err := s.prepare(ctx); err != nil { // handlers may need the store
		return err
	}
	if len(s.app.Mux.Kinds()) == 0 && !f.unchecked {
		return uncheckable(failure.ErrUncheckable)
	}
	many.patch, many.unchecked, many.yes = patch, f.unchecked, f.yes
	return s.bulk(ctx, st, change{verb: "edit", action: store.ActionEdit}, many)
}

func (s *session) editFailed(ctx context.Context, id string, f editFlags) error {
	st, err := s.existing(ctx)
	if err != nil {
		return err
	}
	if _, err := s.prepare(ctx); err != nil { // handlers may need the store
		return err
	}
	found, err := st.LastLetter(ctx, id, false)
	if err != nil {
		return err
	}
	if found == nil {
		return s.absent(ctx, st, []string{id}, 1)
	}
	l := *found
	edited, err := s.newVersion(ctx, st, l, f)
	if err != nil {
		return err
	}
	old := failure.VersionOf(l)
	if edited.Equal(old) {
		s.say("nothing was changed\n")
		if f.retry {
			s.say("it was not retried: %s failed retry %s\n", s.app.Name, id)
			return outcome(exitFailed)
		}
		return nil
	}
	if err := s.checkVersion(edited, l.Kind, f.unchecked); err != nil {
		return err
	}
	diff, err := old.Diff(edited)
	if err != nil {
		return err
	}
	_, _ = io.WriteString(s.io.Stderr, diff) // it is safe to print
	if f.retry || f.how() == 0 && s.io.StdinTerminal {
		what := map[bool]string{true: "save it, and retry the message?", false: "save it?"}[f.retry]
		if err := s.confirm(what, f.yes); err != nil {
			return err
		}
	}
	err = st.EditLetter(ctx, store.Edit{
		Seq: l.Seq, Revision: l.Revision, Header: edited.Header, Body: edited.Body, Retry: f.retry,
	})
	if err == nil {
		s.say("%s\n", map[bool]string{true: "edited and put back 1 dead letter", false: "edited 1 dead letter"}[f.retry])
	}
	return err
}

// newVersion makes the version that was asked for.
func (s *session) newVersion(
	ctx context.Context, st *store.Store, l store.Letter, f editFlags,
) (v failure.Version, err error) {
	v = failure.VersionOf(l)
	switch text := cmp.Or(f.patch, f.merge, f.body); {
	case f.revision != 0:
		return revisionOf(ctx, st, l.ID, f.revision)
	case text == "":
		return s.byEditor(ctx, v)
	default:
		given, err := s.given(text)
		if err != nil {
			return v, err
		}
		switch {
		case f.patch != "":
			v, err = v.Patch(given)
		case f.merge != "":
			v, err = v.Merge(given)
		default:
			v.Body = given
		}
		if err != nil {
			return v, notEdited(err)
		}
		return v, nil
	}
}

// notEdited is for what makes no version.
func notEdited(err error) error {
	return &fault{
		Code: "E-EDIT", Title: "cannot make the new version", What: err.Error(), Exit: exitFailed, err: err,
		Try: "correct it; nothing was saved",
	}
}

// given reads an argument: itself, @FILE, or - for stdin.
func (s *session) given(arg string) ([]byte, error) {
	if arg == "-" {
		return io.ReadAll(s.io.Stdin)
	}
	return readBody(arg)
}

func revisionOf(ctx context.Context, st *store.Store, id string, number int) (failure.Version, error) {
	vs, err := st.Revisions(ctx, id)
	for _, v := range vs {
		if v.Number == number {
			return failure.Version{Header: v.Header, Body: v.Body}, err
		}
	}
	if err != nil {
		return failure.Version{}, err
	}
	return failure.Version{}, &fault{
		Code: "E-NOTHING-MATCHED", Title: "no such revision", What: "message " + id + " has no revision " +
			strconv.Itoa(number), Try: "give a number from 1 to " + strconv.Itoa(len(vs)), Exit: exitNothing,
	}
}

// checkVersion asks the handler, if there is one.
func (s *session) checkVersion(v failure.Version, kind string, unchecked bool) error {
	err := v.Check(s.app.Mux, kind)
	if unchecked && errors.Is(err, failure.ErrUncheckable) {
		return nil
	}
	if errors.Is(err, failure.ErrUncheckable) {
		return uncheckable(err)
	}
	return err
}

// uncheckable is for a version of which nobody here can say whether it makes sense.
func uncheckable(err error) error {
	return &fault{
		Code: "E-UNCHECKED", Title: "nothing here can validate the new version", What: err.Error(), Exit: exitFailed,
		Try: "edit it by the program that has the handler, or add --unchecked", err: err,
	}
}

// byEditor lets the user's editor change a version.
func (s *session) byEditor(ctx context.Context, v failure.Version) (out failure.Version, err error) {
	editor := s.editor()
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
	f, err := os.CreateTemp("", "posthorn-*.json") // of mode 0600
	if err != nil {
		return v, fmt.Errorf("make a file for the editor: %w", err)
	}
	defer func() { err = errors.Join(err, os.Remove(f.Name())) }()
	if _, err := f.Write(text); err != nil {
		return v, errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return v, err
	}
	cmd := exec.CommandContext(ctx, editor[0], append(editor[1:], f.Name())...) //nolint:gosec // the user's own editor
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Env = s.io.Stdin, s.io.Stderr, s.io.Stderr, s.io.Environ
	if err := cmd.Run(); err != nil {
		return v, &fault{
			Code: "E-EDITOR", Title: "the editor failed", What: editor[0] + ": " + err.Error(), Exit: exitFailed,
			Try: "look at VISUAL and EDITOR; nothing was saved", err: err,
		}
	}
	if text, err = os.ReadFile(f.Name()); err != nil {
		return v, fmt.Errorf("read what was edited: %w", err)
	}
	if out, err = v.Read(text); err != nil {
		return v, notEdited(err)
	}
	return out, nil
}

// editor is the user's editor with its arguments. No shell reads it: a space ends an
// argument, and nothing else has a meaning.
func (s *session) editor() []string {
	visual, _ := s.lookup("VISUAL")
	plain, _ := s.lookup("EDITOR")
	return strings.Fields(cmp.Or(visual, plain))
}
