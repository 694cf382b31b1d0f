package torture

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/runs"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/torture/oracle"
)

// judge collects the evidence, asks the oracle, and fills in the report.
func (s *stage) judge(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, judgeWithin)
	defer cancel()
	e, err := s.evidence(ctx)
	if err != nil {
		return fmt.Errorf("collect evidence: %w", err)
	}
	if err := s.leaks(ctx); err != nil {
		return fmt.Errorf("collect evidence: %w", err)
	}
	r := s.report
	version, err := runs.Version(ctx, s.control.DB(), s.control.Dialect())
	if err != nil {
		return fmt.Errorf("collect evidence: %w", err)
	}
	r.Host = runs.Here(version)
	r.Findings = append(append([]oracle.Finding{}, oracle.Check(e)...), s.crew.found...)
	r.Crew = s.crew.counts
	r.Messages = countMessages(e)
	if r.Operations, err = s.countOperations(ctx, e); err != nil {
		return fmt.Errorf("collect evidence: %w", err)
	}
	r.PerSecond = float64(r.Messages.Effects) / r.Seconds
	if s.place.proxy != nil {
		n := s.place.proxy.Counts()
		r.CutBefore, r.CutAfter = n.CutBefore, n.CutAfter
	}
	for _, k := range s.chosen {
		if got := s.resumed[k.id]; got != nil {
			got.settle()
			r.Faults = append(r.Faults, *got)
		} else if k.inject == nil {
			r.Faults = append(r.Faults, Recovery{Fault: k.id, About: k.about, Injected: s.inLoad(k, e)})
		} else {
			r.Skipped = append(r.Skipped, Skipped{k.id, "the run ended before its turn came"})
		}
	}
	r.Judge()
	return nil
}

// inLoad counts what came with the messages.
func (s *stage) inLoad(k kind, e oracle.Evidence) (n int) {
	if k.id == Limits {
		return s.crew.counts.Ended
	}
	for _, in := range e.Intents {
		if slices.Contains(k.inLoad, in.Fate) {
			n++
		}
	}
	return n
}

// evidence reads the ledgers and the store.
func (s *stage) evidence(ctx context.Context) (e oracle.Evidence, err error) {
	e = oracle.Evidence{Charges: s.crew.charges, Rushes: s.crew.rushes, Deaths: s.crew.deaths,
		MinCrashes: driver.SuspectDeaths, MaxCrashes: maxCrashes, MaxLines: driver.MaxAttempts}
	all, err := readLedgers(s.opts.Dir)
	if err != nil {
		return e, err
	}
	e.Intents, e.Orders = all.Intents, all.Orders
	if e.Effects, err = s.countBy(ctx, "select id, count(*) from torture_effect group by id"); err != nil {
		return e, err
	}
	if e.Live, err = s.live(ctx); err != nil {
		return e, err
	}
	if err = s.letters(ctx, &e); err != nil {
		return e, err
	}
	if err = s.operations(ctx, &e); err != nil {
		return e, err
	}
	stats, err := s.control.Stats(ctx)
	for _, q := range stats {
		e.Counts.Live += q.Ready + q.Delayed + q.InFlight
		e.Counts.Dead += q.Dead
	}
	return e, err
}

// letters reads the dead letters and the discarded ones, and how often their history says
// that their messages died as they did last.
func (s *stage) letters(ctx context.Context, e *oracle.Evidence) error {
	lines, err := s.lines(ctx)
	if err != nil {
		return err
	}
	e.Lines = map[string]int{}
	for _, discarded := range []bool{false, true} {
		ls, err := s.allLetters(ctx, discarded)
		if err != nil {
			return err
		}
		for _, l := range ls {
			e.Letters = append(e.Letters, l.Letter)
			e.Lines[l.ID] = lines[[2]string{l.ID, l.class}]
		}
	}
	return nil
}

// A lastWord is a dead letter with the class of the attempt that it died of.
type lastWord struct {
	oracle.Letter
	class string
}

// allLetters reads all dead letters, or all that are discarded.
func (s *stage) allLetters(ctx context.Context, discarded bool) (out []lastWord, err error) {
	for f := (store.LetterFilter{Discarded: discarded, Limit: 200}); ; {
		ls, err := s.control.Letters(ctx, f)
		if err != nil || len(ls) == 0 {
			return out, err
		}
		for _, l := range ls {
			f.Past = l.Seq
			sent, err := s.asSent(ctx, l)
			if err != nil {
				return nil, err
			}
			out = append(out, lastWord{class: string(l.Class), Letter: oracle.Letter{
				ID: l.ID, Kind: l.Kind, Reason: l.Reason, Digest: digest(sent), Crashes: l.Crashes, Seq: l.Seq,
				Discarded: discarded,
			}})
		}
	}
}

// asSent is the body of a letter as it was sent.
func (s *stage) asSent(ctx context.Context, l store.Letter) ([]byte, error) {
	if l.Revision == 0 {
		return l.Body, nil
	}
	revisions, err := s.control.Revisions(ctx, l.ID)
	if err != nil || len(revisions) == 0 {
		return nil, err
	}
	return revisions[0].Body, nil
}

// leaks looks for connections of processes that have ended.
func (s *stage) leaks(ctx context.Context) error {
	if s.place.kind != "postgres" {
		return nil // MySQL cannot tell them from the run's own
	}
	var left []int64
	var err error
	for deadline := time.Now().Add(reachWithin); time.Now().Before(deadline); wait(ctx, 100*time.Millisecond) {
		if left, err = s.connections(ctx); err != nil || len(left) == 0 {
			return err
		}
	}
	s.crew.find(oracle.NothingLeaks, "%d connections are left when all processes have ended", len(left))
	return nil
}

// countMessages counts what became of them.
func countMessages(e oracle.Evidence) (m Messages) {
	m.Intents = len(e.Intents)
	for _, in := range e.Intents {
		switch in.Outcome {
		case oracle.OK:
			m.Accepted++
		case oracle.Failed:
			m.Refused++
		default:
			m.Unknown++
		}
	}
	for _, n := range e.Effects {
		m.Effects += n
	}
	m.Live = len(e.Live)
	for _, l := range e.Letters {
		if l.Discarded {
			m.Discarded++
		} else {
			m.Dead++
		}
	}
	return m
}
