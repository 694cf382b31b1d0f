package store

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// A Verb says what somebody did to the store, in the words of the command line.
type Verb string

// The verbs of acts.
const (
	VerbRetry   Verb = "retry" // of dead letters
	VerbRemove  Verb = "remove"
	VerbRestore Verb = "restore"
	VerbEdit    Verb = "edit"
	VerbPurge   Verb = "purge"
	VerbImport  Verb = "import"
	VerbTry     Verb = "try" // which changes nothing

	VerbGroup Verb = "group" // another state or note of a group of dead letters

	VerbPauseQueue  Verb = "queue.pause"
	VerbResumeQueue Verb = "queue.resume"

	VerbStop     Verb = "workers.stop"
	VerbTakeBack Verb = "workers.carry_on" // an order that nobody had read yet

	VerbCreate Verb = "operation.create"
	VerbPause  Verb = "operation.pause"
	VerbHalt   Verb = "operation.stop" // by itself, since too many failed again; by who carried it on
	VerbResume Verb = "operation.resume"
	VerbCancel Verb = "operation.cancel"
	VerbEnd    Verb = "operation.end"
)

// Verbs lists the verbs of acts.
func Verbs() []Verb {
	return []Verb{
		VerbRetry, VerbRemove, VerbRestore, VerbEdit, VerbPurge, VerbImport, VerbTry, VerbGroup, VerbPauseQueue,
		VerbResumeQueue, VerbStop, VerbTakeBack, VerbCreate, VerbPause, VerbHalt, VerbResume, VerbCancel,
		VerbEnd,
	}
}

// An Act is what somebody did to the store, as it is kept for those who ask later.
// It is written in the transaction of what was done: neither is there without the
// other.
type Act struct {
	Seq      int64     // its place among the acts; the key of paging
	At       time.Time // by the store's clock
	Actor    string    // who did it, for people; empty: a program that did not say
	Verb     Verb
	Subject  string   // what it was done to: a queue, a worker, an operation, a group; or the id of the one message
	Filter   string   // by what the messages or workers were chosen, for people
	Messages []string // ids of the messages that it was done to; of an operation none
	Count    int      // of what it was done to
	Was      string   // before, where it applies
	Became   string   // after
	Reason   string   // for people
}

// Bounds of what is kept of an act, in bytes and in ids. What is longer is cut off.
const (
	MaxActor       = 200
	MaxActText     = 4000 // of its filter, its reason, and what was before and after
	MaxActMessages = 1000
)

// Acts are kept for so long, and the latest of them only.
const (
	AuditFor = 400 * 24 * time.Hour
	MaxActs  = 1_000_000
)

// actKey is the key under which a context carries who acts.
type actKey struct{}

// Acting says who acts in the calls that are given the context, and by what they have
// chosen: Actor, Filter and Reason of the act are kept with what they do, and the rest
// is theirs to say. An empty one leaves what the context said before.
func Acting(ctx context.Context, a Act) context.Context {
	before, _ := ctx.Value(actKey{}).(Act)
	return context.WithValue(ctx, actKey{}, a.over(before))
}

// over takes from another act what this one leaves open.
func (a Act) over(other Act) Act {
	for _, pair := range []struct{ own, others *string }{
		{&a.Actor, &other.Actor}, {&a.Filter, &other.Filter}, {&a.Reason, &other.Reason},
	} {
		if *pair.own == "" {
			*pair.own = *pair.others
		}
	}
	return a
}

// audit keeps an act in the transaction that is open in the session. What is left
// open is taken from the context.
func (s *Store) audit(ctx context.Context, q Session, a Act) error {
	said, _ := ctx.Value(actKey{}).(Act)
	a = a.over(said)
	if a.Subject == "" && len(a.Messages) == 1 {
		a.Subject = a.Messages[0]
	}
	a.Messages = a.Messages[:min(len(a.Messages), MaxActMessages)]
	names, err := json.Marshal(a.Messages)
	if err != nil {
		return err
	}
	now, err := q.Now(ctx)
	if err != nil {
		return err
	}
	id := rand128()
	_, err = q.Exec(ctx, s.SQL.Audit, id, now, clip(a.Actor, MaxActor), string(a.Verb), clip(a.Subject, MaxActor),
		clip(a.Filter, MaxActText), string(names), a.Count,
		clip(a.Was, MaxActText), clip(a.Became, MaxActText), clip(a.Reason, MaxActText))
	if err != nil || len(a.Messages) == 0 {
		return err
	}
	var rows [][]any
	for _, message := range slices.Compact(slices.Sorted(slices.Values(a.Messages))) { // one may have died twice
		rows = append(rows, []any{message, id})
	}
	_, err = q.ExecMany(ctx, s.SQL.Audited, rows)
	return err
}

