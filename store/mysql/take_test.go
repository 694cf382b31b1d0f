package mysql_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/testserver"
	"github.com/posthorn/posthorn/store"
)

// send sends messages of ids that count.
func (r *rig) send(n int) {
	r.Helper()
	envs := make([]driver.Envelope, n)
	for i := range envs {
		envs[i] = driver.Envelope{ID: fmt.Sprintf("m%03d", i), Kind: "k", Queue: "q", Body: []byte("x")}
	}
	if err := r.store.Send(r.soon(), envs...); err != nil {
		r.Fatal(err)
	}
}

// A claim reads without locking, so it may find what another claim is just taking.
func TestAClaimLooksBehindWhatOthersHaveLocked(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.send(200)
	c := r.conn()
	defer func() { _ = c.Close() }()
	for _, stmt := range []string{`begin`, `select seq from posthorn_message where id < 'm113' for update`} {
		if _, err := c.ExecContext(r.soon(), stmt); err != nil {
			t.Fatal(err)
		}
	}
	ds, err := r.consumer.Receive(r.soon(), 5)
	if err != nil {
		t.Fatal(err)
	}
	if len(ds) != 5 || ds[0].ID < "m113" { // the server locks the end of a range, too
		t.Errorf("received %d from %s on, want 5 from m113 on", len(ds), ds[0].ID)
	}
	if _, err := c.ExecContext(r.soon(), `rollback`); err != nil {
		t.Fatal(err)
	}
	for want := 195; want > 0; want -= len(ds) { // what was passed over is not left behind
		if ds, err = r.consumer.Receive(r.soon(), 100); err != nil {
			t.Fatal(err)
		}
	}
}

// Whoever locks more than what he takes runs into deadlocks with those who acknowledge.
func TestAClaimLocksNothingButWhatItTakes(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.send(100)
	var locked int
	take := &store.Take{
		Token: "t", Worker: "w", Lease: time.Minute.Milliseconds(), Queue: "q", Limit: 10,
		Marks: []store.Mark{{Priority: 0, Due: 1}}, Begin: func() {},
		Row: func(row store.Row) error {
			columns := make([]any, 12)
			for i := range columns {
				columns[i] = new(any)
			}
			if err := row.Scan(columns...); err != nil || locked > 0 {
				return err
			}
			// The server looks at most every 100 ms.
			time.Sleep(120 * time.Millisecond)
			return r.store.DB().QueryRowContext(r.soon(), `select coalesce(max(trx_rows_locked), -1)
				from information_schema.innodb_trx join information_schema.processlist on id = trx_mysql_thread_id
				where db = database()`).Scan(&locked)
		},
	}
	if err := r.store.Engine.Write(r.soon(), &store.Write{Take: take}); err != nil {
		t.Fatal(err)
	}
	if locked != 10 {
		t.Errorf("a claim of 10 has locked %d rows", locked)
	}
}

