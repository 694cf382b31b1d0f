package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/fingerprint"
)

// A GroupState says what people have said of a group.
type GroupState string

// The states. A letter that dies makes a resolved group a regressed one; any other
// change is somebody's.
const (
	GroupOpen         GroupState = "open"
	GroupAcknowledged GroupState = "acknowledged" // somebody looks after it
	GroupMuted        GroupState = "muted"        // known, and not to be shown
	GroupResolved     GroupState = "resolved"     // the fault is gone
	GroupRegressed    GroupState = "regressed"    // it was said to be gone, and has come back
)

// GroupStates lists the states.
func GroupStates() []GroupState {
	return []GroupState{GroupOpen, GroupAcknowledged, GroupMuted, GroupResolved, GroupRegressed}
}

// TrendHours is how many hours a group's Trend has.
const TrendHours = 12

// A Group is the dead letters of one fault: those with one fingerprint.
type Group struct {
	Fingerprint string // empty: the letters whose fingerprint has not been computed yet
	Algorithm   string // by which fingerprints of this kind are computed
	Kind        string
	Class       driver.Class
	ErrorType   string
	Title       string // the text of the error without what differs between letters
	Count       int64  // of the letters that are dead now
	// Trend counts those among them that died in each of the last hours, the last of
	// which is the current one. Letters that died within some milliseconds of the turn
	// of an hour may be counted for the other one.
	Trend      [TrendHours]int64
	First      time.Time // when the first letter of the group died; it may be gone
	FirstBuild string    // where that was; may be empty
	Last       time.Time // when the last of those that are dead now died; zero without any
	Sample     *Letter   // that one, without its body; nil without any
	State      GroupState
	Note       string
	Actor      string    // who changed State or Note last
	Changed    time.Time // when State changed last, or the group was found
}

// ErrNoGroup: no group has this fingerprint.
var ErrNoGroup = errors.New("no such group of dead letters")

// count adds to a group what its letters tell.
func (g *Group) count(t tally, samples map[int64]Letter) {
	for _, n := range t.hours {
		g.Count += n
	}
	copy(g.Trend[:], t.hours[1:])
	if first, ok := samples[t.first]; ok && g.First.IsZero() {
		g.First, g.FirstBuild, g.Kind, g.Class = first.DiedAt, first.Build, first.Kind, first.Class
		g.ErrorType, g.Title, g.Changed = first.ErrorType, fingerprint.Normal(first.Error), first.DiedAt
	}
	last, ok := samples[t.last]
	if !ok {
		return
	}
	g.Sample, g.Last = &last, last.DiedAt
	if g.State == GroupResolved && last.DiedAt.After(g.Changed) {
		g.State = GroupRegressed // what the row will say with its next burial, or the next housekeeping
	}
}

// groupRows reads what is known of groups beside their letters.
func (s *Store) groupRows(ctx context.Context, q Session, where string, args ...any) (map[string]*Group, error) {
	out := map[string]*Group{}
	err := q.Query(ctx, s.SQL.Groups+where, args, func(r Row) error {
		var (
			g              Group
			first, changed int64
			class, state   string
		)
		err := r.Scan(&g.Fingerprint, &g.Algorithm, &g.Kind, &class, &g.ErrorType, &g.Title, &first, &g.FirstBuild,
			&state, &g.Note, &g.Actor, &changed)
		g.Class, g.State = driver.Class(class), GroupState(state)
		g.First, g.Changed = fromMillis(first), fromMillis(changed)
		out[g.Fingerprint] = &g
		return err
	})
	return out, err
}

// A tally counts the letters of one fingerprint: hours[0] are those that died before the
// others. Letters stand in an index by fingerprint and sequence, and sequences grow with
// time, so that those of one hour are a range.
type tally struct {
	mark        string
	first, last int64 // sequences
	hours       [TrendHours + 1]int64
}

// dest is where a row of Statements.GroupCounts goes, after the fingerprint.
func (t *tally) dest() []any {
	out := []any{&t.first, &t.last}
	for i := range t.hours {
		out = append(out, &t.hours[i])
	}
	return out
}

// tallyOf counts the letters of one fingerprint.
func (s *Store) tallyOf(ctx context.Context, q Session, mark string, bounds []any) (tally, error) {
	t := tally{mark: mark}
	args := []any{mark, mark}
	for i, bound := range bounds {
		if i%2 == 0 {
			args = append(args, mark)
		}
		args = append(args, bound)
	}
	err := q.Query(ctx, s.SQL.GroupCount, args, func(r Row) error {
		var first, last *int64
		err := r.Scan(append([]any{&first, &last}, t.dest()[2:]...)...)
		if first != nil && last != nil { // else the last of them has gone meanwhile
			t.first, t.last = *first, *last
		}
		return err
	})
	return t, err
}

const hourMillis = int64(time.Hour / time.Millisecond)

