package cli

import (
	"cmp"
	"context"
	"errors"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/failure"
	"github.com/posthorn/posthorn/store"
)

// editFlags are the flags of failed edit.
type editFlags struct {
	patch, merge, body, whole string
	revision                  int
	unchecked, retry, yes     bool
}

// how counts the ways of editing that were asked for.
func (f editFlags) how() (n int) {
	for _, given := range []bool{f.patch != "", f.merge != "", f.body != "", f.whole != "", f.revision != 0} {
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
changed the letter in the meantime, nothing is saved. What was written in an editor and was not saved is kept in a file,
with all that the payload has, and the error says how to give it back: by --document. Many letters, which a filter
chooses, are edited by --patch in an operation: those that the patch or the handler does not fit are refused and stay as
they are; see ops.`,
		Example: s.example(`
			failed edit ID
			failed edit ID --patch '[{"op":"replace","path":"/to","value":"a@b"}]' --retry
			failed edit ID --body @body.json
			failed edit --kind welcome --query '"no such domain"' --patch @patch.json`),
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.how() > 1 {
				return usage("--patch, --merge, --body, --document and --revision contradict each other",
					"give one of them, or none")
			}
			if many.ids = args; len(args) == 0 || many.all || many.any() {
				return s.editMany(cmd.Context(), f, many)
			}
			if many.rate != 0 || many.limit != 0 {
				return usage("--rate and --limit are for many letters", "leave them out, or choose letters by a filter")
			}
			return s.editFailed(store.Acting(cmd.Context(), store.Act{Reason: many.because}), args[0], f)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&f.patch, "patch", "", "a JSON `patch` for the body (RFC 6902), or @FILE, or -")
	fs.StringVar(&f.merge, "merge", "", "a JSON merge `patch` for the body (RFC 7386), or @FILE, or -")
	fs.StringVar(&f.body, "body", "", "another `body` byte for byte, or @FILE, or -")
	fs.StringVar(&f.whole, "document", "", "header and body as an editor has them: a `document`, or @FILE, or -")
	countFlag(fs, &f.revision, "revision", "take revision `N` back")
	fs.BoolVar(&f.unchecked, "unchecked", false, "save it although nothing here can validate it")
	fs.BoolVar(&f.retry, "retry", false, "put it back on its queue at once")
	group(cmd, "What", "patch", "merge", "body", "document", "revision", "unchecked", "retry")
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
	e := editing{session: s, editFlags: f, st: st, letter: *found}
	return e.keep(e.edit(ctx))
}

// An editing is the edit of one dead letter.
type editing struct {
	*session
	editFlags
	st     *store.Store
	letter store.Letter
	draft  draft
}

// edit makes a new version, and saves it.
func (e *editing) edit(ctx context.Context) error {
	l := e.letter
	edited, err := e.newVersion(ctx)
	if err != nil {
		return err
	}
	old := failure.VersionOf(l)
	if edited.Equal(old) {
		return e.unedited(ctx)
	}
	if err := e.checkVersion(edited, l.Kind, e.unchecked); err != nil {
		return err
	}
	diff, err := old.Diff(edited)
	if err != nil {
		return err
	}
	_, _ = io.WriteString(e.io.Stderr, diff) // it is safe to print
	if e.retry || (e.how() == 0 || e.whole != "") && e.io.StdinTerminal {
		what := map[bool]string{true: "save it, and retry the message?", false: "save it?"}[e.retry]
		if err := e.confirm(what, e.yes); err != nil {
			return err
		}
	}
	err = e.st.EditLetter(ctx, store.Edit{
		Seq: l.Seq, Revision: l.Revision, Header: edited.Header, Body: edited.Body, Retry: e.retry,
	})
	if err == nil {
		e.say("%s\n", map[bool]string{true: "edited and put back 1 dead letter", false: "edited 1 dead letter"}[e.retry])
	}
	return e.changed(err)
}

// unedited leaves a letter as it is, or as that puts it back: no handler is asked, and no
// revision is made of what stays.
func (e *editing) unedited(ctx context.Context) error {
	e.say("nothing was changed\n")
	if !e.retry {
		return nil
	}
	if err := e.confirm("retry the message as it is?", e.yes); err != nil {
		return err
	}
	err := e.st.RetryVersion(ctx, e.letter.Seq, e.letter.Revision)
	if err == nil {
		e.say("put back 1 dead letter as it was\n")
	}
	return e.changed(err)
}

// changed says how to look at a letter that somebody has changed meanwhile.
func (e *editing) changed(err error) error {
	if !errors.Is(err, store.ErrChanged) {
		return err
	}
	f := *e.explain(err)
	f.Try = e.app.Name + " failed show " + e.letter.ID
	return &f
}

// newVersion makes the version that was asked for.
func (e *editing) newVersion(ctx context.Context) (v failure.Version, err error) {
	v = failure.VersionOf(e.letter)
	read := e.given
	if e.whole != "" {
		read = e.versionText
	}
	switch text := cmp.Or(e.patch, e.merge, e.body, e.whole); {
	case e.revision != 0:
		return revisionOf(ctx, e.st, e.letter.ID, e.revision)
	case text == "":
		return e.byEditor(ctx, v)
	default:
		given, err := read(text)
		if err != nil {
			return v, err
		}
		if v, err = e.apply(v, given); err != nil {
			return v, notEdited(err)
		}
		return v, nil
	}
}

// apply makes the version of what was given.
func (f editFlags) apply(v failure.Version, given []byte) (failure.Version, error) {
	switch {
	case f.patch != "":
		return v.Patch(given)
	case f.merge != "":
		return v.Merge(given)
	case f.whole != "":
		return v.Read(given)
	}
	v.Body = given
	return v, nil
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
