package proxy_test

import (
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	_ "github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/posthorn/posthorn/internal/proxy"
	"github.com/posthorn/posthorn/internal/testserver"
)

// target is a database with a table named written, and a way to it.
type target struct {
	protocol proxy.Protocol
	driver   string
	make     func(t testserver.Test) *testserver.Database
}

func targets() map[string]target {
	return map[string]target{
		"postgresql": {proxy.PostgreSQL, "pgx", servers.PostgreSQL},
		"mariadb":    {proxy.MySQL, "mysql", servers.MariaDB},
	}
}

// A scene is a database behind a proxy.
type scene struct {
	proxy  *proxy.Proxy
	behind *sql.DB // through the proxy
	direct *sql.DB
	dsn    string
}

// set sets a scene.
func set(t *testing.T, where target) *scene {
	t.Helper()
	database := where.make(t)
	s := &scene{proxy: proxy.New(t, where.protocol, database.Server.Addr()), direct: database.Open(t)}
	s.dsn = database.Server.DSNAt(s.proxy.Addr(), database.Server.Superuser(), database.Name)
	var err error
	s.behind, err = sql.Open(where.driver, s.dsn)
	check(t, err)
	t.Cleanup(func() { s.behind.Close() })
	_, err = s.direct.Exec("create table written (n int)")
	check(t, err)
	return s
}

// write writes n in a transaction, and returns the error of its COMMIT.
func (s *scene) write(t *testing.T, n int) error {
	t.Helper()
	tx, err := s.behind.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(fmt.Sprintf("insert into written values (%d)", n)); err != nil {
		t.Fatal(err)
	}
	return tx.Commit()
}

// wantWritten asks the server itself. A rolled-back row is never seen, a
// committed one was there before the client got its error.
func (s *scene) wantWritten(t *testing.T, n int, want bool) {
	t.Helper()
	var count int
	check(t, s.direct.QueryRow(fmt.Sprintf("select count(*) from written where n = %d", n)).Scan(&count))
	if got := count == 1; got != want {
		t.Errorf("row %d is written: %t, want %t", n, got, want)
	}
}

func eachTarget(t *testing.T, test func(t *testing.T, s *scene)) {
	for name, where := range targets() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, set(t, where))
		})
	}
}

func TestACommitIsCutOnTheSideThatWasAskedFor(t *testing.T) {
	t.Parallel()
	eachTarget(t, func(t *testing.T, s *scene) {
		for n := range 20 {
			side := proxy.Side(n % 2)
			s.proxy.CutCommits(proxy.CommitCut{Side: side, Nth: 1})
			if err := s.write(t, n); err == nil {
				t.Errorf("commit %d succeeded on side %d", n, side)
			}
			s.wantWritten(t, n, side == proxy.After)
		}
		if c := s.proxy.Counts(); c.CutBefore != 10 || c.CutAfter != 10 || c.Commits != 20 {
			t.Errorf("counts %+v", c)
		}
	})
}

func TestOnlyTheNthCommitIsCut(t *testing.T) {
	t.Parallel()
	eachTarget(t, func(t *testing.T, s *scene) {
		check(t, s.write(t, 0))
		s.proxy.CutCommits(proxy.CommitCut{Side: proxy.Before, Nth: 3})
		for n := 1; n <= 6; n++ {
			if err := s.write(t, n); (err != nil) != (n == 3) {
				t.Errorf("commit %d: %v", n, err)
			}
			s.wantWritten(t, n, n != 3)
		}
		if c := s.proxy.Counts(); c.CutBefore != 1 || c.CutAfter != 0 || c.Commits != 7 {
			t.Errorf("counts %+v", c)
		}
	})
}

func TestChanceCutsTheSameCommitsForTheSameSeed(t *testing.T) {
	t.Parallel()
	eachTarget(t, func(t *testing.T, s *scene) {
		var patterns [3]string
		for i, seed := range []uint64{7, 7, 8} {
			s.proxy.CutCommits(proxy.CommitCut{Side: proxy.After, Probability: 0.5, Seed: seed})
			for n := range 20 {
				patterns[i] += fmt.Sprintf("%t ", s.write(t, n) == nil)
			}
		}
		if patterns[0] != patterns[1] || patterns[0] == patterns[2] {
			t.Errorf("patterns %q", patterns)
		}
		s.proxy.CutCommits(proxy.CommitCut{})
		check(t, s.write(t, 99))
		if c := s.proxy.Counts(); c.Commits != 61 || c.CutAfter == 0 || c.CutBefore != 0 {
			t.Errorf("counts %+v", c)
		}
	})
}

