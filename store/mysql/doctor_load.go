package mysql

import (
	"context"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/pool"
)

// When an old snapshot is worth a warning.
const (
	longHistory = 100_000 // transactions whose old rows wait to be removed
	longAgo     = 10 * time.Minute
)

func (x examiner) packet(ctx context.Context) (store.Finding, error) {
	known, err := x.ask(ctx)
	if err != nil {
		return store.Finding{}, err
	}
	f := ok("max_allowed_packet=%d: a body may have %d bytes", known.maxPacket, min(driver.MaxBody, known.maxBody()))
	if known.maxBody() < driver.MaxBody {
		f.Level, f.Fix = store.LevelWarning, "set max_allowed_packet = 16M or more: larger bodies are refused at Send"
	}
	return f, nil
}

// snapshots are the length of the history, and the oldest transaction.
const snapshots = `select h.count, coalesce(t.age, 0), coalesce(t.who, 0), coalesce(t.state, '')
	from (select count from information_schema.innodb_metrics where name = 'trx_rseg_history_len') h
	left join (
	  select timestampdiff(second, trx_started, now()) age, trx_mysql_thread_id who, trx_state state
	  from information_schema.innodb_trx where trx_mysql_thread_id not in (0, connection_id())
	  order by trx_started limit 1) t on true`

func (x examiner) snapshot(ctx context.Context) (store.Finding, error) {
	var (
		history, seconds, who int64
		state                 string
	)
	err := x.db.QueryRowContext(ctx, snapshots).Scan(&history, &seconds, &who, &state)
	since := time.Duration(seconds) * time.Second
	f := ok("no transaction is open; %d wait to be purged", history)
	if who != 0 {
		f = ok("the oldest transaction is %s old: connection %d, %s; %d wait to be purged", since, who, state, history)
	}
	if history > longHistory || since > longAgo {
		f.Level, f.Fix = store.LevelWarning, "end the connection that holds it (kill), and find out why it "+
			"stays: until then no deleted row is removed, and claims become slow"
	}
	return f, err
}

func (x examiner) clock(ctx context.Context) (store.Finding, error) {
	return pool.MeasureClock(ctx, x.db, now)
}

func (x examiner) disk(context.Context) (store.Finding, error) {
	return store.Finding{
		Level: store.LevelUnknown, Evidence: "the server does not tell how much room its disk has",
		Fix: "watch the disk of the data directory and of the logs on the server's host",
	}, nil
}
