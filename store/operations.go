package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/operation"
)

// Why an operation cannot be changed. They are wrapped; compare with errors.Is.
var (
	// ErrNoOperation: there is none with this id.
	ErrNoOperation = errors.New("no such operation")
	// ErrOperationState: what was asked does not fit the state of the operation.
	ErrOperationState = errors.New("the operation is in another state")
	// ErrFenced: somebody else advances the operation now.
	ErrFenced = errors.New("the operation is advanced by somebody else")
)

// OperationsFor is how long operations that are over are kept.
const OperationsFor = 90 * 24 * time.Hour

// StartOperation makes an operation of what is given: Action, Filter, Chosen, To, Rate,
// Canary, Patch, Unchecked and Reason; its Actor is who acts, see [Acting]. Its letters are those that
// the filter chooses and that have died by now, the oldest first, Filter.Limit at
// most (0: all). Some process has to advance it: see [Store.TakeOperations].
// Errors: driver.ErrInvalid, ErrUnavailable.
func (s *Store) StartOperation(ctx context.Context, o Operation) (Operation, error) {
	if err := o.check(); err != nil {
		return o, fmt.Errorf("start operation: %w", err)
	}
	said, _ := ctx.Value(actKey{}).(Act)
	o.ID, o.State = "op-"+strings.ToLower(rand128()[:10]), OperationFreezing
	o.Actor, o.Reason = clip(said.Actor, MaxActor), clip(o.Reason, MaxActText)
	o.Chosen = clip(o.Chosen, MaxActText)
	o.Filter.Discarded = o.Action == ActionRestore
	o.Canary = o.Canary && o.Action == ActionRetry
	o.ledger = ledger{Past: o.Filter.Past, Most: o.Filter.Limit}
	err := s.write(ctx, func(ctx context.Context, q Session) error {
		now, err := q.Now(ctx)
		if err != nil {
			return err
		}
		o.Created = fromMillis(now)
		err = q.Query(ctx, s.SQL.LetterLast, nil, func(r Row) error { return r.Scan(&o.ledger.Until) })
		if err != nil {
			return err
		}
		body, err := o.encode()
		if err != nil {
			return err
		}
		if _, err = q.Exec(ctx, s.SQL.OperationIn, o.ID, string(o.State), body); err != nil {
			return err
		}
		return s.audit(ctx, q, Act{
			Verb: VerbCreate, Subject: o.ID, Count: 1, Filter: o.Chosen, Became: string(o.Action), Reason: o.Reason,
		})
	})
	o.Now = o.Created
	return o, s.explain("start operation", err)
}

// OperationFilter chooses operations. Zero fields choose all.
type OperationFilter struct {
	ID     string
	Active bool  // only those of which something is left to do
	Past   int64 // only older ones than that with this Key, for paging; 0 begins at the newest
	Limit  int   // 0 means 100
}

// Key is the operation's place among all, the key of paging.
func (o *Operation) Key() int64 { return o.seq }

// Operations lists operations, the newest first.
func (s *Store) Operations(ctx context.Context, f OperationFilter) ([]Operation, error) {
	conds, args := []string{"1 = 1"}, []any{}
	add := func(on bool, cond string, values ...any) {
		if on {
			conds, args = append(conds, cond), append(args, values...)
		}
	}
	add(f.ID != "", "id = ?", f.ID)
	add(f.Active, "active = 1") // an equality, so that the index on it gives the order, too
	add(f.Past > 0, "seq < ?", f.Past)
	if f.Limit <= 0 {
		f.Limit = 100
	}
	stmt := s.SQL.Operations + " where " + strings.Join(conds, " and ") + " order by seq desc limit ?"
	var out []Operation
	err := s.Engine.Read(ctx, func(ctx context.Context, q Session) (err error) {
		out, err = s.operations(ctx, q, stmt, append(args, f.Limit)...)
		return err
	})
	return out, s.explain("list operations", err)
}

// operations runs a statement that gives operations.
func (s *Store) operations(ctx context.Context, q Session, stmt string, args ...any) (out []Operation, err error) {
	now, err := q.Now(ctx)
	if err != nil {
		return nil, err
	}
	err = q.Query(ctx, stmt, args, func(r Row) error {
		o, err := scanOperation(r, now)
		out = append(out, o)
		return err
	})
	return out, err
}

