package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/rivo/uniseg"
	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/failure"
	"github.com/posthorn/posthorn/failure/view"
	"github.com/posthorn/posthorn/internal/printable"
	"github.com/posthorn/posthorn/store"
)

// executor makes one that carries on the operations of the session's store; with only,
// that one alone.
func (s *session) executor(st *store.Store, only string) *failure.Executor {
	host, _ := os.Hostname() // for people; an unknown host is left out
	return failure.NewExecutor(st, failure.ExecutorOptions{
		Name: strings.Trim(fmt.Sprintf("%s:%d", host, os.Getpid()), ":"), Only: only, Log: s.env.Log,
		Mux: s.app.Mux,
	})
}

// operate carries operations on until the function that it returns is called.
func (s *session) operate(ctx context.Context, st *store.Store, only string) (end func()) {
	ctx, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.executor(st, only).Run(ctx) }) // it returns nil
	return func() {
		stop()
		wg.Wait()
	}
}

func (s *session) opsWatchCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "watch ID", Short: "Watch an operation until it is over",
		Long: `Watch an operation until it is over or has stopped by itself. Where no other process carries it on, this one
does. An interruption ends the watching; the operation goes on. Exit code: 0 all went well, 1 it has stopped by itself
or nothing went well, 4 some failed again or it was cancelled.`,
		Example: s.example(`
			ops watch ID
			ops watch ID -o ndjson`),
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			st, err := s.existing(cmd.Context())
			if err != nil {
				return err
			}
			return s.watchOp(cmd.Context(), st, args[0], output)
		},
	}
	outputFlag(cmd, &output)
	return cmd
}

// watchOp shows how an operation goes, and carries it on if nobody else does.
func (s *session) watchOp(ctx context.Context, st *store.Store, id, as string) error {
	if _, err := st.Operation(ctx, id); err != nil {
		return s.opFault(id, err)
	}
	end := s.operate(ctx, st, id)
	w := &opWatch{s: s, as: as}
	o, err := failure.Watch(ctx, st, id, w.tell)
	w.clear()
	end()
	switch {
	case errors.Is(err, errInterrupted):
		s.say("%s goes on: %s; %s\n", id, progressOf(o), s.whoGoesOn(ctx, st, id))
		return nil
	case err != nil:
		return s.opFault(id, err)
	}
	return s.endOf(o, as)
}

// whoGoesOn says who carries an operation on after this process.
func (s *session) whoGoesOn(ctx context.Context, st *store.Store, id string) string {
	const within = 2 * time.Second
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), within)
	defer cancel()
	o, err := st.Operation(ctx, id)
	if err == nil && o.Holder != "" {
		return "it is carried on by " + o.Holder
	}
	return "the next up, consume, monitor or ops watch carries it on"
}

// endOf says how an operation has ended, with the exit code for it.
func (s *session) endOf(o store.Operation, as string) error {
	if as == formNDJSON { // it has been told already
		return exitOf(o)
	}
	if as != formTable && as != formWide {
		return cmp.Or(show(s, as, operationListing([]view.Operation{view.OfOperation(o, s.app.Mux)})), exitOf(o))
	}
	switch o.State {
	case store.OperationStopped:
		return &fault{
			Code: "E-OPERATION-STOPPED", Title: "the operation has stopped by itself", Exit: exitFailed,
			What: o.Why + ": " + progressOf(o),
			Try:  fmt.Sprintf("%s failed list, and when it is mended: %s ops resume %s", s.app.Name, s.app.Name, o.ID),
		}
	case store.OperationCancelled:
		s.say("%s was cancelled: %s\n", o.ID, progressOf(o))
	default:
		s.say("%s is done: %s\n", o.ID, progressOf(o))
	}
	return exitOf(o)
}

