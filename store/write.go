package store

import (
	"context"
	"database/sql"
	"slices"
	"strconv"
	"strings"

	"github.com/posthorn/posthorn/internal/failpoint"
)

// A Write is what one caller wants written in a transaction that it may share.
// What most calls want has a form of its own, so that an engine can write it for
// many callers by one statement, and in one round trip.
type Write struct {
	Before []string  // statements without arguments, to be run first
	Send   []Message // to be inserted
	// Hand is how the token of the message's claim ends, where it is handed over to an idle consumer if there
	// is one and nothing else is sent with it (offer.go); empty: it is not.
	Hand  string
	Ack   []Claim  // to be removed, as far as they stand
	Take  *Take    // ready messages to be leased
	Run   []Queued // handlers\' statements
	Quiet bool     // nobody is told of it
	// Func does anything else, after the others. It may run more than once and
	// must not keep state from a run that failed.
	Func WriteFunc

	// Lost are the claims of Ack that did not stand, after Engine.Write.
	Lost []Claim
}

// A WriteFunc is other work of one Engine.Write.
type WriteFunc = func(context.Context, Session) error

// write runs fn in a transaction that it may share.
func (s *Store) write(ctx context.Context, fn WriteFunc) error {
	return s.Engine.Write(ctx, &Write{Func: fn})
}

// A Message is a row to be inserted. It is due Delay after the store's now, or
// at At, whichever is later.
type Message struct {
	ID, Kind, Queue   string
	Priority, Attempt int
	Delay, At         int64          // milliseconds; At since 1970, 0: at once
	Header            sql.NullString // JSON
	Body              []byte         // not nil
}

// row are the message's columns in the order of Statements.Insert.
func (m Message) row(now int64) []any {
	due, state := max(now+m.Delay, m.At), stateReady
	if due > now {
		state = stateLater
	}
	return []any{m.ID, m.Kind, m.Queue, m.Priority, state, due, due, now, m.Attempt, m.Header, m.Body}
}

// A Queued is a handler's statement that waits until its effect has returned.
type Queued struct {
	Query string
	Args  []any
}

// A Claim is a message that is held under a token.
type Claim struct {
	Seq     int64
	Token   string
	ID      string // of the message
	History bool   // attempts may have been noted, to be removed with it
}

// A Take leases ready messages of a queue, those of the highest priority first.
type Take struct {
	Token, Worker string
	Lease         int64 // milliseconds from the store's now
	Queue         string
	Limit         int
	Suspects      bool   // suspects instead
	Marks         []Mark // where to begin; none: at the start
	Beside        bool   // it runs beside other ones, each in a transaction of its own
	// Row is called for each, with the columns of Statements.Claim. Begin is
	// called before: a failed run may have called Row, too.
	Begin func()
	Row   func(Row) error
}

// Simple reports whether none of the writes has work of its own.
func Simple(ws []*Write) bool {
	return !slices.ContainsFunc(ws, func(w *Write) bool { return w.Func != nil })
}

// Apply writes in the transaction that is open in the session.
func Apply(ctx context.Context, q Session, ws []*Write) error {
	if err := q.Do(ctx, ws...); err != nil {
		return err
	}
	for _, w := range ws {
		if w.Func == nil {
			continue
		}
		if err := w.Func(ctx, q); err != nil {
			return err
		}
	}
	return nil
}

// Plainly writes all but the functions, statement by statement: for a database
// that is in the process, and for connections that take no more at once.
func (s *Statements) Plainly(ctx context.Context, q Session, ws []*Write) error {
	if err := before(ctx, q, ws); err != nil {
		return err
	}
	if err := s.sendAll(ctx, q, ws); err != nil {
		return err
	}
	if err := s.ackAll(ctx, q, ws); err != nil {
		return err
	}
	for _, w := range ws {
		if w.Take == nil {
			continue
		}
		if err := s.take(ctx, q, w.Take); err != nil {
			return err
		}
		failpoint.Pass(failpoint.MidClaim)
	}
	return run(ctx, q, ws)
}

// run runs what handlers have queued.
func run(ctx context.Context, q Session, ws []*Write) error {
	for _, w := range ws {
		for _, stmt := range w.Run {
			if _, err := q.Exec(ctx, stmt.Query, stmt.Args...); err != nil {
				return err
			}
		}
	}
	return nil
}

