// Package config reads posthorn.yaml, the environment and flags into one
// checked configuration. Every value knows where it came from, and every
// fault is told with its place, the line and what was probably meant.
package config

import (
	"time"

	"github.com/posthorn/posthorn/driver"
)

// A Config is an effective configuration. It is not changed after Load.
type Config struct {
	File       string // the file that was read; empty if there was none
	Store      DSN
	Session    map[string]string // settings of the store's server, for each connection
	Pool       Pool
	Retention  time.Duration
	LogFormat  string
	LogLevel   string
	Logs       Logs
	Metrics    Listener // for Prometheus
	API        Listener // for a dashboard; it always has a token
	Monitor    Monitor
	Alerts     Alerts
	Transports []Transport // in the file's order; at least one
	Routing    map[string]string
	Programs   []Program // in the file's order; at least one

	settings []Setting
}

// A Pool says how many connections a process may open to the store's server, and
// how it keeps them. A store in a file has none.
type Pool struct {
	Effects, Control, App               int
	Lifetime, IdleCheck, ConnectTimeout time.Duration // the last may be zero: what the address says
}

// A Listener says where something is answered over HTTP, and to whom.
type Listener struct {
	Listen    string // host:port; empty: nowhere
	Token     Secret // that who asks must have; empty asks for none, unless TokenFile is set
	TokenFile string // holds the token
}

// A Transport is where messages wait.
type Transport struct {
	Name   string
	DSN    DSN
	Queues []string // at least one
	Retry  Retry
}

// A Retry is a retry strategy with all its values filled in.
type Retry struct {
	MaxRetries int // 0 means none
	Delay      time.Duration
	Multiplier float64
	MaxDelay   time.Duration
	Jitter     float64 // 0 means none
	Classes    map[driver.Class]Retry
}

// Logs say where the lines of the programs are kept.
type Logs struct {
	Dir  string // empty means that they are passed on
	Size Bytes
	Age  time.Duration // 0 means that age does not matter
	Keep int
}

// A Program is a set of processes that are alike: workers, or any command.
type Program struct {
	Name         string
	Consume      []string       // transports; of a worker
	Weights      map[string]int // of transports; empty: by their order
	Command      []string       // nil means a worker
	Env          []string       // names of variables that the command gets
	Processes    int
	Concurrency  int
	ReadyTimeout time.Duration
	StopTimeout  time.Duration
	DrainTimeout time.Duration
	StuckLimit   time.Duration
	Lease        time.Duration
	Limits       Limits
}

// Queues lists the queues of a program in the order in which they are served, with the
// weight of each; none when it goes by their order.
func (c *Config) Queues(p Program) (queues []string, weights []int) {
	for _, name := range p.Consume {
		t, _ := c.Transport(name) // checked when the configuration was read
		for _, queue := range t.Queues {
			queues = append(queues, queue)
			if len(p.Weights) > 0 {
				weights = append(weights, max(p.Weights[name], 1))
			}
		}
	}
	return queues, weights
}

// Limits say when a worker ends. Zero means no limit.
type Limits struct {
	Messages, Failures int
	Time               time.Duration
	Memory             Bytes
}

// The names of what exists when the file does not say otherwise.
const (
	DefaultTransport = "async"
	DefaultProgram   = "messenger-consume"
)

// Transport returns the transport with a name.
func (c *Config) Transport(name string) (Transport, bool) {
	for _, t := range c.Transports {
		if t.Name == name {
			return t, true
		}
	}
	return Transport{}, false
}

// TransportNames lists the transports.
func (c *Config) TransportNames() []string {
	names := make([]string, len(c.Transports))
	for i, t := range c.Transports {
		names[i] = t.Name
	}
	return names
}

// Program returns the program with a name.
func (c *Config) Program(name string) (Program, bool) {
	for _, p := range c.Programs {
		if p.Name == name {
			return p, true
		}
	}
	return Program{}, false
}

// A Setting is one value with its origin.
type Setting struct {
	Key    string
	Value  string // as text, with secrets hidden
	Origin string // a flag, an environment variable, a place in the file, or "default"
	Field  Field

	value any
	at    position
	items []position // of a list's values
}

// IsDefault reports whether nobody chose the value.
func (s Setting) IsDefault() bool { return s.at == position{} }

// Settings lists every value, in the order of the reference.
func (c *Config) Settings() []Setting { return c.settings }

// Setting returns the value of a key like programs.messenger-consume.processes.
func (c *Config) Setting(key string) (Setting, bool) {
	for _, s := range c.settings {
		if s.Key == key {
			return s, true
		}
	}
	return Setting{}, false
}
