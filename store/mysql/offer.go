package mysql

import (
	"context"

	"github.com/posthorn/posthorn/internal/safety"
	"github.com/posthorn/posthorn/store"
)

// offers adds what idle consumers take.
func offers(s *store.Statements) {
	s.Offered = `select ` + store.OfferedColumns + `, timestampdiff(microsecond, '1970-01-01', utc_timestamp(3)) div 1000
		from posthorn_offer o join json_table(o.given, '$[*]' columns (seq bigint path '$')) g
		straight_join posthorn_message m force index (primary) on m.seq = g.seq
		where o.queue = ? and o.until_ms = ? and o.id = ? and m.state = 2 and left(m.token, length(o.id)) = o.id`
}

// held are the statements that insert a message that is due at once, for the idle consumer whose offer has the most
// room, if there is one that nobody else has locked. Variables of the session carry what they know from one to the
// next, so that they are one packet.
func held(n store.Names) [5]string {
	deliveries, first, lease := ``, ``, `do 0`
	if safety.CrashCount {
		deliveries, first = `, deliveries`, `, @posthorn_offer is not null`
	}
	if safety.Leases {
		lease = `insert into posthorn_lease (token, worker, ends_at, seqs)
			select @posthorn_token, @posthorn_worker, @posthorn_now + least(@posthorn_lease, ` + firstLook + `),
			  json_array(last_insert_id()) from dual where @posthorn_offer is not null`
	}
	out := [5]string{
		clock + `, @posthorn_offer = null`,
		`select id, until_ms, worker, lease into @posthorn_offer, @posthorn_until, @posthorn_worker, @posthorn_lease
			from posthorn_offer o where queue = ? and ` + store.OpenOffer(`@posthorn_now`) + `
			order by room desc limit 1 for update skip locked`,
		`insert into posthorn_message
			  (id, kind, queue, priority, state, due_at, wake_at, sent_at, attempt, header, body, token, worker, claimed_at` +
			deliveries + `)
			values (?, ?, ?, ?, if(@posthorn_offer is null, 0, 2), @posthorn_now,
			  @posthorn_now + if(@posthorn_offer is null, 0, @posthorn_lease), @posthorn_now, ?, ?, ?,
			  @posthorn_token := coalesce(concat(@posthorn_offer, ?), '--------------------------'),
			  if(@posthorn_offer is null, '--------------------', @posthorn_worker),
			  if(@posthorn_offer is null, 0, @posthorn_now)` + first + `)`,
		`update posthorn_offer set room = room - 1, given = json_array_append(given, '$', last_insert_id())
			where queue = ? and until_ms = @posthorn_until and id = @posthorn_offer`,
		lease,
	}
	for i := range out {
		out[i] = n.In(out[i])
	}
	return out
}

// handOver inserts a message for an idle consumer, if there is one.
func (w writer) handOver(ctx context.Context, p *packet, lone *store.Write) error {
	m := lone.Send[0]
	p.add(w.held[0])
	p.add(w.held[1], m.Queue)
	err := p.fit(ctx, w.held[2], []any{m.ID, m.Kind, m.Queue, m.Priority, m.Attempt, m.Header, m.Body, lone.Hand})
	if err != nil {
		return err
	}
	p.add(w.held[3], m.Queue)
	p.add(w.held[4])
	return nil
}
