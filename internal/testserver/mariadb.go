//go:build linux || darwin

package testserver

import (
	"database/sql"
	"fmt"
	"strconv"
	"syscall"

	"github.com/go-sql-driver/mysql"
)

// logFileSize keeps a fresh data directory small, so that it is copied soon.
const logFileSize = "--innodb-log-file-size=24M"

// mariaDB describes MariaDB 10.5 and later, where the programs got their names.
func mariaDB() product {
	return product{
		name: "MariaDB", thing: "mariadb",
		server: "mariadbd", installer: "mariadb-install-db",
		accounts: []string{"mysql", "nobody"}, superuser: "root",
		stop: syscall.SIGTERM, orphan: syscall.SIGKILL,
		whereabouts: "select @@datadir",
		// A database is a directory. The installer's own test would let everybody in.
		extra: "test",
		install: func(data string) []string {
			return []string{
				"--no-defaults", "--datadir=" + data, "--auth-root-authentication-method=normal",
				"--skip-test-db", "--skip-name-resolve", logFileSize,
			}
		},
		serve: func(data string, port int) []string {
			return []string{
				"--no-defaults", "--datadir=" + data, "--port=" + strconv.Itoa(port),
				"--bind-address=127.0.0.1", "--skip-name-resolve", logFileSize,
				// Within the data directory, since the path of a socket is short.
				"--socket=mariadb.sock", "--pid-file=mariadb.pid", "--tmpdir=" + data,
			}
		},
		settings: func(o Options) []string { return flags("--%s=%s", mariaDBDefaults(o), o.Settings) },
		database: "test",
		dsn: func(addr, user, database string) string {
			return (&mysql.Config{User: user, Net: "tcp", Addr: addr, DBName: database, AllowNativePasswords: true,
				CheckConnLiveness: true, MaxAllowedPacket: 64 << 20}).FormatDSN()
		},
		open: openMariaDB,
	}
}

func mariaDBDefaults(o Options) map[string]string {
	// Debian's own defaults; without a configuration file they would be older.
	settings := map[string]string{
		"character-set-server": "utf8mb4", "collation-server": "utf8mb4_general_ci",
		"innodb_flush_log_at_trx_commit": "1", "innodb_buffer_pool_size": "64M",
	}
	if o.Volatile {
		settings["innodb_flush_log_at_trx_commit"] = "0"
		settings["innodb_doublewrite"] = "0"
	}
	return settings
}

func openMariaDB(dsn string) (*sql.DB, error) {
	config, err := mysql.ParseDSN(dsn)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	config.Logger = &mysql.NopLogger{} // a server that dies is no news here
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	return sql.OpenDB(connector), nil
}
