package nastytest_test

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/testserver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/postgres"
)

// postgreSQL is the store on PostgreSQL, as its superuser: nothing but the
// guard keeps a handler from anything.
func postgreSQL() kind {
	k := kind{
		name: "PostgreSQL", database: servers.PostgreSQL,
		open: func(ctx context.Context, d *testserver.Database, o store.Options) (*store.Store, error) {
			return postgres.Open(ctx, d.DSN(), o)
		},
		schema: []string{
			`create table effect (id text)`, `create table stray (id text)`,
			`create table parent (id int primary key)`,
			`create table child (id int references parent deferrable initially deferred)`,
			`create table fuse (id int)`,
			`do $$ begin create role bystander; exception when duplicate_object then null; end $$`,
			`create procedure ends() language plpgsql as $$ begin commit; end $$`,
			`create procedure undoes() language plpgsql as $$ begin rollback; end $$`,
			`create function sneaks() returns void language plpgsql as $$ begin
			   perform set_config('work_mem', '1MB', false); end $$`,
			`create function locks() returns void language plpgsql as $$ begin perform pg_advisory_lock(77); end $$`,
			`create function listens() returns void language plpgsql as $$ begin listen sneaky; end $$`,
			`create function keeps() returns void language plpgsql as $$ begin create temp table kept (a int); end $$`,
			`create function blows() returns trigger language plpgsql as $$ begin
			   perform set_config('search_path', 'nowhere', false); return new; end $$`,
			`create trigger blow before insert on fuse for each row execute function blows()`,
			`create table slow_fuse (id int)`,
			`create constraint trigger blow after insert on slow_fuse deferrable initially deferred
			   for each row execute function blows()`,
			`create table slow_lock (id int)`,
			`create function holds() returns trigger language plpgsql as $$ begin
			   perform pg_advisory_lock(78); return new; end $$`,
			`create constraint trigger hold after insert on slow_lock deferrable initially deferred
			   for each row execute function holds()`,
			`create table relay (id int)`,
			`create function defers() returns trigger language plpgsql as $$ begin
			   set constraints all deferred; insert into slow_lock values (1); return new; end $$`,
			`create constraint trigger defer after insert on relay deferrable initially deferred
			   for each row execute function defers()`,
		},
		virgin: `select concat_ws('|', pg_backend_pid(), current_user, session_user, current_database(),
			current_schemas(true), current_setting('search_path'), current_setting('transaction_isolation'),
			current_setting('transaction_read_only'), coalesce(nullif(current_setting('x.y', true), ''), 'none'),
			(select string_agg(name || '=' || setting, ',' order by name) from pg_settings where source = 'session'),
			(select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()),
			(select count(*) from pg_listening_channels()),
			(select count(*) from pg_class where relnamespace = pg_my_temp_schema()),
			(select count(*) from pg_cursors where name <> ''),
			(select count(*) from pg_prepared_statements where from_sql))`,
		insert: `insert into public.effect values ($1)`, stray: `insert into stray values ('x')`,
		sleep: `select pg_sleep(60)`, nap: `select pg_sleep(0.3)`, kill: `select pg_terminate_backend(pg_backend_pid())`,
		many: `select g, repeat('x', 100) from generate_series(1, 500) g`,
	}
	k.corpus = anyCases(k)
	for _, more := range [][]nasty{postgresEnds(k), postgresDirty(), postgresLocal(), postgresAllowed(), postgresOwn()} {
		k.corpus = append(k.corpus, more...)
	}
	return k
}

