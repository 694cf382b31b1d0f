package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
)

// A server is what is known of the server since the store was opened.
type server struct {
	maria      bool
	durability driver.Durability
	isolation  string // the name of the variable
	maxPacket  int    // bytes
}

// ask asks the server who it is. It refuses one that is too old.
func ask(ctx context.Context, conn *sql.Conn) (server, error) {
	var version string
	var flush, binlog, sync int
	var s server
	err := conn.QueryRowContext(ctx, `select version(), @@innodb_flush_log_at_trx_commit, @@log_bin, @@sync_binlog,
		@@max_allowed_packet`).Scan(&version, &flush, &binlog, &sync, &s.maxPacket)
	if err != nil {
		return s, fmt.Errorf("ask server: %w", err)
	}
	if err := s.identify(version); err != nil {
		return s, err
	}
	switch {
	case flush == 0: // the server's own death loses what it acknowledged last
		s.durability = driver.Volatile
	case flush == 1 && (binlog == 0 || sync == 1): // else a power cut undoes what is not in the binary log
		s.durability = driver.PowerSafe
	default:
		s.durability = driver.ProcessSafe
	}
	return s, nil
}

// identify reads the version. The oldest servers are the first ones with "skip locked" and
// json_table.
func (s *server) identify(version string) error {
	var v [3]int
	_, _ = fmt.Sscanf(strings.TrimPrefix(version, "5.5.5-"), "%d.%d.%d", &v[0], &v[1], &v[2]) // zero is too old
	lower := strings.ToLower(version)
	s.maria, s.isolation = strings.Contains(lower, "mariadb"), "transaction_isolation"
	name, least := "MySQL", [3]int{8, 0, 4}
	if s.maria {
		name, least = "MariaDB", [3]int{10, 6, 0}
		if before(v, [3]int{11, 1, 1}) {
			s.isolation = "tx_isolation"
		}
	}
	if strings.Contains(lower, "tidb") {
		return fmt.Errorf("%w: TiDB cannot skip locked rows", store.ErrEngine)
	}
	if before(v, least) {
		return fmt.Errorf("%w: %s %s, at least %d.%d.%d is needed", store.ErrEngine, name, version,
			least[0], least[1], least[2])
	}
	return nil
}

func before(a, b [3]int) bool {
	for i := range a {
		if a[i] != b[i] {
			return a[i] < b[i]
		}
	}
	return false
}

// maxBody is the largest body that fits into a packet together with its header.
func (s server) maxBody() int { return s.maxPacket - min(256<<10, s.maxPacket/2) }
