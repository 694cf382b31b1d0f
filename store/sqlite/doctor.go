package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	lib "modernc.org/sqlite/lib"

	"github.com/posthorn/posthorn/internal/migrate"
	"github.com/posthorn/posthorn/store"
)

// When files and disks are worth a warning. A checkpoint leaves 64 MiB of the
// log at most, see journal_size_limit.
const (
	bigWAL  = 128 << 20
	lowDisk = 512 << 20
	noDisk  = 64 << 20
)

// An examiner looks at the live database for Store.Examine.
type examiner struct {
	db *sql.DB
	address
}

// checks are what doctor looks at.
func checks(db *sql.DB, a address) []store.Check {
	x := examiner{db, a}
	return []store.Check{
		{ID: "SQLITE-ENGINE", Run: x.engine},
		{ID: "SQLITE-SCHEMA", Run: x.schema},
		{ID: "SQLITE-INDEX", Run: x.indexes},
		{ID: "SQLITE-DURABILITY", Run: x.durability},
		{ID: "SQLITE-FILESYSTEM", Run: x.fileSystem},
		{ID: "SQLITE-DISK", Run: x.disk},
		{ID: "SQLITE-WAL", Run: x.wal},
		{ID: "SQLITE-INTEGRITY", Run: x.integrity},
	}
}

func ok(format string, args ...any) store.Finding {
	return store.Finding{Level: store.LevelOK, Evidence: fmt.Sprintf(format, args...)}
}

// engine only tells: an engine that is too old is refused at Open.
func (x examiner) engine(ctx context.Context) (store.Finding, error) {
	var version string
	err := x.db.QueryRowContext(ctx, "select sqlite_version()").Scan(&version)
	return ok("SQLite %s", version), err
}

// migrations lists the steps with what was applied.
func (x examiner) migrations(ctx context.Context) ([]migrate.Migration, error) {
	return schema(x.names).Status(ctx, x.db)
}

func (x examiner) schema(ctx context.Context) (store.Finding, error) {
	return store.JudgeSchema(x.migrations(ctx))
}

func (x examiner) indexes(ctx context.Context) (store.Finding, error) {
	ms, err := x.migrations(ctx)
	if err != nil {
		return store.Finding{}, err
	}
	there, err := x.texts(ctx, "select name from sqlite_master where type = 'index'")
	return store.JudgeIndexes(migrate.Indexes(ms), there), err
}

// texts lists the first column of a query.
func (x examiner) texts(ctx context.Context, query string) (out []string, err error) {
	rows, err := x.db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	err = eachRow(rows, func(r store.Row) error {
		var text string
		err := r.Scan(&text)
		out = append(out, text)
		return err
	})
	return out, err
}

func (x examiner) durability(ctx context.Context) (store.Finding, error) {
	var (
		synchronous int
		journal     string
	)
	err := x.db.QueryRowContext(ctx, "select synchronous, journal_mode from pragma_synchronous, pragma_journal_mode").
		Scan(&synchronous, &journal)
	if synchronous >= 2 { // 2 is full, 3 is extra
		return ok("power-safe: synchronous=%d, journal_mode=%s", synchronous, journal), err
	}
	return store.Finding{
		Level:    store.LevelWarning,
		Evidence: fmt.Sprintf("process-safe: synchronous=%d, journal_mode=%s", synchronous, journal),
		Fix: "leave synchronous=normal out of the store's address: with it a power cut loses the last messages; " +
			"group commit makes up for much of the speed",
	}, err
}

func (x examiner) fileSystem(context.Context) (store.Finding, error) {
	kind, risk, err := fileSystem(filepath.Dir(x.path))
	if err != nil {
		return store.Finding{}, err
	}
	f := ok("%s is on %s", x.path, kind)
	if risk != "" {
		f.Level, f.Fix = store.LevelWarning, "put the file on a disk or a volume that lasts: "+risk
	}
	return f, nil
}

func (x examiner) disk(context.Context) (store.Finding, error) {
	free, err := freeSpace(filepath.Dir(x.path))
	if err != nil {
		return store.Finding{}, err
	}
	f := ok("%s are free", size(free))
	if free < lowDisk {
		f.Level, f.Fix = store.LevelWarning, "make room: when the disk is full, no message is accepted"
	}
	if free < noDisk {
		f.Level = store.LevelError
	}
	return f, nil
}

func (x examiner) wal(context.Context) (store.Finding, error) {
	info, err := os.Stat(x.path + "-wal")
	if errors.Is(err, fs.ErrNotExist) {
		return ok("no write-ahead log"), nil
	}
	if err != nil {
		return store.Finding{}, err
	}
	f := ok("the write-ahead log has %s", size(uint64(info.Size())))
	if info.Size() > bigWAL {
		f.Level, f.Fix = store.LevelWarning, "find the process whose long read keeps the log from being emptied: "+
			"lsof "+x.path+"-wal; then: pragma wal_checkpoint(truncate)"
	}
	return f, nil
}

// integrity reads the whole file, but does not compare indexes with tables.
func (x examiner) integrity(ctx context.Context) (store.Finding, error) {
	said, err := x.texts(ctx, "pragma quick_check(1)")
	switch {
	case hasCode(err, lib.SQLITE_CORRUPT):
		said = []string{err.Error()}
	case err != nil:
		return store.Finding{}, err
	case len(said) == 1 && said[0] == "ok":
		return ok("quick_check finds nothing"), nil
	}
	return store.Finding{
		Level: store.LevelError, Evidence: fmt.Sprintf("quick_check: %.200q", said),
		Fix: "stop all processes, copy the file with its -wal, run: sqlite3 " + x.path + " .recover; and check the disk",
	}, nil
}

// size writes a number of bytes for people.
func size(n uint64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
