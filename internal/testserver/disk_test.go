package testserver_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/posthorn/posthorn/internal/testserver"
)

func TestASmallDiskIsSoonFullAndEndsWithItsServer(t *testing.T) {
	t.Parallel()
	var dir string
	t.Run("while the server runs", func(t *testing.T) {
		var err error
		if dir, err = testserver.PostgreSQL(t, testserver.Options{Volatile: true}).SmallDisk(1 << 20); err != nil {
			t.Logf("nothing to be seen here: %v", err)
			return
		}
		err = os.WriteFile(filepath.Join(dir, "large"), make([]byte, 2<<20), 0o600)
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("writing more than fits: %v, want %v", err, syscall.ENOSPC)
		}
	})
	if _, err := os.Stat(filepath.Dir(dir)); dir != "" && !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the place of the server is there after its end: %v", err)
	}
}
