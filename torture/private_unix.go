//go:build linux || darwin

package torture

import (
	"errors"
	"fmt"

	"github.com/posthorn/posthorn/internal/testserver"
)

// launch starts a private server. Its settings survive a kill of the server, which
// a run does; no power is cut.
func launch(make string) (server, error) {
	var s *testserver.Server
	var err error
	switch make {
	case PrivatePostgreSQL:
		s, err = testserver.LaunchPostgreSQL(testserver.Options{Settings: map[string]string{
			"fsync": "off", "full_page_writes": "off", "deadlock_timeout": "50ms", "max_connections": "90",
		}})
	case PrivateMariaDB:
		s, err = testserver.LaunchMariaDB(testserver.Options{Settings: map[string]string{
			"innodb_flush_log_at_trx_commit": "2", "max_connections": "90",
		}})
	default:
		err = fmt.Errorf("private servers are %s and %s", PrivatePostgreSQL, PrivateMariaDB)
	}
	if errors.Is(err, testserver.ErrMissing) {
		return nil, fmt.Errorf("%w: %w", ErrNoServer, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStore, err)
	}
	return s, nil
}
