// Package measure measures an SQLite driver under database/sql: commits,
// insertions in batches, and claims with deletions.
package measure

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const schema = `
create table m (seq integer primary key, id text not null unique, queue text not null, state int not null,
  prio int not null, due int not null, token text, body blob);
create index m_ready on m (queue, prio desc, due, seq) where state = 0;
create index m_due on m (due) where state <> 0;
create table e (a text, b text);`

const claim = `update m set state = 2, token = 't', due = 1 where seq in
  (select seq from m where state = 0 and queue = 'q' order by prio desc, due, seq limit 500)
  returning seq, id, queue, prio, due, body`

// run is one measurement of one driver.
type run struct {
	conn *sql.Conn
	err  error
}

// Driver measures the driver that is registered as name, and prints a line for
// each of two rounds. address is its data source name with %s for the path.
func Driver(label, name, address string) error {
	dir, err := os.MkdirTemp("", "posthorn-drivers-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	for round := range 2 {
		if err := once(label, name, fmt.Sprintf(address, filepath.Join(dir, fmt.Sprint(round)))); err != nil {
			return err
		}
	}
	return nil
}

func once(label, name, address string) error {
	ctx := context.Background()
	db, err := sql.Open(name, address)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	r := &run{conn: conn}
	var version, synchronous string
	r.err = conn.QueryRowContext(ctx, "select sqlite_version()").Scan(&version)
	r.exec(schema)
	if r.err == nil {
		r.err = conn.QueryRowContext(ctx, "pragma synchronous").Scan(&synchronous)
	}
	commits := r.insert(3000, 1)
	r.exec("delete from m")
	batches := r.insert(200_000, 1000)
	drained := r.drain(100_000, false)
	effects := r.drain(100_000, true)
	fmt.Printf("%-8s SQLite %s synchronous=%s  commits %.0f/s  insert %.0f/s  claim+delete %.0f/s  with INSERT %.0f/s\n",
		label, version, synchronous, commits, batches, drained, effects)
	return r.err
}

func (r *run) exec(query string) {
	if r.err == nil {
		_, r.err = r.conn.ExecContext(context.Background(), query)
	}
}

func (r *run) prepare(query string) *sql.Stmt {
	if r.err != nil {
		return nil
	}
	var s *sql.Stmt
	s, r.err = r.conn.PrepareContext(context.Background(), query)
	return s
}

// insert inserts n rows, some in each transaction, and returns rows a second.
func (r *run) insert(n, batch int) float64 {
	s := r.prepare("insert into m (id, queue, state, prio, due, body) values (?, 'q', 0, 0, ?, ?)")
	body, began := make([]byte, 200), time.Now()
	for i := 0; i < n && r.err == nil; i += batch {
		r.exec("begin immediate")
		for j := i; j < i+batch && r.err == nil; j++ {
			_, r.err = s.ExecContext(context.Background(), fmt.Sprintf("%032d", j), j, body)
		}
		r.exec("commit")
	}
	return float64(n) / time.Since(began).Seconds()
}

// drain claims and deletes n rows, and returns rows a second.
func (r *run) drain(n int, effect bool) float64 {
	take, del := r.prepare(claim), r.prepare("delete from m where seq = ? and token = 't'")
	ins := r.prepare("insert into e (a, b) values ('aaaaaaaaaaaaa', 'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb')")
	began, total := time.Now(), 0
	for total < n && r.err == nil {
		r.exec("begin immediate")
		seqs := r.claimed(take)
		r.exec("commit")
		r.exec("begin immediate")
		for i := 0; i < len(seqs) && r.err == nil; i++ {
			_, r.err = del.ExecContext(context.Background(), seqs[i])
			if effect && r.err == nil {
				_, r.err = ins.ExecContext(context.Background())
			}
		}
		r.exec("commit")
		if total += len(seqs); len(seqs) == 0 {
			break
		}
	}
	return float64(total) / time.Since(began).Seconds()
}

func (r *run) claimed(take *sql.Stmt) []int64 {
	if r.err != nil {
		return nil
	}
	rows, err := take.QueryContext(context.Background())
	if err != nil {
		r.err = err
		return nil
	}
	defer func() { _ = rows.Close() }()
	var seqs []int64
	for rows.Next() && r.err == nil {
		var seq, prio, due int64
		var id, queue string
		var body []byte
		r.err = rows.Scan(&seq, &id, &queue, &prio, &due, &body)
		seqs = append(seqs, seq)
	}
	if r.err == nil {
		r.err = rows.Err()
	}
	return seqs
}
