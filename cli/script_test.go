package cli_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/cli"
	"github.com/posthorn/posthorn/internal/tap"
	"github.com/posthorn/posthorn/internal/witness"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/sqlite"
	"github.com/posthorn/posthorn/supervisor"
	"github.com/posthorn/posthorn/tracing"
)

// greet is a message whose handler does what the message says.
type greet struct {
	To   string `json:"to"`
	Fail string `json:"fail"`
	Nap  string `json:"nap"`
	Door string `json:"door" posthorn:"secret"`

	Secret witness.Hidden `json:"secret"`
}

// Kind is its stable name.
func (greet) Kind() string { return "greet" }

// Validate refuses a greeting to nobody.
func (g greet) Validate() error {
	if g.To == "" {
		return errors.New("to is empty")
	}
	return nil
}

// insert is a message that is handled in a transaction.
type insert struct {
	Text string `json:"text"`
}

// Kind is its stable name.
func (insert) Kind() string { return "insert" }

// hang is a message whose handler never returns.
type hang struct{}

// Kind is its stable name.
func (hang) Kind() string { return "hang" }

// shop is the application that the tests run.
func shop() { cli.Main(shopApp()) }

func shopApp() cli.App {
	mux := posthorn.NewMux()
	mux.Use(tracing.New(witness.Provider()).Handle)
	posthorn.Handle(mux, handleGreet)
	posthorn.Handle(mux, new(hoard).grow)
	posthorn.Handle(mux, func(context.Context, hang) error { select {} },
		posthorn.WithTimeout(time.Millisecond), posthorn.WithRetry(posthorn.RetryPolicy{MaxRetries: posthorn.NoRetry}))
	posthorn.HandleTx(mux, func(ctx context.Context, tx *posthorn.Tx, m insert) error {
		_, err := tx.ExecContext(ctx, "insert into shop_row (text) values (?)", m.Text)
		return err
	})
	return cli.App{Name: "shop", Version: "1.2.3", Mux: mux, Setup: func(ctx context.Context, env cli.Env) error {
		_, err := env.Store.DB().ExecContext(ctx, "create table if not exists shop_row (text text not null)")
		return err
	}}
}

// napEnv is the directory in which a napping handler leaves a file; empty means
// where it runs.
const napEnv = "POSTHORN_CLI_TEST_NAP"

func handleGreet(ctx context.Context, g greet) error {
	nap, _ := time.ParseDuration(g.Nap)
	if nap > 0 {
		if err := os.WriteFile(filepath.Join(os.Getenv(napEnv), "napping"), nil, 0o600); err != nil {
			return err
		}
	}
	select {
	case <-time.After(nap):
	case <-ctx.Done():
		return ctx.Err()
	}
	if file, ok := strings.CutPrefix(g.Fail, "while "); ok {
		if _, err := os.Stat(file); err != nil {
			return nil
		}
	}
	if g.Fail != "" {
		return posthorn.Reject(errors.New(g.Fail))
	}
	return nil
}

// childEnv makes the test binary the shop: the processes of up are such.
const childEnv = "POSTHORN_CLI_TEST_CHILD"

// impostorEnv names the file with the id of a worker that a command claims to be.
const impostorEnv = "POSTHORN_CLI_TEST_IMPOSTOR"

// pretend claims to be somebody else, and dies.
func pretend(file string) {
	for {
		if id, err := os.ReadFile(file); err == nil && len(id) > 0 {
			_ = supervisor.Notify(os.Getenv("NOTIFY_SOCKET"), "X_POSTHORN_WORKER="+string(id))
			os.Exit(1)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestMain(m *testing.M) {
	if file := os.Getenv(impostorEnv); file != "" && len(os.Args) == 1 {
		pretend(file)
	}
	if os.Getenv(childEnv) != "" {
		shop()
	}
	testscript.Main(m, map[string]func(){
		"shop":     shop,
		"posthorn": func() { cli.Main(cli.App{Name: "posthorn", Version: "1.2.3"}) },
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("NO_COLOR", "1")
			env.Setenv("TZ", "UTC")
			env.Setenv("GORACE", "atexit_sleep_ms=20") // else each command takes a second more
			env.Setenv(tap.Env, os.Getenv(tap.Env))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code": runForCode, "hostile": writeHostile, "await": awaitFile, "capture": capture, "big": writeBig,
			"sql": runSQL,
		},
	})
}

// runForCode runs a command and wants an exit code: code 3 shop why x.
func runForCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N command...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit interface{ ExitCode() int }
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("%v: exit code %d, want %d", args[1:], got, want)
	}
}

