package store_test

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	driversql "github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/testserver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/mysql"
	"github.com/posthorn/posthorn/store/postgres"
)

func TestAHostileUserCannotBreakOutOfAGrant(t *testing.T) {
	t.Parallel()
	for user, want := range map[string][2]string{
		`shop`:                      {`"shop"`, `'shop'@'%'`},
		`Shop-1 "x"`:                {`"Shop-1 ""x"""`, `'Shop-1 "x"'@'%'`},
		`a"; drop table t; --`:      {`"a""; drop table t; --"`, `'a"; drop table t; --'@'%'`},
		`a'; drop table t; --`:      {`"a'; drop table t; --"`, `'a''; drop table t; --'@'%'`},
		`a\'; drop table t; --`:     {`"a\'; drop table t; --"`, `'a\\''; drop table t; --'@'%'`},
		`a\`:                        {`"a\"`, `'a\\'@'%'`},
		`shop@10.0.0.%`:             {`"shop@10.0.0.%"`, `'shop'@'10.0.0.%'`},
		`a@b@h'; drop table t; -- `: {`"a@b@h'; drop table t; -- "`, `'a@b'@'h''; drop table t; -- '`},
	} {
		g := store.Grant{Role: store.RoleOwner, User: user, Database: "d"}
		for i, sql := range []func() (string, error){g.PostgreSQL, g.MySQL} {
			if got, err := sql(); err != nil || !strings.HasSuffix(got, " to "+want[i]+";\n") {
				t.Errorf("%s gives %q, %v, want %s", user, got, err, want[i])
			}
		}
	}
}

func TestAUserWhoIsNobodyOrEverybodyIsRefused(t *testing.T) {
	t.Parallel()
	refuse := func(user string, sql func() (string, error)) {
		if got, err := sql(); got != "" || !errors.Is(err, store.ErrUser) {
			t.Errorf("%q gives %q, %v", user, got, err)
		}
	}
	for _, user := range []string{"", "a\x00b", "a;\nb", "a\xff", "public", strings.Repeat("a", 64)} {
		refuse(user, store.Grant{Role: store.RoleViewer, User: user}.PostgreSQL)
	}
	for _, user := range []string{"", "@h", "a@", "a\x00b", "a@h\nb", "a\xff"} {
		refuse(user, store.Grant{Role: store.RoleViewer, User: user, Database: "d"}.MySQL)
	}
}

func TestAGrantNeedsARoleAndItsPlace(t *testing.T) {
	t.Parallel()
	g := store.Grant{Role: "admin", User: "shop", Database: "d"}
	for _, sql := range []func() (string, error){g.PostgreSQL, g.MySQL} {
		if _, err := sql(); !errors.Is(err, store.ErrRole) || !strings.Contains(err.Error(), "owner worker producer viewer") {
			t.Errorf("role admin: %v", err)
		}
	}
	if _, err := (store.Grant{Role: store.RoleWorker, User: "shop"}).MySQL(); !errors.Is(err, store.ErrDSN) {
		t.Errorf("without a database: %v", err)
	}
	got, err := store.Grant{Role: store.RoleProducer, User: "u", Database: "a`b", Names: store.Names{Prefix: "q_"}}.MySQL()
	if err != nil || !strings.HasPrefix(got, "grant insert on `a``b`.q_message to 'u'@'%';\n") {
		t.Errorf("%q, %v", got, err)
	}
}

// stage is a private database on which each role is played by a user of its own.
type stage struct {
	*testserver.Database
	open   func(ctx context.Context, dsn string, o store.Options) (*store.Store, error)
	sql    func(store.Grant) (string, error)
	create string // makes a user who has no rights
	scheme string
	query  string // of the store's address
	names  store.Names
}

func stages() map[string]func(t *testing.T) stage {
	pg := func(query string, n store.Names) func(t *testing.T) stage {
		return func(t *testing.T) stage {
			db := servers.PostgreSQL(t)
			// What servers before version 15 give to everybody.
			run(t, db.Open(t), "revoke create on schema public from public;\n")
			return stage{db, postgres.Open, store.Grant.PostgreSQL, `create role "USER" login`, "postgres", query, n}
		}
	}
	maria := func(query string, n store.Names) func(t *testing.T) stage {
		return func(t *testing.T) stage {
			return stage{servers.MariaDB(t), mysql.Open, store.Grant.MySQL, "create user 'USER'@'%'", "mysql", query, n}
		}
	}
	return map[string]func(t *testing.T) stage{
		"PostgreSQL":                pg("", store.Names{}),
		"PostgreSQL in its schema":  pg("schema=jobs", store.Names{Schema: "jobs"}),
		"PostgreSQL with own names": pg("schema=jobs&prefix=q_", store.Names{Schema: "jobs", Prefix: "q_"}),
		"MariaDB":                   maria("", store.Names{}),
		"MariaDB with own names":    maria("prefix=q_", store.Names{Prefix: "q_"}),
	}
}

