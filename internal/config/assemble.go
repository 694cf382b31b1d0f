package config

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
)

// assemble builds the configuration of the settings that could be read.
func (d *decoder) assemble() *Config {
	c := &Config{
		File: d.src.File, Store: pick(d, "store", DSN{}), Retention: pick(d, "retention", time.Duration(0)),
		LogFormat: pick(d, "log.format", ""), LogLevel: pick(d, "log.level", ""),
		Monitor: d.monitor(pick(d, "health.max_failed", 0)), Routing: map[string]string{},
		Session: map[string]string{}, Pool: d.pool(),
		Logs: Logs{
			Dir: d.chosenText("logs.dir"), Size: pick(d, "logs.size", Bytes(0)), Age: pick(d, "logs.age", time.Duration(0)),
			Keep: pick(d, "logs.keep", 0),
		},
		Metrics: d.listener("metrics"), API: d.listener("api"),
	}
	c.Alerts = d.alerts()
	for _, name := range d.names["session"] {
		c.Session[name] = pick(d, "session."+name, "")
	}
	for _, name := range d.names["transports"] {
		c.Transports = append(c.Transports, d.transport(name))
	}
	for _, kind := range d.names["routing"] {
		c.Routing[kind] = pick(d, "routing."+kind, "")
	}
	for _, name := range d.names["programs"] {
		c.Programs = append(c.Programs, d.program(name, c))
	}
	for _, s := range d.settings {
		c.settings = append(c.settings, *s)
	}
	return c
}

func (d *decoder) listener(key string) Listener {
	return Listener{
		Listen: pick(d, key+".listen", ""), Token: pick(d, key+".token", Secret{}), TokenFile: pick(d, key+".token_file", ""),
	}
}

// pick is the value of a key, or def where there is none.
func pick[T any](d *decoder, key string, def T) T {
	if s := d.byKey[key]; s != nil {
		if v, ok := s.value.(T); ok {
			return v
		}
	}
	return def
}

// chosenText is a text that somebody has given, or "".
func (d *decoder) chosenText(key string) string {
	if s := d.byKey[key]; s == nil || s.IsDefault() {
		return ""
	}
	return pick(d, key, "")
}

func (d *decoder) pool() Pool {
	return Pool{
		Effects: pick(d, "pool.effects", 0), Control: pick(d, "pool.control", 0), App: pick(d, "pool.app", 0),
		Lifetime:       pick(d, "pool.lifetime", time.Duration(0)),
		IdleCheck:      pick(d, "pool.idle_check", time.Duration(0)),
		ConnectTimeout: pick(d, "pool.connect_timeout", time.Duration(0)),
	}
}

func (d *decoder) transport(name string) Transport {
	key := "transports." + name
	t := Transport{
		Name: name, DSN: pick(d, key+".dsn", DSN{}), Queues: pick(d, key+".queues", []string{name}),
	}
	t.Retry = d.retry(key+".retry", Retry{})
	for _, class := range d.names[key+".retry.classes"] {
		if t.Retry.Classes == nil {
			t.Retry.Classes = map[driver.Class]Retry{}
		}
		base := t.Retry
		base.Classes = nil
		t.Retry.Classes[driver.Class(class)] = d.retry(key+".retry.classes."+class, base)
	}
	return t
}

// retry reads a strategy; what it does not say is as in base.
func (d *decoder) retry(key string, base Retry) Retry {
	return Retry{
		MaxRetries: pick(d, key+".max_retries", base.MaxRetries),
		Delay:      pick(d, key+".delay", base.Delay),
		Multiplier: pick(d, key+".multiplier", base.Multiplier),
		MaxDelay:   pick(d, key+".max_delay", base.MaxDelay),
		Jitter:     pick(d, key+".jitter", base.Jitter),
	}
}

// stopMargin is what a worker gets beyond its drain time before it is killed.
const stopMargin = 5 * time.Second

func (d *decoder) program(name string, c *Config) Program {
	key := "programs." + name
	weights := map[string]int{}
	for _, transport := range d.names[key+".weights"] {
		weights[transport] = pick(d, key+".weights."+transport, 1)
	}
	drain := pick(d, key+".drain_timeout", time.Duration(0))
	return Program{
		Name:         name,
		Consume:      pick(d, key+".consume", c.TransportNames()),
		Weights:      weights,
		Command:      pick(d, key+".command", []string(nil)),
		Env:          pick(d, key+".env", []string(nil)),
		ReadyTimeout: pick(d, key+".ready_timeout", time.Duration(0)),
		StopTimeout:  pick(d, key+".stop_timeout", drain+stopMargin),
		Processes:    pick(d, key+".processes", 1),
		Concurrency:  pick(d, key+".concurrency", 1),
		DrainTimeout: drain,
		StuckLimit:   pick(d, key+".stuck_limit", time.Duration(0)),
		Lease:        pick(d, key+".lease", time.Duration(0)),
		Limits: Limits{
			Messages: pick(d, key+".limits.messages", 0), Failures: pick(d, key+".limits.failures", 0),
			Time: pick(d, key+".limits.time", time.Duration(0)), Memory: pick(d, key+".limits.memory", Bytes(0)),
		},
	}
}

