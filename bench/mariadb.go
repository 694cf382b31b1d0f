package main

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"strings"

	"github.com/go-sql-driver/mysql"

	"github.com/posthorn/posthorn/internal/testserver"
)

func mariadbKind() kind {
	return kind{
		name: "mariadb", title: "MariaDB", effect: effectInsert, claims: 30_000,
		notes: fmt.Sprintf("All use go-sql-driver/mysql %s with interpolated parameters; the peers have a pool of "+
			"%d connections. Limit of the machine: as many connections as callers, many rows in one statement",
			version("github.com/go-sql-driver/mysql"), peerConnections),
		launch: launchMariaDB, examine: examineMariaDB, bare: openBareMariaDB,
		written: redoOfMariaDB, hold: holdMariaDB, flow: 0.2,
	}
}

func launchMariaDB(dir string) (host, error) {
	s, err := startServer(dir, testserver.MariaDB, map[string]string{
		"max_connections": connections, "innodb_buffer_pool_size": "2G",
		"innodb_log_file_size": "2G", // no flush of all pages within a run
	})
	if err != nil {
		return nil, err
	}
	s.addressOf = func(s *testserver.Server, database string) string {
		return (&url.URL{Scheme: "mariadb", User: url.User(s.Superuser()), Host: s.Addr(), Path: "/" + database}).String()
	}
	return s, nil
}

func examineMariaDB(ctx context.Context, _ string, db *sql.DB) (string, error) {
	var version, flush, doublewrite, binlog, buffers string
	err := db.QueryRowContext(ctx, `select version(), @@innodb_flush_log_at_trx_commit, @@innodb_doublewrite, @@log_bin,
		@@innodb_buffer_pool_size div 1048576`).Scan(&version, &flush, &doublewrite, &binlog, &buffers)
	if err != nil {
		return "", err
	}
	if flush != "1" || doublewrite == "0" {
		return "", fmt.Errorf("innodb_flush_log_at_trx_commit %s, innodb_doublewrite %s: want 1 and 1", flush, doublewrite)
	}
	version, _, _ = strings.Cut(version, "-")
	return fmt.Sprintf("%s, `innodb_flush_log_at_trx_commit=1`, `innodb_doublewrite=1`, `log_bin=%s`, "+
		"`innodb_buffer_pool_size=%sM`", version, binlog, buffers), nil
}

// openMariaDBPool opens the pool of a peer.
func openMariaDBPool(address string, size int) (*sql.DB, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	config := mysql.NewConfig()
	config.Net, config.Addr, config.User = "tcp", u.Host, u.User.Username()
	config.DBName = strings.TrimPrefix(u.Path, "/")
	config.InterpolateParams = true
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	return db, nil
}

// redoOfMariaDB is the position in the redo log of the whole server.
func redoOfMariaDB(ctx context.Context, db *sql.DB) (int64, error) {
	n, err := count(ctx, db, "select variable_value from information_schema.global_status "+
		"where variable_name = 'Innodb_lsn_current'")
	return int64(n), err
}

// holdMariaDB leaves a read view open: no row that is deleted from now on can
// be purged before it ends.
func holdMariaDB(ctx context.Context, address string) (func() error, error) {
	return holdSession(ctx, func() (*sql.DB, error) { return openMariaDBPool(address, 1) },
		"start transaction with consistent snapshot")
}