// run runs SQL that has a statement a line.
func run(t *testing.T, db *sql.DB, text string) {
	t.Helper()
	for stmt := range strings.SplitSeq(strings.TrimSpace(text), "\n") {
		if _, err := db.ExecContext(t.Context(), strings.TrimSuffix(stmt, ";")); err != nil {
			t.Fatalf("%s: %v", stmt, err)
		}
	}
}

// cast makes a user, grants it the role, and opens the store as that user.
func (g stage) cast(t *testing.T, role store.Role) *store.Store {
	t.Helper()
	admin, user := g.Open(t), g.Name+"-"+string(role) // a name that must be quoted
	run(t, admin, strings.ReplaceAll(g.create, "USER", user))
	t.Cleanup(func() { g.dismiss(t, user) })
	text, err := g.sql(store.Grant{Role: role, User: user, Database: g.Name, Names: g.names})
	try(t, err)
	run(t, admin, text)
	dsn := url.URL{Scheme: g.scheme, User: url.User(user), Host: g.Server.Addr(), Path: "/" + g.Name, RawQuery: g.query}
	s, err := g.open(t.Context(), dsn.String(), store.Options{})
	try(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// dismiss takes the user away again, on PostgreSQL with what it has.
func (g stage) dismiss(t *testing.T, user string) {
	stmts := []string{"drop user '" + user + "'@'%'"}
	if g.scheme == "postgres" {
		stmts = []string{`drop owned by "` + user + `" cascade`, `drop role "` + user + `"`}
	}
	db, err := g.Server.Open(g.Server.Superuser(), g.Name)
	try(t, err)
	defer func() { _ = db.Close() }()
	for _, stmt := range stmts {
		if _, err := db.ExecContext(context.Background(), stmt); err != nil {
			t.Error(err)
		}
	}
}

func TestEachRoleMayDoWhatItIsForAndNoMore(t *testing.T) {
	t.Parallel()
	for name, set := range stages() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := set(t)
			owner := g.cast(t, store.RoleOwner) // migrates the empty database
			try(t, owner.Send(t.Context(), message("first")))
			for _, d := range receive(t, consume(t, owner)) {
				try(t, consume(t, owner).Settle(t.Context(), driver.Settlement{Delivery: d}))
			}
			elsewhere(t, g, owner)
			t.Run("producer", func(t *testing.T) { producer(t, g) })
			t.Run("worker", func(t *testing.T) { worker(t, g) })
			t.Run("viewer", func(t *testing.T) { viewer(t, g) })
		})
	}
}

// elsewhere checks that an owner's rights end where the store's place does. On
// MariaDB an underscore in a grant stands for any character.
func elsewhere(t *testing.T, g stage, owner *store.Store) {
	t.Helper()
	if g.scheme != "mysql" {
		denied(t, owner, "create schema other")
		return
	}
	other := strings.ReplaceAll(g.Name, "_", "x")
	try(t, g.Server.Exec("create database "+other))
	t.Cleanup(func() { try(t, g.Server.Exec("drop database "+other)) })
	denied(t, owner, "create table "+other+".t (a int)")
}

func producer(t *testing.T, g stage) {
	ctx, s := t.Context(), g.cast(t, store.RoleProducer)
	try(t, s.Send(ctx, message("sent")))
	later := message("later")
	later.Delay = time.Hour
	try(t, s.Send(ctx, message("one"), message("two"), later))
	inTx(t, s, func(tx *sql.Tx) error { return s.SendTx(ctx, tx, message("in-tx")) })
	if err := s.Send(ctx, message("sent")); !errors.Is(err, driver.ErrDuplicate) {
		t.Errorf("a double: %v", err)
	}
	refused(t, s, "receive", receiveError(t, s))
	_, err := s.Find(ctx, "sent")
	refused(t, s, "find", err)
	_, err = s.Stats(ctx)
	refused(t, s, "stats", err)
	_, err = s.Letters(ctx, store.LetterFilter{})
	refused(t, s, "letters", err)
	refused(t, s, "stop workers", orderError(t, s))
	denied(t, s, "select body from "+g.names.Table("message"))
	denied(t, s, "create table app_row (a int)")
}

func worker(t *testing.T, g stage) {
	ctx, s := t.Context(), g.cast(t, store.RoleWorker)
	c := consume(t, s)
	for _, d := range receive(t, c) { // what the producer has sent
		try(t, c.Settle(ctx, driver.Settlement{Delivery: d}))
	}
	walk(t, s)
	history(t, s)
	deaden(t, s, "bulk")
	advance(t, s, start(t, s, store.Operation{Action: store.ActionRetry})) // it stays, to be received
	beat(t, s, "stays", "p@h")
	healthy(t, s)
	denied(t, s, "create table app_row (a int)")
	denied(t, s, "drop table "+g.names.Table("letter"))
	denied(t, s, "delete from "+g.names.Table("migration"))
	denied(t, s, "update "+g.names.Table("meta")+" set value = 'x'")
}

