package mysql_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/posthorn/posthorn/driver"
)

func TestAStatementThatCommitsIsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, stmt := range []string{
		"create table x (i int)", "CREATE INDEX i ON effect (id)", "/* so */ alter table effect add column x int",
		"drop table effect", "truncate effect", "truncate table effect", "rename table effect to other",
		"lock tables effect write", "unlock tables", "flush tables", "set autocommit = 1", "set autocommit=0",
		"set @@autocommit = 1", "set session autocommit = 1", "set @@session.autocommit=1", "set global wait_timeout = 9",
		"set @@global.wait_timeout = 9", "start transaction", "commit and chain", "analyze table effect",
		"grant select on effect to nobody", "/*!50000 commit */", "/*M!100100 truncate */ effect", "xa start 'x'",
		"set password = ''", "create or replace table effect (id int)", "# so\ncommit",
	} {
		d, err := r.among(exec1(stmt))
		if !errors.Is(err, driver.ErrTxRefused) {
			t.Errorf("%q returned %v, want %v", stmt, err, driver.ErrTxRefused)
		}
		r.undone(d)
	}
}

func TestWhatAProcedureEndsIsFoundAndNothingIsDoubled(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.exec(`create procedure ddl() create or replace table other (i int)`, `create procedure ends() commit`,
		`create procedure undoes() rollback`, `create procedure sets() set autocommit = 1`)
	for name, commits := range map[string]bool{"ddl": true, "ends": true, "sets": true, "undoes": false} {
		ds := r.claims(3)
		ended := r.unit(ds[1], func(ctx context.Context, tx driver.Tx) error {
			if _, err := tx.ExecContext(ctx, "call "+name); err != nil {
				return err
			}
			_, err := tx.ExecContext(ctx, `insert into effect values (?)`, "after "+name)
			return err
		})
		errs := r.store.Transact(r.soon(), []driver.Unit{r.unit(ds[0], nothing), ended, r.unit(ds[2], nothing)})
		if !errors.Is(errs[1], driver.ErrTxEnded) {
			t.Errorf("%s returned %v, want %v", name, errs[1], driver.ErrTxEnded)
		}
		r.committed(ds[0], nil)
		r.committed(ds[2], errs[2])
		if commits {
			r.committed(ds[1], nil)
			continue
		}
		r.undone(ds[1])
		if n := r.marks("after " + name); n != 0 {
			t.Errorf("%s: %d effects were committed without the acknowledgement", name, n)
		}
	}
}

// blocked makes a row that another transaction locks.
func (r *rig) blocked() {
	r.exec(`create table if not exists part (id int primary key, n int)`, `insert ignore into part values (1, 0), (2, 0)`)
	c := r.conn()
	for _, stmt := range []string{`begin`, `update part set n = n + 1 where id = 1`} {
		if _, err := c.ExecContext(r.soon(), stmt); err != nil {
			r.Fatal(err)
		}
	}
}

func TestASwallowedLockTimeoutCommitsNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.blocked()
	const stmt = `update part set n = n + 1 where id = 1`
	for name, run := range map[string]effect{
		"exec":  exec1(stmt),
		"query": func(ctx context.Context, tx driver.Tx) error { return scan(tx.QueryRowContext(ctx, selectPart)) },
		"prepared": func(ctx context.Context, tx driver.Tx) error {
			p, err := tx.PrepareContext(ctx, stmt)
			if err == nil {
				_, err = p.ExecContext(ctx)
			}
			return err
		},
	} {
		d, err := r.among(func(ctx context.Context, tx driver.Tx) error {
			if _, err := tx.ExecContext(ctx, `set innodb_lock_wait_timeout = 1`); err != nil {
				return err
			}
			if run(ctx, tx) == nil {
				t.Errorf("%s did not run into the timeout", name)
			}
			return nil
		})
		if r.store.Classify(err) != driver.ClassTransient {
			t.Errorf("%s: the unit returned %v, want a transient error", name, err)
		}
		r.undone(d)
	}
}

const selectPart = `select n from part where id = 1 for update`

func scan(row interface{ Scan(dest ...any) error }) error { return row.Scan(new(any)) }

func TestASwallowedDeadlockCommitsNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.exec(`create table part (id int primary key, n int)`, `insert into part values (1, 0), (2, 0)`,
		`create table weight (n int)`)
	d, err := r.among(func(ctx context.Context, tx driver.Tx) error {
		if _, err := tx.ExecContext(ctx, `update part set n = n + 1 where id = 1`); err != nil {
			return err
		}
		if r.deadlock(tx) == nil {
			t.Error("there was no deadlock")
		}
		_, err := tx.ExecContext(ctx, `insert into effect values ('after')`)
		if err == nil {
			t.Error("a statement ran after the transaction was gone")
		}
		return nil
	})
	if r.store.Classify(err) != driver.ClassTransient {
		t.Errorf("the unit returned %v, want a transient error", err)
	}
	r.undone(d)
	if n := r.marks("after"); n != 0 {
		t.Errorf("%d effects were committed without their acknowledgement", n)
	}
}

