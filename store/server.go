package store

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// ServerOptions say how a store on a database server keeps its connections.
// Zero fields have defaults. A store in a file has none of it.
type ServerOptions struct {
	// Session are settings of the server, by name, that every new connection
	// gets. One that the server refuses is ErrSession at Open.
	Session map[string]string

	Effects int // connections for effects; 0 means 4
	Control int // connections for Posthorn's own transactions; 0 means 3
	App     int // connections that Store.DB may open; 0 means 8

	Lifetime       time.Duration // of a connection, spread by a fifth; 0 means 30 min
	IdleCheck      time.Duration // after which a connection is tried before it is used; 0 means 10 s
	ConnectTimeout time.Duration // for one host to let a connection in; 0 means what the address says, or 5 s
}

// settingName is what names of a server's settings look like.
var settingName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{0,62}(\.[A-Za-z][A-Za-z0-9_]{0,62})?$`)

// maxSetting bounds the value of a setting.
const maxSetting = 1000

// CheckSetting refuses a session setting whose name or value no server takes,
// with ErrSession. Whether a server knows it shows when the store is opened.
func CheckSetting(name, value string) error {
	switch {
	case !settingName.MatchString(name):
		return fmt.Errorf("%w: a name has letters, digits and '_', and begins with a letter", ErrSession)
	case len(value) > maxSetting:
		return fmt.Errorf("%w: the value of %s has more than %d bytes", ErrSession, name, maxSetting)
	case strings.ContainsRune(value, 0):
		return fmt.Errorf("%w: the value of %s has a zero byte", ErrSession, name)
	}
	return nil
}
