package generate_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/cli/generate"
	"github.com/posthorn/posthorn/internal/config"
)

// plan is one that all kinds of files take.
func plan() generate.Plan {
	return generate.Plan{
		Name: "shop", User: "www-data", Binary: "/opt/my shop/shop", Directory: "/srv/shop",
		Config: "/etc/shop/posthorn.yaml", Environment: "/etc/shop/shop.env", Monitor: []string{"health"},
		Programs: []config.Program{
			{Name: "fast", Consume: []string{"a", "b c"}, Processes: 2, Concurrency: 8, DrainTimeout: 90 * time.Second,
				Limits: config.Limits{Messages: 10, Failures: 3, Time: 90 * time.Minute, Memory: 64 << 20}},
			{Name: "slow", Consume: []string{"a"}, Processes: 1, Concurrency: 1, DrainTimeout: time.Hour,
				Limits: config.Limits{Time: 10 * time.Minute, Memory: 64 << 20}},
		},
	}
}

// kinds makes each kind of files of a plan.
func kinds() map[string]func(generate.Plan) ([]generate.File, error) {
	return map[string]func(generate.Plan) ([]generate.File, error){
		"systemd": func(p generate.Plan) ([]generate.File, error) { return generate.Systemd(p, generate.SystemdDefault) },
		"supervisor": func(p generate.Plan) ([]generate.File, error) {
			return generate.Supervisor(p, generate.SupervisorOptions{Logs: "/var/log", Listener: "listen"})
		},
		"cron": func(p generate.Plan) ([]generate.File, error) {
			return generate.Cron(p, generate.CronOptions{Logs: "/var/log"})
		},
		"k8s": func(p generate.Plan) ([]generate.File, error) {
			return generate.Kubernetes(p, generate.KubernetesOptions{Image: "a/b:1", Replicas: 1, Secret: "env", Storage: "1Gi"})
		},
	}
}

func all(t *testing.T, files []generate.File, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range files {
		if !strings.HasSuffix(f.Text, "\n") || strings.HasSuffix(f.Text, "\n\n") || strings.Contains(f.Text, "<no value>") {
			t.Errorf("%s does not end as a text does, or has a hole:\n%s", f.Name, f.Text)
		}
		b.WriteString(f.Text)
	}
	return b.String()
}

func TestEachKindSaysTheSameOfTheConfiguration(t *testing.T) {
	for kind, wants := range map[string][]string{
		"systemd": {
			`ExecStart="/opt/my shop/shop" --config /etc/shop/posthorn.yaml consume --program fast` + "\n",
			"consume --program slow\n",
			"\nTimeoutStopSec=111\n", "\nTimeoutStopSec=3621\n", "\nEnvironmentFile=-/etc/shop/shop.env\n",
			"\nWants=shop-fast@2.service\n", "\nMemoryMax=352321536\n",
		},
		"supervisor": {"consume --program fast", "consume --program slow",
			"\nstopwaitsecs=111\n", "\nstopwaitsecs=3621\n", "\nnumprocs=2\n", `. "/etc/shop/shop.env"`,
			"\nprograms=shop-fast,shop-slow\n"},
		"cron": {`'/opt/my shop/shop' --config /etc/shop/posthorn.yaml health >>/var/log/shop-monitor.log`},
		"k8s": {"terminationGracePeriodSeconds: 111\n", "terminationGracePeriodSeconds: 3621\n", "replicas: 2\n",
			"limits: {memory: 336Mi}",
			strings.Join([]string{`- "--program"`, `- "fast"`, `- "--limit"`, `- "0"`}, "\n            ") + "\n"},
	} {
		p := plan()
		p.PerProgram = true
		files, err := kinds()[kind](p)
		text := all(t, files, err)
		for _, want := range wants {
			if !strings.Contains(text, want) {
				t.Errorf("%s has no %q:\n%s", kind, want, text)
			}
		}
		again, _ := kinds()[kind](p)
		if !slices.Equal(files, again) {
			t.Errorf("%s is not the same twice", kind)
		}
	}
}