// check finds what is wrong between the settings.
func (d *decoder) check(c *Config) {
	d.checkDSN("store", c.Store, d.src.CheckStore)
	d.checkSession(c)
	d.checkListener("metrics", c.Metrics)
	d.checkListener("api", c.API)
	d.checkAddresses(c)
	d.checkMonitor(c.Monitor)
	d.checkAlerts(c.Alerts)
	owner := map[string]string{}
	for _, t := range c.Transports {
		d.checkDSN("transports."+t.Name+".dsn", t.DSN, d.src.CheckTransport)
		d.checkQueues(t, owner)
	}
	for _, kind := range d.names["routing"] {
		s := d.byKey["routing."+kind]
		if to := c.Routing[kind]; s.value != nil {
			d.checkReference(c, s.Key, to, s.at)
		}
	}
	for _, p := range c.Programs {
		d.checkProgramName(p.Name)
		s := d.byKey["programs."+p.Name+".consume"]
		for i, at := range s.items {
			d.checkReference(c, s.Key, p.Consume[i], at)
		}
		for name := range p.Weights {
			key := "programs." + p.Name + ".weights." + name
			d.checkReference(c, key, name, d.keyAt[key])
		}
		d.checkCommand(p, s)
	}
}

// IsName reports whether all that is named after a program or an application takes a name:
// files, units of systemd and pods, in which a name has 63 bytes at most.
func IsName(name string) bool { return nameForm.MatchString(name) }

var nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$`)

// NameRule says what a name has to be.
const NameRule = "letters, digits, '_', '-' and '.', a letter or a digit first, at most 63"

// checkProgramName refuses a name that no file, unit or pod could have.
func (d *decoder) checkProgramName(name string) {
	if !IsName(name) {
		d.at(d.keyAt["programs."+name], Problem{Code: CodeKey, Title: fmt.Sprintf("bad name of a program `%s`", name),
			What: "files and units are named after it", Try: "take " + NameRule})
	}
}

// checkCommand finds a program that is two things, and a command that hopes for
// a shell.
func (d *decoder) checkCommand(p Program, consume *Setting) {
	s := d.byKey["programs."+p.Name+".command"]
	switch {
	case len(p.Command) == 0:
	case !consume.IsDefault():
		d.bad(s, s.at, errors.New("the program has a consume too: it is either a worker or a command"))
	case p.Command[0] == "" || len(p.Command) == 1 && strings.Contains(p.Command[0], " "):
		d.bad(s, s.at, errors.New("write it as a list, like [php, bin/console, app:work]: no shell reads it"))
	}
}

func (d *decoder) checkDSN(key string, dsn DSN, check func(DSN) error) {
	s := d.byKey[key]
	if check == nil || s == nil || s.value == nil {
		return
	}
	if err := check(dsn); err != nil {
		d.bad(s, s.at, err)
	}
}

// checkListener checks where something is answered, and to whom.
func (d *decoder) checkListener(key string, l Listener) {
	if l.Token.Reveal() != "" && l.TokenFile != "" {
		s := d.byKey[key+".token_file"]
		d.bad(s, s.at, errors.New(key+".token is set, too; give one of them"))
	}
	if token := l.Token.Reveal(); token != "" && d.src.CheckToken != nil {
		if err := d.src.CheckToken(token); err != nil {
			s := d.byKey[key+".token"]
			d.at(s.at, Problem{Code: CodeValue, Title: fmt.Sprintf("bad value for `%s`", s.Key),
				What: s.Key + ": " + err.Error(), Try: "make one: openssl rand -hex 32"})
		}
	}
	if l.Listen == "" {
		return
	}
	s, withToken := d.byKey[key+".listen"], l.Token.Reveal() != "" || l.TokenFile != ""
	if d.src.CheckListen != nil {
		if err := d.src.CheckListen(l.Listen, withToken); err != nil {
			d.bad(s, s.at, err)
			return
		}
	}
	if key == "api" && !withToken { // it changes things: other users of this host may not
		d.bad(s, s.at, errors.New("it needs api.token or api.token_file, on loopback, too"))
	}
}

// checkSession checks the names and values of the server's settings.
func (d *decoder) checkSession(c *Config) {
	for _, name := range d.names["session"] {
		s := d.byKey["session."+name]
		err := store.CheckSetting(name, c.Session[name])
		if s.IsDefault() { // nothing stands behind the colon
			err = errors.New("it has no value")
		}
		if err != nil {
			d.bad(s, d.keyAt[s.Key], err)
		}
	}
}

// checkQueues checks the names, and that no queue has two strategies.
func (d *decoder) checkQueues(t Transport, owner map[string]string) {
	s := d.byKey["transports."+t.Name+".queues"]
	for i, queue := range t.Queues {
		at := d.keyAt["transports."+t.Name]
		if i < len(s.items) {
			at = s.items[i]
		}
		if err := driver.CheckQueue(queue); err != nil {
			d.bad(s, at, fmt.Errorf("%w; a name has letters, digits, '_', '-' and '.', at most %d", err, driver.MaxQueue))
			continue
		}
		if other, taken := owner[queue]; taken {
			d.at(at, Problem{Code: CodeDuplicate, Title: fmt.Sprintf("queue `%s` is there twice", queue),
				What: fmt.Sprintf("transports %s and %s both have queue %s", other, t.Name, queue),
				Try:  "give each transport queues of its own"})
		}
		owner[queue] = t.Name
	}
}

func (d *decoder) checkReference(c *Config, key, name string, at position) {
	names := c.TransportNames()
	if slices.Contains(names, name) {
		return
	}
	try := "the transports are " + strings.Join(names, ", ")
	if s := Suggest(name, names); s != "" {
		try = fmt.Sprintf("did you mean `%s`?", s)
	}
	d.at(at, Problem{Code: CodeReference, Title: fmt.Sprintf("unknown transport `%s`", name),
		What: fmt.Sprintf("%s names transport `%s`, which is not defined", key, name), Try: try})
}
