package mysql

import (
	"context"
	"database/sql"
	"slices"
	"strings"

	"github.com/posthorn/posthorn/internal/failpoint"
	"github.com/posthorn/posthorn/internal/safety"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/pool"
)

// A writer writes for many callers in few round trips. The protocol has no pipeline, but
// a packet may have several statements, which the server runs in their order up to the
// first that fails; so the clock, the insertions and the acknowledgements of a
// transaction, its begin, and its commit where nothing else follows, are one packet (ADR 51).
//
// Only connections that no handler uses take several statements: a handler's statement
// with a value in it that was not quoted must not become two.
type writer struct {
	insert, lock, delete, dropLog, candidates, claimSuspect, mark, leaseIn, lockOne, deleteOne string

	held [5]string // what hands a message over, in its order

	mine [2]string // before and after a query for candidates

	maxBytes int // of the arguments of one packet
}

// firstLook is after how many milliseconds a claim is looked at first. Most are done by then,
// and go: the figures of a busy store read all that are noted.
const firstLook = `2000`

// clock keeps the server's clock in milliseconds for the statements that follow.
const clock = `set @posthorn_now = (` + now + `)`

// rowNow and rowLater are the parameters of a row of an insertion, of a message that is
// due at once, and of any other. Values do not name columns that were set before them, which would cost less: who
// has a producer's rights alone may not read them.
const (
	rowNow   = `(?, ?, ?, ?, 0, @posthorn_now, @posthorn_now, @posthorn_now, ?, ?, ?)`
	rowLater = `(?, ?, ?, ?, greatest(@posthorn_now + ?, ?) > @posthorn_now, greatest(@posthorn_now + ?, ?),
		greatest(@posthorn_now + ?, ?), @posthorn_now, ?, ?, ?)`
)

// newWriter makes the statements for tables of these names.
func newWriter(s store.Statements, n store.Names, maxBytes int) writer {
	return writer{
		insert: strings.TrimSuffix(s.Insert, store.InsertRow),
		lock:   n.In(lockClaims), delete: n.In(deleteClaims()), dropLog: s.DropLog,
		candidates: n.In(candidates), claimSuspect: s.ClaimSuspect,
		mine: [2]string{
			`select ` + claimed + ` from (`,
			n.In(`) l straight_join posthorn_message m force index (primary) on m.seq = l.number
				where m.state = 0 and m.queue = ? limit ? for update skip locked`),
		},
		lockOne: n.In(`select seq, coalesce(token, '') from posthorn_message force index (primary) where seq = ? for update`),
		deleteOne: n.In(`delete m from (select ? as seq, ? as token) l
			straight_join posthorn_message m force index (primary) on m.seq = l.seq and m.token = l.token`),
		held: held(n),
		mark: s.ClaimMark, maxBytes: maxBytes,
		leaseIn: n.In(`insert into posthorn_lease (token, worker, ends_at, seqs)
			values (?, ?, @posthorn_now + least(?, ` + firstLook + `), ?)`),
	}
}

// do is pool.Dialect.Join. A packet goes when somebody has to know what it says, and at the end: what
// is written last goes with the commit.
func (w writer) do(
	ctx context.Context, conn *sql.Conn, part pool.Part, ws []*store.Write,
) (committing bool, err error) {
	p := &packet{conn: conn, max: w.maxBytes, whole: part.Commit}
	if part.Begin {
		p.add("begin")
	}
	var takes []*store.Take
	for _, one := range ws {
		one.Lost = nil
		for _, stmt := range one.Before {
			p.add(stmt)
		}
		if one.Take != nil {
			takes = append(takes, one.Take)
		}
	}
	if err := w.sendAll(ctx, p, ws); err != nil {
		return false, err
	}
	p.last = p.whole && len(takes) == 0 && !failpoint.On
	if err := w.ackAll(ctx, p, ws); err != nil {
		return p.committing, err
	}
	for _, t := range takes {
		if err := w.take(ctx, p, t); err != nil {
			return false, err
		}
	}
	if p.whole && !p.committing {
		p.commit()
	}
	return p.committing, p.send(ctx)
}

// sendAll inserts the messages. The last of the insertions may be in the packet still.
func (w writer) sendAll(ctx context.Context, p *packet, ws []*store.Write) error {
	var ms []store.Message
	for _, one := range ws {
		ms = append(ms, one.Send...)
	}
	if len(ms) == 0 {
		return nil
	}
	if lone := store.Lone(ws); lone != nil && p.whole && len(lone.Send[0].Body) < w.maxBytes/4 {
		if err := w.handOver(ctx, p, lone); err != nil {
			return err
		}
		return p.reach(ctx, failpoint.MidSend)
	}
	p.add(clock)
	for rest := ms; len(rest) > 0; {
		var (
			args  []any
			texts []string
		)
		for size := 0; len(texts) < min(len(rest), maxRows); {
			row, text := rowOf(rest[len(texts)])
			if size += weigh(row); size > w.maxBytes && len(texts) > 0 {
				break
			}
			args, texts = append(args, row...), append(texts, text)
		}
		if err := p.fit(ctx, w.insert+strings.Join(texts, ", "), args); err != nil {
			return err
		}
		rest = rest[len(texts):]
	}
	return p.reach(ctx, failpoint.MidSend)
}

