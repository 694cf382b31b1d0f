package demo_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/examples/unsubscribe/demo"
	"github.com/posthorn/posthorn/internal/testserver"
)

// servers are shared by the tests: none does them harm.
var servers = testserver.Shared{Options: testserver.Options{InMemory: true}}

// application is built when the first test asks for it.
var application program

func TestMain(m *testing.M) {
	code := servers.Main(m).Run()
	_ = os.RemoveAll(application.dir)
	os.Exit(code)
}

// program is the application's binary, in a directory of its own.
type program struct {
	once sync.Once
	dir  string
	err  error
}

func (p *program) build() {
	if p.dir, p.err = os.MkdirTemp("", "posthorn-demo-test-"); p.err != nil {
		return
	}
	if out, err := exec.Command("go", "build", "-o", p.path(), "..").CombinedOutput(); err != nil {
		p.err = fmt.Errorf("build: %w\n%s", err, out)
	}
}

func (p *program) path() string { return filepath.Join(p.dir, "unsubscribe") }

// stores are the kinds of store, each with what gives the address of an empty
// one.
func stores() map[string]func(*testing.T) string {
	return map[string]func(*testing.T) string{
		"sqlite":     func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "x.db") },
		"postgresql": func(t *testing.T) string { return servers.PostgreSQL(t).DSN() },
		"mariadb": func(t *testing.T) string {
			d := servers.MariaDB(t)
			return fmt.Sprintf("mysql://%s@%s/%s", d.Server.Superuser(), d.Server.Addr(), d.Name)
		},
	}
}

// onServers runs a test on each kind of server.
func onServers(t *testing.T, test func(t *testing.T, binary, dsn string)) {
	t.Helper()
	binary := build(t)
	for name, address := range stores() {
		if name != "sqlite" {
			t.Run(name, func(t *testing.T) { test(t, binary, address(t)) })
		}
	}
}

func build(t *testing.T) (binary string) {
	t.Helper()
	application.once.Do(application.build)
	if application.err != nil {
		t.Fatal(application.err)
	}
	return application.path()
}

// balanced is the line that a good run ends with.
var balanced = regexp.MustCompile(
	`(?m)^accepted (\d+) = done (\d+) \+ waiting 0 \+ dead (\d+) \+ discarded 0 · lost 0 · doubled 0$`)

// play runs the demo, small, in a directory that is the test's.
func play(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	cmd.Env = append(cmd.Environ(), "TMPDIR="+t.TempDir())
	out, err := cmd.CombinedOutput()
	if err != nil || !balanced.Match(out) || !strings.Contains(string(out), "with SIGKILL") {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

func small(binary string, more ...string) *exec.Cmd {
	return exec.Command(binary, append([]string{"demo", "--copies", "3", "--seed", "1"}, more...)...)
}

func TestTheDemoBalances(t *testing.T) {
	t.Parallel()
	binary := build(t)
	for _, seed := range []string{"1", "2"} {
		cmd := exec.Command(binary, "demo", "--copies", "6", "--seed", seed)
		cmd.Env = append(os.Environ(), "POSTHORN_STORE=sqlite:/nowhere/else.db") // somebody's own, which is not asked
		play(t, cmd)
	}
}

// result is a run's table and ledger without its blanks, but for what a killed
// worker had begun.
func result(out string) string {
	_, table, _ := strings.Cut(out, "\n\n")
	return regexp.MustCompile(` +|(?m)^ *\d+  retried\n`).ReplaceAllString(table, " ")
}

func TestServersGiveTheResultOfSQLiteAndAreEmptyAfterwards(t *testing.T) {
	t.Parallel()
	want := ""
	onServers(t, func(t *testing.T, binary, dsn string) {
		if want == "" {
			want = result(play(t, small(binary)))
		}
		out := play(t, small(binary, "--store", dsn))
		if got := result(out); got != want {
			t.Errorf("the result differs:\n%s\nSQLite's:\n%s", got, want)
		}
		if again := play(t, small(binary, "--store", dsn)); result(again) != want { // nothing was left
			t.Errorf("the second result differs:\n%s", again)
		}
	})
}

func TestTablesThatAreKeptStopTheNextDemoUntilTheyAreDroppedAsItSays(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, binary, dsn string) {
		play(t, small(binary, "--store", dsn, "--keep"))
		out, err := small(binary, "--store", dsn).CombinedOutput()
		statement := regexp.MustCompile("`(drop table [a-z_, ]+)`").FindSubmatch(out)
		if err == nil || !strings.Contains(string(out), demo.ErrNotEmpty.Error()) || statement == nil {
			t.Fatalf("%v\n%s", err, out)
		}
		s, db := openStore(t, dsn)
		plant(t, s, []string{string(statement[1])})
		if names, err := db.Names(t.Context()); err != nil || len(names) != 0 {
			t.Errorf("still there: %v, %v", names, err)
		}
	})
}

