package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/migrate"
)

// A Level says how bad a finding is.
type Level string

// The levels.
const (
	LevelOK      Level = "ok"
	LevelUnknown Level = "unknown" // it could not be looked at, which is not the same as good
	LevelWarning Level = "warning" // it works, and will hurt some day
	LevelError   Level = "error"   // a promise is broken, or soon will be
)

// A Finding is what a check found.
type Finding struct {
	ID       string // of the check; it never changes
	Level    Level
	Evidence string // what was seen
	Fix      string // what to do; empty when the level is ok
}

// A Check looks at one thing of the live database. An error means that it could
// not look. It writes nothing.
type Check struct {
	ID  string
	Run func(ctx context.Context) (Finding, error)
}

// checkWithin bounds one check.
const checkWithin = 30 * time.Second

// Examine runs the checks of the dialect, one after the other, and returns a
// finding for each, in their order. A check that could not look is
// LevelUnknown, with the reason as its evidence.
func (s *Store) Examine(ctx context.Context) ([]Finding, error) {
	out := make([]Finding, 0, len(s.Checks))
	for _, c := range s.Checks {
		f := c.look(ctx)
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		out = append(out, f)
	}
	return out, nil
}

func (c Check) look(ctx context.Context) Finding {
	ctx, cancel := context.WithTimeout(ctx, checkWithin)
	defer cancel()
	f, err := c.Run(ctx)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		f = Finding{Level: LevelUnknown, Evidence: "it took more than " + checkWithin.String()}
	case err != nil:
		f = Finding{Level: LevelUnknown, Evidence: err.Error()}
	}
	f.ID = c.ID
	if f.Level == LevelUnknown && f.Fix == "" {
		f.Fix = "look at it by other means"
	}
	return f
}

// JudgeSchema looks for migrations that have not been applied, in a list or the
// error of listing them.
func JudgeSchema(ms []migrate.Migration, err error) (Finding, error) {
	if errors.Is(err, ErrTooNew) {
		const fix = "run the Posthorn that migrated it, or a newer one"
		return Finding{Level: LevelError, Evidence: err.Error(), Fix: fix}, nil
	}
	pending := migrate.Pending(ms)
	if len(pending) == 0 {
		return Finding{Level: LevelOK, Evidence: fmt.Sprintf("version %d", len(ms))}, err
	}
	return Finding{
		Level: LevelError, Fix: "migrate up",
		Evidence: fmt.Sprintf("version %d; this program wants %d", len(ms)-len(pending), len(ms)),
	}, err
}

// JudgeIndexes compares the indexes that the migrations made with those that
// work.
func JudgeIndexes(expected []migrate.Index, there []string) Finding {
	var missing, repair []string
	for _, x := range expected {
		if !slices.Contains(there, x.Name) {
			missing, repair = append(missing, x.Name), append(repair, x.SQL)
		}
	}
	if len(missing) == 0 {
		return Finding{Level: LevelOK, Evidence: fmt.Sprintf("all %d are there", len(expected))}
	}
	return Finding{
		Level: LevelError, Evidence: "missing or not valid: " + strings.Join(missing, ", "),
		Fix: strings.Join(repair, " "),
	}
}

// clockSkew is how far the clocks of a host and of its store may be apart.
const clockSkew = 2 * time.Second

// JudgeClock compares the store's clock, read between before and after, with
// this host's.
func JudgeClock(at, before, after time.Time) Finding {
	skew, doubt := at.Sub(before.Add(after.Sub(before)/2)), after.Sub(before)/2
	f := Finding{Level: LevelOK, Evidence: fmt.Sprintf("the store's clock is %s ahead of this host's (± %s)",
		skew.Round(time.Millisecond), doubt.Round(time.Millisecond))}
	if skew.Abs()-doubt > clockSkew {
		f.Level = LevelWarning
		f.Fix = "let both hosts keep their time by NTP: leases are safe, but messages for a given moment come late or early"
	}
	return f
}