// postgresEnds are the ways to end the transaction, each swallowed.
func postgresEnds(k kind) []nasty {
	out := all(nasty{name: "refused: ", want: driver.ErrTxRefused}, says,
		"commit", "rollback", "begin", "/* x */ CoMmIt", "-- so\nEND;", "abort", "start transaction", "commit and chain",
		"prepare transaction 'x'", "/* a /* nested */ comment */ commit", "/*! not MySQL */ rollback",
		k.ghost()+"; commit; "+k.ghost(), "select 1; ROLLBACK; "+k.ghost(), `select E'\''; rollback; `+k.ghost(),
		`select '{}'::jsonb #> '{a}'; commit; `+k.ghost(), "select $a$'$a$; commit", `select U&'\0041', '\'; commit`,
		"savepoint posthorn_unit", "release posthorn_unit", "release savepoint posthorn_unit",
		`rollback to "posthorn_unit"`, "savepoint a; rollback; select 1", "rollback prepared 'x'",
	)
	out = append(out, all(nasty{name: "aborts: ", want: driver.ErrTxEnded}, says,
		"do $$ begin commit; end $$", "call ends()", "call undoes()", "insert into nowhere values (1)", "selec",
		"set transaction isolation level serializable", "do $$ begin rollback; end $$", "vacuum",
		"set local statement_timeout = '10ms'; select pg_sleep(5)", "declare c cursor for select 1; fetch 1 from d",
	)...)
	return append(out,
		nasty{name: "an error swallowed, then more", want: driver.ErrTxEnded,
			do: says("insert into nowhere values (1)", k.ghost(), "set work_mem = '1MB'")},
		nasty{name: "an error undone by a savepoint of its own",
			do: says("savepoint a", "insert into nowhere values (1)", "rollback to a")},
		nasty{name: "deferred constraint broken at commit", want: errSome, do: runs("insert into child values (99)")},
		nasty{name: "no time for anybody", chance: true, after: either, do: runs("set statement_timeout = '1ms'")},
		nasty{name: "plain quotes hide nothing", want: driver.ErrTxRefused,
			do: func(_ *scene, ctx context.Context, tx *posthorn.Tx) error {
				if stmt, err := tx.PrepareContext(ctx, "commit"); err == nil {
					_, _ = stmt.ExecContext(ctx)
				}
				return nil
			}},
		// The text is read as it is by default: this setting is how to fool the guard.
		nasty{name: "a rollback that the text hides", want: driver.ErrTxRefused, after: either,
			do: says("set standard_conforming_strings = off", `select '\''; rollback; select 1; --'`, k.ghost())},
		nasty{name: "a commit that the text hides", want: driver.ErrTxRefused, after: either,
			do: says("set standard_conforming_strings = off", `select '\''; commit; select 1; --'`, k.ghost())},
		nasty{name: "a commit that a setting by a function hides", want: driver.ErrTxRefused, after: either,
			do: says("select set_config('standard_' || 'conforming_strings', 'off', true)",
				`select '\''; commit; select 1; --'`, k.ghost())},
		nasty{name: "a commit that the encoding hides", want: driver.ErrTxRefused, after: either,
			do: says("set client_encoding = 'SJIS'", "select E'\x81\x5c'; commit; select 1; --'", k.ghost())},
		nasty{name: "a commit by an argument that rewrites", want: driver.ErrTxRefused,
			do: func(_ *scene, ctx context.Context, tx *posthorn.Tx) error {
				_, _ = tx.ExecContext(ctx, "select 1", rewrites("commit"))
				return nil
			}},
		nasty{name: "queued: an error after a write", want: errSome, do: queues(k.ghost(), "insert into nowhere values (1)")},
		nasty{name: "queued: a commit", want: driver.ErrTxRefused, do: queues(k.ghost(), "commit")},
		nasty{name: "queued: a deferred constraint", want: errSome, do: queues("insert into child values (99)")},
		nasty{name: "queued: a role", after: dirty, do: queues("set role bystander")},
		nasty{name: "queued: a lock", after: dirty, do: queues("select pg_advisory_lock(42)")},
		nasty{name: "queued: a setting by a function", after: dirty, do: queues("select sneaks()")},
		nasty{name: "queued: the connection kills itself", want: errSome, once: true, after: dirty, do: queues(k.kill)},
		nasty{name: "a protocol of many statements", want: driver.ErrTxRefused,
			do: func(_ *scene, ctx context.Context, tx *posthorn.Tx) error {
				_, _ = tx.ExecContext(ctx, "select 1", pgx.QueryExecModeSimpleProtocol)
				return nil
			}},
	)
}

