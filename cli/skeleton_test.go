package cli_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestWhatInitWritesCompilesAndWorks(t *testing.T) {
	module, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if out, code := run(t, "init", filepath.Join(dir, "new")); code != 0 {
		t.Fatalf("init: code %d\n%s", code, out)
	}
	// The overlay shows the new file to the go tool as a package of this
	// module, so that it is compiled against it without a network.
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {
		filepath.Join(module, "cmd", "skeleton", "main.go"): filepath.Join(dir, "new", "main.go"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "app")
	execute(t, module, "go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", program, "./cmd/skeleton")
	in := filepath.Join(dir, "new")
	execute(t, in, program, "dispatch", "welcome", `{"to":"a@example.org"}`)
	if out := execute(t, in, program, "consume", "--limit", "1"); !strings.Contains(out, "msg=welcome") {
		t.Errorf("the handler did not run:\n%s", out)
	}
}

// execute runs a program that must succeed.
func execute(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}
