//go:build posthorn_failpoints

package failpoint

import (
	"os"
	"path/filepath"
)

// On says that this build can die at a point.
const On = true

// Pass is a moment. Where the point is armed, it is the last one of this process.
func Pass(p Point) {
	path := filepath.Join(os.Getenv(Variable), string(p))
	if filepath.Dir(path) == "." {
		return
	}
	info, err := os.Stat(path) // the one call that a point costs that is not armed
	if err != nil || letGo(path, info) || os.Remove(path) != nil {
		return
	}
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Kill()
	}
	if err != nil {
		panic(err)
	}
	select {} // until the signal comes
}

// letGo counts down the passes before the last one: one for each byte of the file.
func letGo(path string, info os.FileInfo) bool {
	return info.Size() > 0 && os.Truncate(path, info.Size()-1) == nil
}
