package config_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/config"
)

const full = `store: ${POSTHORN_STORE:-sqlite:posthorn.db}
retention: 7d
transports:
  async:
    dsn: ${MESSENGER_TRANSPORT_DSN:-store}
    retry: {max_retries: 0, delay: 2s, multiplier: 3, max_delay: 30m, jitter: 0, classes: {timeout: {max_retries: 9}}}
  slow:
    queues: [slow, slower]
routing:
  unsubscribe_email: slow
programs:
  mailers:
    consume: [slow, async]
    processes: 2
    concurrency: 4
    limits: {messages: 1000, time: 1h, memory: 512MiB}
`

func env(pairs ...string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1], true
			}
		}
		return "", false
	}
}

func parse(t *testing.T, text string, pairs ...string) *config.Config {
	t.Helper()
	c, err := config.Parse(config.Source{File: "posthorn.yaml", Lookup: env(pairs...)}, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAFileIsReadWholly(t *testing.T) {
	c := parse(t, full)
	async, slow := c.Transports[0], c.Transports[1]
	if c.Store.Reveal() != "sqlite:posthorn.db" || c.Retention != 7*24*time.Hour ||
		c.Routing["unsubscribe_email"] != "slow" {
		t.Errorf("store, retention, routing: %+v", c)
	}
	if r := async.Retry; r.MaxRetries != 0 || r.Delay != 2*time.Second || r.Multiplier != 3 ||
		r.MaxDelay != 30*time.Minute || r.Jitter != 0 {
		t.Errorf("retry: %+v", r)
	}
	if r := async.Retry.Classes["timeout"]; r.MaxRetries != 9 || r.Delay != 2*time.Second {
		t.Errorf("a class takes what it does not say from its transport, got %+v", r)
	}
	if !slices.Equal(async.Queues, []string{"async"}) || !slices.Equal(slow.Queues, []string{"slow", "slower"}) ||
		slow.Retry.MaxRetries != 3 {
		t.Errorf("queues: %v, %v; retry %+v", async.Queues, slow.Queues, slow.Retry)
	}
	p := c.Programs[0]
	want := config.Limits{Messages: 1000, Time: time.Hour, Memory: 512 << 20}
	if p.Name != "mailers" || p.Processes != 2 || p.Concurrency != 4 || p.Limits != want ||
		!slices.Equal(p.Consume, []string{"slow", "async"}) {
		t.Errorf("program: %+v", p)
	}
}

func TestWeightsOfTransportsAreThoseOfTheirQueues(t *testing.T) {
	file := filepath.Join(t.TempDir(), "posthorn.yaml")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`
transports: {mail: {queues: [now, later]}, report: {}}
programs:
  both: {consume: [report, mail], weights: {mail: 3}}
  rank: {consume: [mail, report]}
`)
	c, err := config.Load(config.Source{File: file})
	if err != nil {
		t.Fatal(err)
	}
	queues, weights := c.Queues(c.Programs[0])
	if !slices.Equal(queues, []string{"report", "now", "later"}) || !slices.Equal(weights, []int{1, 3, 3}) {
		t.Errorf("queues %v, weights %v", queues, weights)
	}
	if queues, weights = c.Queues(c.Programs[1]); len(queues) != 3 || weights != nil {
		t.Errorf("without weights: queues %v, weights %v", queues, weights)
	}
	write("transports: {mail: {}}\nprograms: {p: {weights: {mial: 3}}}\n")
	if _, err = config.Load(config.Source{File: file}); err == nil || !strings.Contains(err.Error(), "mial") {
		t.Errorf("a weight of an unknown transport: %v", err)
	}
}

func TestWithoutAFileThereAreDefaults(t *testing.T) {
	c, err := config.Load(config.Source{})
	if err != nil {
		t.Fatal(err)
	}
	p := c.Programs[0]
	if c.Store.Reveal() != "sqlite:posthorn.db" || c.Transports[0].Name != "async" || p.Name != "messenger-consume" ||
		p.Concurrency != 8 || !slices.Equal(p.Consume, []string{"async"}) || p.Lease != 30*time.Second {
		t.Errorf("defaults: %+v", c)
	}
}

func TestAFlagWinsOverTheEnvironmentOverTheFileOverTheDefault(t *testing.T) {
	const file = "store: sqlite:file.db\n"
	src := config.Source{File: "posthorn.yaml"}
	for _, step := range []struct{ value, origin string }{
		{"sqlite:file.db", "posthorn.yaml:1:8"},
		{"sqlite:env.db", "env POSTHORN_STORE"},
		{"sqlite:flag.db", "flag --store"},
	} {
		switch step.value {
		case "sqlite:env.db":
			src.Lookup = env("POSTHORN_STORE", step.value)
		case "sqlite:flag.db":
			src.Flags = map[string]config.Flag{"store": {Name: "store", Value: step.value}}
		}
		c, err := config.Parse(src, []byte(file))
		if err != nil {
			t.Fatal(err)
		}
		if s, _ := c.Setting("store"); s.Value != step.value || s.Origin != step.origin {
			t.Errorf("store is %q from %q, want %q from %q", s.Value, s.Origin, step.value, step.origin)
		}
	}
	s, _ := parse(t, "transports: {a: {dsn: '${X:-store}'}}", "X", "store").Setting("transports.a.dsn")
	if want := "posthorn.yaml:1:23 (from env X)"; s.Origin != want {
		t.Errorf("origin %q, want %q", s.Origin, want)
	}
}

func TestEachFaultIsToldWithItsPlace(t *testing.T) {
	for _, c := range []struct{ text, code, where, what, try string }{
		{"programs:\n  p:\n    limits: {memry: 1}", config.CodeKey, "posthorn.yaml:3:14",
			"programs.p.limits has no key `memry`", "did you mean `memory`?"},
		{"stroe: x", config.CodeKey, "posthorn.yaml:1:1", "top level", "did you mean `store`?"},
		{"zebra: x", config.CodeKey, "posthorn.yaml:1:1", "top level", "the keys here are store, "},
		{"store: a\nstore: b", config.CodeDuplicate, "posthorn.yaml:2:1", "set before, in line 1", "remove one"},
		{"programs: [x]", config.CodeType, "posthorn.yaml:1:11", "needs keys with values, but has a list", "config explain"},
		{"store: [x]", config.CodeType, "posthorn.yaml:1:8", "store needs a dsn, but has a list", ""},
		{"store: true", config.CodeType, "posthorn.yaml:1:8", "has a boolean", ""},
		{"programs: {p: {processes: 0}}", config.CodeValue, "posthorn.yaml:1:27", "0 is below 1",
			"leave it out for 1; config explain programs.p.processes"},
		{"programs: {p: {processes: -2}}", config.CodeValue, "posthorn.yaml:1:27", "-2 is negative", ""},
		{"programs: {p: {processes: two}}", config.CodeValue, "posthorn.yaml:1:27", "not a whole number", ""},
		{"programs: {p: {limits: {time: 3600}}}", config.CodeValue, "posthorn.yaml:1:31", "has no unit: write 3600s", ""},
		{"transports: {a: {retry: {jitter: .nan}}}", config.CodeValue, "posthorn.yaml:1:34", "not a number", ""},
		{"transports: {a: {retry: {jitter: 2}}}", config.CodeValue, "posthorn.yaml:1:34", "2 is over 1", ""},
		{"transports: {a: {retry: {delay: 0}}}", config.CodeValue, "posthorn.yaml:1:33", "0 is below 1ms", ""},
		{"transports: {a b: {}}", config.CodeValue, "posthorn.yaml:1:14", `queue "a b"`, ""},
		{"transports: {a: {queues: [ok, '../x']}}", config.CodeValue, "posthorn.yaml:1:31", `queue "../x"`, ""},
		{"transports: {a: {}, b: {queues: [a]}}", config.CodeDuplicate, "posthorn.yaml:1:34", "transports a and b", ""},
		{"routing: {k: asinc}", config.CodeReference, "posthorn.yaml:1:14",
			"routing.k names transport `asinc`", "did you mean `async`?"},
		{"programs: {p: {consume: [async, zzz]}}", config.CodeReference, "posthorn.yaml:1:33",
			"transport `zzz`", "the transports are async"},
		{"store: ${NOPE}", config.CodeVariable, "posthorn.yaml:1:8", "NOPE is not set", "${NAME:-default}"},
		{"log: {level: loud}", config.CodeValue, "posthorn.yaml:1:14", `"loud" is none of debug, info`, ""},
		{"a: [", config.CodeSyntax, "posthorn.yaml", "", "indentation"},
		{"store: a\n---\nstore: b", config.CodeSyntax, "posthorn.yaml:2:1", "second document", ""},
		{"store: \xff", config.CodeSyntax, "posthorn.yaml", "UTF-8", ""},
	} {
		_, err := config.Parse(config.Source{File: "posthorn.yaml", Lookup: env()}, []byte(c.text))
		var faults *config.Error
		if !errors.As(err, &faults) {
			t.Errorf("%q: %v, want a *config.Error", c.text, err)
			continue
		}
		p := faults.Problems[0]
		if p.Code != c.code || !strings.HasPrefix(p.Where, c.where) || !strings.Contains(p.What, c.what) ||
			!strings.Contains(p.Try, c.try) {
			t.Errorf("%q: %+v", c.text, p)
		}
	}
}

func TestTheCaretStandsUnderTheFault(t *testing.T) {
	_, err := config.Parse(config.Source{File: "f"}, []byte("programs:\n  \"你\": {proceses: 1}\n"))
	var faults *config.Error
	if !errors.As(err, &faults) {
		t.Fatal(err)
	}
	want := "   2 |   \"你\": {proceses: 1}\n     |          ^"
	if got := faults.Problems[0].Excerpt; got != want {
		t.Errorf("excerpt\n%s\nwant\n%s", got, want)
	}
}

func TestEveryFaultIsReportedAtOnceInOrder(t *testing.T) {
	_, err := config.Parse(config.Source{File: "f"}, []byte("bad: 1\nprograms: {p: {processes: 0}}\nworse: 2\n"))
	var faults *config.Error
	if !errors.As(err, &faults) || len(faults.Problems) != 3 {
		t.Fatalf("got %v, want three problems", err)
	}
	for i, p := range faults.Problems {
		if !strings.HasPrefix(p.Where, "f:"+string(rune('1'+i))) {
			t.Errorf("problem %d is at %s", i, p.Where)
		}
	}
}

func TestASecretIsInNoErrorAndNoSetting(t *testing.T) {
	const canary = "c4n4ry"
	refuse := func(config.DSN) error { return errors.New("unsupported scheme") }
	for _, text := range []string{
		"store: postgres://u:c4n4ry@h/d\n", "store: 'postgres://u:c4n4ry@h/d'\nbad: [",
		"transports: {a: {dsn: 'redis://:c4n4ry@h', bad: 1}}",
		"store: postgres://u:c4n4ry@h/d # ${NOPE}\nnope: 1", "store: ${DSN}\n",
	} {
		src := config.Source{
			File: "f", Lookup: env("DSN", "postgres://u:c4n4ry@h/d"), CheckStore: refuse, CheckTransport: refuse,
		}
		_, err := config.Parse(src, []byte(text))
		var faults *config.Error
		if !errors.As(err, &faults) {
			t.Fatalf("%q: %v", text, err)
		}
		for _, p := range faults.Problems {
			if strings.Contains(p.What+p.Excerpt+p.Where+p.Try+p.Title, canary) {
				t.Errorf("%q: the secret is shown: %+v", text, p)
			}
		}
	}
	for _, s := range parse(t, "store: postgres://u:c4n4ry@h/d").Settings() {
		if strings.Contains(s.Value, canary) {
			t.Errorf("the secret is shown: %s = %s", s.Key, s.Value)
		}
	}
}

func TestAVariableIsExpandedInsideAValueOnly(t *testing.T) {
	lookup := env("A", "1", "EMPTY", "", "EVIL", "x\nstore: y")
	for in, want := range map[string]string{
		"${A}": "1", "x${A}y": "x1y", "${EMPTY:-d}": "d", "${EMPTY}": "", "${NO:-d:-e}": "d:-e",
		"$$A $x $": "$A $x $", "$${A}": "${A}",
	} {
		if got, _, err := config.Expand(in, lookup); err != nil || got != want {
			t.Errorf("Expand(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"${NO}", "${A", "${}", "${A B}", "${A-B}"} {
		if got, _, err := config.Expand(in, lookup); err == nil {
			t.Errorf("Expand(%q) = %q, want an error", in, got)
		}
	}
	c, err := config.Parse(config.Source{Lookup: lookup}, []byte("store: ${EVIL}"))
	if err != nil || c.Store.Reveal() != "x\nstore: y" {
		t.Errorf("a variable changed the document: %v, %v", c, err)
	}
}

func TestAMissingOrHugeFileIsOneClearError(t *testing.T) {
	dir := t.TempDir()
	huge := filepath.Join(dir, "huge.yaml")
	if err := os.WriteFile(huge, []byte(strings.Repeat("# comment\n", 200_000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		filepath.Join(dir, "none.yaml"): "no such file", dir: "is a directory", huge: "larger than 1MiB",
	} {
		_, err := config.Load(config.Source{File: name})
		var faults *config.Error
		if !errors.As(err, &faults) || faults.Problems[0].Code != config.CodeFile ||
			!strings.Contains(faults.Problems[0].What, want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}

func FuzzAnyTextIsAConfigurationOrAConfigError(f *testing.F) {
	for _, s := range []string{
		full, "", "a: &a [*a]", "a: &a {b: *a}", "<<: {store: x}", "? [a]\n: b", "store: !!binary x", "- 1", "store: ~",
		"transports: {a: ~}",
		"programs: {p: {consume: []}}", "routing: {a.b: async}", "\t", "store: |\n  x", "!!set {a}",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := config.Parse(config.Source{File: "f", Lookup: env()}, text)
		var faults *config.Error
		if err == nil {
			if len(c.Transports) == 0 || len(c.Programs) == 0 || len(c.Programs[0].Consume) == 0 ||
				c.Programs[0].Processes < 1 {
				t.Fatalf("%q gives %+v", text, c)
			}
		} else if !errors.As(err, &faults) || len(faults.Problems) == 0 {
			t.Fatalf("%q: %T %v", text, err, err)
		}
	})
}

func TestAProgramMayBeACommand(t *testing.T) {
	c := parse(t, `logs: {dir: /var/log/shop, size: 1MiB, keep: 3, age: 1d}
programs:
  php: {command: [php, "${BIN:-bin/console}", "a b"], env: [APP_ENV], processes: 2, stop_timeout: 9s}
  own: {drain_timeout: 10s}
`)
	php, own := c.Programs[0], c.Programs[1]
	if !slices.Equal(php.Command, []string{"php", "bin/console", "a b"}) || !slices.Equal(php.Env, []string{"APP_ENV"}) ||
		php.StopTimeout != 9*time.Second {
		t.Errorf("command: %+v", php)
	}
	if own.Command != nil || own.Env != nil || own.StopTimeout != 15*time.Second || own.ReadyTimeout != 30*time.Second {
		t.Errorf("worker: %+v", own)
	}
	if want := (config.Logs{Dir: "/var/log/shop", Size: 1 << 20, Keep: 3, Age: 24 * time.Hour}); c.Logs != want {
		t.Errorf("logs: %+v", c.Logs)
	}
	if d := parse(t, "").Logs; d != (config.Logs{Size: 16 << 20, Keep: 5}) {
		t.Errorf("logs by default: %+v", d)
	}
}

func TestACommandForAShellAndAProgramThatIsTwoThingsAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"programs: {p: {command: php bin/console}}":       "no shell reads it",
		"programs: {p: {command: []}}":                    "the list is empty",
		"programs: {p: {command: [a], consume: [async]}}": "either a worker or a command",
		"programs: {p: {command: {a: b}}}":                "needs a list of words",
		"programs: {p: {command: [a, [b]]}}":              "needs a list of words",
		"programs: {p: {command: [\"\"]}}":                "no shell reads it",
		"logs: {size: 1}":                                 "is below",
	} {
		_, err := config.Parse(config.Source{File: "posthorn.yaml"}, []byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// What cannot come up together, and what no file could be named after, is found before
// anything starts.
func TestListenersTokensAndNamesOfProgramsAreChecked(t *testing.T) {
	short := func(token string) error {
		if len(token) < 5 {
			return errors.New("too short")
		}
		return nil
	}
	for text, want := range map[string]string{
		"health: {listen: '127.0.0.1:9090'}\napi: {listen: 'localhost:9090', token: c4n4ry}": "api.listen and health.listen",
		"api: {listen: ':9090', token: c4n4ry}\nhealth: {listen: '127.0.0.1:9090'}":          "api.listen and health.listen",
		"api: {listen: '127.0.0.2:9090', token: c4n4ry}\nhealth: {listen: '127.0.0.1:9090'}": "",
		"metrics: {listen: '0.0.0.0:9090'}\nhealth: {listen: '127.0.0.1:9090'}":              "", // of two commands
		"metrics: {listen: ':9090'}\napi: {listen: '127.0.0.1:9090', token: c4n4ry}":         "",
		"metrics: {listen: '127.0.0.1:0'}\nhealth: {listen: '127.0.0.1:0'}":                  "",
		"metrics: {token: c4n4}":                                      "metrics.token: too short",
		"api: {token: c4n4ry}":                                        "",
		"programs: {../../x: {processes: 1}}":                         "named after it",
		"programs: {'a b': {processes: 1}}":                           "named after it",
		"programs: {.hidden: {processes: 1}}":                         "named after it",
		"programs: {my-app_2: {processes: 1}}":                        "",
		"programs: {'ämter': {processes: 1}}":                         "named after it",
		"programs: {'-flag': {processes: 1}}":                         "named after it",
		"programs: {_x: {processes: 1}}":                              "named after it", // as generate refuses it
		"programs: {" + strings.Repeat("x", 64) + ": {processes: 1}}": "named after it",
	} {
		_, err := config.Parse(config.Source{File: "f", CheckToken: short}, []byte(text))
		var faults *config.Error
		switch {
		case want == "" && err == nil:
		case !errors.As(err, &faults) || want == "":
			t.Errorf("%q: %v, want %q", text, err, want)
		case !strings.Contains(faults.Problems[0].What, want) || faults.Problems[0].Try == "" ||
			strings.Contains(fmt.Sprint(faults.Problems), "c4n4"):
			t.Errorf("%q: %+v, want %q", text, faults.Problems[0], want)
		}
	}
}

func TestListenersOfOneProcessClashWhereTheyHaveOneAddress(t *testing.T) {
	c, err := config.Parse(config.Source{File: "f"}, []byte("metrics: {listen: '0.0.0.0:9090'}\n"+
		"api: {listen: '127.0.0.1:9091', token: c4n4ry}\nhealth: {listen: 'localhost:9090'}"))
	if err != nil {
		t.Fatal(err)
	}
	first, second := c.Clash(config.KeyMetrics, config.KeyAPI, config.KeyHealth)
	if first != config.KeyMetrics || second != config.KeyHealth {
		t.Errorf("%q and %q clash", first, second)
	}
	if first, second := c.Clash(config.KeyMetrics, config.KeyAPI); first+second != "" {
		t.Errorf("%q and %q clash", first, second)
	}
}
