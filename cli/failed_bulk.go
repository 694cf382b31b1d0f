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
	fs.Var(pace{&f.rate}, "rate", "at most `N` a second (default as fast as others allow)")
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

// canary is what the flags say of canaries; nil: nothing.
func (f bulkFlags) canary() *bool {
	if f.noCanary {
		return new(false)
	}
	return nil
}

// bulk does a change by an operation, whose letters are fixed now. Ids that are no dead
// letters are told before anybody is asked, and the exit code tells of them, too.
func (s *session) bulk(ctx context.Context, st *store.Store, c change, f changeFlags) error {
	ls, missing, err := failure.Named(ctx, st, f.ids, c.discarded)
	if err != nil {
		return err
	}
	if len(missing) > 0 && len(ls) == 0 {
		return s.absent(ctx, st, missing, len(missing))
	}
	if err := s.sayAbsent(ctx, st, missing); err != nil {
		return err
	}
	if err := s.operateOn(ctx, st, c, f); err != nil || len(missing) == 0 {
		return err
	}
	return outcome(exitPartly)
}

// operateOn makes an operation of what the flags choose, and watches it if it is to be
// waited for.
func (s *session) operateOn(ctx context.Context, st *store.Store, c change, f changeFlags) error {
	o, err := s.planned(ctx, st, c, f)
	if err != nil {
		return err
	}
	sure := f.yes || len(f.ids) == 1 // one reversible action asks nobody
	if err := s.knownTarget(ctx, st, f.to, f.yes); err != nil {
		return err
	}
	n, err := s.agreed(ctx, st, o, sure)
	switch {
	case err != nil:
		return err
	case n == 0:
		return s.nothingFits()
	}
	o.Canary = failure.Canary(f.canary(), n)
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

// planned is the operation that the flags ask for.
func (s *session) planned(
	ctx context.Context, st *store.Store, c change, f changeFlags,
) (o store.Operation, err error) {
	o = store.Operation{
		Action: c.action, To: f.to, Rate: f.rate, Reason: f.because, Chosen: f.words(),
		Patch: f.patch, Unchecked: f.unchecked,
	}
	o.Filter, err = s.narrow(ctx, st, &f.letterFlags)
	o.Filter.IDs = f.ids
	return o, err
}

// agreed shows what an operation would be about, and asks. It returns how many letters
// these are; where nobody is asked, up to one more than failure.AtOnce.
func (s *session) agreed(ctx context.Context, st *store.Store, o store.Operation, yes bool) (int, error) {
	if yes {
		return failure.Measure(ctx, st, o)
	}
	p, err := failure.Foresee(ctx, st, o)
	if err != nil || p.Total == 0 {
		return 0, err
	}
	s.foretell(p)
	return p.Total, s.confirm(fmt.Sprintf("%s %s?", o.Action, plural(p.Total, "dead letter")), false)
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
