package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/internal/config"
	"github.com/posthorn/posthorn/internal/printable"
	"github.com/posthorn/posthorn/store"
)

func (s *session) failedShowCommand() *cobra.Command {
	var raw bool
	var output string
	cmd := &cobra.Command{
		Use: "show ID...", Short: "Show dead letters with their history and content",
		Example: s.example(`
			failed show 01890a5d-ac96-774b-bcce-b302099a8057
			failed show 01890a5d-ac96-774b-bcce-b302099a8057 --raw > body
			failed show ID -o json`),
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return s.showFailed(cmd.Context(), args, raw, output) },
	}
	cmd.Flags().BoolVar(&raw, "raw", false, "only the body, byte for byte; on a terminal it is made printable")
	outputFlag(cmd, &output)
	group(cmd, "Output", "raw")
	return cmd
}

func (s *session) showFailed(ctx context.Context, ids []string, raw bool, as string) error {
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
		if raw {
			s.writeRaw(l.Body)
			continue
		}
		history, err := st.Attempts(ctx, id)
		if err != nil {
			return err
		}
		rows = append(rows, rowOf(*l).withContent(*l, history))
	}
	if err := s.showLetters(as, rows); err != nil {
		return err
	}
	return s.absent(missing, len(ids))
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
		ls, err := st.Letters(ctx, store.LetterFilter{IDs: []string{id}, Discarded: gone, Limit: 1000})
		if err != nil {
			return nil, err
		}
		if len(ls) > 0 {
			return &ls[len(ls)-1], nil
		}
	}
	return nil, nil //nolint:nilnil // nil is an id that is no letter's
}

// absent says which ids are no dead letters.
func (s *session) absent(missing []string, asked int) error {
	switch len(missing) {
	case 0:
		return nil
	case asked:
		return &fault{
			Code: "E-NOTHING-MATCHED", Title: "no such dead letter", What: strings.Join(missing, ", "), Exit: exitNothing,
			Try: s.app.Name + " why " + missing[0],
		}
	}
	s.say("no dead letter: %s\n", strings.Join(missing, ", "))
	return outcome(exitPartly)
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
	if r.Discarded != nil {
		line("removed", moment(*r.Discarded))
	}
	line("attempts", fmt.Sprintf("%d failed, %d deliveries, %d crashes", r.Attempts, r.Deliveries, r.Crashes))
	if r.Edits > 0 {
		line("edited", plural(r.Edits, "time"))
	}
	line("error", r.Error)
	for _, key := range slices.Sorted(maps.Keys(r.Header)) {
		line("header", key+": "+r.Header[key])
	}
	s.print("\nhistory\n")
	if len(r.History) == 0 {
		s.print("  none was kept\n")
	}
	for _, a := range r.History {
		s.print("  %2d  %s  %8s  %-14s %s  %s\n", a.Number, moment(a.Started), spent(a), a.Class, a.Worker, a.Error)
		if a.Stack != "" {
			s.block(a.Stack, "        ")
		}
	}
	s.print("\nbody\n")
	s.block(pretty(r), "  ")
}

func spent(a attemptRow) string {
	if a.took == 0 {
		return "-"
	}
	return config.FormatDuration(a.took)
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
