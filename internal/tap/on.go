//go:build posthorn_tap

package tap

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// On says whether anything is kept.
const On = true

// keep appends a piece to the file of its kind and process, at once: the process may be
// killed at any time.
func keep(k Kind, p []byte) {
	dir := os.Getenv(Env)
	if dir == "" {
		return
	}
	if k != Metrics && !bytes.HasSuffix(p, []byte("\n")) { // a page comes in parts
		p = append(bytes.Clone(p), '\n')
	}
	name := strings.Join([]string{string(k), filepath.Base(os.Args[0]), strconv.Itoa(os.Getpid())}, "+")
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		panic(fmt.Errorf("tap: %w", err))
	}
	defer f.Close()
	if _, err := f.Write(p); err != nil {
		panic(fmt.Errorf("tap: %w", err))
	}
}