// rowOf are the arguments of a message's row, and its text.
func rowOf(m store.Message) (args []any, text string) {
	if m.Delay == 0 && m.At == 0 {
		return []any{m.ID, m.Kind, m.Queue, m.Priority, m.Attempt, m.Header, m.Body}, rowNow
	}
	return []any{
		m.ID, m.Kind, m.Queue, m.Priority, m.Delay, m.At, m.Delay, m.At, m.Delay, m.At, m.Attempt, m.Header, m.Body,
	}, rowLater
}

// ackAll removes what was acknowledged: it locks the rows in the order of their keys,
// and removes those whose claim stands. Where nothing else is to be written, that is committed at
// once; what is to follow may be in the packet still.
func (w writer) ackAll(ctx context.Context, p *packet, ws []*store.Write) error {
	var claims []store.Claim
	for _, one := range ws {
		claims = append(claims, one.Ack...)
	}
	if len(claims) == 0 {
		return nil
	}
	standing := map[int64]string{}
	slices.SortFunc(claims, bySeq) // in which everybody locks them
	logged := slices.ContainsFunc(claims, func(c store.Claim) bool { return c.History })
	if p.last = p.last && !logged && len(claims) <= maxClaims; p.last {
		failpoint.Pass(failpoint.MidAck)
	}
	for part := range slices.Chunk(claims, maxClaims) {
		if err := w.remove(ctx, p, part, standing); err != nil {
			return err
		}
	}
	if !p.last {
		failpoint.Pass(failpoint.MidAck)
	}
	for _, one := range ws {
		for _, c := range one.Ack {
			token, ok := standing[c.Seq]
			if safety.Fencing && (!ok || token != c.Token) {
				one.Lost = append(one.Lost, c)
				continue
			}
			delete(standing, c.Seq) // the same claim counts once
			if !c.History {
				continue
			}
			if err := p.fit(ctx, w.dropLog, []any{c.ID}); err != nil {
				return err
			}
		}
	}
	return nil
}

// remove removes the claims that stand, and notes those that it found.
func (w writer) remove(ctx context.Context, p *packet, claims []store.Claim, standing map[int64]string) error {
	list := listOf(claims)
	switch {
	case len(claims) == 1: // for one a list is more work than what is done with it
		p.add(w.lockOne, claims[0].Seq)
		p.add(w.deleteOne, claims[0].Seq, claims[0].Token)
	case safety.Fencing:
		p.add(w.lock, list)
		p.add(w.delete, list)
	default:
		p.add(w.delete, list)
	}
	if p.last {
		p.commit()
	}
	return p.query(ctx, func(r store.Row) error {
		var seq int64
		var token string
		err := r.Scan(&seq, &token)
		standing[seq] = token
		return err
	})
}

// A packet gathers statements.
type packet struct {
	conn *sql.Conn
	max  int // bytes of arguments
	text strings.Builder
	args []any
	size int

	whole      bool // it ends with the commit
	last       bool // what is added now ends with it
	committing bool // it has been added
}

// reach passes a point in the middle of a write. Nobody can die between two statements of one packet, so a
// build that can die at points sends what came before first.
func (p *packet) reach(ctx context.Context, point failpoint.Point) error {
	if !p.whole || failpoint.On {
		if err := p.send(ctx); err != nil {
			return err
		}
	}
	failpoint.Pass(point)
	return nil
}

// commit adds the commit. The server runs nothing after a statement that fails, so
// it commits all or nothing.
func (p *packet) commit() {
	p.add("commit")
	p.committing = true
}

// add adds a statement.
func (p *packet) add(stmt string, args ...any) {
	if p.text.Len() > 0 {
		p.text.WriteString("; ")
	}
	p.text.WriteString(stmt)
	p.args, p.size = append(p.args, args...), p.size+weigh(args)
}

// fit adds a statement whose arguments may be large. What would not fit is sent before;
// and what is too large for any packet is sent by itself, as a prepared statement if the
// driver cannot help it, which cannot be one of several.
func (p *packet) fit(ctx context.Context, stmt string, args []any) error {
	n := weigh(args)
	if p.size > 0 && p.size+n > p.max || n > p.max {
		if err := p.send(ctx); err != nil {
			return err
		}
	}
	if p.add(stmt, args...); n > p.max {
		return p.send(ctx)
	}
	return nil
}

// take empties the packet.
func (p *packet) take() (text string, args []any) {
	text, args = p.text.String(), p.args
	p.text.Reset()
	p.args, p.size = nil, 0
	return text, args
}

// send runs the statements, if there are any.
func (p *packet) send(ctx context.Context) error {
	if p.text.Len() == 0 {
		return nil
	}
	text, args := p.take()
	_, err := p.conn.ExecContext(ctx, text, args...)
	return err
}

// query runs the statements, one of which returns rows.
func (p *packet) query(ctx context.Context, scan func(store.Row) error) error {
	text, args := p.take()
	rows, err := p.conn.QueryContext(ctx, text, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // Err below tells what matters
	for more := true; more; more = rows.NextResultSet() {
		for rows.Next() {
			if err := scan(rows); err != nil {
				return err
			}
		}
	}
	return rows.Err()
}

// perArg is what an argument takes at least, in bytes.
const perArg = 24

// weigh is how many bytes arguments take, as far as their content is theirs.
func weigh(args []any) int {
	size := perArg * len(args)
	for _, arg := range args {
		switch v := arg.(type) {
		case string:
			size += len(v)
		case []byte:
			size += len(v)
		case sql.NullString:
			size += len(v.String)
		}
	}
	return size
}
