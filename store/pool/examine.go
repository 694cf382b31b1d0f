package pool

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/posthorn/posthorn/store"
)

// Places are a server's connections, as a check finds them.
type Places struct {
	Process   int // what one process may open
	Processes int // that have workers now
	Usable    int // what the server has for the store's user
	Used      int // by anybody
}

// Judge says whether the processes fit.
func (p Places) Judge() store.Finding {
	need := p.Process * max(p.Processes, 1)
	f := store.Finding{Level: store.LevelOK, Evidence: fmt.Sprintf(
		"up to %d connections for a process, %d with the %d that run; the server has %d for this user, %d are used",
		p.Process, need, p.Processes, p.Usable, p.Used)}
	switch {
	case need > p.Usable:
		f.Level = store.LevelError
	case need > p.Usable*8/10, p.Used > p.Usable*9/10:
		f.Level = store.LevelWarning
	}
	if f.Level != store.LevelOK {
		f.Fix = "lower pool.app or pool.effects, run fewer processes, or raise max_connections"
	}
	return f
}

// Warn says at start that the processes do not fit, by the check that finds it.
// Pools fill up only under load, so this is no reason not to start.
func Warn(ctx context.Context, log *slog.Logger, check func(context.Context) (store.Finding, error)) {
	if log == nil {
		return
	}
	if f, err := check(ctx); err == nil && f.Level == store.LevelError {
		log.Warn("server has too few connections: under load some will be refused", "found", f.Evidence, "try", f.Fix)
	}
}

// A Timeout of the server ends work if it is too short.
type Timeout struct {
	Name  string
	Least time.Duration
	Harm  string // of a shorter one
}

// JudgeTimeouts looks at the server's timeouts; zero means that there is none.
func JudgeTimeouts(timeouts []Timeout, set map[string]time.Duration) store.Finding {
	var seen, fixes []string
	f := store.Finding{Level: store.LevelOK}
	for _, t := range timeouts {
		value, there := set[t.Name]
		if !there {
			continue
		}
		seen = append(seen, fmt.Sprintf("%s=%s", t.Name, value))
		if value > 0 && value < t.Least {
			f.Level = store.LevelWarning
			fixes = append(fixes, fmt.Sprintf("raise %s to %s or more: %s", t.Name, t.Least, t.Harm))
		}
	}
	f.Evidence, f.Fix = strings.Join(seen, ", "), strings.Join(fixes, "; ")
	return f
}

// MeasureClock compares the server's clock with this host's. now is a query for
// milliseconds since 1970.
func MeasureClock(ctx context.Context, db *sql.DB, now string) (store.Finding, error) {
	conn, err := db.Conn(ctx) // opening one takes long, and must not be measured
	if err != nil {
		return store.Finding{}, err
	}
	defer func() { _ = conn.Close() }()
	var ms int64
	before := time.Now()
	err = conn.QueryRowContext(ctx, now).Scan(&ms)
	return store.JudgeClock(time.UnixMilli(ms), before, time.Now()), err
}

// Each runs a query and hands each row to scan.
func Each(ctx context.Context, db *sql.DB, query string, scan func(store.Row) error) error {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // Err below tells what matters
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
