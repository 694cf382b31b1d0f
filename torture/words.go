package torture

// words are what a kind of database says in its own way.
type words struct {
	tables   []string // of the run, beside the store's
	insert   string   // an effect
	soil     string   // leaves the session dirty; see cast.soil
	conflict string   // fails as if two transactions could not be ordered; empty: it cannot happen
	ours     string   // → the ids of the connections of a run's processes, by a name
	kill     string   // one of them
}

// speak gives the words of a dialect, as store.Store.Dialect names it.
func speak(dialect string) words {
	w := words{
		insert: "insert into torture_effect (id) values (?)",
		tables: []string{
			"create table torture_effect (id varchar(160) not null)", // no key: doubles must show
			"create table torture_pair (id integer not null primary key, v integer not null)",
			"insert into torture_pair values (1, 0), (2, 0)",
		},
		soil: "create temporary table torture_effect (id varchar(160))",
	}
	switch dialect {
	case "postgres":
		w.conflict = "do $$ begin raise exception 'forced' using errcode = '40001'; end $$"
		w.ours = "select pid from pg_stat_activity where application_name = ? and pid <> pg_backend_pid()"
		w.kill = "select pg_terminate_backend(%d)"
	case "mysql":
		w.conflict = "signal sqlstate '40001' set mysql_errno = 1213, message_text = 'forced'"
		w.tables[0] = "create table torture_effect (id varchar(160) character set ascii collate ascii_bin not null)"
		w.ours = "select id from information_schema.processlist where db = ? and id <> connection_id()"
		w.kill = "kill %d"
	}
	return w
}
