package finetimer

import (
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A fd is a timer of the kernel's, for which a goroutine waits as for a network
// connection: nothing else of the process waits with it.
type fd struct {
	file    *os.File
	waiting sync.WaitGroup
}

// newClock makes one, or a plain clock where the process may have no more files.
func newClock(fire func()) clock {
	n, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return newPlain(fire)
	}
	f := &fd{file: os.NewFile(uintptr(n), "timer")}
	f.waiting.Go(func() {
		var count [8]byte
		for {
			if _, err := f.file.Read(count[:]); err != nil {
				return // it was closed
			}
			fire()
		}
	})
	return f
}

func (f *fd) set(d time.Duration) {
	raw, err := f.file.SyscallConn()
	if err != nil {
		return // it was closed
	}
	_ = raw.Control(func(n uintptr) {
		// It fails for what is no timer, or no time, only.
		_ = unix.TimerfdSettime(int(n), 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}, nil)
	})
}

func (f *fd) close() {
	_ = f.file.Close() // nothing was written
	f.waiting.Wait()
}
