package postgres

import (
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn/internal/safety"
	"github.com/posthorn/posthorn/store"
)

// leastLot is how many acknowledgements of one token are worth a statement of their own: for
// twenty it costs the server about what it saves, and it costs the client something, too.
const leastLot = 40

// An acking removes the messages of some writes.
type acking struct {
	ws      []*store.Write
	claims  int
	history bool
	lots    []*lot // by token; nil: there are too many
}

// A lot is what is acknowledged of one token.
type lot struct {
	token string
	seqs  integers
	gone  []int64 // those that were removed; nil: all
}

// queueAcks adds the acknowledgements: what was claimed together is mostly acknowledged
// together, and found faster by its sequences alone.
func (w writer) queueAcks(b *pgx.Batch, ws []*store.Write) {
	a := &acking{ws: ws}
	for _, one := range ws {
		one.Lost = nil
		a.claims += len(one.Ack)
	}
	if a.claims == 0 {
		return
	}
	a.collect()
	switch {
	case a.history:
		a.queue(b, w.ackAll)
	case a.lots == nil || !safety.Fencing:
		a.queue(b, w.ack)
	default:
		a.queueLots(b, w.ackLot)
	}
}

// mostLots bounds the lots, since a claim is looked for in each.
const mostLots = 32

// collect puts the claims into lots, as long as these are worth it.
func (a *acking) collect() {
	most := min(a.claims/leastLot, mostLots)
	for _, one := range a.ws {
		for _, c := range one.Ack {
			a.history = a.history || c.History
			if most > 0 && !a.put(c, most) {
				most, a.lots = 0, nil
			}
		}
	}
}

// put puts a claim into its lot, unless it would be one too many.
func (a *acking) put(c store.Claim, most int) bool {
	for _, l := range a.lots {
		if l.token == c.Token {
			l.seqs = append(l.seqs, c.Seq)
			return true
		}
	}
	if len(a.lots) == most {
		return false
	}
	a.lots = append(a.lots, &lot{token: c.Token, seqs: append(make(integers, 0, leastLot), c.Seq)})
	return true
}

// queueLots adds a statement for each lot.
func (a *acking) queueLots(b *pgx.Batch, stmt string) {
	for i, l := range a.lots {
		b.Queue(stmt, l.seqs, l.token).QueryRow(func(row pgx.Row) error {
			err := row.Scan(&l.gone)
			if err == nil && i == len(a.lots)-1 {
				a.lose()
			}
			return err
		})
	}
}

// lose tells the writes what they have lost, if anything is.
func (a *acking) lose() {
	if !slices.ContainsFunc(a.lots, func(l *lot) bool { return l.gone != nil }) {
		return
	}
	gone := make(map[int64]string)
	for _, l := range a.lots {
		removed := l.gone
		if removed == nil {
			removed = l.seqs
		}
		for _, seq := range removed {
			gone[seq] = l.token
		}
	}
	a.lost(gone)
}

// queue adds one statement for all.
func (a *acking) queue(b *pgx.Batch, stmt string) {
	seqs, tokens := make(integers, 0, a.claims), make(texts, 0, a.claims)
	for _, one := range a.ws {
		for _, c := range one.Ack {
			seqs, tokens = append(seqs, c.Seq), append(tokens, c.Token)
		}
	}
	if !safety.Fencing {
		b.Queue(stmt, seqs)
		return
	}
	b.Queue(stmt, seqs, tokens).Query(func(rows pgx.Rows) error {
		gone := make(map[int64]string, len(seqs))
		var (
			seq   int64
			token string
		)
		err := each(rows, func() error {
			err := rows.Scan(&seq, &token)
			gone[seq] = token
			return err
		})
		if err == nil {
			a.lost(gone)
		}
		return err
	})
}

// lost tells the writes which of their claims are not among those that were removed.
func (a *acking) lost(gone map[int64]string) {
	for _, one := range a.ws {
		for _, c := range one.Ack {
			if token, ok := gone[c.Seq]; ok && token == c.Token {
				delete(gone, c.Seq) // the same claim counts once
				continue
			}
			one.Lost = append(one.Lost, c)
		}
	}
}
