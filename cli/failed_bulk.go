package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/failure"
	"github.com/posthorn/posthorn/internal/printable"
	"github.com/posthorn/posthorn/store"
)

// smallChange is how many dead letters are changed at once. What is more becomes an
// operation.
const smallChange = 100

// bulkFlags are the flags of what is done by an operation.
type bulkFlags struct {
	to       string
	rate     float64
	noCanary bool
	wait     bool
	because  string

	patch     []byte // of an edit
	unchecked bool
}

func (f *bulkFlags) define(cmd *cobra.Command, retries bool) {
	fs := cmd.Flags()
	fs.Float64Var(&f.rate, "rate", 0, "at most `N` a second (default as fast as others allow)")
	fs.StringVar(&f.because, "because", "", "why, for all who wonder")
	names := []string{"rate", "because"}
	if retries {
		fs.StringVar(&f.to, "to", "", "to this `queue` instead of their own")
		fs.BoolVar(&f.noCanary, "no-canary", false, "all at once, not one first and then ten")
		fs.BoolVar(&f.wait, "wait", false, "wait for what becomes of them")
		names = append(names, "to", "no-canary", "wait")
	}
	group(cmd, "By an operation", names...)
}

// asked reports whether the flags ask for an operation.
func (f bulkFlags) asked() bool { return f.to != "" || f.rate != 0 || f.wait || f.noCanary }

// bulk does a change by an operation, whose letters are fixed now.
func (s *session) bulk(ctx context.Context, st *store.Store, c change, f changeFlags) error {
	o, p, err := s.planned(ctx, st, c, f)
	if err != nil {
		return err
	}
	if !f.yes {
		s.foretell(p)
	}
	if err := s.confirm(fmt.Sprintf("%s %s?", c.verb, plural(p.Total, "dead letter")), f.yes); err != nil {
		return err
	}
	if o, err = st.StartOperation(ctx, o); err != nil {
		return err
	}
	s.print("%s\n", o.ID)
	if f.wait || c.action != store.ActionRetry {
		return s.watchOp(ctx, st, o.ID, formTable)
	}
	s.say("%s is under way: %s ops watch %s\n", o.ID, s.app.Name, o.ID)
	return nil
}

// planned is the operation that the flags ask for, and what it would be about.
func (s *session) planned(
	ctx context.Context, st *store.Store, c change, f changeFlags,
) (o store.Operation, p failure.Preview, err error) {
	o = store.Operation{
		Action: c.action, To: f.to, Rate: f.rate, Canary: !f.noCanary, Reason: f.because, Chosen: f.words(),
		Patch: f.patch, Unchecked: f.unchecked,
	}
	if o.Filter, err = s.narrow(ctx, st, &f.letterFlags); err != nil {
		return o, p, err
	}
	o.Filter.IDs = f.ids
	if p, err = failure.Foresee(ctx, st, o); err != nil {
		return o, p, err
	}
	if p.Total == 0 {
		return o, p, s.nothingFits()
	}
	o.Canary = o.Canary && p.Total > smallChange
	return o, p, nil
}

// foretell shows what a bulk change would be about.
func (s *session) foretell(p failure.Preview) {
	const most = 5
	for _, c := range p.By[:min(most, len(p.By))] {
		s.say("%8d  %s in %s, %s\n", c.Count, c.Kind, c.Queue, c.Reason)
	}
	if len(p.By) > most {
		s.say("          and %d other kinds, queues and reasons\n", len(p.By)-most)
	}
	s.say("dead since %s, the latest %s\n", moment(p.Oldest), moment(p.Newest))
	for _, l := range p.Samples {
		s.say("such as %s: %s\n", l.ID, firstLine(l.Error))
	}
	if p.Takes > 0 {
		s.say("it takes about %s\n", p.Takes.Round(time.Second))
	}
}

// firstLine is the beginning of an error, for one line.
func firstLine(text string) string {
	const most = 80
	line, _, _ := strings.Cut(text, "\n")
	return cutTo(printable.Text(line), most)
}
