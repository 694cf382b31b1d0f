package sqlite

import "github.com/posthorn/posthorn/store"

// statements are the statements of the dialect.
func statements() store.Statements {
	s := store.Portable()
	s.Claim, s.ClaimSuspect = claim(store.Ready), claim(store.Suspected)
	// "or fail": it need not keep what it changes, to undo it by itself. Whoever meets an error undoes the whole
	// transaction. See https://www.sqlite.org/lang_conflict.html.
	s.ClaimThese = `update or fail posthorn_message set state = 2, token = ?, worker = ?, claimed_at = ?, wake_at = ?` +
		store.CountDelivery() + ` where seq in (select value from json_each(?))`
	s.AckThese = `delete from posthorn_message where seq in (select value from json_each(?)) and ` + store.Standing()
	s.OfferFind = `select until_ms, id, worker, lease from posthorn_offer o
		where queue = ? and ` + store.OpenOffer(`?`) + ` order by room desc limit 1`
	s.OfferGive = `update posthorn_offer set room = room - 1, given = json_insert(given, '$[#]', last_insert_rowid())
		where queue = ? and until_ms = ? and id = ?`
	s.Offered = `select ` + store.OfferedColumns + `, cast(unixepoch('subsec') * 1000 as integer)
		from posthorn_offer o cross join json_each(o.given) g cross join posthorn_message m
		where o.queue = ? and o.until_ms = ? and o.id = ? and m.seq = g.value and m.state = 2
		  and substr(m.token, 1, length(o.id)) = o.id order by m.seq`
	s.Touched = `select 'rows', total_changes()`
	s.File = `select file from pragma_database_list where name = 'main'`
	return s
}

// claim is a query for messages of one state, as they are once they are claimed. There is
// one writer: between it and the statement that claims them nobody else writes. An
// update that returned them would keep them all in a table of its own before.
func claim(state string) string {
	return `select seq, id, kind, queue, priority, attempt, deliveries + 1, crashes, due_at, sent_at, header, body
		from posthorn_message where ` + state + ` and queue = ? order by priority desc, due_at, seq limit ?`
}
