package torture

import (
	"context"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/posthorn/posthorn/torture/oracle"
)

// drain waits until nothing is left but what is to be, or there is no progress any more. The
// oracle judges what is left.
func (s *stage) drain(ctx context.Context) {
	fates, err := s.fates()
	if err != nil {
		return // the judgement finds it, too
	}
	l, err := createLedger(filepath.Join(s.opts.Dir, lastKey+ledgerEnding))
	if err != nil {
		s.crew.find(oracle.CleanEnd, "%v", err)
		return
	}
	defer func() { _ = l.close() }() // what it has is on the disk
	v := overseer{store: s.control, ledger: l, resumed: map[string]bool{}}
	p := newPatience(time.Now(), s.opts.Stuck)
	for end := time.Now().Add(drainMost); time.Now().Before(end); wait(ctx, 250*time.Millisecond) {
		over, err := v.close(ctx)
		if err != nil {
			s.crew.find(oracle.CleanEnd, "%v", err)
			return
		}
		waiting := s.waiting(ctx, fates)
		if over && waiting != nil && len(waiting) == 0 { // until then what is in flight may die once more, and be put back
			return
		}
		if why := p.look(time.Now(), waiting, v.turns); why != "" {
			s.crew.find(oracle.Resumed, "%s", why)
			return
		}
	}
}

// waiting are the messages that are left; nil where the store is away.
func (s *stage) waiting(ctx context.Context, fates map[string]oracle.Fate) map[string]int {
	live, err := s.live(ctx)
	if err != nil {
		return nil
	}
	return left(live, fates)
}

// left are those that are live and are not to be.
func left(live map[string]int, fates map[string]oracle.Fate) map[string]int {
	maps.DeleteFunc(live, func(id string, _ int) bool { return fates[id].EndsLive() })
	return live
}

// Patience is how a run waits for what is left. It ends when for so long nothing has
// become less, or when for as long none of those that have waited longest has gone: what goes
// on beside a message that is stuck must not hide it.
type patience struct {
	stuck time.Duration
	least int // messages, and letters that wait for their turn
	turns int // of these, the letters
	until time.Time

	old      map[string]int // messages that were there at each look since these were all
	oldUntil time.Time
}

func newPatience(now time.Time, stuck time.Duration) *patience {
	return &patience{stuck: stuck, least: math.MaxInt, until: now.Add(stuck), oldUntil: now.Add(stuck)}
}

// look takes in which messages are left, and how many letters wait for their turn. It
// says why there is no use in waiting on; empty: there is. No messages, nil, is that
// nobody knows.
func (p *patience) look(now time.Time, live map[string]int, turns int) (why string) {
	if live != nil {
		p.see(now, live, turns)
	}
	switch {
	case now.After(p.until):
		return fmt.Sprintf("nothing has become less for %s, of %d messages and %d letters that wait for their turn: %s",
			p.stuck, len(live), turns, some(live))
	case now.After(p.oldUntil) && len(p.old) > 0:
		return fmt.Sprintf("%d messages have been waiting for more than %s beside others that went on: %s",
			len(p.old), p.stuck, some(p.old))
	}
	return ""
}

// see notes progress. Letters that are added to an operation are new work.
func (p *patience) see(now time.Time, live map[string]int, turns int) {
	if n := len(live) + turns; n < p.least || turns > p.turns {
		p.least, p.until = n, now.Add(p.stuck)
	}
	p.turns = turns
	was := len(p.old)
	maps.DeleteFunc(p.old, func(id string, _ int) bool { _, there := live[id]; return !there })
	if len(p.old) < was || was == 0 {
		p.oldUntil = now.Add(p.stuck)
	}
	if len(p.old) == 0 {
		p.old = maps.Clone(live)
	}
}

// some are the first of the messages, for people.
func some(live map[string]int) string {
	const most = 10
	ids := slices.Sorted(maps.Keys(live))
	if len(ids) > most {
		ids = append(ids[:most], "…")
	}
	return strings.Join(ids, ", ")
}
