//go:build linux || darwin

package testserver

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// Program finds a program that a test runs, by its name or by another that it goes by
// elsewhere. Where it is not installed the test is skipped, or fails if the environment says
// CI=true; thing is what scripts/setup.sh calls what has it.
func Program(t testing.TB, name, thing string, others ...string) string {
	t.Helper()
	for _, name := range append([]string{name}, others...) {
		for _, dir := range programDirs() {
			if path := filepath.Join(dir, name); isProgram(path) {
				return path
			}
		}
	}
	text := fmt.Sprintf("%s is not installed; run: scripts/setup.sh %s", name, thing)
	if ci, _ := strconv.ParseBool(os.Getenv("CI")); ci {
		t.Fatal(text)
	}
	t.Skip(text)
	return ""
}
