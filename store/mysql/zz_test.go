package mysql_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/posthorn/posthorn/driver"
)

func TestZZ(t *testing.T) {
	r := newRig(t)
	c := r.conn()
	envs := make([]driver.Envelope, 1000)
	for j := range 40 {
		for i := range envs {
			envs[i] = driver.Envelope{ID: fmt.Sprint("m", j, "-", i), Kind: "k", Queue: "q", Body: make([]byte, 200)}
		}
		if err := r.store.Send(r.soon(), envs...); err != nil {
			t.Fatal(err)
		}
	}
	tok := "0123456789abcdef0123456789abcdef"
	var sel, upd, com, del, com2, lock time.Duration
	n := 0
	step := func(d *time.Duration, stmt string, args ...any) {
		b := time.Now()
		if _, err := c.ExecContext(r.soon(), stmt, args...); err != nil {
			t.Fatal(stmt[:30], err)
		}
		*d += time.Since(b)
	}
	for range 40 {
		var seqs []any
		step(&com2, "begin")
		b := time.Now()
		rows, err := c.QueryContext(r.soon(), `select seq, id, kind, queue, priority, attempt, deliveries + 1, crashes, due_at, sent_at, header, body
		from posthorn_message force index (posthorn_message_ready)
		where state = 0 and queue = 'q' order by turn, due_at, seq limit 500 for update skip locked`)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var seq int64
			rows.Scan(append([]any{&seq}, dump(11)...)...)
			seqs = append(seqs, seq)
		}
		rows.Close()
		sel += time.Since(b)
		n += len(seqs)
		in := "(?" 
		for range seqs[1:] {
			in += ",?"
		}
		in += ")"
		step(&upd, `update posthorn_message force index (primary) set state = 2, token = '`+tok+`', worker='w', claimed_at = 17000000000, wake_at = 17000000000, deliveries = deliveries+1 where seq in `+in, seqs...)
		step(&com, "commit")
		step(&com2, "begin")
		b = time.Now()
		rows, err = c.QueryContext(r.soon(), `select seq, coalesce(token, '') from posthorn_message
			force index (primary) where seq in`+in+` order by seq for update`, seqs...)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			rows.Scan(dump(2)...)
		}
		rows.Close()
		lock += time.Since(b)
		l := `(select ? as seq, '` + tok + `' as token`
		for range seqs[1:] {
			l += ` union all select ?, '` + tok + `'`
		}
		step(&del, `delete m from `+l+`) l straight_join posthorn_message m on m.seq = l.seq and m.token = l.token`, seqs...)
		step(&com, "commit")
	}
	per := func(d time.Duration) string { return fmt.Sprint(d / time.Duration(n)) }
	fmt.Println(n, "select", per(sel), "update", per(upd), "lock", per(lock), "del", per(del), "commit", per(com), "begin", per(com2))
}

func dump(n int) []any {
	out := make([]any, n)
	for i := range out {
		out[i] = new(any)
	}
	return out
}
