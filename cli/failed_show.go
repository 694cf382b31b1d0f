package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/failure"
	"github.com/posthorn/posthorn/failure/view"
	"github.com/posthorn/posthorn/internal/config"
	"github.com/posthorn/posthorn/internal/printable"
	"github.com/posthorn/posthorn/store"
)

func (s *session) failedShowCommand() *cobra.Command {
	var f showFlags
	cmd := &cobra.Command{
		Use: "show ID...", Short: "Show dead letters with their history and content",
		Long: `Show dead letters: their header and body, what became of each attempt, and who has edited, retried, removed or
restored them. What this program's type of the message marks as secret, and what stands in a header or in JSON under a
name like password, token or api_key, is shown as *** without --reveal.`,
		Example: s.example(`
			failed show 01890a5d-ac96-774b-bcce-b302099a8057
			failed show ID --reveal
			failed show 01890a5d-ac96-774b-bcce-b302099a8057 --raw > body
			failed show ID -o json`),
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return s.showFailed(cmd.Context(), args, f) },
	}
	cmd.Flags().BoolVar(&f.raw, "raw", false, "only the body, byte for byte; on a terminal it is made printable")
	cmd.Flags().BoolVar(&f.reveal, "reveal", false, "secrets, too")
	outputFlag(cmd, &f.output)
	group(cmd, "Output", "raw", "reveal")
	return cmd
}

// showFlags are the flags of failed show.
type showFlags struct {
	raw, reveal bool
	output      string
}

func (s *session) showFailed(ctx context.Context, ids []string, f showFlags) error {
	st, err := s.existing(ctx)
	if err != nil {
		return err
	}
	var rows []letterRow
	var missing []string
	for _, id := range ids {
		l, err := letter(ctx, st, id)
		if err != nil {
			return err
		}
		if l == nil {
			missing = append(missing, id)
			continue
		}
		if f.raw {
			s.writeRaw(l.Body)
			continue
		}
		r, err := s.wholeRow(ctx, st, *l, f.reveal)
		if err != nil {
			return err
		}
		rows = append(rows, r)
	}
	if err := s.showLetters(f.output, rows); err != nil {
		return err
	}
	return s.absent(ctx, st, missing, len(ids))
}

// wholeRow is a letter with its content and its life.
func (s *session) wholeRow(ctx context.Context, st *store.Store, l store.Letter, reveal bool) (letterRow, error) {
	history, err := st.Attempts(ctx, l.ID)
	if err != nil {
		return letterRow{}, err
	}
	r := rowOf(l)
	r.Content, r.History = view.OfBody(l.Body), view.OfAttempts(history)
	if r.Changes, err = changesOf(ctx, st, l); err != nil || reveal {
		return r, err
	}
	return r.hide(s.app.Mux.Secrets(l.Kind))
}

func (s *session) showLetters(as string, rows []letterRow) error {
	if as != formTable && as != formWide && len(rows) > 0 {
		return show(s, as, letterListing(rows))
	}
	for i, r := range rows {
		if i > 0 {
			s.print("\n")
		}
		s.describe(r)
	}
	return nil
}

// letter finds a dead letter, or else one that was removed.
func letter(ctx context.Context, st *store.Store, id string) (*store.Letter, error) {
	for _, gone := range []bool{false, true} {
		l, err := st.LastLetter(ctx, id, gone)
		if l != nil || err != nil {
			return l, err
		}
	}
	return nil, nil //nolint:nilnil // nil is an id that is no letter's
}

// absent says which ids are no dead letters, and where those messages are instead.
func (s *session) absent(ctx context.Context, st *store.Store, missing []string, asked int) error {
	if len(missing) == 0 {
		return nil
	}
	if len(missing) > 1 || asked > 1 {
		if err := s.sayAbsent(ctx, st, missing); err != nil {
			return err
		}
	}
	if len(missing) < asked {
		return outcome(exitPartly)
	}
	r, err := failure.Where(ctx, st, missing[0])
	if err != nil {
		return err
	}
	what := missing[0] + ": " + r.Text
	if len(missing) > 1 {
		what = "none of the " + strconv.Itoa(len(missing)) + " ids is"
	}
	return &fault{
		Code: "E-NOTHING-MATCHED", Title: "no such dead letter", What: what, Exit: exitNothing,
		Try: s.app.Name + " " + r.Command,
	}
}

// absentShown is of how many messages that are no dead letters it is said where they are.
const absentShown = 20

// sayAbsent tells of each id that is no dead letter where the message is.
func (s *session) sayAbsent(ctx context.Context, st *store.Store, missing []string) error {
	for _, id := range missing[:min(absentShown, len(missing))] {
		r, err := failure.Where(ctx, st, id)
		if err != nil {
			return err
		}
		s.say("no dead letter: %s: %s\n", id, r.Text)
	}
	if more := len(missing) - absentShown; more > 0 {
		s.say("no dead letter: %d others\n", more)
	}
	return nil
}

func (s *session) writeRaw(body []byte) {
	if s.io.StdoutTerminal {
		body = []byte(printable.Block(string(body)) + "\n")
	}
	_, _ = s.io.Stdout.Write(body)
}

// describe writes a dead letter for a reader.
func (s *session) describe(r letterRow) {
	line := func(name, value string) { s.print("%-11s %s\n", name, value) }
	line("id", r.ID)
	line("kind", r.Kind)
	line("queue", fmt.Sprintf("%s, priority %d", r.Queue, r.Priority))
	line("sent", moment(r.SentAt))
	line("died", fmt.Sprintf("%s: %s (%s)", moment(r.DiedAt), r.Reason, r.Class))
	if !r.Discarded.IsZero() {
		line("removed", moment(r.Discarded))
	}
	line("attempts", fmt.Sprintf("%d failed, %d deliveries, %d crashes", r.Attempts, r.Deliveries, r.Crashes))
	if r.Edits > 0 {
		line("edited", plural(r.Edits, "time"))
	}
	line("error", strings.TrimSpace(r.ErrorType+" "+r.Error))
	if r.Group != "" {
		line("group", r.Group)
	}
	for _, key := range slices.Sorted(maps.Keys(r.Header)) {
		line("header", key+": "+r.Header[key])
	}
	s.timeline(r)
	s.print("\nbody\n")
	s.block(pretty(r), "  ")
	if len(r.Redacted) > 0 {
		s.print("\nredacted    %s; shown with --reveal\n", strings.Join(r.Redacted, ", "))
	}
}

func spent(took time.Duration) string {
	if took == 0 {
		return "-"
	}
	return config.FormatDuration(took)
}

// pretty is a body for a reader.
func pretty(r letterRow) string {
	if r.Body == nil {
		return "not JSON; in base64: " + r.Base64
	}
	var b bytes.Buffer
	if err := json.Indent(&b, r.Body, "", "  "); err != nil {
		return string(r.Body)
	}
	return b.String()
}

// block writes text of several lines, each set in.
func (s *session) block(text, indent string) {
	for line := range strings.Lines(printable.Block(text)) {
		_, _ = io.WriteString(s.io.Stdout, indent+strings.TrimSuffix(line, "\n")+"\n")
	}
}