// exitOf is the exit code of a command that waited for an operation.
func exitOf(o store.Operation) error {
	switch {
	case o.State == store.OperationStopped:
		return outcome(exitFailed)
	case o.State == store.OperationCancelled, o.Failed > 0, o.Refused > 0:
		if o.Done == 0 && o.State == store.OperationDone {
			return outcome(exitFailed)
		}
		return outcome(exitPartly)
	}
	return nil
}

// An opWatch shows an operation as it goes: on a terminal a line that is drawn again,
// elsewhere a line for each change, but not too many.
type opWatch struct {
	s       *session
	as      string
	said    time.Time
	started bool
	marks   []waymark // of the last while, the oldest first
	why     string    // it did not move, as it was told last
}

// A waymark is how many letters had an end at a time.
type waymark struct {
	at    time.Time
	ended int
}

// sayEvery bounds the lines where there is no terminal.
const sayEvery = 2 * time.Second

func (w *opWatch) tell(o store.Operation, why string) {
	news := why != w.why
	w.why = why
	ended := o.Total - o.Left() - o.Flying
	w.started = true
	w.mark(o.Now, ended)
	switch {
	case w.as == formNDJSON:
		_ = w.s.document(w.as, view.OfOperation(o, w.s.app.Mux)) // a closed pipe ends the process by itself
	case w.as != formTable && w.as != formWide:
	case w.s.talksToTerminal():
		_, _ = fmt.Fprint(w.s.io.Stderr, "\r"+w.line(o, ended)+"\x1b[K")
	case time.Since(w.said) >= sayEvery, news:
		w.said = time.Now()
		w.s.say("%s: %s\n", o.State, strings.TrimSuffix(progressOf(o)+": "+w.why, ": "))
	}
}

// line is the bar with what a person wants to know: how far, how fast, how long. The bar
// is left out where the terminal has no room for both.
func (w *opWatch) line(o store.Operation, ended int) string {
	const width = 24
	part := float64(ended) / float64(max(o.Total, 1))
	full := int(part * width)
	rate := w.rate()
	left := "?"
	if rate > 0 {
		left = time.Duration(float64(o.Total-ended) / rate * float64(time.Second)).Round(time.Second).String()
	}
	pace := fmt.Sprintf("%.0f/s  %s", rate, left)
	switch {
	case w.why != "":
		pace = printable.Text(w.why)
	case o.Yields != "":
		pace += "  slow: others are busy"
	}
	text := fmt.Sprintf("%3.0f %%  %s: %d ok, %d failed again, %d in flight, %d left  %s",
		100*part, o.State, o.Done, o.Failed, o.Flying, o.Left(), pace)
	bar := fmt.Sprintf("[%s%s] ", strings.Repeat("#", full), strings.Repeat(".", width-full))
	columns := w.s.io.Width
	if columns == 0 {
		return bar + text
	}
	if uniseg.StringWidth(bar+text) < columns {
		text = bar + text
	}
	return cutTo(text, columns-1) // in the last column, a terminal may begin a new line
}

// rateFor is the while by which it is judged how fast an operation is: it is faster or
// slower as others leave it room.
const rateFor = 20 * time.Second

// mark notes how many letters had an end, and forgets what is too old to judge by.
func (w *opWatch) mark(now time.Time, ended int) {
	w.marks = append(w.marks, waymark{now, ended})
	for len(w.marks) > 2 && now.Sub(w.marks[1].at) >= rateFor {
		w.marks = w.marks[1:]
	}
}

// rate is how many letters have had an end a second of late.
func (w *opWatch) rate() float64 {
	first, last := w.marks[0], w.marks[len(w.marks)-1]
	const moment = 0.001
	return float64(last.ended-first.ended) / max(last.at.Sub(first.at).Seconds(), moment)
}

// clear removes the line.
func (w *opWatch) clear() {
	if w.started && w.s.talksToTerminal() && (w.as == formTable || w.as == formWide) {
		_, _ = fmt.Fprint(w.s.io.Stderr, "\r\x1b[K")
	}
}
