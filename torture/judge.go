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
	r.PerSecond = float64(r.Messages.Effects) / r.Seconds
	if s.place.proxy != nil {
		n := s.place.proxy.Counts()
		r.CutBefore, r.CutAfter = n.CutBefore, n.CutAfter
	}
	for _, k := range s.chosen {
		if got := s.resumed[k.id]; got != nil {
			got.settle()
			r.Faults = append(r.Faults, *got)
		} else if k.inLoad != nil {
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
	e = oracle.Evidence{Charges: s.crew.charges, Deaths: s.crew.deaths,
		MinCrashes: driver.SuspectDeaths, MaxCrashes: maxCrashes}
	if e.Intents, err = readLedgers(s.opts.Dir); err != nil {
		return e, err
	}
	if e.Effects, err = s.countBy(ctx, "select id, count(*) from torture_effect group by id"); err != nil {
		return e, err
	}
	if e.Live, err = s.live(ctx); err != nil {
		return e, err
	}
	if e.Letters, err = s.letters(ctx); err != nil {
		return e, err
	}
	stats, err := s.control.Stats(ctx)
	for _, q := range stats {
		e.Counts.Live += q.Ready + q.Delayed + q.InFlight
		e.Counts.Dead += q.Dead
	}
	return e, err
}

// letters reads the dead letters.
func (s *stage) letters(ctx context.Context) (out []oracle.Letter, err error) {
	for past := int64(0); ; {
		ls, err := s.control.Letters(ctx, store.LetterFilter{Past: past, Limit: 200})
		if err != nil || len(ls) == 0 {
			return out, err
		}
		for _, l := range ls {
			past = l.Seq
			out = append(out, oracle.Letter{
				ID: l.ID, Kind: l.Kind, Reason: l.Reason, Digest: digest(l.Body), Crashes: l.Crashes,
			})
		}
	}
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
	m.Dead, m.Live = len(e.Letters), len(e.Live)
	return m
}
