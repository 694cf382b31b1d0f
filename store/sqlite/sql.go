package sqlite

import "github.com/posthorn/posthorn/store"

// statements are the statements of the dialect.
func statements() store.Statements {
	s := store.Portable()
	s.Claim, s.ClaimSuspect = claim(store.Ready), claim(store.Suspected)
	s.Touched = `select 'rows', total_changes()`
	s.File = `select file from pragma_database_list where name = 'main'`
	return s
}

// claim is a statement that claims messages of one state.
func claim(state string) string {
	return `update posthorn_message
		set state = 2, token = ?, worker = ?, claimed_at = ?, wake_at = ?` + store.CountDelivery() + `
		where seq in (select seq from posthorn_message where ` + state + ` and queue = ?
		  order by priority desc, due_at, seq limit ?)
		returning seq, id, kind, queue, priority, attempt, deliveries, crashes, due_at, sent_at, header, body`
}
