//go:build linux || darwin

package testserver

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"sync"
)

// Shared are the servers that the tests of one process share, because none of
// them does a server harm. A server starts when the first test asks for it. It
// is a variable of the test package, and TestMain ends it:
//
//	var servers testserver.Shared
//
//	func TestMain(m *testing.M) { os.Exit(servers.Main(m).Run()) }
//
// or goleak.VerifyTestMain(servers.Main(m)).
type Shared struct {
	// Options of each server; Dir must be empty.
	Options Options

	mu        sync.Mutex
	servers   map[string]*Server
	databases int
}

// PostgreSQL makes a database on the shared server. It is dropped at the end
// of the test.
func (s *Shared) PostgreSQL(t Test) *Database {
	t.Helper()
	return s.database(t, postgreSQL(), "drop database %s with (force)")
}

// MariaDB makes a database on the shared server. It is dropped at the end of
// the test.
func (s *Shared) MariaDB(t Test) *Database {
	t.Helper()
	return s.database(t, mariaDB(), "drop database %s")
}

func (s *Shared) database(t Test, p product, drop string) *Database {
	t.Helper()
	server, name, err := s.next(p)
	if err != nil {
		giveUp(t, err)
	}
	if err := server.Exec("create database " + name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Exec(fmt.Sprintf(drop, name)); err != nil {
			t.Error(err)
		}
	})
	return &Database{Server: server, Name: name}
}

// next is the server, which it starts if need be, and a name that is unused.
func (s *Shared) next(p product) (*Server, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	server := s.servers[p.name]
	if server == nil {
		var err error
		if server, err = launch(p, s.Options); err != nil {
			return nil, "", err
		}
		if s.servers == nil {
			s.servers = map[string]*Server{}
		}
		s.servers[p.name] = server
	}
	s.databases++
	return server, fmt.Sprintf("test_%d", s.databases), nil
}

// Close ends the servers.
func (s *Shared) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	for _, server := range s.servers {
		err = errors.Join(err, server.end())
	}
	clear(s.servers)
	return err
}

// Main runs the tests of m and then ends the servers.
func (s *Shared) Main(m interface{ Run() int }) *Main { return &Main{shared: s, tests: m} }

// Main stands in the place of a testing.M.
type Main struct {
	shared *Shared
	tests  interface{ Run() int }
}

// Run returns the exit code of the tests.
func (m *Main) Run() int {
	code := m.tests.Run()
	if err := m.shared.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return max(code, 1)
	}
	return code
}

// A Database is an empty database of a shared server.
type Database struct {
	Server *Server
	Name   string
}

// DSN is the data source name of the database, for the superuser.
func (d *Database) DSN() string { return d.Server.DSN(d.Server.Superuser(), d.Name) }

// Open returns a pool of connections of the superuser that is closed at the
// end of the test.
func (d *Database) Open(t Test) *sql.DB {
	t.Helper()
	db, err := d.Server.Open(d.Server.Superuser(), d.Name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), execWithin)
	defer cancel()
	if err := db.PingContext(ctx); err != nil {
		t.Fatal(err)
	}
	return db
}
