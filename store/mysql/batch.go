package mysql

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/posthorn/posthorn/internal/safety"
	"github.com/posthorn/posthorn/store"
)

// These bound the rows of one statement of a batch: those that it inserts, and those of a
// list of claims.
const (
	maxRows   = 1000
	maxClaims = 1000
)

// A batch runs a statement for many rows. The protocol has no pipeline, so the
// statements that carry the load have a form for many rows, which touches them
// in the order of their keys; the others run one by one.
type batch struct {
	store.Statements
	names store.Names
}

// The forms for many rows. With a long list and a small table the server would
// rather read the whole table, and wait for rows that others have locked; so it goes from a
// list to the table. The list is JSON: as a text of as many selects it took the server half as
// long again to read and remove 500 rows, and as many parameters would be as many
// words of the packet.
const (
	fromList = `json_table(?, '$[*]' columns (number bigint path '$[0]', held ` + wordType + ` path '$[1]')) l
		straight_join `
	fromClaims = fromList + `posthorn_message m force index (primary) on m.seq = l.number`
	lockClaims = `select m.seq, coalesce(m.token, '') from ` + fromClaims + ` for update`
	extendAll  = `update ` + fromClaims + ` set m.wake_at = ? where m.token = l.held`
	leases     = fromList + `posthorn_lease m force index (primary) on m.token = l.held`
	leaseGone  = `delete m from ` + leases
	leaseNext  = `update ` + leases + ` set m.ends_at = l.number`
)

// wordType is what a token in a list is. Without its character set it had that of the
// database, in which no token is equal to one whose characters take more bytes.
const wordType = `varchar(64) character set utf8mb4`

// deleteClaims removes the messages of claims that stand.
func deleteClaims() string {
	stmt := `delete m from ` + fromClaims
	if safety.Fencing {
		stmt += ` and m.token = l.held`
	}
	return stmt
}

// listOf writes claims as the statements for many rows take them, in the order of
// their keys, in which everybody locks them.
func listOf(claims []store.Claim) string {
	claims = slices.Clone(claims)
	slices.SortFunc(claims, bySeq)
	text := []byte{'['}
	for i, c := range claims {
		if i > 0 {
			text = append(text, ',')
		}
		text = append(strconv.AppendInt(append(text, '['), c.Seq, 10), ',')
		text = append(appendQuoted(text, c.Token), ']')
	}
	return string(append(text, ']'))
}

func bySeq(a, b store.Claim) int { return cmp.Compare(a.Seq, b.Seq) }

// appendQuoted appends a word as JSON.
func appendQuoted(text []byte, word string) []byte {
	quoted, _ := json.Marshal(word) // a string always can be written
	return append(text, quoted...)
}

// run is pool.Dialect.Many.
func (b batch) run(ctx context.Context, conn *sql.Conn, stmt string, rows [][]any) ([]int64, error) {
	switch stmt {
	case b.Ack:
		return ofClaims{names: b.names, fenced: safety.Fencing, change: deleteClaims()}.run(ctx, conn, rows)
	case b.Extend: // all get the same time
		return ofClaims{names: b.names, fenced: true, change: extendAll, also: rows[0][:1]}.run(ctx, conn, rows)
	}
	if change := map[string]string{b.LeaseGone: leaseGone, b.LeaseNext: leaseNext}[stmt]; change != "" {
		_, err := exec(ctx, conn, b.names.In(change), []any{listOf(noted(rows))})
		return nil, err
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

// noted are the arguments of a change of what is noted of claims: a token comes last, and before
// it may be a time.
func noted(rows [][]any) []store.Claim {
	out := make([]store.Claim, len(rows))
	for i, row := range rows {
		out[i].Token = row[len(row)-1].(string)
		if len(row) > 1 {
			out[i].Seq = row[0].(int64)
		}
	}
	return out
}

// ofClaims is a change of rows whose claim stands, which are locked before. A row of arguments
// ends with a sequence and a token.
type ofClaims struct {
	names  store.Names
	fenced bool   // else it is not asked whether the claims stand
	change string // of a list
	also   []any  // its other arguments
}

func (c ofClaims) run(ctx context.Context, conn *sql.Conn, rows [][]any) ([]int64, error) {
	claims := make([]store.Claim, len(rows))
	for i, row := range rows {
		claims[i] = store.Claim{Seq: row[len(row)-2].(int64), Token: row[len(row)-1].(string)}
	}
	list, out := listOf(claims), make([]int64, len(rows))
	tokens := map[int64]string{}
	if c.fenced {
		var err error
		if tokens, err = c.lock(ctx, conn, list); err != nil {
			return nil, err
		}
	}
	for i, one := range claims {
		if held, ok := tokens[one.Seq]; !c.fenced || ok && held == one.Token {
			delete(tokens, one.Seq) // the same claim counts once
			out[i] = 1
		}
	}
	_, err := exec(ctx, conn, c.names.In(c.change), append([]any{list}, c.also...))
	return out, err
}

// lock locks the rows of claims in the order of their keys, and returns their tokens.
func (c ofClaims) lock(ctx context.Context, conn *sql.Conn, list string) (map[int64]string, error) {
	found, err := conn.QueryContext(ctx, c.names.In(lockClaims), list)
	if err != nil {
		return nil, err
	}
	defer func() { _ = found.Close() }() // Err below tells what matters
	tokens := map[int64]string{}
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
