package store_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/store"
)

// many is more rows than one transaction of housekeeping removes.
const many = 1300

// fill writes rows of a table at once; row gives the values of one.
func fill(t *testing.T, s *store.Store, into string, row func(i int) string) {
	t.Helper()
	table, columns, _ := strings.Cut(into, " ")
	var rows []string
	for i := range many {
		rows = append(rows, "("+row(i)+")")
	}
	_, err := s.DB().ExecContext(t.Context(), fmt.Sprintf("insert into %s %s values %s",
		s.Names.Table(table), columns, strings.Join(rows, ", ")))
	try(t, err)
}

// actsAt writes acts, each on one message, that were done at a time.
func actsAt(t *testing.T, s *store.Store, name string, at time.Time) {
	t.Helper()
	columns := "audit (id, at_ms, actor, verb, subject, chosen, messages, affected, was, became, reason)"
	fill(t, s, columns, func(i int) string {
		return fmt.Sprintf("'%s%d', %d, '', 'retry', '', '', '[]', 1, '', '', ''", name, i, at.UnixMilli())
	})
	fill(t, s, "audited (message_id, act)", func(i int) string { return fmt.Sprintf("'m', '%s%d'", name, i) })
}

// count counts the rows of a table.
func count(t *testing.T, s *store.Store, table string) (n int) {
	t.Helper()
	try(t, s.DB().QueryRowContext(t.Context(), "select count(*) from "+s.Names.Table(table)).Scan(&n))
	return n
}

// leap makes the store number its next act as if there had been many before it.
func leap(t *testing.T, s *store.Store, next int) {
	t.Helper()
	stmt := map[string]string{
		"sqlite":   "update sqlite_sequence set seq = %[2]d where name = '%[1]s'",
		"postgres": "alter table %[1]s alter column seq restart with %[2]d",
		"mysql":    "alter table %[1]s auto_increment = %[2]d",
	}[s.Dialect()]
	_, err := s.DB().ExecContext(t.Context(), fmt.Sprintf(stmt, s.Names.Table("audit"), next))
	try(t, err)
}

func TestAllActsThatAreTooOldOrTooManyAreRemovedAtOnce(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		left := func(when string, acts, messages int) {
			t.Helper()
			try(t, s.Maintain(t.Context(), time.Hour))
			if a, m := count(t, s, "audit"), count(t, s, "audited"); a != acts || m != messages {
				t.Errorf("%s: %d acts on %d messages are left, want %d on %d", when, a, m, acts, messages)
			}
		}
		actsAt(t, s, "old", time.Now().Add(-store.AuditFor-time.Hour))
		actsAt(t, s, "new", time.Now())
		left("too old", many, many)
		leap(t, s, store.MaxActs+10*many)
		_, err := s.Pause(t.Context(), store.Pause{Queue: "q", Reason: "r"})
		try(t, err)
		left("too many", 1, 0)
	})
}

func TestAllOldRevisionsOfNothingAreRemovedAtOnce(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		buried(t, s, "dead")
		try(t, s.Send(t.Context(), message("live")))
		columns, now := "revision (message_id, number, at_ms, actor, header, body)", time.Now().UnixMilli()
		for _, id := range []string{"live", "dead", "gone"} {
			fill(t, s, columns, func(i int) string { return fmt.Sprintf("'%s', %d, %d, '', null, ''", id, i+1, 1) })
		}
		fill(t, s, columns, func(i int) string { return fmt.Sprintf("'gone', %d, %d, '', null, ''", many+i+1, now) })
		try(t, s.Maintain(t.Context(), time.Hour))
		for _, id := range []string{"live", "dead", "gone"} {
			vs, err := s.Revisions(t.Context(), id)
			if err != nil || len(vs) != many || id == "gone" && vs[0].Number != many+1 {
				t.Errorf("%s has %d revisions, %v; want %d", id, len(vs), err, many)
			}
		}
	})
}

// What belongs to nothing is looked for without a lock: who waits for a letter that is just
// put back, or buried, would find it neither alive nor dead, and remove its attempts.
func TestHousekeepingWaitsForNoLetter(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		if s.Dialect() == "sqlite" {
			return // a writer has it all
		}
		deaden(t, s, "a")
		before := count(t, s, "posthorn_attempt")
		_, err := s.DB().ExecContext(t.Context(), "update posthorn_group set first_at = 1, changed_at = 1") // they are old
		try(t, err)
		tx, err := s.DB().BeginTx(t.Context(), nil)
		try(t, err)
		_, err = tx.ExecContext(t.Context(), "select 1 from posthorn_letter where id = 'a' for update")
		try(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		try(t, s.Maintain(ctx, time.Hour))
		try(t, tx.Rollback())
		if after := count(t, s, "posthorn_attempt"); before == 0 || after != before {
			t.Errorf("%d attempts became %d", before, after)
		}
	})
}

// Who waits for the letter has not found the message, and then does not find the letter.
func TestNobodyTakesTheHistoryOfWhatIsPutBackMeanwhile(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		if s.Dialect() != "mysql" {
			return // the statements below are its own; elsewhere a statement sees one state of all tables
		}
		housekeeping := func(ctx context.Context) error { return s.Maintain(ctx, time.Hour) }
		keepsHistory(t, s, "housekeeping", housekeeping)
		removed := deaden(t, s, "a")[0].Seq
		_, err := s.RemoveLetters(t.Context(), removed)
		try(t, err)
		keepsHistory(t, s, "a purge of an earlier one", func(ctx context.Context) error {
			_, err := s.PurgeLetters(ctx, removed)
			return err
		})
	})
}

// keepsHistory puts a letter back while something else goes on, and wants its attempts kept.
func keepsHistory(t *testing.T, s *store.Store, name string, act func(context.Context) error) {
	t.Helper()
	deaden(t, s, "a")
	before, done := count(t, s, "posthorn_attempt"), make(chan error, 1)
	putBack(t, s, func() { done <- act(context.WithoutCancel(t.Context())) })
	try(t, <-done)
	if after := count(t, s, "posthorn_attempt"); before == 0 || after != before {
		t.Errorf("%s: %d attempts became %d", name, before, after)
	}
	_, err := s.DB().ExecContext(t.Context(), "delete from posthorn_message")
	try(t, err)
}

// putBack puts the letter with the id a back as workers of MariaDB do, while something else
// goes on.
func putBack(t *testing.T, s *store.Store, meanwhile func()) {
	t.Helper()
	tx, err := s.DB().BeginTx(t.Context(), nil)
	try(t, err)
	var seq int64
	const last = "select max(seq) from posthorn_letter where id = 'a'"
	try(t, tx.QueryRowContext(t.Context(), last).Scan(&seq))
	_, err = tx.ExecContext(t.Context(), "select 1 from posthorn_letter force index (posthorn_letter_id) "+
		"where id = 'a' and seq = ? for update", seq)
	try(t, err)
	go meanwhile()
	time.Sleep(500 * time.Millisecond) // it looks, or waits
	now := time.Now().UnixMilli()
	for _, step := range []struct {
		stmt string
		args []any
	}{{s.SQL.LetterBack, []any{now, now, seq}}, {s.SQL.LetterDrop, []any{seq}}} {
		_, err = tx.ExecContext(t.Context(), step.stmt, step.args...)
		try(t, err)
	}
	try(t, tx.Commit())
}
