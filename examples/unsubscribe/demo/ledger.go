package demo

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// A ledger is what the tables say. Nothing in it is remembered by the demo.
type ledger struct {
	accepted, done, waiting, dead, discarded int // the two sides
	lost, doubled                            int
	retried, shortened                       int
	refused, killed                          int
	failed                                   []cause
}

// cause is a reason for dead letters, with their number.
type cause struct {
	reason string
	n      int
}

// figures counts both sides of the ledger in one statement, so that it is one
// moment: a message is accepted when the ledger of mail says so; then it must
// be in exactly one place.
const figures = `
with place as (
  select m.id,
    (select count(*) from unsubscribed u where u.mail = m.id) as done,
    (select count(*) from posthorn_message q where q.id = m.id) as waiting,
    (select count(*) from posthorn_letter l where l.id = m.id and l.discarded_at is null) as dead,
    (select count(*) from posthorn_letter l where l.id = m.id and l.discarded_at is not null) as discarded
  from mail m where m.state = 'dispatched')
select count(*), count(case when done > 0 then 1 end), coalesce(sum(waiting), 0), coalesce(sum(dead), 0),
  coalesce(sum(discarded), 0),
  count(case when done + waiting + dead + discarded = 0 then 1 end),
  count(case when done + waiting + dead + discarded > 1 then 1 end)
from place`

// Balance counts the ledger, prints it, and returns ErrLedger when it does not
// balance.
func Balance(ctx context.Context, db *sql.DB, out io.Writer) error {
	l, err := count(ctx, db)
	if err != nil {
		return err
	}
	return l.print(out)
}

// count reads the ledger from the tables.
func count(ctx context.Context, db *sql.DB) (ledger, error) {
	l, err := weigh(ctx, db)
	if err != nil {
		return l, err
	}
	err = db.QueryRowContext(ctx, `select
		(select count(*) from unsubscribed where attempt > 0) +
		(select count(*) from posthorn_letter where attempt > 0),
		(select count(*) from notification where shortened)`).Scan(&l.retried, &l.shortened)
	if err != nil {
		return l, fmt.Errorf("count retries: %w", err)
	}
	l.failed, err = causes(ctx, db)
	return l, err
}

// weigh reads the two sides of the ledger.
func weigh(ctx context.Context, db *sql.DB) (l ledger, err error) {
	err = db.QueryRowContext(ctx, figures).Scan(
		&l.accepted, &l.done, &l.waiting, &l.dead, &l.discarded, &l.lost, &l.doubled)
	if err != nil {
		return l, fmt.Errorf("count ledger: %w", err)
	}
	return l, nil
}

// causes counts the dead letters by what their error says first, the most
// frequent one first.
func causes(ctx context.Context, db *sql.DB) ([]cause, error) {
	rows, err := db.QueryContext(ctx, `select error from posthorn_letter`)
	if err != nil {
		return nil, fmt.Errorf("count dead letters: %w", err)
	}
	defer func() { _ = rows.Close() }() // Err tells what matters
	n := map[string]int{}
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, fmt.Errorf("count dead letters: %w", err)
		}
		reason, _, _ := strings.Cut(text, ": ")
		n[reason]++
	}
	var out []cause
	for reason := range n {
		out = append(out, cause{reason, n[reason]})
	}
	slices.SortFunc(out, func(a, b cause) int { return cmp.Or(b.n-a.n, strings.Compare(a.reason, b.reason)) })
	return out, rows.Err()
}

// print shows the table and the line that must balance. It returns ErrLedger
// when it does not.
func (l ledger) print(out io.Writer) error {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(name string, n int) { _, _ = fmt.Fprintf(w, "%d\t  %s\n", n, name) }
	row("accepted", l.accepted)
	row("unsubscribed", l.done)
	row("dead letters", l.dead)
	for _, c := range l.failed {
		row("  "+c.reason, c.n)
	}
	row("retried", l.retried)
	row("notifications truncated to 255", l.shortened)
	row("mails refused at import", l.refused)
	row("workers killed", l.killed)
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out,
		"\n%s\naccepted %d = done %d + waiting %d + dead %d + discarded %d · lost %d · doubled %d\n",
		b.String(), l.accepted, l.done, l.waiting, l.dead, l.discarded, l.lost, l.doubled)
	if err != nil {
		return err
	}
	if l.lost != 0 || l.doubled != 0 || l.accepted == 0 || l.accepted != l.done+l.waiting+l.dead+l.discarded {
		return ErrLedger
	}
	return nil
}
