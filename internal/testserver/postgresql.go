//go:build linux || darwin

package testserver

import (
	"database/sql"
	"fmt"
	"net/url"
	"strconv"
	"syscall"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// postgreSQL describes PostgreSQL 13 and later.
func postgreSQL() product {
	return product{
		name: "PostgreSQL", thing: "postgresql",
		server: "postgres", installer: "initdb", together: true,
		accounts: []string{"postgres", "nobody"}, superuser: "postgres",
		// The postmaster passes both signals on to its children: a fast
		// shutdown, and one that writes nothing.
		stop: syscall.SIGINT, orphan: syscall.SIGQUIT,
		whereabouts: "show data_directory",
		install: func(data string) []string {
			return []string{
				"--pgdata=" + data, "--username=postgres", "--auth=trust",
				"--encoding=UTF8", "--locale=C", "--no-sync",
			}
		},
		serve: func(data string, port int) []string {
			return []string{
				"-D", data, "-p", strconv.Itoa(port),
				"--listen_addresses=127.0.0.1", "--unix_socket_directories=",
			}
		},
		settings: func(o Options) []string { return flags("--%s=%s", postgreSQLDefaults(o), o.Settings) },
		database: "postgres",
		dsn: func(addr, user, database string) string {
			u := url.URL{
				Scheme: "postgres", User: url.User(user), Host: addr, Path: "/" + database,
				RawQuery: "sslmode=disable",
			}
			return u.String()
		},
		open: openPostgreSQL,
	}
}

func postgreSQLDefaults(o Options) map[string]string {
	if o.Volatile {
		return map[string]string{"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
	}
	return map[string]string{"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
}

func openPostgreSQL(dsn string) (*sql.DB, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	return stdlib.OpenDB(*config), nil
}
