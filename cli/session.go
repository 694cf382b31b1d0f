package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/alert"
	"github.com/posthorn/posthorn/internal/config"
	"github.com/posthorn/posthorn/internal/listen"
	"github.com/posthorn/posthorn/internal/printable"
	"github.com/posthorn/posthorn/metrics"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/transport/open"
)

// A session is one run of the command line: what it was given, and what it has
// opened so far.
type session struct {
	app   App
	io    IO
	flags globalFlags
	ran   bool // the command line was understood and its command has begun
	sig   signals

	cfg   *config.Config
	level slog.LevelVar
	env   Env
	ready bool           // Setup has run
	tally *metrics.Tally // nil: nobody wants to know what is counted

	figures *alert.Figures // of alerts; nil like tally
	asIs    bool           // the store's schema is only looked at
}

// globalFlags are the flags of every command.
type globalFlags struct {
	config, store, logFormat, logLevel string
	verbose                            int
}

// defaultConfig is the configuration file that is read if it exists.
const defaultConfig = "posthorn.yaml"

// config reads the configuration once.
func (s *session) config() (*config.Config, error) {
	if s.cfg != nil {
		return s.cfg, nil
	}
	cfg, err := s.loadConfig()
	if err == nil {
		s.cfg = cfg
	}
	return cfg, err
}

func (s *session) loadConfig() (*config.Config, error) {
	if config.NewDSN(s.flags.store).HasSecret() {
		return nil, &fault{
			Code: "E-SECRET-IN-FLAG", Title: "a password in a flag", Exit: exitUsage, Where: "flag --store",
			What: "everybody on this host can read the arguments of a process",
			Try:  "set POSTHORN_STORE, or write it to the configuration file",
		}
	}
	return config.Load(config.Source{
		File: s.configFile(), Lookup: s.lookup, Flags: s.configFlags(),
		CheckStore:     func(d config.DSN) error { return open.CheckStore(d.Reveal()) },
		CheckTransport: func(d config.DSN) error { return open.CheckTransport(d.Reveal()) },
		CheckListen:    listen.Check,
		CheckToken:     listen.CheckToken,
	})
}

func (s *session) configFile() string {
	named, _ := s.lookup("POSTHORN_CONFIG")
	if file := cmp.Or(s.flags.config, named); file != "" {
		return file
	}
	if _, err := os.Stat(defaultConfig); err != nil {
		return ""
	}
	return defaultConfig
}

func (s *session) configFlags() map[string]config.Flag {
	flags := map[string]config.Flag{}
	set := func(key, name, value string) {
		if value != "" {
			flags[key] = config.Flag{Name: name, Value: value}
		}
	}
	set("store", "store", s.flags.store)
	set("log.format", "log-format", s.flags.logFormat)
	set("log.level", "log-level", s.flags.logLevel)
	if s.flags.verbose > 0 {
		set("log.level", "verbose", "debug")
	}
	return flags
}

// lookup reads the run's environment.
func (s *session) lookup(name string) (string, bool) {
	for _, pair := range s.io.Environ {
		if value, ok := strings.CutPrefix(pair, name+"="); ok {
			return value, true
		}
	}
	return "", false
}

// logger makes the run's logger; it writes to stderr.
func (s *session) logger(cfg *config.Config) *slog.Logger {
	s.setLevel(cfg)
	o := &slog.HandlerOptions{Level: &s.level, ReplaceAttr: config.NewRedactor(cfg).Attr}
	if cfg.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(plainWriter{s.io.Stderr}, o))
	}
	return slog.New(slog.NewTextHandler(s.io.Stderr, o))
}

func (s *session) setLevel(cfg *config.Config) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.LogLevel)); err == nil { // checked when it was read
		s.level.Set(level)
	}
}

// plainWriter escapes what a terminal could obey. The text handler of slog
// does that itself.
type plainWriter struct{ w io.Writer }

// Write writes one line of JSON.
func (p plainWriter) Write(line []byte) (int, error) {
	if _, err := p.w.Write(printable.JSON(line)); err != nil {
		return 0, err
	}
	return len(line), nil
}

// existing opens a store that must be there. Commands that only look must not
// make an empty store out of a typing error and then call it healthy.
func (s *session) existing(ctx context.Context) (*store.Store, error) {
	return s.openBy(ctx, open.Existing)
}

// creating opens the store, and makes it if need be.
func (s *session) creating(ctx context.Context) (*store.Store, error) {
	return s.openBy(ctx, open.Store)
}

// opener is open.Store or open.Existing.
type opener func(ctx context.Context, dsn string, o store.Options) (*store.Store, error)

func (s *session) openBy(ctx context.Context, by opener) (*store.Store, error) {
	if s.env.Store != nil {
		return s.env.Store, nil
	}
	cfg, err := s.config()
	if err != nil {
		return nil, err
	}
	log := s.logger(cfg)
	st, err := by(ctx, cfg.Store.Reveal(), s.storeOptions(cfg, log))
	if err != nil {
		return nil, s.storeFault(err)
	}
	d, err := posthorn.NewDispatcher(st, posthorn.DispatcherOptions{
		Queue: cfg.Transports[0].Queues[0], Routes: routes(cfg), Middleware: s.app.Middleware,
	})
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	s.env = Env{Store: st, Dispatcher: d, Log: log}
	return st, nil
}

func (s *session) storeOptions(cfg *config.Config, log *slog.Logger) store.Options {
	return store.Options{Log: log, AsIs: s.asIs, Meter: s.meter(), Server: store.ServerOptions{
		Session: cfg.Session, Effects: cfg.Pool.Effects, Control: cfg.Pool.Control, App: cfg.Pool.App,
		Lifetime: cfg.Pool.Lifetime, IdleCheck: cfg.Pool.IdleCheck, ConnectTimeout: cfg.Pool.ConnectTimeout,
	}}
}

// routes maps kinds to queues.
func routes(cfg *config.Config) map[string]string {
	out := make(map[string]string, len(cfg.Routing))
	for kind, name := range cfg.Routing {
		if t, ok := cfg.Transport(name); ok {
			out[kind] = t.Queues[0]
		}
	}
	return out
}

// prepare opens the store and runs the application's Setup, once.
func (s *session) prepare(ctx context.Context) (Env, error) {
	if _, err := s.creating(ctx); err != nil || s.ready {
		return s.env, err
	}
	if s.app.Setup != nil {
		if err := s.app.Setup(ctx, s.env); err != nil {
			return s.env, fmt.Errorf("set up the application: %w", err)
		}
	}
	s.ready = true
	return s.env, nil
}

func (s *session) close() error {
	if s.env.Store == nil {
		return nil
	}
	if err := s.env.Store.Close(); err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	return nil
}
