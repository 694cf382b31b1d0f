package store

// groups adds the statements of groups.
func groups(s *Statements) {
	s.GroupIn = GroupRow + ` on conflict (fingerprint) do nothing`
	s.GroupAgain = `update posthorn_group set state = 'regressed', actor = '', changed_at = ?
			where fingerprint = ? and state = 'resolved'`
	s.LetterSeqs = `select seq from posthorn_letter`
	s.HasText, s.HasBytes = `instr(%s, ?) > 0`, `instr(%s, ?) > 0`
	s.Version = `select version from posthorn_worker where id = ?`
}

// GroupRow is the first part of GroupIn: what follows leaves alone one that is there.
const GroupRow = `insert into posthorn_group
		  (fingerprint, algorithm, kind, class, error_type, title, first_at, first_build, state, note, actor, changed_at)
		values (?, ?, ?, ?, ?, ?, ?, ?, 'open', '', '', ?)`