// before runs what is to be run first.
func before(ctx context.Context, q Session, ws []*Write) error {
	for _, w := range ws {
		w.Lost = nil
		for _, stmt := range w.Before {
			if _, err := q.Exec(ctx, stmt); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Statements) sendAll(ctx context.Context, q Session, ws []*Write) error {
	n := 0
	for _, w := range ws {
		n += len(w.Send)
	}
	if n == 0 {
		return nil
	}
	now, err := q.Now(ctx)
	if err != nil {
		return err
	}
	if handed, err := s.handOver(ctx, q, Lone(ws), now); handed || err != nil {
		failpoint.Pass(failpoint.MidSend)
		return err
	}
	rows := make([][]any, 0, n)
	for _, w := range ws {
		for _, m := range w.Send {
			rows = append(rows, m.row(now))
		}
	}
	_, err = q.ExecMany(ctx, s.Insert, rows)
	failpoint.Pass(failpoint.MidSend)
	return err
}

func (s *Statements) ackAll(ctx context.Context, q Session, ws []*Write) error {
	var claims []Claim
	for _, w := range ws {
		claims = append(claims, w.Ack...)
	}
	if len(claims) == 0 {
		return nil
	}
	touched, err := s.acknowledge(ctx, q, claims)
	if err != nil {
		return err
	}
	failpoint.Pass(failpoint.MidAck)
	for _, w := range ws {
		if err := s.dropLogs(ctx, q, w, touched[:len(w.Ack)]); err != nil {
			return err
		}
		touched = touched[len(w.Ack):]
	}
	return nil
}

// acknowledge removes the messages of the claims that stand: of each it says 1, else 0.
func (s *Statements) acknowledge(ctx context.Context, q Session, claims []Claim) ([]int64, error) {
	if s.AckThese != "" && len(claims) >= manyAcks {
		if all, err := s.ackThese(ctx, q, byToken(claims)); all || err != nil {
			return slices.Repeat([]int64{1}, len(claims)), err
		}
	}
	rows := make([][]any, len(claims))
	for i, c := range claims {
		rows[i] = []any{c.Seq, c.Token}
	}
	return q.ExecMany(ctx, s.Ack, rows)
}

// manyAcks is how many acknowledgements of a token are worth a statement for all of them.
const manyAcks = 8

// byToken are claims in lots of one token each: what was claimed together is mostly
// acknowledged together.
func byToken(claims []Claim) (lots [][]Claim) {
	sorted := slices.Clone(claims)
	slices.SortFunc(sorted, func(a, b Claim) int { return strings.Compare(a.Token, b.Token) })
	for len(sorted) > 0 {
		n := 1
		for n < len(sorted) && sorted[n].Token == sorted[0].Token {
			n++
		}
		lots, sorted = append(lots, sorted[:n]), sorted[n:]
	}
	return lots
}

// ackThese removes the messages of claims by a statement for each lot. Where one of them
// does not stand, which that does not say, it undoes what it did, and reports false; as it
// does, without a try, where the lots are small.
func (s *Statements) ackThese(ctx context.Context, q Session, lots [][]Claim) (all bool, err error) {
	n := 0
	for _, lot := range lots {
		n += len(lot)
	}
	if n < len(lots)*manyAcks {
		return false, nil
	}
	if _, err := q.Exec(ctx, "savepoint posthorn_acks"); err != nil {
		return false, err
	}
	all = true
	for _, lot := range lots {
		var seqs []byte
		for _, c := range lot {
			seqs = appendSeq(seqs, c.Seq)
		}
		removed, err := q.Exec(ctx, s.AckThese, string(append(seqs, ']')), lot[0].Token)
		if err != nil {
			return false, err
		}
		if all = removed == int64(len(lot)); !all {
			break
		}
	}
	if !all {
		if _, err := q.Exec(ctx, "rollback to posthorn_acks"); err != nil {
			return false, err
		}
	}
	_, err = q.Exec(ctx, "release posthorn_acks")
	return all, err
}

// appendSeq adds a sequence to a JSON array that is still open.
func appendSeq(list []byte, seq int64) []byte {
	if len(list) == 0 {
		return strconv.AppendInt([]byte{'['}, seq, 10)
	}
	return strconv.AppendInt(append(list, ','), seq, 10)
}

// dropLogs removes the history of what was acknowledged, and notes what was not.
func (s *Statements) dropLogs(ctx context.Context, q Session, w *Write, touched []int64) error {
	for i, c := range w.Ack {
		if touched[i] == 0 {
			w.Lost = append(w.Lost, c)
			continue
		}
		if !c.History {
			continue
		}
		if _, err := q.Exec(ctx, s.DropLog, c.ID); err != nil {
			return err
		}
	}
	return nil
}

// take leases messages.
func (s *Statements) take(ctx context.Context, q Session, t *Take) error {
	t.Begin()
	now, err := q.Now(ctx)
	if err != nil {
		return err
	}
	stmt := s.Claim
	if t.Suspects {
		stmt = s.ClaimSuspect
	}
	var taken []byte
	err = q.Query(ctx, stmt, []any{t.Queue, t.Limit}, func(r Row) error {
		return t.Row(First(r, func(seq int64) { taken = appendSeq(taken, seq) }))
	})
	if err != nil || len(taken) == 0 {
		return err
	}
	_, err = q.Exec(ctx, s.ClaimThese, t.Token, t.Worker, now, now+t.Lease, string(append(taken, ']')))
	return err
}

// First is a row that tells the value of its first column, which is read as an *int64.
func First(r Row, tell func(int64)) Row { return first{r, tell} }

// first is such a row.
type first struct {
	Row
	tell func(int64)
}

// Scan reads the row.
func (f first) Scan(dest ...any) error {
	err := f.Row.Scan(dest...)
	if seq, ok := dest[0].(*int64); ok {
		f.tell(*seq)
	}
	return err
}
