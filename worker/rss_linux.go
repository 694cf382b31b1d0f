package worker

import (
	"bytes"
	"os"
	"strconv"
)

// ResidentMemory is the resident set size of this process in bytes, from
// proc_pid_statm(5); 0 when it cannot be read.
func ResidentMemory() int64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := bytes.Fields(b)
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}
