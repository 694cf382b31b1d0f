package cli_test

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/testserver"
)

// crontab is a crontab, as cron reads it.
type crontab struct {
	*deployment
	env  []string // its settings
	line string   // the command
}

func newCrontab(t *testing.T, args ...string) *crontab {
	t.Helper()
	c := &crontab{deployment: deploy(t, "a 100%d b", "programs: {mailers: {}}\n")}
	c.write("my shop.env", "POSTHORN_STORE='sqlite:none.db'\n")
	c.run(c.shop, append([]string{"generate", "cron", "--out", ".", "--binary", c.shop, "--environment-file",
		c.path("my shop.env")}, args...)...)
	setting, job := regexp.MustCompile(`^[A-Z]+=`), regexp.MustCompile(`^\* \* \* \* \* (.*)$`)
	for line := range strings.Lines(c.read("shop.crontab")) {
		line = strings.TrimSuffix(line, "\n")
		if setting.MatchString(line) {
			c.env = append(c.env, line)
		}
		if m := job.FindStringSubmatch(line); m != nil {
			c.line = m[1]
		}
	}
	if c.line == "" {
		t.Fatalf("no line of a job:\n%s", c.read("shop.crontab"))
	}
	return c
}

// job runs the line as cron does (crontab(5)): in the home directory, with its
// few variables and what the crontab sets, by sh -c. A percent sign ends the
// command, unless a backslash precedes it.
func (c *crontab) job() (mail string) {
	c.t.Helper()
	line := regexp.MustCompile(`(^|[^\\])%.*`).ReplaceAllString(c.line, "$1")
	cmd := exec.Command("/bin/sh", "-c", strings.ReplaceAll(line, `\%`, "%"))
	cmd.Dir = c.t.TempDir()
	cmd.Env = append([]string{"HOME=" + cmd.Dir, "LOGNAME=shop", "SHELL=/bin/sh", "PATH=/usr/bin:/bin"}, c.env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		c.t.Errorf("%s: %v\n%s", c.line, err, out)
	}
	return string(out)
}

func TestCronJudgesAndMailsOnlyWhatIsBad(t *testing.T) {
	c := newCrontab(t, "--mail-to", "ops@example.org")
	if mail := c.job(); !strings.Contains(mail, "shop is not healthy, or was not judged: exit ") {
		t.Errorf("no store, and the mail is %q; log:\n%s", mail, c.read("shop-monitor.log"))
	}
	c.write("my shop.env", "POSTHORN_STORE='sqlite:shop.db'\n")
	c.run(c.shop, "transport", "setup", "--store", "sqlite:shop.db")
	if mail := c.job(); mail != "" {
		t.Errorf("all is well, and cron would mail %q", mail)
	}
	if log := c.read("shop-monitor.log"); !strings.Contains(log, "store") || !strings.Contains(log, "sqlite") {
		t.Errorf("the log does not tell the judgement:\n%s", log)
	}
}

func TestCronJudgesNeverTwiceAtTheSameTime(t *testing.T) {
	c := newCrontab(t)
	c.write("my shop.env", "POSTHORN_STORE='sqlite:shop.db'\n")
	c.run(c.shop, "transport", "setup", "--store", "sqlite:shop.db")
	lock := exec.Command("flock", c.path("shop-monitor.lock"), "sh", "-c", "echo held; read -r _")
	in, err := lock.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := lock.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := lock.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if mail := c.job(); !strings.Contains(mail, "was not judged") || c.read("shop-monitor.log") != "" {
		t.Errorf("the mail is %q; log:\n%s", mail, c.read("shop-monitor.log"))
	}
	_ = in.Close()
	_ = lock.Wait()
	if mail := c.job(); mail != "" {
		t.Errorf("the lock is free, and cron would mail %q", mail)
	}
}

func TestCronTakesTheCrontab(t *testing.T) {
	check := testserver.Program(t, "crontab", "cron")
	c := newCrontab(t, "--mail-to", "ops@example.org")
	c.run(check, "-n", "shop.crontab")
	c.write("bad", strings.Replace(c.read("shop.crontab"), "* * * * *", "* * 99 * *", 1))
	bad := exec.Command(check, "-n", "bad")
	bad.Dir = c.dir
	if out, err := bad.CombinedOutput(); err == nil {
		t.Errorf("the check does not look: %s", out)
	}
}