// Operation reads one operation. The error is ErrNoOperation where there is none.
func (s *Store) Operation(ctx context.Context, id string) (Operation, error) {
	os, err := s.Operations(ctx, OperationFilter{ID: id})
	if err == nil && len(os) == 0 {
		err = fmt.Errorf("read operation %s: %w", id, ErrNoOperation)
	}
	if err != nil {
		return Operation{}, err
	}
	return os[0], nil
}

// PauseOperation lets no more letters have their turn; what is in flight goes on. A
// second call does nothing. Errors: ErrNoOperation, ErrOperationState when it is over.
func (s *Store) PauseOperation(ctx context.Context, id, why string) (Operation, error) {
	return s.turn(ctx, id, turnover{VerbPause, operation.Paused, why})
}

// ResumeOperation lets an operation go on that is paused or has stopped by itself; in
// that case it begins with canaries again, if it has any. Errors: as PauseOperation.
func (s *Store) ResumeOperation(ctx context.Context, id string) (Operation, error) {
	return s.turn(ctx, id, turnover{VerbResume, operation.Running, ""})
}

// CancelOperation ends an operation: letters that have had no turn stay dead letters.
// What is in flight is handled all the same, and its outcome is still noted. Errors: as
// PauseOperation.
func (s *Store) CancelOperation(ctx context.Context, id, why string) (Operation, error) {
	return s.turn(ctx, id, turnover{VerbCancel, operation.Cancelled, why})
}

// A turnover is a change of an operation's state by somebody.
type turnover struct {
	verb Verb
	to   operation.State
	why  string
}

// turn changes an operation's state for somebody.
func (s *Store) turn(ctx context.Context, id string, t turnover) (o Operation, err error) {
	err = s.write(ctx, func(ctx context.Context, q Session) error {
		o, err = s.lockOperation(ctx, q, id)
		if err != nil {
			return err
		}
		was, c := o.State, o.course()
		switch c.Turn(t.to, o.Now) {
		case operation.Same:
			return nil
		case operation.Mismatch:
			return fmt.Errorf("%w: it is %s", ErrOperationState, was)
		}
		o.follow(c)
		if t.to != operation.Running {
			o.Why = clip(t.why, MaxActText)
		}
		if err := s.saveOperation(ctx, q, &o); err != nil {
			return err
		}
		return s.audit(ctx, q, Act{
			Verb: t.verb, Subject: o.ID, Count: 1, Was: string(was), Became: string(o.State), Reason: t.why,
		})
	})
	return o, s.explain("change operation "+id, err)
}

// lockOperation reads an operation and keeps all others from changing it until the
// transaction ends.
func (s *Store) lockOperation(ctx context.Context, q Session, id string) (Operation, error) {
	os, err := s.operations(ctx, q, s.SQL.Operations+" where id = ?"+s.SQL.Lock, id)
	if err == nil && len(os) == 0 {
		err = ErrNoOperation
	}
	if err != nil {
		return Operation{}, err
	}
	return os[0], nil
}

// saveOperation writes an operation that is locked.
func (s *Store) saveOperation(ctx context.Context, q Session, o *Operation) error {
	body, err := o.encode()
	if err != nil {
		return err
	}
	return s.saveAs(ctx, q, o, body)
}

// saveAs is saveOperation for who has encoded it already. The lease is not in the body.
func (s *Store) saveAs(ctx context.Context, q Session, o *Operation, body string) error {
	active := 0
	if o.Active() {
		active = 1
	}
	ended := int64(0)
	if o.Ends() {
		ended = o.Ended.UnixMilli()
	}
	_, err := q.Exec(ctx, s.SQL.OperationUp,
		string(o.State), active, o.lease.Holder, o.lease.Fence, toMillis(o.lease.Until), ended, body, o.seq)
	return err
}

// An operationBody is an operation as its row has it.
type operationBody struct {
	*Operation
	Ledger *ledger `json:"ledger"`
}

func (o *Operation) encode() (string, error) {
	bare := *o
	bare.Now, bare.Holder = time.Time{}, ""
	text, err := json.Marshal(operationBody{&bare, &o.ledger})
	if err != nil {
		return "", fmt.Errorf("encode operation: %w", err)
	}
	return string(text), nil
}

