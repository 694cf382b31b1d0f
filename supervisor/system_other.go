//go:build unix && !linux

package supervisor

import "syscall"

// maxRSSUnit is the unit of ru_maxrss on the BSDs' heir macOS; on the BSDs
// themselves it is larger.
const maxRSSUnit = 1

// ownGroup makes a process the leader of a group of its own. The system cannot
// bind its life to ours: that is left to the guardian.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// awaitEnd leaves the waiting to what reaps the process.
func awaitEnd(int) bool { return false }

// monotonic is asked for by systemd only, which is not here.
func monotonic() (int64, bool) { return 0, false }

// residentOf has no cheap source here.
func residentOf(int) int64 { return 0 }

// A corpse is a dead child that nobody has buried.
type corpse struct {
	pid  int
	born string
}

// adopts is false: what cannot list its children cannot bury them.
func adopts() bool { return false }

func corpses() []corpse { return nil }

func bury(int) {}

// oomFile and oomKills know no cgroups.
func oomFile(int) string { return "" }

func oomKills(string) int64 { return 0 }
