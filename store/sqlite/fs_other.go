//go:build !linux

package sqlite

import (
	"fmt"
	"runtime"

	"github.com/posthorn/posthorn/driver"
)

// checkFS cannot tell on this system.
func checkFS(string) error { return nil }

// errNotHere: file systems are looked at on Linux only.
var errNotHere = fmt.Errorf("look at file system on %s: %w", runtime.GOOS, driver.ErrUnsupported)

// fileSystem cannot tell on this system.
func fileSystem(string) (kind, risk string, err error) { return "", "", errNotHere }

// freeSpace cannot tell on this system.
func freeSpace(string) (uint64, error) { return 0, errNotHere }