// TestADatabaseThatIsInUseIsLeftAsItIs uses the names of the demo's own tables,
// which would be the worst to mistake.
func TestADatabaseThatIsInUseIsLeftAsItIs(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, binary, dsn string) {
		s, db := openStore(t, dsn)
		plant(t, s, []string{`create table mail (mine integer)`, `insert into mail values (7)`})
		checkRefused(t, small(binary, "--store", dsn)) // for the sake of the store
		before, err := db.Names(t.Context())
		if err != nil || !slices.Contains(before, "posthorn_message") {
			t.Fatal(before, err)
		}
		for _, name := range before {
			if name != "mail" {
				plant(t, s, []string{"drop table " + name})
			}
		}
		checkRefused(t, small(binary, "--store", dsn)) // for the sake of the table
		if names, err := db.Names(t.Context()); err != nil || !slices.Equal(names, []string{"mail"}) {
			t.Errorf("tables: %v, %v", names, err)
		}
		var mine int
		if err := s.DB().QueryRow(`select mine from mail`).Scan(&mine); err != nil || mine != 7 {
			t.Errorf("the row is %d, %v", mine, err)
		}
	})
}

func checkRefused(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), demo.ErrNotEmpty.Error()) {
		t.Errorf("not refused: %v\n%s", err, out)
	}
}

// canary is a password.
const canary = "c4n4ry"

func TestAPasswordOfPostgreSQLIsNotShown(t *testing.T) {
	t.Parallel()
	checkSecret(t, strings.Replace(servers.PostgreSQL(t).DSN(), "@", ":"+canary+"@", 1)) // which takes any
}

func TestAPasswordOfMariaDBIsNotShown(t *testing.T) {
	t.Parallel()
	d := servers.MariaDB(t)
	err := d.Server.Exec("create user demo identified by '"+canary+"'", "grant all on "+d.Name+".* to demo")
	if err != nil {
		t.Fatal(err)
	}
	checkSecret(t, fmt.Sprintf("mysql://demo:%s@%s/%s", canary, d.Server.Addr(), d.Name))
}

// checkSecret runs the demo and looks for the canary in all that others could
// see of it.
func checkSecret(t *testing.T, dsn string) {
	t.Helper()
	binary := build(t)
	out, err := small(binary, "--store", dsn).CombinedOutput()
	if err == nil || !strings.Contains(string(out), demo.EnvStore) || strings.Contains(string(out), canary) {
		t.Errorf("a password in a flag: %v\n%s", err, out)
	}
	cmd := small(binary, "--keep")
	cmd.Env = append(os.Environ(), demo.EnvStore+"="+dsn)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	var args []byte
	wg.Go(func() { args = arguments(ctx, binary) })
	text := play(t, cmd)
	cancel()
	wg.Wait()
	if bytes.Contains(args, []byte(canary)) || strings.Contains(text, canary) {
		t.Errorf("the password was shown:\n%q\n%s", args, text)
	}
	if _, err := os.Stat("/proc/self/cmdline"); err == nil && !bytes.Contains(args, []byte("consume")) {
		t.Errorf("no worker was seen: %q", args)
	}
	checkFiles(t, regexp.MustCompile(`in (\S+), seed`).FindStringSubmatch(text)[1])
}

// arguments gathers the arguments of the processes of a program until ctx ends.
func arguments(ctx context.Context, binary string) (all []byte) {
	for ctx.Err() == nil {
		files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, file := range files {
			line, _ := os.ReadFile(file) // the process may have ended
			if bytes.HasPrefix(line, []byte(binary)) && !bytes.Contains(all, line) {
				all = append(all, line...)
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	return all
}

// checkFiles looks for the canary in the directory of a demo that was kept.
func checkFiles(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) < 4 {
		t.Errorf("files: %v, %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil || bytes.Contains(text, []byte(canary)) {
			t.Errorf("%s: %v\n%s", file, err, text)
		}
	}
}

func TestAddressesThatTheDemoCannotCountInAreRefused(t *testing.T) {
	t.Parallel()
	binary := build(t)
	for _, dsn := range []string{
		"sqlite:x.db", "postgres://u@127.0.0.1:1/d?schema=x", "mysql://u@127.0.0.1:1/d?prefix=x_",
	} {
		out, err := small(binary, "--store", dsn).CombinedOutput()
		if err == nil || !strings.Contains(string(out), demo.ErrAddress.Error()) {
			t.Errorf("%s: %v\n%s", dsn, err, out)
		}
	}
}
