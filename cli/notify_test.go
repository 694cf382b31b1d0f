package cli_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// What the unit promises to systemd, `up` must do: with Type=notify it says when
// it is ready, and with WatchdogSec= that it lives (sd_notify(3)).
func TestUpTellsSystemdWhatItsUnitPromises(t *testing.T) {
	out, code := run(t, "generate", "systemd", "--binary", "/usr/bin/env")
	if code != 0 {
		t.Fatalf("generate: code %d\n%s", code, out)
	}
	notifies := strings.Contains(out, "\nType=notify\n")
	if strings.Contains(out, "\nWatchdogSec=") != notifies {
		t.Error("the watchdog is promised by what notifies, and by nothing else")
	}
	if !notifies {
		return
	}
	d := deploy(t, "a b", "store: sqlite:posthorn.db\n")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(d.dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	var heard transcript
	var wg sync.WaitGroup
	defer wg.Wait()
	defer conn.Close()
	wg.Go(func() {
		buffer := make([]byte, 64<<10)
		for {
			n, err := conn.Read(buffer)
			if err != nil {
				return
			}
			_, _ = heard.Write(append(buffer[:n:n], '\n'))
		}
	})
	up := exec.Command(d.shop, "up")
	up.Dir = d.dir
	up.Env = append(os.Environ(), "NOTIFY_SOCKET="+d.path("notify"), "WATCHDOG_USEC=1000000")
	if err := up.Start(); err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"READY=1", "WATCHDOG=1"} {
		d.await(word, func() bool { return strings.Contains(heard.String(), word) })
	}
	if err := up.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := up.Wait(); err != nil {
		t.Errorf("up: %v", err)
	}
	d.await("STOPPING=1", func() bool { return strings.Contains(heard.String(), "STOPPING=1") })
}
