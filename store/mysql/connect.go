package mysql

import (
	"database/sql"

	"github.com/posthorn/posthorn/store"
)

// Connect opens a plain pool of connections at the address of a store, for who looks
// after its server and not after its messages. It connects to nothing by itself, makes
// no schema, and the caller closes it. Errors: store.ErrDSN, ErrPlaintext.
func Connect(dsn string) (*sql.DB, error) {
	a, err := parse(dsn, store.ServerOptions{})
	if err != nil {
		return nil, err
	}
	c, err := a.connector()
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(c), nil
}
