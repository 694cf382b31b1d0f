package cli

import (
	"os"
	"path"
	"strconv"
	"strings"
)

// cgroupMemory is the memory limit of this process's cgroup in bytes, or 0 when
// there is none: memory.max of version 2, and memory.limit_in_bytes of version
// 1, see the kernel's documentation of cgroups. An ancestor may allow less: the
// lowest limit counts.
func cgroupMemory() int64 {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return 0
	}
	lowest := int64(0)
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		root, file := "", ""
		switch parts[1] {
		case "":
			root, file = "/sys/fs/cgroup", "memory.max"
		case "memory":
			root, file = "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
		default:
			continue
		}
		for dir := path.Clean("/" + parts[2]); ; dir = path.Dir(dir) {
			if n := memoryFile(path.Join(root, dir, file)); n > 0 && (lowest == 0 || n < lowest) {
				lowest = n
			}
			if dir == "/" {
				break
			}
		}
	}
	return lowest
}

// unlimited is more than any machine has: version 1 writes such a number for no
// limit, version 2 the word max.
const unlimited = 1 << 60

func memoryFile(file string) int64 {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil || n >= unlimited {
		return 0
	}
	return n
}
