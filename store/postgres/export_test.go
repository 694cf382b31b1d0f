package postgres

import (
	"context"
	"database/sql"

	"github.com/posthorn/posthorn/store/pool"
)

// Inspector looks at the sessions of a user.
func Inspector(user string) func(ctx context.Context, conn *sql.Conn, when pool.When) (string, error) {
	return newInspector(user).inspect
}

// InsertHeld is the statement that gives a message to who waits.
func InsertHeld() string { return insertHeld() }
