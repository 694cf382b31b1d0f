package store

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/fingerprint"
)

// An ending is what a letter says of how its message died.
type ending struct {
	reason                             string
	kind, text, errorType, mark, build string
	class                              driver.Class
	failure                            fingerprint.Failure
}

// title is what a group is called that this is the first of. It is made only then: it goes
// through the whole text.
func (e ending) title() string { return clip(fingerprint.Title(e.failure), maxTitle) }

// endingOf takes it from the last attempt. A fingerprint that nobody has computed is
// computed from what the attempt says.
func endingOf(kind, reason string, a *driver.Attempt) ending {
	end := ending{kind: kind, reason: clip(reason, maxWord)}
	if a == nil {
		a = &driver.Attempt{}
	}
	f := fingerprint.Failure{Kind: kind, Class: a.Class, Text: a.Error, Stack: a.Stack}
	end.class, end.text = driver.Class(clip(string(a.Class), maxWord)), clip(a.Error, driver.MaxAttemptError)
	end.errorType, end.build = clip(a.Type, driver.MaxName), clip(a.Build, driver.MaxName)
	end.failure = f
	if end.mark = clip(a.Fingerprint, maxWord); end.mark == "" {
		end.mark = fingerprint.Of(f)
	}
	return end
}

// maxTitle bounds a group's title in bytes.
const maxTitle = 500

// row are the arguments of Statements.Letter.
func (e ending) row(now, seq int64, claim string) []any {
	return []any{now, e.reason, string(e.class), e.text, e.mark, e.errorType, e.build, seq, claim}
}

// faultsFound are the faults of what was buried in one transaction, by fingerprint.
type faultsFound map[string]ending

func (f faultsFound) add(e ending) {
	if _, there := f[e.mark]; !there {
		f[e.mark] = e
	}
}

// marks are the fingerprints in their order, in which everybody locks groups.
func (f faultsFound) marks() []string { return slices.Sorted(maps.Keys(f)) }

// What this process knows of groups that are in the store: a burial needs to write
// nothing about them for a while.
const (
	knownFor  = time.Minute
	knownMost = 10_000
)

// faults are the fingerprints that this process has lately seen in the store.
type faults struct {
	mu   sync.Mutex
	seen map[string]time.Time
}

// known reports whether a group is in the store, and not to be looked at yet.
func (f *faults) known(mark string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, ok := f.seen[mark]
	return ok && time.Since(at) < knownFor
}

// learn remembers the groups of a transaction that was committed.
func (f *faults) learn(found faultsFound) {
	if len(found) == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.seen == nil || len(f.seen) > knownMost {
		f.seen = map[string]time.Time{}
	}
	for mark := range found {
		if at, ok := f.seen[mark]; !ok || time.Since(at) >= knownFor {
			f.seen[mark] = time.Now()
		}
	}
}

// noteGroups adds the groups that are not there yet, and notes that a resolved one
// has come back. It touches a group once a minute in each process at most, so that
// burials do not wait for each other; in the order of their keys, so that two that
// do cannot wait in a circle.
func (s *Store) noteGroups(ctx context.Context, q Session, now int64, found faultsFound) error {
	unseen := faultsFound{}
	for mark, e := range found {
		if !s.faults.known(mark) {
			unseen[mark] = e
		}
	}
	if err := s.addGroups(ctx, q, unseen, func(string) int64 { return now }); err != nil {
		return err
	}
	for _, mark := range unseen.marks() {
		if _, err := q.Exec(ctx, s.SQL.GroupAgain, now, mark); err != nil {
			return err
		}
	}
	return nil
}

// A roll is the faults of letters that died before they were found here, with when the
// first of each did, in milliseconds.
type roll struct {
	faults faultsFound
	died   map[string]int64
}

func newRoll() roll { return roll{faultsFound{}, map[string]int64{}} }

func (r roll) add(e ending, died int64) {
	r.faults.add(e)
	if first, there := r.died[e.mark]; !there || died < first {
		r.died[e.mark] = died
	}
}

// addLetter adds a dead letter. One that is discarded, or has no fingerprint yet, is in
// no group.
func (r roll) addLetter(l Letter) {
	if l.Fingerprint == "" || !l.Discarded.IsZero() {
		return
	}
	r.add(endingOf(l.Kind, l.Reason, &driver.Attempt{
		Class: l.Class, Error: l.Error, Type: l.ErrorType, Build: l.Build, Fingerprint: l.Fingerprint,
	}), toMillis(l.DiedAt))
}

// enroll adds the groups that are not there.
func (s *Store) enroll(ctx context.Context, q Session, r roll) error {
	return s.addGroups(ctx, q, r.faults, func(mark string) int64 { return r.died[mark] })
}

// regroup adds the groups of dead letters that are not there any more: a group without
// letters is forgotten when its retention is over.
func (s *Store) regroup(ctx context.Context, q Session, seqs []any) error {
	found := newRoll()
	for part := range slices.Chunk(seqs, maxClaim) {
		err := q.Query(ctx, s.SQL.LetterHeads+list(len(part)), part, func(r Row) error {
			l, err := scanLetter(r)
			found.addLetter(l)
			return err
		})
		if err != nil {
			return err
		}
	}
	return s.enroll(ctx, q, found)
}