func TestOtherStatementsAreNoCommits(t *testing.T) {
	t.Parallel()
	eachTarget(t, func(t *testing.T, s *scene) {
		s.proxy.CutCommits(proxy.CommitCut{Side: proxy.Before, Probability: 1})
		for _, statement := range []string{"select 'commit'", "rollback", "select 1 as commits", "select 'a' -- commit"} {
			_, err := s.behind.Exec(statement)
			check(t, err)
		}
		if c := s.proxy.Counts(); c.Commits != 0 {
			t.Errorf("counts %+v", c)
		}
	})
}

func TestEachSpellingOfCommitIsFound(t *testing.T) {
	t.Parallel()
	eachTarget(t, func(t *testing.T, s *scene) {
		s.proxy.CutCommits(proxy.CommitCut{Side: proxy.Before, Probability: 1})
		for i, text := range []string{"commit", "COMMIT", "Commit;", " commit work ; "} {
			conn, err := s.behind.Conn(t.Context()) // a pool would try again
			check(t, err)
			if _, err := conn.ExecContext(t.Context(), text); err == nil {
				t.Errorf("%q was not cut", text)
			}
			_ = conn.Close()
			if c := s.proxy.Counts(); c.CutBefore != i+1 {
				t.Errorf("after %q: counts %+v", text, c)
			}
		}
	})
}

// A pipeline sends a COMMIT together with what it commits, in the extended
// protocol: pgx prepares its text once, and then refers to it by name.
func TestACommitInAPipelineIsCut(t *testing.T) {
	t.Parallel()
	s := set(t, targets()["postgresql"])
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeExec} {
		for _, side := range []proxy.Side{proxy.Before, proxy.After} {
			n := int(mode)*10 + int(side)
			conn := connect(t, s.dsn, mode)
			check(t, pipeline(conn, 1000+n)) // prepares
			s.proxy.CutCommits(proxy.CommitCut{Side: side, Nth: 1})
			if err := pipeline(conn, n); err == nil {
				t.Errorf("mode %s, side %d: no error", mode, side)
			}
			s.wantWritten(t, 1000+n, true)
			s.wantWritten(t, n, side == proxy.After)
		}
	}
}

// A packet of MySQL may have several statements, of which the last one is a COMMIT. It has been
// done when all of them have been answered.
func TestACommitInAPacketOfSeveralStatementsIsCut(t *testing.T) {
	t.Parallel()
	s := set(t, targets()["mariadb"])
	db, err := sql.Open("mysql", s.dsn+"?multiStatements=true&interpolateParams=true")
	check(t, err)
	defer db.Close()
	const text = `begin; select ?, n from written; insert into written values (?);
		do sleep(0.05); select count(*) from written where n < 0; commit`
	for n, long := range []string{"; commit", "; commit", strings.Repeat("a", 200_000), strings.Repeat("b", 200_000)} {
		conn, err := db.Conn(t.Context()) // a pool would try again
		check(t, err)
		_, err = conn.ExecContext(t.Context(), text, "before", 1000+n)
		check(t, err)
		side := proxy.Side(n % 2)
		s.proxy.CutCommits(proxy.CommitCut{Side: side, Nth: 1})
		if _, err := conn.ExecContext(t.Context(), text, long, n); err == nil {
			t.Errorf("side %d: no error", side)
		}
		_ = conn.Close()
		s.wantWritten(t, 1000+n, true)
		s.wantWritten(t, n, side == proxy.After)
	}
	if c := s.proxy.Counts(); c.CutBefore != 2 || c.CutAfter != 2 || c.Commits != 8 {
		t.Errorf("counts %+v", c)
	}
}

// A pipeline outside a transaction is one by itself, whose end commits it.
func TestAPipelineWithoutACommitIsCut(t *testing.T) {
	t.Parallel()
	s := set(t, targets()["postgresql"])
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeExec} {
		for _, side := range []proxy.Side{proxy.Before, proxy.After} {
			n := 100 + int(mode)*10 + int(side)
			conn := connect(t, s.dsn, mode)
			before := s.proxy.Counts().Commits
			check(t, implicit(conn, 1000+n)) // prepares
			if c := s.proxy.Counts(); c.Commits != before+1 {
				t.Errorf("mode %s: counts %+v, want one commit more than %d", mode, c, before)
			}
			s.proxy.CutCommits(proxy.CommitCut{Side: side, Nth: 1})
			if err := implicit(conn, n); err == nil {
				t.Errorf("mode %s, side %d: no error", mode, side)
			}
			s.wantWritten(t, 1000+n, true)
			s.wantWritten(t, n, side == proxy.After)
		}
	}
}

