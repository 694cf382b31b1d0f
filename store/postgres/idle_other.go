//go:build !unix

package postgres

import "database/sql"

// idle is pool.Dialect.Idle. It cannot be told here.
func idle(*sql.Conn) bool { return true }