// history walks the statements that walk does not: an attempts log that is
// trimmed, a letter that is removed, and a lease that runs out.
func history(t *testing.T, s *store.Store) {
	t.Helper()
	ctx := t.Context()
	c, err := s.Consume(ctx, driver.Subscription{Queues: []string{"h"}, Lease: 50 * time.Millisecond, Worker: "w"})
	try(t, err)
	defer func() { _ = c.Close() }()
	e := message("history")
	e.Queue = "h"
	try(t, s.Send(ctx, e))
	receive(t, c)
	d := receive(t, c)[0] // the lease ran out
	d.Deliveries = driver.MaxAttempts + 1
	attempt := &driver.Attempt{Number: 1, Worker: "w", Started: time.Now(), Class: driver.ClassFailure, Error: "no"}
	verdict := driver.Settlement{Delivery: d, Verdict: driver.Bury, Reason: driver.ReasonRejected, Attempt: attempt}
	if err := c.Settle(ctx, verdict); errors.As(err, new(*driver.LeaseLostError)) {
		verdict.Delivery.Token = receive(t, c)[0].Token // a slow machine
		err = c.Settle(ctx, verdict)
		try(t, err)
	} else {
		try(t, err)
	}
	p, err := s.Find(ctx, "history")
	try(t, err)
	if p == nil || p.Letter == nil || len(p.Letter.Attempts) < 2 {
		t.Fatalf("history is at %+v, want a letter with two attempts", p)
	}
	try(t, s.EditLetter(ctx, store.Edit{Seq: p.Letter.Seq, Body: []byte("edited")}))
	for i, step := range []func(context.Context, ...int64) (int, error){
		s.RemoveLetters, s.RestoreLetters, s.RemoveLetters,
	} {
		if n, err := step(ctx, p.Letter.Seq); err != nil || n != 1 {
			t.Errorf("step %d: %d letters, %v", i, n, err)
		}
	}
	try(t, s.Maintain(ctx, -time.Hour)) // purges it, and what belonged to it
	if p, err := s.Find(ctx, "history"); err != nil || p != nil {
		t.Errorf("after its retention it is at %+v, %v", p, err)
	}
}

func viewer(t *testing.T, g stage) {
	ctx, s := t.Context(), g.cast(t, store.RoleViewer)
	_, err := s.Stats(ctx)
	try(t, err)
	_, err = s.Letters(ctx, store.LetterFilter{})
	try(t, err)
	_, err = s.Attempts(ctx, "late")
	try(t, err)
	_, _, err = s.Workers(ctx)
	try(t, err)
	_, _, err = s.Pauses(ctx)
	try(t, err)
	_, err = s.Suspects(ctx, []string{"q"})
	try(t, err)
	_, err = s.Document(ctx, "d")
	try(t, err)
	_, err = s.Operations(ctx, store.OperationFilter{Active: true})
	try(t, err)
	_, err = s.Acts(ctx, store.ActFilter{Message: "late"})
	try(t, err)
	if p, err := s.Find(ctx, "late"); err != nil || p == nil {
		t.Errorf("late is at %+v, %v", p, err)
	}
	healthy(t, s)
	_, err = s.Revisions(ctx, "late")
	try(t, err)
	_, _, _, err = s.Gates(ctx, "late")
	try(t, err)
	for _, table := range []string{"message", "letter", "revision", "attempt", "worker", "pause", "document",
		"audit", "audited", "operation", "target", "meta", "migration"} {
		try(t, s.DB().QueryRowContext(ctx, "select count(*) from "+g.names.Table(table)).Scan(new(int)))
	}
	refused(t, s, "send", s.Send(ctx, message("no")))
	refused(t, s, "receive", receiveError(t, s))
	refused(t, s, "stop workers", orderError(t, s))
	_, err = s.Pause(ctx, store.Pause{Queue: "q"})
	refused(t, s, "pause", err)
	refused(t, s, "save document", s.SaveDocument(ctx, "d", store.Document{}))
	_, err = s.ReleaseDead(ctx, driver.Death{Worker: "w"})
	refused(t, s, "release dead worker", err)
	_, err = s.Heartbeat(ctx, driver.WorkerRecord{ID: "w", Host: "h", State: "running", Started: time.Now()})
	refused(t, s, "heartbeat", err)
	denied(t, s, "delete from "+g.names.Table("letter"))
	denied(t, s, "create table app_row (a int)")
}

// receiveError is why nothing can be received.
func receiveError(t *testing.T, s *store.Store) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, err := consume(t, s).Receive(ctx, 1)
	return err
}

// denied checks that the server refuses a statement.
func denied(t *testing.T, s *store.Store, stmt string) {
	t.Helper()
	_, err := s.DB().ExecContext(t.Context(), stmt)
	refused(t, s, stmt, err)
}

// refused checks that an error is the server's refusal for want of a right.
func refused(t *testing.T, s *store.Store, doing string, err error) {
	t.Helper()
	var (
		pg *pgconn.PgError
		my *driversql.MySQLError
	)
	// 1044 and 1142 deny a database and a table.
	if errors.As(err, &pg) && pg.Code == "42501" || errors.As(err, &my) && (my.Number == 1044 || my.Number == 1142) {
		return
	}
	t.Errorf("%s on %s: %v, want no permission", doing, s.Dialect(), err)
}