func implicit(conn *pgx.Conn, n int) error {
	b := &pgx.Batch{}
	b.Queue("insert into written values ($1)", n)
	b.Queue("select count(*) from written")
	return conn.SendBatch(context.Background(), b).Close()
}

func connect(t *testing.T, dsn string, mode pgx.QueryExecMode) *pgx.Conn {
	t.Helper()
	config, err := pgx.ParseConfig(dsn)
	check(t, err)
	config.DefaultQueryExecMode = mode
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func pipeline(conn *pgx.Conn, n int) error {
	b := &pgx.Batch{}
	b.Queue("begin")
	b.Queue("insert into written values ($1)", n)
	b.Queue("commit")
	return conn.SendBatch(context.Background(), b).Close()
}

func TestALongStatementIsForwardedWhole(t *testing.T) {
	t.Parallel()
	eachTarget(t, func(t *testing.T, s *scene) {
		long := make([]byte, 2<<20)
		for i := range long {
			long[i] = 'a' + byte(i%26)
		}
		var got string
		check(t, s.behind.QueryRow("select '"+string(long)+"'").Scan(&got))
		if got != string(long) {
			t.Errorf("%d bytes came back, want %d", len(got), len(long))
		}
	})
}

// The server of this test refuses encryption, as the private servers do; the
// client then goes on in plain text, where a COMMIT must still be found.
func TestARefusedEncryptionLeavesTheProtocolReadable(t *testing.T) {
	t.Parallel()
	s := set(t, targets()["postgresql"])
	conn := dial(t, s.proxy)
	request, err := (&pgproto3.SSLRequest{}).Encode(nil)
	check(t, err)
	_, err = conn.Write(request)
	check(t, err)
	wantRead(t, conn, "N")
	hello, err := (&pgproto3.StartupMessage{
		ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: map[string]string{"user": "postgres"},
	}).Encode(nil)
	check(t, err)
	query, err := (&pgproto3.Query{String: "commit"}).Encode(nil)
	check(t, err)
	s.proxy.CutCommits(proxy.CommitCut{Side: proxy.Before, Nth: 1})
	_, err = conn.Write(append(hello, query...))
	check(t, err)
	_, _ = io.Copy(io.Discard, conn)
	if c := s.proxy.Counts(); c.CutBefore != 1 {
		t.Errorf("counts %+v", c)
	}
}

// What looks like a COMMIT in an encrypted connection is none.
func TestAnEncryptedConnectionIsForwardedUnread(t *testing.T) {
	t.Parallel()
	request := binary.BigEndian.AppendUint32([]byte{0, 0, 0, 8}, 80877103)
	p := proxy.New(t, proxy.PostgreSQL, serve(t, func(conn net.Conn) {
		_, _ = io.ReadFull(conn, make([]byte, len(request)))
		_, _ = conn.Write([]byte("S"))
		_, _ = io.Copy(conn, conn)
	}))
	p.CutCommits(proxy.CommitCut{Probability: 1})
	conn := dial(t, p)
	_, err := conn.Write(request)
	check(t, err)
	wantRead(t, conn, "S")
	query, err := (&pgproto3.Query{String: "commit"}).Encode(nil)
	check(t, err)
	_, err = conn.Write(query)
	check(t, err)
	wantRead(t, conn, string(query))
	if c := p.Counts(); c.Commits != 0 {
		t.Errorf("counts %+v", c)
	}
}

func TestAnEncryptedMySQLConnectionIsForwardedUnread(t *testing.T) {
	t.Parallel()
	p := proxy.New(t, proxy.MySQL, echo(t))
	p.CutCommits(proxy.CommitCut{Probability: 1})
	conn := dial(t, p)
	hello := append([]byte{32, 0, 0, 1}, make([]byte, 32)...)
	for _, sent := range []string{string(hello), "\x07\x00\x00\x00\x03commit"} {
		_, err := io.WriteString(conn, sent)
		check(t, err)
		wantRead(t, conn, sent)
	}
	if c := p.Counts(); c.Commits != 0 {
		t.Errorf("counts %+v", c)
	}
}
