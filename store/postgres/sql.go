package postgres

import "github.com/posthorn/posthorn/store"

// statements are the statements of the dialect.
func statements() store.Statements {
	s := store.Portable()
	s.Now = `select ` + clock
	s.Look = `select q.name, exists (select 1 from posthorn_message where state = 0 and queue = q.name), c.now, w.wake
		from unnest(?::text[]) with ordinality as q(name, place), (select ` + clock + ` as now) c,
		  (select min(wake_at) as wake from posthorn_message where state = 1) w
		order by q.place`
	s.SkipLocked = ` for update skip locked`
	s.Later += s.SkipLocked
	s.Held = `select 1 from posthorn_message where seq = ? and token = ? for update`
	return s
}
