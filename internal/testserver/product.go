//go:build linux || darwin

package testserver

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// A product is all that sets one make of server apart from another.
type product struct {
	name      string
	thing     string   // what scripts/setup.sh calls it
	server    string   // the program that serves
	installer string   // the program that makes a data directory
	together  bool     // the two programs must be of one directory
	accounts  []string // who may run it in the place of root
	superuser string
	database  string // that is always there

	stop   syscall.Signal // ends it in good order
	orphan syscall.Signal // ends it when its parent is dead

	whereabouts string // a query for the data directory

	extra    string // a directory to make in the data directory, or ""
	install  func(data string) []string
	serve    func(data string, port int) []string
	settings func(o Options) []string
	dsn      func(addr, user, database string) string
	open     func(dsn string) (*sql.DB, error)
}

// programs are the paths of a product's programs.
type programs struct{ server, installer string }

// ErrMissing: the server is not installed.
var ErrMissing = errors.New("server is not installed")

// A missingError says which server is not installed.
type missingError struct{ product product }

// Is makes errors.Is(err, ErrMissing) true.
func (e *missingError) Is(target error) bool { return target == ErrMissing }

func (e *missingError) Error() string {
	return fmt.Sprintf("%s is not installed; run: scripts/setup.sh %s", e.product.name, e.product.thing)
}

// find looks for the programs where packages put them.
func (p product) find() (programs, error) {
	dirs := programDirs()
	for _, dir := range dirs {
		found := programs{server: filepath.Join(dir, p.server)}
		if !isProgram(found.server) {
			continue
		}
		if found.installer = p.findInstaller(dir, dirs); found.installer != "" {
			return found, nil
		}
	}
	return programs{}, &missingError{p}
}

func (p product) findInstaller(server string, dirs []string) string {
	if p.together {
		dirs = []string{server}
	}
	for _, dir := range dirs {
		if path := filepath.Join(dir, p.installer); isProgram(path) {
			return path
		}
	}
	return ""
}

// programDirs are the directories of PATH, then those that packages use
// although PATH often lacks them, the newest version first.
func programDirs() []string {
	dirs := filepath.SplitList(os.Getenv("PATH"))
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin",
		"/usr/sbin", "/usr/local/sbin", "/usr/bin", "/usr/local/bin", "/usr/libexec", "/opt/homebrew/bin",
	} {
		found, _ := filepath.Glob(pattern) // the patterns are good
		slices.SortFunc(found, func(a, b string) int {
			if len(a) != len(b) { // version 9 is older than 10
				return len(b) - len(a)
			}
			return strings.Compare(b, a)
		})
		dirs = append(dirs, found...)
	}
	return dirs
}

func isProgram(path string) bool {
	_, err := exec.LookPath(path)
	return err == nil && filepath.IsAbs(path)
}

// flags turns settings into arguments; own settings win over the defaults.
func flags(format string, defaults, own map[string]string) []string {
	var args []string
	for _, settings := range []map[string]string{defaults, own} {
		for name, value := range settings {
			args = append(args, fmt.Sprintf(format, name, value))
		}
	}
	return args
}
