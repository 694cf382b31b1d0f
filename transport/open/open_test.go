package open_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/transport/open"
)

func TestAnUnsupportedSchemeNamesWhatIsSupportedAndNoSecret(t *testing.T) {
	for _, dsn := range []string{"oracle://u:c4n4ry@h/d", "u:c4n4ry@h", "password=c4n4ry", "c4n4ry@h", ""} {
		err := open.CheckStore(dsn)
		if !errors.Is(err, open.ErrScheme) || !strings.Contains(err.Error(), "sqlite:PATH") {
			t.Errorf("CheckStore(%q) = %v", dsn, err)
		}
		transport := open.CheckTransport(dsn)
		if !errors.Is(transport, open.ErrScheme) || strings.Contains(err.Error()+transport.Error(), "c4n4ry") {
			t.Errorf("CheckTransport(%q) = %v; CheckStore: %v", dsn, transport, err)
		}
	}
}

func TestExistingMakesNoStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "typo.db")
	if _, err := open.Existing(context.Background(), "sqlite:"+path, store.Options{}); !errors.Is(err, open.ErrMissing) {
		t.Errorf("Existing = %v, want ErrMissing", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is there: %v", err)
	}
}

func TestATransportInTheStoreIsTheStore(t *testing.T) {
	ctx, dsn := context.Background(), "sqlite:"+filepath.Join(t.TempDir(), "a.db")
	s, err := open.Store(ctx, dsn, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := open.Transport(ctx, "store", s); err != nil || got != s {
		t.Errorf("Transport = %v, %v, want the store", got, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := open.Existing(ctx, dsn, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := open.Migrate(ctx, dsn); err != nil || n != 0 {
		t.Errorf("Migrate = %d, %v, want nothing to do", n, err)
	}
	if ms, err := open.Migrations(ctx, dsn); err != nil || len(ms) == 0 || ms[0].AppliedAt.IsZero() {
		t.Errorf("Migrations = %v, %v", ms, err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}
