package cli_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/testserver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/sqlite"
)

// deployment is the shop, deployed by what generate writes.
type deployment struct {
	t    *testing.T
	dir  string // with characters that the files must quote
	shop string
}

// deploy makes a directory with a program and its configuration.
func deploy(t *testing.T, name, config string) *deployment {
	t.Helper()
	d := &deployment{t: t, dir: filepath.Join(publicDir(t), name)}
	d.shop = filepath.Join(d.dir, "shop")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(d.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, d.shop); err != nil {
		t.Fatal(err)
	}
	d.write("posthorn.yaml", config)
	return d
}

func (d *deployment) path(name string) string { return filepath.Join(d.dir, name) }

func (d *deployment) write(name, text string) {
	d.t.Helper()
	if err := os.WriteFile(d.path(name), []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
}

// read is what a file says; nothing if there is none.
func (d *deployment) read(name string) string {
	text, _ := os.ReadFile(d.path(name))
	return string(text)
}

// run runs a program in the directory, and wants it to succeed.
func (d *deployment) run(name string, args ...string) string {
	d.t.Helper()
	return execute(d.t, d.dir, name, args...)
}

func (d *deployment) await(what string, ok func() bool) {
	d.t.Helper()
	for deadline := time.Now().Add(90 * time.Second); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			d.t.Fatalf("%s never came", what)
		}
	}
}

// rows counts the effects of insert messages: all, and different ones.
func (d *deployment) rows() (all, different int) {
	d.t.Helper()
	s, err := sqlite.Open(d.t.Context(), "sqlite:"+d.path("posthorn.db"), store.Options{AsIs: true})
	if err != nil {
		d.t.Fatal(err)
	}
	defer s.Close()
	row := s.DB().QueryRowContext(d.t.Context(), "select count(*), count(distinct text) from shop_row")
	if err := row.Scan(&all, &different); err != nil {
		d.t.Fatal(err)
	}
	return all, different
}

// send sends insert messages with numbers from..to.
func (d *deployment) send(from, to int) {
	d.t.Helper()
	var b strings.Builder
	for i := from; i < to; i++ {
		fmt.Fprintf(&b, "{\"text\":\"%d\"}\n", i)
	}
	cmd := exec.Command(d.shop, "dispatch", "insert", "-")
	cmd.Dir, cmd.Stdin = d.dir, strings.NewReader(b.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		d.t.Fatalf("dispatch: %v\n%s", err, out)
	}
}

// overseer is a private supervisord.
type overseer struct {
	*deployment
	ctl, conf string
}

// supervise starts supervisord on a configuration. It ends with the test, also
// when the test's process is killed.
func supervise(d *deployment, conf string) *overseer {
	d.t.Helper()
	o := &overseer{deployment: d, ctl: testserver.Program(d.t, "supervisorctl", "supervisor"), conf: conf}
	cmd := exec.Command(testserver.Program(d.t, "supervisord", "supervisor"), "-n", "-c", conf)
	cmd.Dir = d.dir
	out, err := os.Create(d.path("supervisord.out"))
	if err != nil {
		d.t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	guard := exec.Command("/bin/sh", "-c", `read -r _; kill -TERM "$1"; sleep 30; kill -KILL "$1"`, "sh",
		strconv.Itoa(cmd.Process.Pid))
	guard.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	hold, err := guard.StdinPipe()
	if err != nil {
		d.t.Fatal(err)
	}
	if err := guard.Start(); err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			d.t.Errorf("supervisord: %v", err)
		}
		_ = guard.Process.Kill()
		_ = guard.Wait()
		_ = hold.Close()
		if d.t.Failed() {
			for _, log := range []string{"supervisord.out", "shop-health.log", "shop-mailers.log"} {
				d.t.Logf("%s:\n%s", log, d.read(log))
			}
		}
	})
	return o
}

// status maps the names of processes to their states and pids.
func (o *overseer) status() map[string]process {
	cmd := exec.Command(o.ctl, "-c", o.conf, "status") // its code is not 0 unless all run
	cmd.Dir = o.dir
	text, _ := cmd.Output()
	out := map[string]process{}
	line := regexp.MustCompile(`(?m)^(\S+) +([A-Z]+)(?: +pid (\d+))?`)
	for _, m := range line.FindAllStringSubmatch(string(text), -1) {
		pid, _ := strconv.Atoi(m[3])
		out[m[1]] = process{m[2], pid}
	}
	return out
}

