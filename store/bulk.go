package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/posthorn/posthorn/internal/failpoint"
	"github.com/posthorn/posthorn/internal/mutant"
	"github.com/posthorn/posthorn/internal/operation"
)

// A bulk is what one step of an operation does to letters that it has locked. Their
// ids are different.
type bulk struct {
	operation *Operation
	letters   []operation.Letter
	found     operation.Fates // each letter is added to one
	edit      EditFunc
}

// seqs are the letters' numbers.
func (b bulk) seqs() []int64 {
	out := make([]int64, len(b.letters))
	for i, l := range b.letters {
		out[i] = l.Seq
	}
	return out
}

// bulkOf is what an action does; nil is no action.
func bulkOf(a Action) func(*Store, context.Context, Session, bulk) error {
	switch a {
	case ActionRetry:
		return (*Store).bulkRetry
	case ActionRemove:
		return (*Store).bulkRemove
	case ActionRestore:
		return (*Store).bulkRestore
	case ActionEdit:
		return (*Store).bulkEdit
	}
	return nil
}

// vacant are the letters' numbers, but for those whose id is taken: these are refused. A
// live message takes an id, and a dead letter takes it from those that are restored.
func (s *Store) vacant(ctx context.Context, q Session, b bulk) (seqs []int64, err error) {
	names := make([]string, len(b.letters))
	for i, l := range b.letters {
		names[i] = l.ID
	}
	takers := []string{s.SQL.Live}
	if b.operation.Action == ActionRestore {
		takers = append(takers, s.SQL.Dead)
	}
	taken, err := s.having(ctx, q, names, takers...)
	if err != nil {
		return nil, err
	}
	for _, l := range b.letters {
		if slices.Contains(taken, l.ID) && !(mutant.OperationInTwo && b.operation.Action == ActionRetry) {
			b.found.Add(operation.FateRefused, l.Seq)
		} else {
			seqs = append(seqs, l.Seq)
		}
	}
	return seqs, nil
}

// bulkRetry puts letters back.
func (s *Store) bulkRetry(ctx context.Context, q Session, b bulk) error {
	seqs, err := s.vacant(ctx, q, b)
	if err != nil || len(seqs) == 0 {
		return err
	}
	b.found.Add(operation.FateFlying, seqs...)
	now := b.operation.Now.UnixMilli()
	if mutant.OperationInTwo {
		_, err := q.Exec(ctx, s.SQL.LettersDrop+list(len(seqs)), listed(seqs)...)
		return err
	}
	stmts := []string{s.SQL.LettersBack + list(len(seqs)) + " order by seq", s.SQL.LettersDrop + list(len(seqs))}
	for i, before := range [][]any{{b.operation.To, now, now}, nil} {
		n, err := q.Exec(ctx, stmts[i], append(before, listed(seqs)...)...)
		if err != nil {
			return err
		}
		if n != int64(len(seqs)) {
			return fmt.Errorf("put back letters: %d of %d were there", n, len(seqs))
		}
		if i == 0 {
			failpoint.Pass(failpoint.MidLetterBack)
		}
	}
	return nil
}

// bulkRemove discards letters.
func (s *Store) bulkRemove(ctx context.Context, q Session, b bulk) error {
	return s.bulkMark(ctx, q, b, b.seqs())
}

// bulkRestore takes back that letters were discarded, by the rules of RestoreLetters. Of
// two with one id the second has a later step, which finds the first.
func (s *Store) bulkRestore(ctx context.Context, q Session, b bulk) error {
	seqs, err := s.vacant(ctx, q, b)
	if err != nil || len(seqs) == 0 {
		return err
	}
	if err := s.bulkMark(ctx, q, b, seqs); err != nil {
		return err
	}
	return s.regroup(ctx, q, listed(seqs))
}

// bulkMark writes down that letters are discarded, or that they are not.
func (s *Store) bulkMark(ctx context.Context, q Session, b bulk, seqs []int64) error {
	when := sql.NullInt64{Int64: b.operation.Now.UnixMilli(), Valid: b.operation.Action == ActionRemove}
	_, err := q.Exec(ctx, s.SQL.LettersGone+list(len(seqs)), append([]any{when}, listed(seqs)...)...)
	b.found.Add(operation.FateDone, seqs...)
	return err
}

// foreign is the condition that no operation has put a message m back, and waits for it. For a
// not exists MariaDB may make a table of all that operations have in flight.
const foreign = `(select min(1) from posthorn_target t where t.message_id = m.id and t.state = 1) is null`

// WaitingBy is the statement Waiting, which walks an index in its order: with a hint that
// names it, if the database needs one.
func WaitingBy(index, order string) string {
	return `select 1 from posthorn_message m ` + index + ` where ` + Ready + ` and queue = ? and due_at <= ? and ` +
		foreign + ` order by ` + order + ` limit 1`
}

// bulks adds the statements of operations.
func bulks(s *Statements) {
	s.Operations = `select seq, id, state, holder, fence, lease_until, body from posthorn_operation`
	s.OperationIn = `insert into posthorn_operation (id, state, active, holder, fence, lease_until, body)
		values (?, ?, 1, '', 0, 0, ?)`
	s.OperationUp = `update posthorn_operation
		set state = ?, active = ?, holder = ?, fence = ?, lease_until = ?, ended_at = ?, body = ? where seq = ?`
	s.TargetsIn = `insert into posthorn_target (operation, letter, message_id, state, since)
		select ?, seq, id, 0, 0 from posthorn_letter`
	s.TargetIn = `insert into posthorn_target (letter, operation, message_id, state, since) values (?, ?, ?, 0, 0)`
	s.TargetLast = `select max(letter) from posthorn_target where operation = ? and state = 0`
	s.TargetsNext = `select letter from posthorn_target where operation = ? and state = 0 order by letter limit ?`
	s.TargetsFlying = `select t.letter,
		  coalesce((select case when m.state = 2 then 2 else 1 end from posthorn_message m where m.id = t.message_id), 0),
		  coalesce((select min(1) from posthorn_letter l where l.id = t.message_id and l.seq > t.since), 0)
		from posthorn_target t where t.operation = ? and t.state = 1 and t.letter > ? order by t.letter limit ?`
	s.Waiting = WaitingBy("", "priority desc, due_at, seq")
	s.TargetsUp = `update posthorn_target set state = ?, since = ? where operation = ? and letter in`
	s.Live = `select id from posthorn_message where id in`
	s.Dead = `select id from posthorn_letter where discarded_at is null and id in`
	s.LetterLast = `select coalesce(max(seq), 0) from posthorn_letter`
	s.LetterLock = `select seq, id, case when discarded_at is null then 0 else 1 end, octet_length(body)
		from posthorn_letter where seq in`
	s.LetterSums = `select kind, queue, reason, count(*), min(died_at), max(died_at) from (
		  select kind, queue, reason, died_at from posthorn_letter%s order by seq limit ?) chosen
		group by kind, queue, reason order by 4 desc, kind, queue, reason`
	s.LettersDrop = `delete from posthorn_letter where seq in`
	s.LettersGone = `update posthorn_letter set discarded_at = ? where seq in`
	s.OperationOld = `select seq from posthorn_operation where ended_at > 0 and ended_at < ? and active = 0 limit 1`
	s.OperationDrop = `delete from posthorn_operation where seq = ?`
	s.TargetsOld = `select letter from posthorn_target where operation = ? limit 500`
	s.TargetsDrop = `delete from posthorn_target where operation = ? and letter in`
}
