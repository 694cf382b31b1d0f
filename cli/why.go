package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
)

// answer is what why says about one message.
type answer struct {
	ID       string       `json:"id"`
	Kind     string       `json:"kind"`
	Queue    string       `json:"queue"`
	Place    string       `json:"place"`
	Because  []string     `json:"because"`
	Try      string       `json:"try,omitempty"`
	Attempts int          `json:"attempts"`
	Crashes  int          `json:"crashes"`
	History  []attemptRow `json:"history,omitempty"`
}

func (s *session) whyCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "why ID...", Short: "Explain why a message is not done",
		Example: s.example(`
			why 01890a5d-ac96-774b-bcce-b302099a8057
			why ID -o json`),
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return s.why(cmd.Context(), args, output) },
	}
	outputFlag(cmd, &output)
	return cmd
}

func (s *session) why(ctx context.Context, ids []string, as string) error {
	st, err := s.existing(ctx)
	if err != nil {
		return err
	}
	workers, err := runningWorkers(ctx, st)
	if err != nil {
		return err
	}
	paused, _, err := st.Pauses(ctx)
	if err != nil {
		return err
	}
	var rows []answer
	var unknown []string
	for _, id := range ids {
		p, err := st.Find(ctx, id)
		if err != nil {
			return err
		}
		if p == nil {
			unknown = append(unknown, id)
			continue
		}
		history, err := st.Attempts(ctx, id)
		if err != nil {
			return err
		}
		a := s.explainPlace(p, workers, history)
		s.mayWait(&a, p, paused)
		rows = append(rows, a)
	}
	if err := s.showAnswers(as, rows); err != nil {
		return err
	}
	return notThere(unknown, len(ids), s)
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
		return show(s, as, listing[answer]{kind: "WhyList", rows: rows, name: func(a answer) string { return a.ID }})
	}
	for _, a := range rows {
		s.print("%s (%s, queue %s) is %s\n", a.ID, a.Kind, a.Queue, a.Place)
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

// explainPlace words where a message is, with the numbers.
func (s *session) explainPlace(p *store.Position, workers []driver.WorkerRecord, history []driver.Attempt) answer {
	a := answer{
		ID: p.ID, Kind: p.Kind, Queue: p.Queue, Place: string(p.Place), Attempts: p.Attempt, Crashes: p.Crashes,
		History: letterRow{}.withContent(store.Letter{}, history).History,
	}
	switch p.Place {
	case store.PlaceReady:
		a.Because = append(a.Because, fmt.Sprintf("it has been due for %s; %s will be delivered before it",
			since(p.Now.Sub(p.Due)), plural(int(p.Ahead), "message")))
		s.needWorker(&a, workers)
	case store.PlaceDelayed:
		what := "it was sent with a delay"
		if p.Attempt > 0 {
			what = fmt.Sprintf("it failed %s and waits for its next attempt", plural(p.Attempt, "time"))
		} else if p.Deliveries > 0 {
			what = "it was given back and waits for its next attempt"
		}
		a.Because = append(a.Because, fmt.Sprintf("%s; it is due in %s, at %s", what, since(p.Due.Sub(p.Now)), moment(p.Due)))
		s.needWorker(&a, workers)
	case store.PlaceSuspect:
		a.Because = append(a.Because, suspected(history)+"; it runs next with nothing else in its process")
		s.needWorker(&a, workers)
	case store.PlaceLeased:
		a.Because = append(a.Because, leased(p, workers)...)
		if p.Suspect {
			a.Because = append(a.Because, suspected(history)+"; it runs with nothing else in its process")
		}
	case store.PlaceDead:
		a.Because = append(a.Because, fmt.Sprintf("dead since %s: %s (%s) %s",
			moment(p.Letter.DiedAt), p.Letter.Reason, p.Letter.Class, p.Letter.Error))
		a.Try = s.app.Name + " failed show " + p.ID
	case store.PlaceRemoved:
		a.Because = append(a.Because, fmt.Sprintf("it died at %s (%s), and was removed at %s",
			moment(p.Letter.DiedAt), p.Letter.Reason, moment(p.Letter.Discarded)))
	}
	if p.Crashes > 0 {
		a.Because = append(a.Because, fmt.Sprintf("its worker died %s while it held the message", plural(p.Crashes, "time")))
	}
	return a
}

// mayWait says what keeps a message waiting beside its own state.
func (s *session) mayWait(a *answer, p *store.Position, paused []store.Pause) {
	i := slices.IndexFunc(paused, func(one store.Pause) bool { return one.Queue == p.Queue })
	waits := p.Place == store.PlaceReady || p.Place == store.PlaceDelayed || p.Place == store.PlaceSuspect
	if i < 0 || !waits {
		return
	}
	a.Because = append(a.Because, fmt.Sprintf("queue %s is paused %s", p.Queue, pauseRowOf(paused[i])))
	a.Try = s.app.Name + " queues resume " + p.Queue
}

// suspected words of what a suspect is suspected.
func suspected(history []driver.Attempt) string {
	for _, at := range slices.Backward(history) {
		if at.Class == driver.ClassCrash {
			return fmt.Sprintf("it is suspected of killing its worker %s: %s", at.Worker, at.Error)
		}
	}
	return "it is suspected of killing its worker"
}

// since is a length of time for a sentence.
func since(d time.Duration) string {
	if d < time.Millisecond {
		return "a moment"
	}
	return age(d)
}

// needWorker says when nobody will take the message.
func (s *session) needWorker(a *answer, workers []driver.WorkerRecord) {
	consuming := slices.DeleteFunc(slices.Clone(workers), func(w driver.WorkerRecord) bool {
		return !slices.Contains(w.Queues, a.Queue)
	})
	knowing := slices.ContainsFunc(consuming, func(w driver.WorkerRecord) bool { return slices.Contains(w.Kinds, a.Kind) })
	switch {
	case len(consuming) == 0:
		a.Because = append(a.Because, fmt.Sprintf("no living worker consumes queue %s", a.Queue))
		a.Try = s.app.Name + " up"
	case !knowing:
		a.Because = append(a.Because, fmt.Sprintf("no living worker of queue %s knows kind %s", a.Queue, a.Kind))
		a.Try = "deploying the program that has its handler"
	default:
		a.Because = append(a.Because, fmt.Sprintf("%s of its queue know its kind", plural(len(consuming), "living worker")))
	}
}

// leased words who holds a message.
func leased(p *store.Position, workers []driver.WorkerRecord) []string {
	out := []string{fmt.Sprintf("worker %s has held it for %s; its lease ends in %s unless it is renewed",
		p.Worker, since(p.Now.Sub(p.Claimed)), since(p.LeaseEnd.Sub(p.Now)))}
	i := slices.IndexFunc(workers, func(w driver.WorkerRecord) bool { return w.ID == p.Worker })
	if i < 0 {
		return append(out, "that worker has not been heard of lately; another one takes the message when the lease has ended")
	}
	w := workers[i]
	return append(out, fmt.Sprintf("that worker is alive: %s on %s, pid %d, seen %s ago",
		w.Program, w.Host, w.PID, since(p.Now.Sub(w.Seen))))
}