// process is what supervisorctl says of one.
type process struct {
	state string
	pid   int
}

// running reports whether so many processes run, and no other is there.
func (o *overseer) running(n int) bool {
	all := o.status()
	for _, p := range all {
		if p.state != "RUNNING" {
			return false
		}
	}
	return len(all) == n
}

const worker0 = "shop:shop-mailers_00"

// supervised deploys the shop with supervisord; replacements shorten what the
// test would wait for.
func supervised(t *testing.T, replacements ...string) *overseer {
	t.Helper()
	d := deploy(t, "a b",
		"store: sqlite:posthorn.db\nprograms: {mailers: {processes: 2, concurrency: 4, drain_timeout: 20s}}\n")
	d.run(d.shop, "transport", "setup")
	d.write("shop.env", "POSTHORN_LOG_LEVEL='info'\n")
	d.run(d.shop, "generate", "supervisor", "--standalone", "--out", ".", "--binary", d.shop,
		"--environment-file", d.path("shop.env"))
	text := d.read("shop.conf")
	for i := 0; i < len(replacements); i += 2 {
		if !strings.Contains(text, replacements[i]) {
			t.Fatalf("shop.conf has no %q:\n%s", replacements[i], text)
		}
		text = strings.ReplaceAll(text, replacements[i], replacements[i+1])
	}
	d.write("shop.conf", text)
	o := supervise(d, "shop.conf")
	d.await("two workers and a listener", func() bool { return o.running(3) })
	return o
}

func TestTheRealSupervisordRunsWorkersReplacesAKilledOneAndStopsThemGracefully(t *testing.T) {
	o := supervised(t)
	o.send(0, 100)
	o.await("100 effects", func() bool { all, _ := o.rows(); return all >= 100 })
	old := o.status()[worker0].pid
	if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	o.send(100, 200)
	o.await("a successor", func() bool { p := o.status()[worker0]; return p.state == "RUNNING" && p.pid != old })
	o.await("200 effects", func() bool { _, different := o.rows(); return different == 200 })
	if all, _ := o.rows(); all != 200 {
		t.Errorf("%d effects of 200 messages", all)
	}

	o.run(o.shop, "dispatch", "greet", `{"to":"a","nap":"2s"}`, "--id", "in-hand")
	o.await("the handler", func() bool { _, err := os.Stat(o.path("napping")); return err == nil })
	o.run(o.ctl, "-c", o.conf, "stop", "shop:*")
	if out, code := o.try("why", "in-hand"); code != 3 {
		t.Errorf("the message in hand was not finished: code %d\n%s", code, out)
	}
	log := o.read("supervisord.out")
	if n := strings.Count(log, "stopped: shop-mailers_0"); n != 2 || strings.Contains(log, "by SIGTERM") {
		t.Errorf("workers did not end by themselves:\n%s", log)
	}
	if n := strings.Count(log, "killing"); n != 0 {
		t.Errorf("supervisord had to kill:\n%s", log)
	}
}

func TestTheListenerStartsAgainWhatSupervisordGaveUp(t *testing.T) {
	o := supervised(t, "TICK_60", "TICK_5", "startretries=10", "startretries=1")
	if err := os.Rename(o.shop, o.shop+".away"); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(o.status()[worker0].pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	o.await("FATAL", func() bool { return o.status()[worker0].state == "FATAL" })
	o.await("a report", func() bool {
		return strings.Contains(o.read("shop-health.log"), "supervisord gave a process up")
	})
	if err := os.Rename(o.shop+".away", o.shop); err != nil {
		t.Fatal(err)
	}
	o.await("all to run again", func() bool { return o.running(3) })
	if log := o.read("shop-health.log"); !strings.Contains(log, "process=shop-mailers_00") {
		t.Errorf("the listener does not say what it did:\n%s", log)
	}
}

// try runs the shop, and returns its output and exit code.
func (d *deployment) try(args ...string) (string, int) {
	cmd := exec.Command(d.shop, args...)
	cmd.Dir = d.dir
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		d.t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}