// purgeActs removes the acts that are past their retention, or too many, among the
// first hundreds. It reports whether all of these were, so that there may be more.
func (s *Store) purgeActs(ctx context.Context, q Session) (more bool, err error) {
	old, looked, err := s.actsOld(ctx, q)
	if err != nil || len(old) == 0 {
		return false, err
	}
	for _, stmt := range []string{s.SQL.AuditedDrop, s.SQL.AuditDrop} {
		if _, err := q.Exec(ctx, stmt+list(len(old)), old...); err != nil {
			return false, err
		}
	}
	return looked == purgeBatch && len(old) == looked, nil
}

// actsOld looks at the first acts only, whatever their times: no condition on these lets
// a search end before it has seen all that are kept.
func (s *Store) actsOld(ctx context.Context, q Session) (old []any, looked int, err error) {
	now, err := q.Now(ctx)
	if err != nil {
		return nil, 0, err
	}
	last := int64(0)
	if err := q.Query(ctx, s.SQL.ActLast, nil, func(r Row) error { return r.Scan(&last) }); err != nil {
		return nil, 0, err
	}
	err = q.Query(ctx, s.SQL.ActsFirst, []any{purgeBatch}, func(r Row) error {
		var (
			seq, at int64
			id      string
		)
		err := r.Scan(&seq, &at, &id)
		if looked++; seq <= last-MaxActs || at < now-AuditFor.Milliseconds() {
			old = append(old, id)
		}
		return err
	})
	return old, looked, err
}

// An ActFilter chooses acts. Zero fields choose all.
type ActFilter struct {
	Verb    Verb // or the part before its dot, such as "operation"
	Actor   string
	Subject string
	Message string // acts on the message with this id, those of operations included
	// After and Before are times by the store's clock: at or after, before.
	After, Before time.Time
	Past          int64 // only acts with a smaller Seq, for paging; 0 begins at the newest
	Limit         int   // 0 means 100
}

// Acts lists acts, the newest first.
func (s *Store) Acts(ctx context.Context, f ActFilter) ([]Act, error) {
	where, args := f.where(s.SQL.ActsOf)
	if f.Limit <= 0 {
		f.Limit = 100
	}
	stmt, args := s.SQL.Acts+where+" order by seq desc limit ?", append(args, f.Limit)
	var out []Act
	err := s.Engine.Read(ctx, func(ctx context.Context, q Session) error {
		out = nil
		return q.Query(ctx, stmt, args, func(r Row) error {
			a, err := scanAct(r)
			out = append(out, a)
			return err
		})
	})
	return out, s.explain("list acts", err)
}

// where is the condition of the filter with its arguments. Only fixed texts go
// into the statement; ofMessage is the one for a message.
func (f ActFilter) where(ofMessage string) (string, []any) {
	var (
		conds []string
		args  []any
	)
	add := func(on bool, cond string, values ...any) {
		if on {
			conds, args = append(conds, cond), append(args, values...)
		}
	}
	verb := string(f.Verb)
	add(verb != "", "(verb = ? or verb >= ? and verb < ?)", verb, verb+".", verb+"/") // a slash follows the dot
	add(f.Actor != "", "actor = ?", f.Actor)
	add(f.Subject != "", "subject = ?", f.Subject)
	add(f.Message != "", ofMessage, f.Message, f.Message)
	add(!f.After.IsZero(), "at_ms >= ?", f.After.UnixMilli())
	add(!f.Before.IsZero(), "at_ms < ?", f.Before.UnixMilli())
	add(f.Past > 0, "seq < ?", f.Past)
	if len(conds) == 0 {
		return "", args
	}
	return " where " + strings.Join(conds, " and "), args
}

func scanAct(r Row) (Act, error) {
	var (
		a           Act
		at          int64
		verb, names string
	)
	err := r.Scan(&a.Seq, &at, &a.Actor, &verb, &a.Subject, &a.Filter, &names, &a.Count, &a.Was, &a.Became, &a.Reason)
	if err != nil {
		return a, err
	}
	a.At, a.Verb = fromMillis(at), Verb(verb)
	return a, json.Unmarshal([]byte(names), &a.Messages)
}

// audit adds the statements of acts.
func audit(s *Statements) {
	s.Audit = `insert into posthorn_audit
		  (id, at_ms, actor, verb, subject, chosen, messages, affected, was, became, reason)
		values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	s.Audited = `insert into posthorn_audited (message_id, act) values (?, ?)`
	s.Acts = `select seq, at_ms, actor, verb, subject, chosen, messages, affected, was, became, reason
		from posthorn_audit`
	s.ActsOf = `id in (select id from (
		  select act as id from posthorn_audited where message_id = ?
		  union all select a.id from posthorn_target t
		    join posthorn_operation o on o.seq = t.operation join posthorn_audit a on a.subject = o.id
		    where t.message_id = ?) done)`
	s.ActLast = `select coalesce(max(seq), 0) from posthorn_audit`
	s.ActsFirst = `select seq, at_ms, id from posthorn_audit order by seq limit ?`
	s.AuditDrop = `delete from posthorn_audit where id in`
	s.AuditedDrop = `delete from posthorn_audited where act in`
}