// A lease that was taken away is looked for where its claim says, and the claim goes when
// nothing is left of it.
func TestTheClaimsThatAreNotedGoWithTheirMessages(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.send(10)
	brief, err := r.store.Consume(r.soon(), driver.Subscription{
		Queues: []string{"q"}, Lease: time.Second, Worker: "brief",
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = brief.Close() }()
	ds, err := brief.Receive(r.soon(), 10)
	if err != nil || len(ds) != 10 {
		t.Fatalf("received %d: %v", len(ds), err)
	}
	if err := brief.Settle(r.soon(), driver.Settlement{Delivery: ds[0], Verdict: driver.Ack}); err != nil {
		t.Fatal(err)
	}
	back := 0
	for back < 9 { // the others crash
		again, err := r.consumer.Receive(r.soon(), 10)
		if err != nil {
			t.Fatal(err)
		}
		back += len(again)
		for _, d := range again {
			if d.Crashes != 1 {
				t.Errorf("%s came back with %d crashes", d.ID, d.Crashes)
			}
		}
	}
	r.await(`select count(*) from posthorn_lease where worker = 'brief'`, 0)
}

// await waits until a query returns a number.
func (r *rig) await(query string, want int) {
	r.Helper()
	for ctx, n := r.soon(), -1; n != want; {
		if err := r.store.DB().QueryRowContext(ctx, query).Scan(&n); err != nil {
			r.Fatal(err)
		}
		if short, cancel := context.WithTimeout(ctx, 50*time.Millisecond); n != want {
			_, _ = r.consumer.Receive(short, 10) // it is a consumer that looks
			cancel()
		} else {
			cancel()
		}
	}
}

// In a small table the server would rather read all of it than look rows up.
func TestAnAcknowledgementWaitsForNobodyInASmallTable(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ds := r.claims(3)
	c := r.conn()
	defer func() { _ = c.Close() }()
	for _, stmt := range []string{`begin`, `select seq from posthorn_message where id = '` + ds[0].ID + `' for update`} {
		if _, err := c.ExecContext(r.soon(), stmt); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := r.consumer.Extend(ctx, ds[1:]...); err != nil {
		t.Errorf("extend beside a locked row: %v", err)
	}
	if err := r.consumer.Settle(ctx, driver.Settlement{Delivery: ds[1], Verdict: driver.Ack}); err != nil {
		t.Errorf("acknowledge beside a locked row: %v", err)
	}
	if errs := r.store.Transact(ctx, []driver.Unit{r.unit(ds[2], nothing)}); errs[0] != nil {
		t.Errorf("an effect beside a locked row: %v", errs[0])
	}
}

// The words of a database may take two bytes for each character, and a server may cut lists off.
func TestClaimsDoNotDependOnTheSettingsOfTheDatabase(t *testing.T) {
	t.Parallel()
	server := testserver.MariaDB(t, testserver.Options{Settings: map[string]string{
		"group_concat_max_len": "1024", "sql_mode": "ONLY_FULL_GROUP_BY,ANSI_QUOTES,NO_BACKSLASH_ESCAPES",
	}})
	if err := server.Exec("create database wide character set ucs2"); err != nil {
		t.Fatal(err)
	}
	r := newRigAt(t, server, "wide", store.Options{})
	r.exec("alter table posthorn_message auto_increment = 900000000")
	ds := r.claims(400)
	ss := make([]driver.Settlement, 0, len(ds))
	for _, d := range ds[1:] {
		ss = append(ss, driver.Settlement{Delivery: d, Verdict: driver.Ack})
	}
	if err := r.consumer.Settle(r.soon(), ss...); err != nil {
		t.Fatal(err)
	}
	stats, err := r.store.Stats(r.soon())
	if err != nil || len(stats) != 1 || stats[0].InFlight != 1 || stats[0].Ready != 0 {
		t.Errorf("figures %+v: %v", stats, err)
	}
	r.exec("update posthorn_message set wake_at = 1", "update posthorn_lease set ends_at = 1")
	if back, err := r.consumer.Receive(r.soon(), 10); err != nil || len(back) != 1 || back[0].Crashes != 1 {
		t.Errorf("received %d: %v", len(back), err)
	}
}

// Claims whose messages are locked, by effects that outlive their lease, do not keep the leases of
// others from being looked at.
func TestLockedClaimsDoNotHideTheLeasesOfOthers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for i := range 60 {
		id := fmt.Sprintf("locked-%d", i)
		if i == 59 {
			id = "aside"
		}
		if err := r.store.Send(r.soon(), driver.Envelope{ID: id, Kind: "k", Queue: "q", Body: []byte("x")}); err != nil {
			t.Fatal(err)
		}
		if _, err := r.consumer.Receive(r.soon(), 1); err != nil {
			t.Fatal(err)
		}
	}
	c := r.conn()
	defer func() { _ = c.Close() }()
	for _, stmt := range []string{
		`update posthorn_message set wake_at = 1`,
		`update posthorn_lease l join posthorn_message m on m.token = l.token set l.ends_at = if(m.id = 'aside', 2, 1)`,
		`begin`, `select seq from posthorn_message where id like 'locked%' for update`,
	} {
		if _, err := c.ExecContext(r.soon(), stmt); err != nil {
			t.Fatal(err)
		}
	}
	ds, err := r.consumer.Receive(r.soon(), 1)
	if err != nil || ds[0].ID != "aside" {
		t.Errorf("received %v: %v", ds, err)
	}
}