// deadlock makes one with the transaction, which has locked part 1, as the
// victim: it has changed less.
func (r *rig) deadlock(tx driver.Tx) error {
	c := r.conn()
	for _, stmt := range []string{
		`begin`, `insert into weight select seq from seq_1_to_1000`, `update part set n = n + 1 where id = 2`,
	} {
		if _, err := c.ExecContext(r.soon(), stmt); err != nil {
			r.Fatal(err)
		}
	}
	done := make(chan error, 1)
	go func() { // waited for below
		_, err := c.ExecContext(r.soon(), `update part set n = n + 1 where id = 1`)
		done <- err
	}()
	_, err := tx.ExecContext(r.soon(), `update part set n = n + 1 where id = 2`)
	if other := <-done; other != nil {
		r.Errorf("the other side of the deadlock: %v", other)
	}
	_, _ = c.ExecContext(r.soon(), `rollback`)
	return err
}

// virgin is a query for what a handler can leave in a session.
const virgin = `select concat_ws(' ', @@sql_mode, @@autocommit, @@foreign_key_checks, @@unique_checks, @@time_zone,
	@@tx_isolation, @@character_set_client, @@character_set_results, @@lock_wait_timeout, @@sql_safe_updates,
	@@max_statement_time, @@tx_read_only, @@sql_log_bin, database(), coalesce(@left, 'null'), current_role(),
	is_used_lock('left'), (select count(*) from information_schema.user_variables))`

func TestWhatAHandlerLeavesReachesNobody(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.exec(`create procedure sneaks() begin set session sql_safe_updates = 1; set time_zone = '+03:00'; end`,
		`create procedure keeps() create temporary table left_over (i int)`,
		`create procedure prepares() prepare left_over from 'select 1'`)
	var before string
	if _, err := r.among(session(&before)); err != nil {
		t.Fatal(err)
	}
	for _, stmt := range []string{
		`set sql_mode = ''`, `set foreign_key_checks = 0`, `set session unique_checks = 0`, `set time_zone = '+05:00'`,
		`set names latin1`, `set lock_wait_timeout = 1, sql_safe_updates = 1`, `set max_statement_time = 0.5`,
		`set @left = 1`, `select @left := 2`, `select 3 into @left`, `select get_lock('left', 1)`, `use information_schema`,
		`create temporary table left_over (i int)`, `prepare left_over from 'select 1'`, `call sneaks`, `call keeps`,
		`call prepares`, `set session transaction read only`, `set timestamp = 1`,
		`set session transaction isolation level serializable`, `set role none`, `handler effect open`,
	} {
		d, err := r.among(exec1(stmt))
		r.committed(d, err)
		var after string
		d, err = r.among(session(&after))
		r.committed(d, err)
		if after != before {
			t.Errorf("after %q the session is %q, was %q", stmt, after, before)
		}
		for _, missing := range []string{`select * from left_over`, `execute left_over`, `handler effect read first`} {
			if d, err = r.among(exec1(missing)); err == nil {
				t.Errorf("after %q %q works", stmt, missing)
			}
			r.undone(d)
		}
	}
}

// session reads what virgin asks.
func session(into *string) effect {
	return func(ctx context.Context, tx driver.Tx) error { return tx.QueryRowContext(ctx, virgin).Scan(into) }
}

func TestAHandlerCannotTalkOverItsOwnRows(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, err := r.among(func(ctx context.Context, tx driver.Tx) error {
		rows, err := tx.QueryContext(ctx, `select seq from seq_1_to_100`)
		if err != nil || !rows.Next() {
			return errors.Join(err, rows.Err())
		}
		_, err = tx.ExecContext(ctx, `insert into effect values ('over')`)
		return errors.Join(err, rows.Close())
	})
	if err == nil || r.store.Classify(err) != "" {
		t.Errorf("the unit returned %v, want an error of the handler", err)
	}
	r.undone(d)
}

func TestRowsWithoutEndCostOnlyTheirOwnConnection(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ds := r.claims(2)
	errs := r.store.Transact(r.soon(), []driver.Unit{
		r.unit(ds[0], func(ctx context.Context, tx driver.Tx) error {
			rows, err := tx.QueryContext(ctx, `select seq, repeat('x', 100) from seq_1_to_1000000000`)
			if err == nil && !rows.Next() {
				return rows.Err()
			}
			return err // the rows are still open
		}),
		r.unit(ds[1], nothing),
	})
	if errs[0] == nil {
		t.Error("rows without end were read to their end")
	}
	r.undone(ds[0])
	r.committed(ds[1], errs[1])
}

func TestADeadlineEndsAStatementAndCostsOthersNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ds := r.claims(3)
	slow := r.unit(ds[1], exec1(`select sleep(60)`))
	slow.Timeout = 100 * time.Millisecond
	errs := r.store.Transact(r.soon(), []driver.Unit{r.unit(ds[0], nothing), slow, r.unit(ds[2], nothing)})
	if !errors.Is(errs[1], context.DeadlineExceeded) {
		t.Errorf("the slow unit returned %v, want %v", errs[1], context.DeadlineExceeded)
	}
	r.committed(ds[0], errs[0])
	r.undone(ds[1])
	r.committed(ds[2], errs[2])
}

func TestAnUpdateCountsTheRowsThatItFinds(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.exec(`create table part (id int primary key, n int)`, `insert into part values (1, 7)`)
	d, err := r.among(func(ctx context.Context, tx driver.Tx) error {
		res, err := tx.ExecContext(ctx, `update part set n = 7 where id = 1`)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); n != 1 || err != nil {
			t.Errorf("an update without a change touched %d rows, error %v; want 1", n, err)
		}
		return nil
	})
	r.committed(d, err)
}