func TestOneServiceStopsAfterTheLongestDrainAndHasRoomForAll(t *testing.T) {
	files, err := generate.Systemd(plan(), generate.SystemdDefault)
	text := all(t, files, err)
	for _, want := range []string{"\nTimeoutStopSec=3621\n", "\nMemoryMax=520093696\n", "\nOOMPolicy=continue\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q:\n%s", want, text)
		}
	}
	p := plan()
	p.Programs[0].Limits.Memory = 0
	if files, err = generate.Systemd(p, 254); strings.Contains(all(t, files, err), "MemoryMax") {
		t.Error("a program without a limit has one")
	}
}

// What a service must reach is not hidden from it.
func TestNothingHidesWhatTheServiceNeeds(t *testing.T) {
	for _, c := range []struct {
		change  func(*generate.Plan)
		has, no string
	}{
		{func(*generate.Plan) {}, "ProtectHome=yes\nPrivateTmp=yes\n", "ReadWritePaths"},
		{func(p *generate.Plan) { p.Binary = "/home/a/shop" }, "ProtectHome=read-only\n", "ProtectHome=yes"},
		{func(p *generate.Plan) { p.Config = "/tmp/posthorn.yaml" }, "ProtectHome=yes\n", "PrivateTmp"},
		{func(p *generate.Plan) { p.Database = "/srv/my 9% shop/a.db" }, "ReadWritePaths=\"/srv/my 9%% shop\"\n", "State"},
		{own("/var/lib/shop/a.db"), "\nStateDirectory=shop\n", "ReadWritePaths"},
		{own("/data/a.db"), "ReadWritePaths=\"/data\"\n", "@"},
	} {
		p := plan()
		c.change(&p)
		files, err := generate.Systemd(p, generate.SystemdDefault)
		text := strings.ReplaceAll(all(t, files, err), "SystemCallFilter=@", "")
		if !strings.Contains(text, c.has) || c.no != "@" && strings.Contains(text, c.no) {
			t.Errorf("want %q and not %q:\n%s", c.has, c.no, text)
		}
	}
}

// own gives a plan the directory that systemd makes.
func own(database string) func(*generate.Plan) {
	return func(p *generate.Plan) { p.Directory, p.Database = "/var/lib/shop", database }
}

func TestWhatAFileCannotHoldIsRefusedByEachKind(t *testing.T) {
	bad := map[string]func(*generate.Plan){
		"E-GENERATE-NAME a/b":       func(p *generate.Plan) { p.Name = "a/b" },
		"E-GENERATE-NAME empty":     func(p *generate.Plan) { p.Name = "" },
		"E-GENERATE-NAME program":   func(p *generate.Plan) { p.Programs[1].Name = "x]\n[program:y" },
		"E-GENERATE-NAME flag":      func(p *generate.Plan) { p.Programs[1].Consume = []string{"--all"} },
		"E-GENERATE-NAME transport": func(p *generate.Plan) { p.Programs[1].Consume = []string{"$(reboot)"} },
		"E-GENERATE-PATH relative":  func(p *generate.Plan) { p.Binary = "shop" },
		"E-GENERATE-PATH quote":     func(p *generate.Plan) { p.Binary = `/a"b` },
		"E-GENERATE-PATH apostroph": func(p *generate.Plan) { p.Binary = `/a'b` },
		"E-GENERATE-PATH command":   func(p *generate.Plan) { p.Binary = "/a`b`" },
		"E-GENERATE-PATH line":      func(p *generate.Plan) { p.Binary = "/a\nExecStart=/b" },
		"E-GENERATE-PATH comment":   func(p *generate.Plan) { p.Binary = "/a ;b" },
		"E-GENERATE-FLAG":           func(p *generate.Plan) { p.Flags = []string{"--log-level", "a'b"} },
	}
	for name, change := range bad {
		for kind, make := range kinds() {
			p := plan()
			change(&p)
			files, err := make(p)
			var refused *generate.RefusalError
			if code, _, _ := strings.Cut(name, " "); !errors.As(err, &refused) || refused.Code != code || files != nil {
				t.Errorf("%s, %s: %v", kind, name, err)
			}
		}
	}
}

func TestTwoProgramsNeverGetTheSameNameInKubernetes(t *testing.T) {
	p := plan()
	p.PerProgram = true
	p.Programs[0].Name, p.Programs[1].Name = "a_b", "a.b"
	_, err := kinds()["k8s"](p)
	if err == nil || !strings.Contains(err.Error(), "that of program a_b, too") {
		t.Errorf("%v", err)
	}
}
