package sqlite

import (
	"context"

	"github.com/posthorn/posthorn/store/guard"
)

// CutsOff reports whether the statements of a store's writing connection can be ended from outside.
func CutsOff(ctx context.Context, dsn string) (ok bool, err error) {
	a, err := parse(dsn)
	if err != nil {
		return false, err
	}
	db, err := a.guarded()
	if err != nil {
		return false, err
	}
	defer func() { _ = db.Close() }()
	conn, err := db.Conn(ctx)
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.Close() }()
	err = conn.Raw(func(c any) error {
		inner, is := c.(*guard.Conn)
		ok = is && cutter(inner.Raw) != nil
		return nil
	})
	return ok, err
}