// hostileText is what an attacker would like a terminal to obey.
const hostileText = "boom \x1b[2J\x1b]0;owned\x07 \u202egnp.exe \u009b31m\r\nerror: faked"

// writeHostile writes a body whose handler fails with a hostile error.
func writeHostile(ts *testscript.TestScript, _ bool, args []string) {
	body := fmt.Sprintf(`{"to":"x","fail":%s}`, quoted(hostileText))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(body), 0o600))
}

// quoted is a JSON string in which every character stands raw that may.
func quoted(s string) string {
	return `"` + strings.NewReplacer("\x1b", `\u001b`, "\x07", `\u0007`, "\r", `\r`, "\n", `\n`).Replace(s) + `"`
}

// awaitFile waits until a file exists: await napping.
func awaitFile(ts *testscript.TestScript, _ bool, args []string) {
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(ts.MkAbs(args[0])); err == nil {
			return
		}
	}
	ts.Fatalf("%s never appeared", args[0])
}

// runSQL runs a statement on a SQLite file: sql posthorn.db 'delete from x'.
func runSQL(ts *testscript.TestScript, _ bool, args []string) {
	s, err := sqlite.Open(context.Background(), "sqlite:"+ts.MkAbs(args[0]), store.Options{AsIs: true})
	ts.Check(err)
	_, err = s.DB().ExecContext(context.Background(), args[1])
	ts.Check(errors.Join(err, s.Close()))
}

// capture sets a variable to the first line of the last stdout.
func capture(ts *testscript.TestScript, _ bool, args []string) {
	line, _, _ := strings.Cut(ts.ReadFile("stdout"), "\n")
	ts.Setenv(args[0], line)
}

// writeBig writes a JSON string of more than so many bytes.
func writeBig(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(`{"to":"`+strings.Repeat("x", n)+`"}`), 0o600))
}

func TestEveryCommandShowsExamplesAndNoCommandRepeatsAFlag(t *testing.T) {
	for _, args := range commandPaths(t, nil) {
		out, code := run(t, append(args, "--help")...)
		if code != 0 || !strings.Contains(out, "\nExamples\n") || !strings.Contains(out, "\nUsage\n") {
			t.Errorf("%v --help: code %d\n%s", args, code, out)
		}
	}
}

// commandPaths lists the paths of all native commands, by reading the help.
func commandPaths(t *testing.T, prefix []string) [][]string {
	t.Helper()
	paths := [][]string{prefix}
	out, _ := run(t, append(prefix, "--help")...)
	line := regexp.MustCompile(`(?m)^  ([a-z-]+) +[A-Z]`)
	for _, m := range line.FindAllStringSubmatch(out, -1) {
		if name := m[1]; name != "completion" && name != "help" && name != "posthorn" {
			paths = append(paths, commandPaths(t, append(prefix[:len(prefix):len(prefix)], name))...)
		}
	}
	return paths
}

// run runs a command line in this process.
func run(t *testing.T, args ...string) (stdout string, code int) {
	t.Helper()
	var out, errs strings.Builder
	code = cli.Run(context.Background(), cli.App{Name: "posthorn"}, cli.IO{
		Args: args, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs,
		Environ: []string{"POSTHORN_STORE=sqlite:" + filepath.Join(t.TempDir(), "a.db")},
	})
	return out.String(), code
}