func scanOperation(r Row, now int64) (o Operation, err error) {
	var state, body string
	var until int64
	if err = r.Scan(&o.seq, &o.ID, &state, &o.lease.Holder, &o.lease.Fence, &until, &body); err != nil {
		return o, err
	}
	if err = json.Unmarshal([]byte(body), &operationBody{&o, &o.ledger}); err != nil {
		return o, fmt.Errorf("decode operation %s: %w", o.ID, err)
	}
	o.State, o.Now, o.lease.Until = OperationState(state), fromMillis(now), fromMillis(until)
	if o.lease.Free(o.Now) { // whoever it was has fallen silent
		o.lease.Holder = ""
	}
	o.Holder = o.lease.Holder
	return o, nil
}

// TakeOperations gives a process, which has a name of its own, the operations that
// nobody advances now, to be advanced by nobody else until the lease ends or it gives
// them back. It may hold some already. With fits, it is given only those that each of
// these functions accepts.
func (s *Store) TakeOperations(
	ctx context.Context, holder string, lease time.Duration, fits ...func(Operation) bool,
) (ts []Turn, err error) {
	if holder == "" || lease <= 0 {
		return nil, fmt.Errorf("take operations: %w: want a name and a lease", driver.ErrInvalid)
	}
	free, err := s.Operations(ctx, OperationFilter{Active: true, Limit: maxTurns})
	if err != nil {
		return nil, err
	}
	for _, o := range free {
		refuses := func(fit func(Operation) bool) bool { return !fit(o) }
		if !o.lease.Free(o.Now) || slices.ContainsFunc(fits, refuses) {
			continue
		}
		t, err := s.takeOperation(ctx, o.ID, Turn{ID: o.ID, holder: clip(holder, MaxActor), lease: lease})
		if err != nil {
			return ts, s.explain("take operation "+o.ID, err)
		}
		if t.fence > 0 {
			ts = append(ts, t)
		}
	}
	return ts, nil
}

// maxTurns bounds the operations that are under way at a time.
const maxTurns = 100

// takeOperation locks an operation, and takes it if it is still free.
func (s *Store) takeOperation(ctx context.Context, id string, t Turn) (Turn, error) {
	err := s.write(ctx, func(ctx context.Context, q Session) error {
		t.fence = 0
		o, err := s.lockOperation(ctx, q, id)
		if err != nil || !o.Active() || !o.lease.Take(t.holder, t.lease, o.Now) {
			return err
		}
		t.fence = o.lease.Fence
		return s.saveOperation(ctx, q, &o)
	})
	return t, err
}

// GiveBack ends a turn, so that others need not wait for the end of its lease.
func (s *Store) GiveBack(ctx context.Context, t Turn) error {
	return s.explain("give operation back", s.write(ctx, func(ctx context.Context, q Session) error {
		o, err := s.lockOperation(ctx, q, t.ID)
		if err != nil || !o.lease.GiveBack(t.fence) {
			return err
		}
		return s.saveOperation(ctx, q, &o)
	}))
}

// purgeOperations removes operations that have been over for long, with what is
// written down of their letters, in short transactions.
func (s *Store) purgeOperations(ctx context.Context) error {
	for range maxTurns {
		more := false
		err := s.write(ctx, func(ctx context.Context, q Session) (err error) {
			more, err = s.purgeOperation(ctx, q)
			return err
		})
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// purgeOperation removes some letters of an old operation, or the operation if it has
// none any more. It reports whether there was one.
func (s *Store) purgeOperation(ctx context.Context, q Session) (more bool, err error) {
	now, err := q.Now(ctx)
	if err != nil {
		return false, err
	}
	seq := int64(0)
	err = q.Query(ctx, s.SQL.OperationOld, []any{now - OperationsFor.Milliseconds()}, func(r Row) error {
		return r.Scan(&seq)
	})
	if err != nil || seq == 0 {
		return false, err
	}
	letters := []any{seq}
	err = q.Query(ctx, s.SQL.TargetsOld, letters, func(r Row) error {
		var letter int64
		err := r.Scan(&letter)
		letters = append(letters, letter)
		return err
	})
	switch {
	case err != nil:
		return false, err
	case len(letters) == 1:
		_, err = q.Exec(ctx, s.SQL.OperationDrop, seq)
	default:
		_, err = q.Exec(ctx, s.SQL.TargetsDrop+list(len(letters)-1), letters...)
	}
	return true, err
}
