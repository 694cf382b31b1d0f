package supervisor

import (
	"errors"
	"os"
	"syscall"
)

// errUnix is the error of what needs process groups and Unix sockets.
var errUnix = errors.New("supervising processes needs a Unix system")

func signalGroup(int, syscall.Signal) error { return errUnix }

func signalOne(int, syscall.Signal) error { return errUnix }

func groupLives(int) bool { return false }

func ending(state *os.ProcessState) Exit { return Exit{Code: state.ExitCode()} }

func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{} }

func ownSession() *syscall.SysProcAttr { return &syscall.SysProcAttr{} }

func awaitEnd(int) bool { return false }

func monotonic() (int64, bool) { return 0, false }

func residentOf(int) int64 { return 0 }

// A corpse is a dead child that nobody has buried.
type corpse struct {
	pid  int
	born string
}

func adopts() bool { return false }

func corpses() []corpse { return nil }

func bury(int) {}

func oomFile(int) string { return "" }

func oomKills(string) int64 { return 0 }
