package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"
)

var errProc = errors.New("/proc has another form than expected")

// hasProc reports whether the figures of processes can be had.
func hasProc() bool {
	_, err := os.Stat("/proc/self/stat")
	return err == nil
}

// cpuTime is the time that this process has used, user and system.
func cpuTime() (time.Duration, error) {
	var used syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	return time.Duration(used.Utime.Nano() + used.Stime.Nano()), err
}

// A memory is resident memory in megabytes.
type memory struct{ Now, Peak float64 }

// memoryUsed is that of this process; zero where there is no /proc.
func memoryUsed() (m memory, err error) {
	text, err := os.ReadFile("/proc/self/status")
	if errors.Is(err, os.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return m, err
	}
	m.Now, m.Peak = kilobytes(string(text), "VmRSS:")/1000, kilobytes(string(text), "VmHWM:")/1000
	if m.Now == 0 || m.Peak == 0 {
		return m, errProc
	}
	return m, nil
}

// kilobytes reads a line like "MemTotal:  24613456 kB"; 1 kB is 1.024 of ours.
func kilobytes(text, key string) float64 {
	n, _ := strconv.ParseFloat(strings.TrimSuffix(lineOf(text, key), " kB"), 64)
	return n * 1.024
}

// lineOf is what follows a key at the beginning of a line.
func lineOf(text, key string) string {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, key); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

// A machine says on what the figures were measured, and when.
type machine struct {
	Date, CPU, Memory, Place, Go string
	LoadBefore, LoadAfter        string
}

func thisMachine(dir string) machine {
	m := machine{
		Date: time.Now().UTC().Format("2006-01-02 15:04 UTC"), LoadBefore: loadAverage(), Place: fileSystem(dir),
		Go: fmt.Sprintf("%s/%s, %s", runtime.GOOS, runtime.GOARCH, runtime.Version()),
	}
	cpuinfo, _ := os.ReadFile("/proc/cpuinfo") // what is not known is not shown
	meminfo, _ := os.ReadFile("/proc/meminfo")
	name := strings.TrimSpace(strings.TrimPrefix(lineOf(string(cpuinfo), "model name"), ":"))
	m.CPU = strings.TrimSpace(fmt.Sprintf("%d × %s %s", runtime.NumCPU(), runtime.GOARCH, name))
	m.Memory = fmt.Sprintf("%.0f GB", kilobytes(string(meminfo), "MemTotal:")/1e6)
	return m
}

// loadAverage tells whether the machine had other things to do.
func loadAverage() string {
	text, _ := os.ReadFile("/proc/loadavg")
	one, _, _ := strings.Cut(string(text), " ")
	return one
}

// fileSystem is the type of the file system of a directory: on tmpfs a commit
// costs nothing, and the figures would mean nothing.
func fileSystem(dir string) string {
	text, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return "unknown"
	}
	best, kind := -1, "unknown"
	sc := bufio.NewScanner(bytes.NewReader(text))
	for sc.Scan() {
		f := strings.Fields(sc.Text())
		if len(f) < 3 || len(f[1]) <= best {
			continue
		}
		if f[1] == "/" || dir == f[1] || strings.HasPrefix(dir, f[1]+"/") {
			best, kind = len(f[1]), f[2]
		}
	}
	return kind
}

// version is that of a module in this build.
func version(module string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, d := range info.Deps {
		if d.Path != module {
			continue
		}
		if d.Replace != nil {
			return "this tree"
		}
		return d.Version
	}
	return "unknown"
}
