package nastytest_test

import (
	"context"
	"fmt"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/testserver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/mysql"
)

// mariaDB is the store on MariaDB, as its superuser: nothing but the guard
// keeps a handler from anything.
func mariaDB() kind {
	k := kind{
		name: "MariaDB", database: servers.MariaDB,
		open: func(ctx context.Context, d *testserver.Database, o store.Options) (*store.Store, error) {
			return mysql.Open(ctx, fmt.Sprintf("mysql://root@%s/%s", d.Server.Addr(), d.Name), o)
		},
		schema: []string{
			`create table effect (id varchar(128) not null)`, `create table stray (id varchar(128) not null)`,
			`create table sole (id int primary key)`, `insert into sole values (1)`,
			`create table fuse (id int)`,
			`create procedure ends() commit`, `create procedure undoes() rollback`,
			`create procedure leaves() begin rollback; set autocommit = 1; end`,
			`create procedure sets() set autocommit = 1`,
			`create procedure ddl() create or replace table other (i int)`,
			`create procedure sneaks() begin set session sql_safe_updates = 1; set time_zone = '+03:00'; end`,
			`create procedure keeps() create temporary table kept (i int)`,
			`create procedure prepares() prepare kept from 'select 1'`,
			`create function locks() returns int return get_lock('nasty', 1)`,
			`create trigger blow before insert on fuse for each row set @kept = 1`,
			`create role if not exists bystander`, `grant bystander to root@localhost`,
		},
		virgin: `select concat_ws('|', connection_id(), current_user(), coalesce(current_role(), 'none'), database(),
			@@sql_mode, @@autocommit, @@foreign_key_checks, @@unique_checks, @@time_zone, @@tx_isolation, @@tx_read_only,
			@@character_set_client, @@character_set_results, @@collation_connection, @@lock_wait_timeout,
			@@innodb_lock_wait_timeout, @@sql_safe_updates, @@max_statement_time, @@sql_log_bin, @@group_concat_max_len,
			@@in_transaction, abs(timestampdiff(hour, now(), sysdate())), coalesce(is_used_lock('nasty') = connection_id(), 0),
			(select count(*) from information_schema.user_variables), coalesce(@kept, 'none'))`,
		insert: `insert into effect values (?)`, stray: `insert into stray values ('x')`,
		sleep: `select sleep(0.3)`, nap: `do sleep(0.3)`, kill: `kill connection_id()`,
		many: `select seq, repeat('x', 100) from seq_1_to_500`,
	}
	k.corpus = anyCases(k)
	for _, more := range [][]nasty{mariaRefused(k), mariaEnds(k), mariaDirty(), mariaAllowed()} {
		k.corpus = append(k.corpus, more...)
	}
	return k
}

// mariaRefused would end the transaction, or change the server, each swallowed.
func mariaRefused(k kind) []nasty {
	return all(nasty{name: "refused: ", want: driver.ErrTxRefused}, says,
		"commit", "rollback", "begin", "/* x */ CoMmIt", "-- so\ncommit", "# so\nROLLBACK", "start transaction",
		"/*!50000 commit */", "/*M!100100 commit */", "/* /* */ commit", "commit and chain", "xa start 'x'",
		"set autocommit = 0", "set autocommit = 1", "set @@session.autocommit = 1", "set local autocommit = 1",
		"savepoint posthorn_unit", "release savepoint posthorn_unit", "rollback to savepoint `posthorn_unit`",
		"create table own (i int)", "drop table effect", "alter table effect add column x int", "truncate effect",
		"create index i on effect (id)", "lock tables effect write", "unlock tables", "flush tables",
		"set global wait_timeout = 9", "set password = ''", "analyze table effect", "rename table effect to other",
		"delete from posthorn_message", "update `posthorn_meta` set value = ''",
		"REPLACE INTO Posthorn_Pause values ('q', '', '', 1, null)",
		"insert into posthorn_document values ('x', 1, '')",
		"begin not atomic commit; end",
		"/*!999999 select */ commit", "-- so\n/*M!999999 select */ call ends()",
		"create /*!999999 temporary */ table own (i int)",
		"set /*!999999 @kept = 1, */ autocommit = 1", "/*/ select */ create table own (i int)",
	)
}

// mariaEnds end the transaction behind the guard's back.
func mariaEnds(k kind) []nasty {
	ended := nasty{want: driver.ErrTxEnded, early: true, after: either}
	out := all(ended, func(s ...string) does { return says(s[0], k.ghost()) },
		"call ends()", "call ddl()", "call sets()", "execute immediate 'commit'", "/*/ select */ call ends()",
		"/* select ? */ call ends()", "--\x01 select\ncall ends()",
		"execute immediate 'create or replace table other (i int)'", "execute immediate 'set autocommit = 1'")
	ended.early = false
	out = append(out, all(ended, func(s ...string) does { return says(s[0], k.ghost()) },
		"call undoes()", "execute immediate 'rollback'", "call leaves()")...)
	return append(out, nasty{name: "multi-statement", want: errSome,
		do: runs(k.ghost() + "; commit")})
}

// mariaDirty are done, and outlive their transaction.
func mariaDirty() []nasty {
	return all(nasty{name: "dirty: ", after: dirty}, runs,
		"set sql_mode = ''", "set foreign_key_checks = 0", "set session unique_checks = 0", "set time_zone = '+05:00'",
		"set names latin1", "set lock_wait_timeout = 1, sql_safe_updates = 1", "set max_statement_time = 0.5",
		"set @kept = 1", "select @kept := 2", "select 3 into @kept", "select get_lock('nasty', 1)", "set local sql_mode = ''",
		"use information_schema", "create temporary table kept (i int)", "prepare kept from 'select 1'",
		"call sneaks()", "call keeps()", "call prepares()", "select locks()",
		"insert into fuse values (1)", "set session transaction read only", "set timestamp = 1", "handler effect open",
		"set session transaction isolation level serializable",
		"set role bystander", "set role none", "set innodb_lock_wait_timeout = 1",
		"set group_concat_max_len = 5", "execute immediate 'set sql_mode = default'",
	)
}

// mariaAllowed look nasty and are not.
func mariaAllowed() []nasty {
	out := all(nasty{name: "allowed: "}, runs,
		"select 'commit; rollback'", `insert into stray values ('it\'s; commit')`, "select 1 as `commit`",
		"insert into stray select id from posthorn_message", "set statement max_statement_time = 5 for select 1",
		"do release_lock('nothing')", "select count(*) from posthorn_meta", "do get_lock('own', 1) + release_lock('own')",
		"select /*! straight_join */ id from stray", "select '/*!', 1",
		"explain select '/*! no comment */'", "/* what? */ select 1",
	)
	return append(out,
		nasty{name: "sql error swallowed",
			do: says("insert into nowhere values (1)", "selec", "insert into sole values (1)")},
		nasty{name: "prepared commit", want: driver.ErrTxRefused,
			do: func(_ *scene, ctx context.Context, tx *posthorn.Tx) error {
				if stmt, err := tx.PrepareContext(ctx, "commit"); err == nil {
					_, _ = stmt.ExecContext(ctx)
				}
				return nil
			}})
}
