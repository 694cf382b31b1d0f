package tidy_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/tidy"
)

func TestTheModuleKeepsItsConventions(t *testing.T) {
	t.Parallel()
	for _, problem := range loadModule(t).Check() {
		t.Error(problem)
	}
}

func TestTheArchitecturePageNamesEveryTopDirectory(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join(moduleRoot(t), "docs", "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range loadModule(t).Dirs() {
		top, _, _ := strings.Cut(dir, "/")
		if top != "." && !bytes.Contains(page, []byte(top+"/")) {
			t.Errorf("docs/ARCHITECTURE.md:1: %s/ is not named", top)
		}
	}
}

func loadModule(t *testing.T) *tidy.Module {
	t.Helper()
	m, err := tidy.Load(os.DirFS(moduleRoot(t)))
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Dirs()) < 3 {
		t.Fatalf("only %v was read: this is not the module", m.Dirs())
	}
	return m
}

// moduleRoot is the directory with go.mod, upwards from the test's own.
func moduleRoot(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		t.Fatal(err)
	}
	return root
}
