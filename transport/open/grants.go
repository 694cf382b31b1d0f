package open

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/posthorn/posthorn/store"
)

// Grants gives the SQL that lets a user of the database server play a role in
// the store at dsn; see [store.Grant]. It connects to nothing. Errors: ErrScheme,
// store.ErrDSN, ErrPlaintext, ErrNoRoles, ErrRole, ErrUser.
func Grants(dsn string, role store.Role, user string) (string, error) {
	d, err := find(dsn)
	if err != nil {
		return "", err
	}
	if d.grants == nil {
		return "", store.ErrNoRoles
	}
	if err := CheckStore(dsn); err != nil {
		return "", err
	}
	database, names, err := whereTables(dsn)
	if err != nil {
		return "", err
	}
	return d.grants(store.Grant{Role: role, User: user, Database: database, Names: names})
}

// whereTables reads from a server's address where the store's tables are. User
// and password end at an @ before any slash; a password may have characters that
// no other part of a URL has.
func whereTables(dsn string) (database string, n store.Names, err error) {
	_, rest, _ := strings.Cut(dsn, "://")
	if i := strings.IndexAny(rest, "@/"); i >= 0 && rest[i] == '@' {
		rest = rest[i+1:]
	}
	u, err := url.Parse("store://" + rest) // without the scheme a third slash would be part of the path
	if err != nil {
		return "", n, fmt.Errorf("%w: it does not parse as a URL", store.ErrDSN) // err has the address
	}
	database = strings.TrimPrefix(u.Path, "/")
	if strings.ContainsAny(database, "/@") { // what stands there may be a password behind a slash too many
		return "", n, fmt.Errorf("%w: the name of its database has a slash or an @; user and password stand before the host",
			store.ErrDSN)
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return "", n, fmt.Errorf("%w: its parameters do not parse", store.ErrDSN)
	}
	n, err = store.TakeNames(q)
	return database, n, err
}
