package monitor

import (
	"context"
	"errors"
	"fmt"
)

// act carries out what was written down, and writes down what came of it. When
// the process dies in between, the intent still counts against the budget, and
// is not repeated before Budget.Again.
func (m *Monitor) act(ctx context.Context, todo []Action) {
	for i, a := range todo {
		m.opts.Log.Warn("monitor acts", "action", a.Kind, "target", a.Target, "condition", a.Rule, "subject", a.Subject,
			"finding", a.Why)
		err := m.do(ctx, a)
		todo[i].Outcome = done
		if err != nil {
			todo[i].Outcome = "failed: " + err.Error()
			m.opts.Log.Error("action failed", "action", a.Kind, "target", a.Target, "condition", a.Rule, "error", err)
		}
	}
	m.state = m.state.with(todo)
	m.publish(m.state.Verdict())
	m.note(ctx, todo)
}

// do carries out one action.
func (m *Monitor) do(ctx context.Context, a Action) error {
	ctx, cancel := context.WithTimeout(ctx, memoryWithin)
	defer cancel()
	why := a.Rule + ": " + a.Why
	switch a.Kind {
	case RestartWorker:
		return m.opts.Actions.RestartWorker(ctx, a.Target, why)
	case RollingRestart:
		return m.opts.Actions.RollingRestart(ctx, a.Target, why)
	case PauseQueue:
		return m.opts.Actions.PauseQueue(ctx, a.Target, why, PauseFor)
	}
	return fmt.Errorf("carry out action: there is no %q", a.Kind)
}

// with enters outcomes into the ledger.
func (s State) with(outcomes []Action) State {
	ledger := make([]Action, len(s.Ledger))
	for i, a := range s.Ledger {
		for _, o := range outcomes {
			if a.id() == o.id() {
				a.Outcome = o.Outcome
			}
		}
		ledger[i] = a
	}
	s.Ledger = ledger
	return s
}

// note writes the outcomes down. It does not matter much when that fails.
func (m *Monitor) note(ctx context.Context, outcomes []Action) {
	err := ErrConflict
	for try := 0; try < tries && errors.Is(err, ErrConflict); try++ {
		var (
			state   State
			version int64
		)
		if state, version, err = m.load(ctx, ""); err == nil {
			err = m.save(ctx, state.with(outcomes), version)
		}
	}
	if err != nil {
		m.opts.Log.Warn("outcome of actions was not noted", "error", err)
	}
}
