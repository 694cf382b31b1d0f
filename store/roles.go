package store

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Role is what a user of a database server has to do with a store. It needs
// no right beyond those that a [Grant] gives it.
type Role string

// The roles.
const (
	RoleOwner    Role = "owner"    // makes the tables and brings the schema forward; it may do all that a worker may
	RoleWorker   Role = "worker"   // receives, settles and sends messages; its operators retry and stop
	RoleProducer Role = "producer" // sends messages, and reads none
	RoleViewer   Role = "viewer"   // reads everything, and changes nothing
)

// Roles lists the roles.
func Roles() []Role { return []Role{RoleOwner, RoleWorker, RoleProducer, RoleViewer} }

// Why a grant cannot be written. They are wrapped; compare with errors.Is.
var (
	// ErrRole: there is no such role.
	ErrRole = errors.New("unknown role")
	// ErrUser: no server has a user of this name, or it stands for more than one.
	ErrUser = errors.New("malformed name of a user")
	// ErrNoRoles: the store's database has no users.
	ErrNoRoles = errors.New("a store in a file has no roles: " +
		"whoever may write the file and its directory may do everything")
)

// A Grant lets a user, who must exist, play a role in one store. Its methods
// give the SQL for an administrator of the server, one statement a line. An
// owner is granted its rights before the first migration, the others after it,
// since servers give rights to tables that are there; and again after a
// migration that made a table.
type Grant struct {
	Role Role
	// User is a name as the server knows it, without quotes. MySQL takes
	// NAME@HOST, too, where the host is % by default: the connections' origin.
	User     string
	Database string // that the tables are in; needed by MySQL only
	Names    Names
}

// A right is what the roles do with one table. An owner's rights are wider.
type right struct {
	table, worker, producer, viewer string
}

// rights follow from the statements of the store and of its dialects. To lock
// a row, servers want the right to update it.
func rights() []right {
	return []right{
		{"message", "select, insert, update, delete", "insert", "select"},
		{"lease", "select, insert, update, delete", "", "select"},
		{"offer", "select, insert, update, delete", "", "select"},
		{"letter", "select, insert, update, delete", "", "select"},
		{"revision", "select, insert, delete", "", "select"},
		{"attempt", "select, insert, update, delete", "", "select"},
		{"group", "select, insert, update, delete", "", "select"},
		{"worker", "select, insert, update, delete", "", "select"},
		{"pause", "select, insert, update, delete", "", "select"},
		{"document", "select, insert, update", "", "select"},
		{"audit", "select, insert, delete", "", "select"},
		{"audited", "select, insert, delete", "", "select"},
		{"operation", "select, insert, update, delete", "", "select"},
		{"target", "select, insert, update, delete", "", "select"},
		{"meta", "select", "select", "select"},      // which store it is: opening, and sending in a transaction
		{"migration", "select", "select", "select"}, // whether the schema fits: opening
	}
}

// of is what one role does with the table; empty means nothing.
func (r right) of(role Role) string {
	return map[Role]string{RoleWorker: r.worker, RoleProducer: r.producer, RoleViewer: r.viewer}[role]
}

// PostgreSQL gives the SQL for PostgreSQL. Without a schema of its own, the
// store is taken to be in the schema public. Columns that count by themselves
// need no right to their sequences. Errors: ErrRole, ErrUser.
func (g Grant) PostgreSQL() (string, error) {
	user, err := postgresUser(g.User)
	if err = cmp.Or(g.checkRole(), err); err != nil {
		return "", err
	}
	n := Names{Schema: cmp.Or(g.Names.Schema, "public"), Prefix: g.Names.Prefix}
	schema := `"` + n.Schema + `"`
	if g.Role != RoleOwner {
		usage := "grant usage on schema " + schema + " to " + user
		return lines(append([]string{usage}, g.tables(n.Table, user)...)), nil
	}
	var out []string
	if g.Names.Schema != "" {
		out = append(out, "create schema if not exists "+schema)
	}
	return lines(append(out, "grant usage, create on schema "+schema+" to "+user)), nil
}

// MySQL gives the SQL for MySQL and MariaDB. Errors: ErrRole, ErrUser, ErrDSN.
func (g Grant) MySQL() (string, error) {
	user, err := mysqlUser(g.User)
	if err = cmp.Or(g.checkRole(), err); err != nil {
		return "", err
	}
	if g.Database == "" {
		return "", fmt.Errorf("%w: it names no database", ErrDSN)
	}
	database := strings.ReplaceAll(g.Database, "`", "``")
	if g.Role == RoleOwner {
		// Here, but not before a table's name, the database is a pattern.
		pattern := strings.NewReplacer(`\`, `\\`, `_`, `\_`, `%`, `\%`).Replace(database)
		return lines([]string{
			"grant create, alter, index, drop, select, insert, update, delete on `" + pattern + "`.* to " + user,
		}), nil
	}
	n := Names{Prefix: g.Names.Prefix}
	return lines(g.tables(func(table string) string { return "`" + database + "`." + n.Table(table) }, user)), nil
}

// tables are the rights to tables, whose names the function writes.
func (g Grant) tables(name func(table string) string, user string) (out []string) {
	for _, r := range rights() {
		if verbs := r.of(g.Role); verbs != "" {
			out = append(out, "grant "+verbs+" on "+name(r.table)+" to "+user)
		}
	}
	return out
}

func (g Grant) checkRole() error {
	if slices.Contains(Roles(), g.Role) {
		return nil
	}
	return fmt.Errorf("%w: there are %s", ErrRole, strings.Trim(fmt.Sprint(Roles()), "[]"))
}

func lines(stmts []string) string { return strings.Join(stmts, ";\n") + ";\n" }

// maxPostgresName is how much of a name PostgreSQL reads, in bytes.
const maxPostgresName = 63

// postgresUser quotes a user. PostgreSQL cuts a longer name off, which may leave
// that of somebody else, and takes public for everybody, quoted or not.
func postgresUser(name string) (string, error) {
	if err := checkUser(name); err != nil {
		return "", err
	}
	if len(name) > maxPostgresName {
		return "", fmt.Errorf("%w: it has more than %d bytes", ErrUser, maxPostgresName)
	}
	if name == "public" {
		return "", fmt.Errorf("%w: public is everybody", ErrUser)
	}
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`, nil
}

// mysqlUser quotes a user with the host after the last @. A backslash is
// doubled: where the server's mode gives it no meaning, the name is another one,
// and still quoted.
func mysqlUser(text string) (string, error) {
	name, host := text, "%"
	if i := strings.LastIndexByte(text, '@'); i >= 0 {
		name, host = text[:i], text[i+1:]
	}
	if err := cmp.Or(checkUser(name), checkUser(host)); err != nil {
		return "", err
	}
	escape := strings.NewReplacer(`\`, `\\`, `'`, `''`)
	return `'` + escape.Replace(name) + `'@'` + escape.Replace(host) + `'`, nil
}

// checkUser refuses what is no part of a user's name. MySQL takes an empty one
// for everybody.
func checkUser(part string) error {
	switch {
	case part == "":
		return fmt.Errorf("%w: want NAME, or on MySQL NAME@HOST", ErrUser)
	case !utf8.ValidString(part) || strings.ContainsFunc(part, unicode.IsControl):
		return fmt.Errorf("%w: it has control characters, or is not UTF-8", ErrUser)
	}
	return nil
}
