package postgres_test

import (
	"context"
	"testing"

	"github.com/posthorn/posthorn/store"
)

// The plans that are switched off for Posthorn's own statements make the others look
// so dear that the server would compile them, for half a second each time.
func TestOwnStatementsAreNotCompiled(t *testing.T) {
	s := openStore(t, servers.PostgreSQL(t).DSN(), store.Options{})
	var jit string
	err := s.Engine.Read(t.Context(), func(ctx context.Context, q store.Session) error {
		return q.Query(ctx, "show jit", nil, func(r store.Row) error { return r.Scan(&jit) })
	})
	if err != nil || jit != "off" {
		t.Errorf("jit is %q, %v, on a connection for Posthorn's own statements", jit, err)
	}
}