// rewrites is an argument that replaces the statement's text.
type rewrites string

func (r rewrites) RewriteQuery(context.Context, *pgx.Conn, string, []any) (string, []any, error) {
	return string(r), nil, nil
}

// postgresDirty are done, and outlive their transaction.
func postgresDirty() []nasty {
	return all(nasty{name: "dirty: ", after: dirty}, runs,
		"set statement_timeout = '1h'", "set session work_mem = '1MB'", "select set_config('x.y', 'z', false)",
		"set role bystander", "set session authorization bystander", "set search_path = nowhere",
		"set default_transaction_isolation = 'serializable'", "set default_transaction_read_only = on",
		"set session characteristics as transaction isolation level repeatable read", "set time zone 'Asia/Tokyo'",
		"set session_replication_role = replica", "set client_min_messages = error",
		"discard plans", "set transaction read only",
		"select pg_advisory_lock(42)", "select pg_try_advisory_lock_shared(42)", "listen nasty",
		"create temp table kept (a int)", "select 1 as a into temp kept", "create temp view kept as select 1",
		"create temp sequence kept", "set x.y = 1",
		"create temp table kept (a int) on commit drop",
		"select set_config('x.' || 'y', 'z', 1 = 0)", "prepare kept as select 1",
		"declare kept cursor with hold for select 1",
		"select sneaks()", "select locks()", "select listens()", "select keeps()", "insert into fuse values (1)",
		"insert into slow_fuse values (1)", "insert into slow_lock values (1)", "insert into relay values (1)",
		"do $$ begin set work_mem = '1MB'; end $$", "deallocate all",
	)
}

// postgresLocal change what lasts as long as the transaction, which a neighbour
// must not share.
func postgresLocal() []nasty {
	return all(nasty{name: "local: "}, runs,
		"set local statement_timeout = '1h'", "set local search_path = nowhere", "set local role bystander",
		"select set_config('x.y', 'z', true)", "set constraints all deferred",
		"select pg_advisory_xact_lock(42)", "set local x.y = 'z'",
		"declare kept cursor for select 1", "set local work_mem = '1MB'",
	)
}

// postgresAllowed look nasty and are not.
func postgresAllowed() []nasty {
	return append(all(nasty{name: "allowed: "}, runs,
		"lock table effect in access exclusive mode", "unlisten *", "reset all", "notify nasty",
		"create table if not exists own (a int); create index on own (a); alter table own add b int; drop table own",
		"select 'commit; rollback'", "select $$; commit; $$", "select ';' \";commit\"", "select pg_advisory_unlock_all()",
		"insert into stray select id from posthorn_message", "select count(*) from posthorn_meta",
	), nasty{name: "ddl and an error", want: errBoo,
		do: func(_ *scene, ctx context.Context, tx *posthorn.Tx) error {
			if _, err := tx.ExecContext(ctx, "create table gone (a int); drop table stray"); err != nil {
				return err
			}
			return errBoo
		}})
}

// postgresOwn write to Posthorn's own tables.
func postgresOwn() []nasty {
	return all(nasty{name: "refused: ", want: driver.ErrTxRefused}, says,
		"delete from posthorn_message", `update "posthorn_meta" set value = ''`, "drop table posthorn_attempt",
		"INSERT INTO Posthorn_Control values ('x', 1)", "truncate posthorn_message", "truncate table posthorn_letter",
		"alter table public.posthorn_message add x int", "delete from only public . posthorn_message",
		"with gone as (delete from posthorn_message returning 1) select * from gone",
		"select 1; /* so */ update posthorn_message set state = 0", "create table posthorn_new (a int)",
	)
}
