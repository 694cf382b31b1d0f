package store

import "strings"

// groups adds the statements of groups and of filters.
func groups(s *Statements) {
	s.LetterSeqs = `select seq from posthorn_letter`
	s.LetterSpan = `select count(*), min(seq), max(seq) from (select seq from posthorn_letter`
	s.LetterFacets = `select %s, count(*), min(died_at), max(died_at) from posthorn_letter`
	const died = ` from posthorn_letter where %[1]s and died_at >= ? and died_at < ?`
	s.LetterDay = `select (select count(*)` + died + `),
			(select died_at` + died + ` order by died_at desc limit 1), (select died_at` + died + ` order by died_at limit 1)`
	s.HasText, s.HasBytes = `instr(%s, ?) > 0`, `instr(%s, ?) > 0`
	s.Version = `select version from posthorn_worker where id = ?`

	s.GroupIn = GroupRow + ` on conflict (fingerprint) do nothing`
	s.GroupAgain = `update posthorn_group set state = 'regressed', actor = '', changed_at = ?
			where fingerprint = ? and state = 'resolved'`
	s.GroupsAgain = `update posthorn_group set state = 'regressed', actor = '', changed_at = ?
			where ` + cameBack("posthorn_group")
	s.Groups = `select fingerprint, algorithm, kind, class, error_type, title, first_at, first_build,
			  state, note, actor, changed_at from posthorn_group`
	s.GroupStates = `select is_now, count(*) from (
			select case when ` + cameBack("g") + ` then 'regressed' else g.state end as is_now
			from posthorn_group g where exists (
			  select 1 from posthorn_letter l where l.fingerprint = g.fingerprint and l.discarded_at is null)
			) s group by is_now`
	s.GroupSet = `update posthorn_group set state = ?, note = ?, actor = ?, changed_at = ? where fingerprint = ?`
	// The query waits for nobody; within the delete MariaDB would wait for each letter.
	const forgotten = ` from posthorn_group where changed_at < ? and first_at < ? and not exists (
			select 1 from posthorn_letter l where l.fingerprint = posthorn_group.fingerprint and l.discarded_at is null)`
	s.GroupsOld = `select fingerprint` + forgotten
	s.GroupPurge = `delete` + forgotten + ` and fingerprint = ?`
	s.Unmarked = `select seq, id, kind, class, error, error_type, build, died_at from posthorn_letter
			where fingerprint = '' and discarded_at is null and seq > ? order by seq limit ?`
	s.Mark = `update posthorn_letter set fingerprint = ? where seq = ? and fingerprint = ''`

	s.GroupCounts = `with recursive f (mark) as (
			  select min(fingerprint) from posthorn_letter where discarded_at is null
			  union all select (select min(fingerprint) from posthorn_letter
			    where discarded_at is null and fingerprint > f.mark) from f where f.mark is not null)
			select f.mark, ` + groupCounts("f.mark") + ` from f where f.mark is not null`
	s.GroupFirst = `select min(fingerprint) from posthorn_letter where discarded_at is null`
	s.GroupNext = s.GroupFirst + ` and fingerprint > ?`
	s.GroupCount = `select ` + groupCounts("?")
	// The order is that of the index of times, or all letters since then would be sorted.
	s.HourBounds = `select ` + strings.Join(slicesOf(TrendHours,
		`(select seq from posthorn_letter where died_at >= ? order by died_at, discarded_at, seq limit 1)`), ", ")
	s.LetterHeads = s.LettersBare + ` where seq in`
}

// cameBack is the condition that a group was resolved and its last letter died after
// that. Only that letter is looked at: a group may have a hundred thousand.
func cameBack(g string) string {
	return g + `.state = 'resolved' and exists (select 1 from posthorn_letter l where l.died_at > ` + g + `.changed_at
			    and l.seq = (select max(m.seq) from posthorn_letter m
			      where m.fingerprint = ` + g + `.fingerprint and m.discarded_at is null))`
}

// groupCounts are the columns of a tally, after the fingerprint.
func groupCounts(mark string) string {
	of := ` from posthorn_letter where discarded_at is null and fingerprint = ` + mark
	columns := []string{`(select min(seq)` + of + `)`, `(select max(seq)` + of + `)`}
	hours := slicesOf(TrendHours+1, `(select count(*)`+of+` and seq > ? and seq <= ?)`)
	return strings.Join(append(columns, hours...), `, `)
}

func slicesOf(n int, s string) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = s
	}
	return out
}

// GroupRow is the first part of GroupIn: what follows leaves alone one that is there.
const GroupRow = `insert into posthorn_group
		  (fingerprint, algorithm, kind, class, error_type, title, first_at, first_build, state, note, actor, changed_at)
		values (?, ?, ?, ?, ?, ?, ?, ?, 'open', '', '', ?)`
