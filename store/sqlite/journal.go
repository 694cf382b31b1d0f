package sqlite

import (
	"unsafe"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// maxJournal is how many bytes of what a savepoint or a statement would have to undo are kept in memory. SQLite's own
// limit is 64 KiB, less than what a span of messages changes: then it makes a file for it in each
// transaction, and writes each page there, too.
//
// It is what SQLite allocates at once, too. With the allocator's own words it fits into 1 MiB.
const maxJournal = 1<<20 - 4096

// keepJournals sets that limit, which is the process's, and not a connection's. SQLite takes it as long as
// nobody has used it; else it refuses, and all works as before, a tenth slower.
// Source: https://www.sqlite.org/c3ref/c_config_covering_index_scan.html#sqliteconfigstmtjrnlspill.
func keepJournals() {
	tls := libc.NewTLS()
	defer tls.Close()
	// This setting may be made by one at a time, and by nobody once somebody uses SQLite; this mutex is there for
	// applications, before it is used, too.
	mu := lib.Xsqlite3_mutex_alloc(tls, lib.SQLITE_MUTEX_STATIC_APP1)
	lib.Xsqlite3_mutex_enter(tls, mu)
	defer lib.Xsqlite3_mutex_leave(tls, mu)
	list := libc.Xmalloc(tls, libc.Tsize_t(unsafe.Sizeof(int64(0)))) // an argument takes so much, on any machine
	if list == 0 {
		return
	}
	defer libc.Xfree(tls, list)
	lib.Xsqlite3_config(tls, lib.SQLITE_CONFIG_STMTJRNL_SPILL, libc.VaList(list, int32(maxJournal)))
	lib.Xsqlite3_initialize(tls) // from now on it is refused
}
