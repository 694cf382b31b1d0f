package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/failure"
	"github.com/posthorn/posthorn/failure/view"
)

// answer is what why says about one message or queue.
type answer struct {
	ID       string         `json:"id,omitempty"`
	Kind     string         `json:"kind,omitempty"`
	Queue    string         `json:"queue"`
	Place    string         `json:"place,omitempty"`
	Blocked  bool           `json:"blocked"`
	Because  []string       `json:"because"`
	Reasons  []reasonRow    `json:"reasons"`
	Try      string         `json:"try,omitempty"`
	Attempts int            `json:"attempts"`
	Crashes  int            `json:"crashes"`
	History  []view.Attempt `json:"history,omitempty"`
}

// reasonRow is a failure.Reason, as output shows it.
type reasonRow struct {
	Name   string     `json:"name"`
	Blocks bool       `json:"blocks"`
	Text   string     `json:"text"`
	Until  *time.Time `json:"until,omitempty"`
}

func (s *session) whyCommand() *cobra.Command {
	var output, queue string
	cmd := &cobra.Command{
		Use: "why [ID...]", Short: "Explain why a message or a queue is not done",
		Example: s.example(`
			why 01890a5d-ac96-774b-bcce-b302099a8057
			why --queue async
			why ID -o json`),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case queue == "" && len(args) == 0:
				return usage("nothing is named", "give ids, or --queue")
			case queue != "" && len(args) > 0:
				return usage("ids and --queue contradict each other", "give one of them")
			case queue != "":
				return s.whyQueue(cmd.Context(), queue, output)
			}
			return s.why(cmd.Context(), args, output)
		},
	}
	cmd.Flags().StringVar(&queue, "queue", "", "explain a whole `queue`")
	group(cmd, "Which", "queue")
	outputFlag(cmd, &output)
	return cmd
}

// sample is for how long why watches a queue to tell how fast it moves.
const sample = time.Second

func (s *session) why(ctx context.Context, ids []string, as string) error {
	st, err := s.existing(ctx)
	if err != nil {
		return err
	}
	var rows []answer
	var unknown []string
	for _, id := range ids {
		o := failure.WhyOptions{}
		if len(ids) == 1 {
			o.Sample = sample
		}
		a, err := failure.Why(ctx, st, id, o)
		if err != nil {
			return err
		}
		if a == nil {
			unknown = append(unknown, id)
			continue
		}
		rows = append(rows, s.answerOf(a))
	}
	if err := s.showAnswers(as, rows); err != nil {
		return err
	}
	return notThere(unknown, len(ids), s)
}

func (s *session) whyQueue(ctx context.Context, queue, as string) error {
	st, err := s.existing(ctx)
	if err != nil {
		return err
	}
	if err := s.knownQueues(ctx, st, queue); err != nil {
		return err
	}
	a, err := failure.WhyQueue(ctx, st, queue, failure.WhyOptions{Sample: sample})
	if err != nil {
		return err
	}
	row := answer{Queue: queue, Blocked: a.Blocked()}
	s.reasons(&row, a.Reasons)
	return s.showAnswers(as, []answer{row})
}

func (s *session) answerOf(a *failure.Answer) answer {
	out := answer{
		ID: a.ID, Kind: a.Kind, Queue: a.Queue, Place: string(a.Place), Blocked: a.Blocked(),
		Attempts: a.Attempt, Crashes: a.Crashes,
		History: view.OfAttempts(a.History),
	}
	s.reasons(&out, a.Reasons)
	return out
}

// reasons puts them into an answer, with the command of the first that has one.
func (s *session) reasons(a *answer, rs []failure.Reason) {
	for _, r := range rs {
		row := reasonRow{Name: r.Name, Blocks: r.Blocks, Text: r.Text}
		if !r.Until.IsZero() {
			until := r.Until.UTC()
			row.Until = &until
		}
		a.Reasons, a.Because = append(a.Reasons, row), append(a.Because, r.Text)
		if a.Try == "" && r.Command != "" {
			a.Try = s.app.Name + " " + r.Command
		}
	}
}

func notThere(unknown []string, asked int, s *session) error {
	switch len(unknown) {
	case 0:
		return nil
	case asked:
		return &fault{
			Code: "E-NOTHING-MATCHED", Title: "no such message", Exit: exitNothing,
			What: strings.Join(unknown, ", ") + ": done, or never known here",
			Try:  "check the id, and that this is the store it was sent to",
		}
	}
	s.say("done, or never known here: %s\n", strings.Join(unknown, ", "))
	return outcome(exitPartly)
}

func (s *session) showAnswers(as string, rows []answer) error {
	if as != formTable && as != formWide && len(rows) > 0 {
		return show(s, as, listing[answer]{kind: "WhyList", rows: rows, name: answer.subject})
	}
	for _, a := range rows {
		switch {
		case a.ID != "":
			s.print("%s (%s, queue %s) is %s\n", a.ID, a.Kind, a.Queue, a.Place)
		case a.Blocked:
			s.print("nothing is taken from queue %s\n", a.Queue)
		default:
			s.print("messages are taken from queue %s\n", a.Queue)
		}
		for _, line := range a.Because {
			s.print("  %s\n", line)
		}
		if n := len(a.History); n > 0 {
			last := a.History[n-1]
			s.print("  last attempt %s: %s %s\n", moment(last.Started), last.Class, last.Error)
		}
		if a.Try != "" {
			s.print("  try %s\n", a.Try)
		}
	}
	return nil
}

// subject is what an answer is about.
func (a answer) subject() string {
	if a.ID != "" {
		return a.ID
	}
	return a.Queue
}

// since is a length of time for a sentence.
func since(d time.Duration) string {
	if d < time.Millisecond {
		return "a moment"
	}
	return age(d)
}
