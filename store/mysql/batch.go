package mysql

import (
	"context"
	"database/sql"
	"slices"
	"strings"

	"github.com/posthorn/posthorn/internal/safety"
	"github.com/posthorn/posthorn/store"
)

// maxRows bounds the rows of one statement of a batch.
const maxRows = 200

// A batch runs a statement for many rows. The protocol has no pipeline, so the
// statements that carry the load have a form for many rows, which touches them
// in the order of their keys; the others run one by one.
type batch struct {
	store.Statements
	names store.Names
}

// The forms for many rows. With a long list and a small table the server would
// rather read the whole table, and wait for rows that others have locked. An
// update takes a hint against that; a delete takes none, so it goes from the
// list to the table.
func deleteAll(n int) string {
	return `delete m from (select ? as seq` + strings.Repeat(` union all select ?`, n-1) +
		`) l straight_join posthorn_message m on m.seq = l.seq`
}

func extendAll(n int) string {
	return `update posthorn_message force index (primary) set wake_at = ? where seq in` + list(n)
}

// run is pool.Dialect.Many.
func (b batch) run(ctx context.Context, conn *sql.Conn, stmt string, rows [][]any) ([]int64, error) {
	switch stmt {
	case b.Ack:
		return ofClaims{shared: 0, names: b.names, fenced: safety.Fencing, change: deleteAll}.run(ctx, conn, rows)
	case b.Extend:
		return ofClaims{shared: 1, names: b.names, fenced: true, change: extendAll}.run(ctx, conn, rows)
	}
	out := make([]int64, len(rows))
	for i, args := range rows {
		n, err := exec(ctx, conn, stmt, args)
		if err != nil {
			return nil, err
		}
		out[i] = n
	}
	return out, nil
}

func exec(ctx context.Context, conn *sql.Conn, stmt string, args []any) (int64, error) {
	res, err := conn.ExecContext(ctx, stmt, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// ofClaims is a change of rows whose claim stands. A row of arguments ends with
// a sequence and a token; shared is how many stand before them, the same in
// each row.
type ofClaims struct {
	shared int
	names  store.Names
	fenced bool // else it is not asked whether the claims stand
	change func(rows int) string
}

// run locks the rows, and then changes those that it found.
func (c ofClaims) run(ctx context.Context, conn *sql.Conn, rows [][]any) ([]int64, error) {
	out := make([]int64, len(rows))
	for from := 0; from < len(rows); from += maxRows {
		part := rows[from:min(from+maxRows, len(rows))]
		args, err := c.standing(ctx, conn, part, out[from:])
		if err != nil {
			return nil, err
		}
		if len(args) == c.shared {
			continue
		}
		if _, err := exec(ctx, conn, c.names.In(c.change(len(args)-c.shared)), args); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// standing locks the rows, and makes the arguments of the change of those whose
// claim stands, which it marks.
func (c ofClaims) standing(ctx context.Context, conn *sql.Conn, part [][]any, marks []int64) ([]any, error) {
	args := slices.Clone(part[0][:c.shared])
	tokens, err := map[int64]string(nil), error(nil)
	if c.fenced {
		tokens, err = c.lock(ctx, conn, part)
	}
	if err != nil {
		return nil, err
	}
	for i, row := range part {
		seq, token := row[c.shared].(int64), row[c.shared+1].(string)
		if held, ok := tokens[seq]; !c.fenced || ok && held == token {
			delete(tokens, seq) // the same claim counts once
			args = append(args, seq)
			marks[i] = 1
		}
	}
	return args, nil
}

// lock locks rows in the order of their keys, and returns their tokens.
func (c ofClaims) lock(ctx context.Context, conn *sql.Conn, rows [][]any) (map[int64]string, error) {
	seqs := make([]any, len(rows))
	for i, row := range rows {
		seqs[i] = row[c.shared]
	}
	found, err := conn.QueryContext(ctx, c.names.In(`select seq, coalesce(token, '') from posthorn_message
		force index (primary) where seq in`+list(len(seqs))+` order by seq for update`), seqs...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = found.Close() }() // Err below tells what matters
	tokens := make(map[int64]string, len(rows))
	for found.Next() {
		var seq int64
		var token string
		if err := found.Scan(&seq, &token); err != nil {
			return nil, err
		}
		tokens[seq] = token
	}
	return tokens, found.Err()
}

// list is a list of n parameters.
func list(n int) string { return " (?" + strings.Repeat(", ?", n-1) + ")" }
