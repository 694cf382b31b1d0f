//go:build !linux

package monitor

// freeSpace cannot tell on this system: disks are nothing that is watched here.
func freeSpace(string) (int64, error) { return 0, errAbsent }