// hourBounds are the sequences that divide the letters by the hours in which they died:
// for each part, those after the first and up to the second bound.
func (s *Store) hourBounds(ctx context.Context, q Session, now int64) ([]any, error) {
	var args, dest []any
	firsts := make([]*int64, TrendHours)
	for i := range TrendHours {
		args = append(args, now-now%hourMillis-int64(TrendHours-1-i)*hourMillis)
		dest = append(dest, &firsts[i])
	}
	err := q.Query(ctx, s.SQL.HourBounds, args, func(r Row) error { return r.Scan(dest...) })
	if err != nil {
		return nil, err
	}
	var out []any
	from := int64(-1)
	for i := range TrendHours + 1 {
		to := int64(math.MaxInt64)
		if i < TrendHours && firsts[i] != nil {
			to = max(*firsts[i]-1, from)
		}
		out = append(out, from, to)
		from = to
	}
	return out, nil
}

// samples reads the first and the last letter of each group, without their bodies.
func (s *Store) samples(ctx context.Context, q Session, ts []tally) (map[int64]Letter, error) {
	seqs := make([]any, 0, 2*len(ts))
	for _, t := range ts {
		seqs = append(seqs, t.first, t.last)
	}
	out := make(map[int64]Letter, len(seqs))
	for part := range slices.Chunk(seqs, maxClaim) {
		stmt := s.SQL.LetterHeads + list(len(part))
		err := q.Query(ctx, stmt, part, func(r Row) error {
			l, err := scanLetter(r)
			out[l.Seq] = l
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// A GroupChange is what somebody says of a group; nil leaves it as it was.
type GroupChange struct {
	State *GroupState // not GroupRegressed
	Note  *string     // at most MaxNote bytes
}

// MaxNote bounds the note of a group in bytes.
const MaxNote = 4000

// ChangeGroup changes the state or the note of a group, and keeps who did; see
// [Acting]. It returns the group as it was and as it is, without what letters tell.
// Errors: ErrNoGroup, driver.ErrInvalid, ErrTooLarge, ErrUnavailable.
func (s *Store) ChangeGroup(ctx context.Context, fingerprint string, c GroupChange) (was, is Group, err error) {
	if err := c.check(); err != nil {
		return was, is, fmt.Errorf("change group: %w", err)
	}
	err = s.write(ctx, func(ctx context.Context, q Session) error {
		was, is, err = s.changeGroup(ctx, q, fingerprint, c)
		return err
	})
	return was, is, s.explain("change group", err)
}

func (c GroupChange) check() error {
	switch {
	case c.State != nil && (*c.State == GroupRegressed || !slices.Contains(GroupStates(), *c.State)):
		return fmt.Errorf("%w: state %q", driver.ErrInvalid, string(*c.State))
	case c.Note != nil && len(*c.Note) > MaxNote:
		return fmt.Errorf("%w: a note has at most %d bytes", driver.ErrTooLarge, MaxNote)
	}
	return nil
}

func (s *Store) changeGroup(
	ctx context.Context, q Session, mark string, c GroupChange,
) (was, is Group, err error) {
	now, err := q.Now(ctx)
	if err != nil {
		return was, is, err
	}
	row, err := s.groupRow(ctx, q, mark)
	if err != nil {
		return was, is, err
	}
	said, _ := ctx.Value(actKey{}).(Act)
	was, is = *row, *row
	is.Actor = clip(said.Actor, MaxActor)
	if c.State != nil { // what died before a note was written has still died after it was resolved
		is.State, is.Changed = *c.State, fromMillis(now)
	}
	if c.Note != nil {
		is.Note = clip(*c.Note, MaxNote)
	}
	at := is.Changed.UnixMilli()
	if _, err := q.Exec(ctx, s.SQL.GroupSet, string(is.State), is.Note, is.Actor, at, mark); err != nil {
		return was, is, err
	}
	return was, is, s.audit(ctx, q, Act{
		Verb: VerbGroup, Subject: mark, Count: 1, Was: was.word(), Became: is.word(),
	})
}

// groupRow is what is known of one group, whose row is made if it has letters. It is locked:
// what is written back must not undo what a burial, or somebody else, has written.
func (s *Store) groupRow(ctx context.Context, q Session, mark string) (*Group, error) {
	for range 2 {
		rows, err := s.groupRows(ctx, q, " where fingerprint = ?"+s.SQL.Lock, mark)
		if err != nil {
			return nil, err
		}
		if row, there := rows[mark]; there {
			return row, nil
		}
		ls, err := s.lettersIn(ctx, q, LetterFilter{Group: mark, Bare: true}, 1)
		if err != nil || len(ls) == 0 || mark == "" {
			return nil, cmp.Or(err, fmt.Errorf("%w: %q", ErrNoGroup, mark))
		}
		l := ls[0]
		end := endingOf(l.Kind, l.Reason, &driver.Attempt{
			Class: l.Class, Error: l.Error, Type: l.ErrorType, Build: l.Build, Fingerprint: mark,
		})
		first := func(string) int64 { return l.DiedAt.UnixMilli() }
		if err := s.addGroups(ctx, q, faultsFound{mark: end}, first); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%w: %q", ErrNoGroup, mark)
}

// word is what people have said of a group, for the audit.
func (g Group) word() string {
	if g.Note == "" {
		return string(g.State)
	}
	return string(g.State) + ": " + g.Note
}
