package cli_test

import (
	"bytes"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/posthorn/posthorn/cli"
)

// asked is stderr, and tells when a question has been asked.
type asked struct {
	mu   sync.Mutex
	text bytes.Buffer
	once sync.Once
	ask  chan struct{}
}

// Write keeps the text.
func (a *asked) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.text.Write(p)
	if strings.Contains(a.text.String(), "[y/N]") {
		a.once.Do(func() { close(a.ask) })
	}
	return len(p), nil
}

// Of two people who retry the same letters, the one who confirms later learns that it was
// done already, by whom, and for how many of them.
func TestWhoConfirmsLateLearnsWhoWasFaster(t *testing.T) {
	for name, c := range map[string]struct {
		first []string // that the faster one retries
		again []string // that are sent once more meanwhile
		code  int
		want  string
	}{
		"some": {[]string{"a"}, nil, 4, "put back 3 dead letters\n1 dead letter had gone in the meantime\n" +
			"  1 letter of them: retry by bob@"},
		"all": {[]string{"a", "b", "c", "d"}, nil, 1, "put back 0 dead letters\n" +
			"4 dead letters had gone in the meantime\n  4 letters of them: retry by bob@"},
		"some, and one is taken": {[]string{"a"}, []string{"b"}, 4, "put back 2 dead letters\n" +
			"a live message has the same id: b\n1 dead letter had gone in the meantime\n  1 letter of them: retry by bob@"},
	} {
		t.Run(name, func(t *testing.T) {
			at := "POSTHORN_STORE=sqlite:" + filepath.Join(t.TempDir(), "a.db")
			for _, id := range []string{"a", "b", "c", "d"} {
				asBob(t, at, "dispatch", "greet", `{"to":"x","fail":"bad"}`, "--id", id)
			}
			asBob(t, at, "consume", "async", "--limit", "4")
			errs := &asked{ask: make(chan struct{})}
			answer, say := io.Pipe()
			ended := make(chan int)
			go func() {
				ended <- cli.Run(t.Context(), cli.App{Name: "posthorn"}, cli.IO{
					Args: []string{"failed", "retry", "--all"}, Stdin: answer, StdinTerminal: true, Stdout: io.Discard,
					Stderr: errs, Environ: []string{at, "USER=ann"},
				})
			}()
			<-errs.ask
			for _, id := range c.again {
				asBob(t, at, "dispatch", "greet", `{"to":"x"}`, "--id", id)
			}
			asBob(t, at, append([]string{"failed", "retry", "--yes"}, c.first...)...)
			_, err := say.Write([]byte("y\n"))
			if code := <-ended; err != nil || code != c.code {
				t.Errorf("the later one ends with %d, want %d; %v", code, c.code, err)
			}
			if got := errs.text.String(); !strings.Contains(got, c.want) || strings.Contains(got, "by ann@") {
				t.Errorf("the later one is told:\n%s", got)
			}
		})
	}
}

// asBob runs a command line of the shop, which must succeed.
func asBob(t *testing.T, at string, args ...string) {
	t.Helper()
	code := cli.Run(t.Context(), shopApp(), cli.IO{
		Args: args, Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: io.Discard, Environ: []string{at, "USER=bob"},
	})
	if code != 0 {
		t.Fatalf("%v ends with %d", args, code)
	}
}
