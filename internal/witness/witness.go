// Package witness keeps what a test run brings to light: all log records, log lines,
// metrics, alerts and traces, in files of a directory that POSTHORN_WITNESS names. When
// the run is over, its judge looks in them for secrets of the tests and for characters
// that a terminal obeys: `make canaries`. Test packages import it; programs do not.
package witness

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/posthorn/posthorn/internal/tap"
)

// Env names the directory. Without it, nothing is kept.
const Env = "POSTHORN_WITNESS"

// Secret stands in bodies, headers, passwords and tokens of tests.
const Secret = tap.Secret

// Hidden is a field of a message that holds the secret, whatever it is set to.
type Hidden struct{}

// MarshalText gives the secret.
func (Hidden) MarshalText() ([]byte, error) { return []byte(Secret), nil }

// UnmarshalText takes anything.
func (*Hidden) UnmarshalText([]byte) error { return nil }

// init begins to listen before the process does anything: tests and the processes that
// they start have no other common place.
func init() {
	if dir := os.Getenv(Env); dir != "" {
		tap.Listen((&keeper{dir: dir, files: map[tap.Kind]*os.File{}}).keep)
	}
}

// A keeper writes what it is shown to files, one a kind and process, at once: the process
// may be killed at any time.
type keeper struct {
	dir   string
	mu    sync.Mutex
	files map[tap.Kind]*os.File
}

func (k *keeper) keep(kind tap.Kind, p []byte) {
	if len(p) == 0 {
		return
	}
	if p[len(p)-1] != '\n' && kind != tap.Metrics { // a page comes in parts
		p = append(append([]byte{}, p...), '\n')
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	f, err := k.file(kind)
	if err == nil {
		_, err = f.Write(p)
	}
	if err != nil {
		panic(fmt.Errorf("witness: %w", err)) // what is not seen would be judged as clean
	}
}

func (k *keeper) file(kind tap.Kind) (*os.File, error) {
	if f := k.files[kind]; f != nil {
		return f, nil
	}
	name := strings.Join([]string{string(kind), filepath.Base(os.Args[0]), strconv.Itoa(os.Getpid())}, "+")
	f, err := os.OpenFile(filepath.Join(k.dir, name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s names no directory: %w", Env, err)
	}
	k.files[kind] = f
	return f, err
}
