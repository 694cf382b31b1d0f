package failpoint_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/posthorn/posthorn/internal/failpoint"
)

func TestANormalBuildDiesAtNoPoint(t *testing.T) {
	if failpoint.On {
		t.Fatal("this build can die at a point")
	}
	dir := t.TempDir()
	t.Setenv(failpoint.Variable, dir)
	for _, p := range failpoint.Points() {
		if err := os.WriteFile(filepath.Join(dir, string(p)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		failpoint.Pass(p)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != len(failpoint.Points()) {
		t.Errorf("%d files are left of %d, %v", len(left), len(failpoint.Points()), err)
	}
}

func BenchmarkPass(b *testing.B) {
	for b.Loop() {
		failpoint.Pass(failpoint.AfterCommit)
	}
}
