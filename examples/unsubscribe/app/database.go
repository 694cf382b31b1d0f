package app

import (
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrDialect: the application does not know this kind of database.
var ErrDialect = errors.New("unknown kind of database")

// A Database is where the application keeps its tables: that of Posthorn's
// store, so that a handler can change them in its transaction. It may be used
// concurrently.
type Database struct {
	db      *sql.DB
	dialect dialect
}

// NewDatabase is for a store's DB and Dialect. It fails with ErrDialect.
func NewDatabase(db *sql.DB, dialect string) (Database, error) {
	d, ok := dialects()[dialect]
	if !ok {
		return Database{}, fmt.Errorf("%w: %q", ErrDialect, dialect)
	}
	return Database{db: db, dialect: d}, nil
}

// sql is a statement in the words of the database. Statements are written with
// question marks for their parameters, and with braces around what differs.
func (d Database) sql(stmt string) string {
	stmt = strings.NewReplacer(d.dialect.words...).Replace(stmt)
	if !d.dialect.numbered {
		return stmt
	}
	var b strings.Builder
	for i, part := range strings.Split(stmt, "?") {
		if i > 0 {
			b.WriteString("$" + strconv.Itoa(i))
		}
		b.WriteString(part)
	}
	return b.String()
}

// dialect is what one kind of database wants to be told in its own way.
type dialect struct {
	words    []string // each word in braces, and what stands for it
	numbered bool     // parameters are $1, $2 … instead of question marks
	names    string   // lists the tables and views
	before   []string // statements around those that make the tables
	after    []string
}

// dialects are the databases by the names that stores give them. {insert_new}
// and {unless_there} are around an insertion that does nothing where a row with
// the key is there. A {key} compares its bytes.
func dialects() map[string]dialect {
	const index = `create index if not exists unsubscribed_mail on unsubscribed (mail)`
	return map[string]dialect{
		"sqlite": {
			names: `select name from sqlite_master where type in ('table', 'view') and name not like 'sqlite\_%' escape '\'`,
			after: []string{index},
			words: []string{
				"{key}", "text", "{number}", "integer", "{index}", "", "{time}", "text",
				"{now}", "(strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))",
				"{line}", "varchar(255) check (length(text) <= 255)",
				"{bool}", "integer check (shortened in (0, 1))",
				"{insert_new}", "insert into", "{unless_there}", "on conflict do nothing",
			},
		},
		"postgres": {
			numbered: true,
			names:    `select table_name from information_schema.tables where table_schema = current_schema()`,
			// Two processes that create a table at once would disturb each other.
			before: []string{`select pg_advisory_xact_lock(7562193408)`},
			after:  []string{index},
			words: []string{
				"{key}", `varchar(300) collate "C"`, "{number}", "bigint generated always as identity", "{index}", "",
				"{time}", "timestamptz", "{now}", "now()", "{line}", "varchar(255)", "{bool}", "boolean",
				"{insert_new}", "insert into", "{unless_there}", "on conflict do nothing",
			},
		},
		"mysql": {
			names: `select table_name from information_schema.tables where table_schema = database()`,
			words: []string{
				"{key}", "varbinary(300)", "{number}", "bigint auto_increment",
				"{index}", ",\n  key unsubscribed_mail (mail)", "{time}", "datetime(3)", "{now}", "current_timestamp(3)",
				"{line}", "varchar(255) character set utf8mb4", "{bool}", "boolean",
				"{insert_new}", "insert ignore into", "{unless_there}", "",
			},
		},
	}
}
