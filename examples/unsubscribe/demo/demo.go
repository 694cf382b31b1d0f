// Package demo tells the whole story of the unsubscribe example: a provider
// that misbehaves, an import, two worker processes, one of which is killed in
// the middle, and a ledger that is counted from the tables at the end.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/examples/unsubscribe/app"
	"github.com/posthorn/posthorn/examples/unsubscribe/mail/samples"
	"github.com/posthorn/posthorn/examples/unsubscribe/provider"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/transport/open"
)

// ErrLedger: the ledger does not balance.
var ErrLedger = errors.New("the ledger does not balance")

// queue is the transport of the demo's configuration.
const queue = "async"

// long is the help of the command.
const long = `Run the main job: import mail, unsubscribe people by two worker processes, kill one of them in
the middle, and count a ledger from the tables at the end. It happens in a temporary directory, on SQLite, unless
--store names a server:

  --store postgres://USER@HOST:PORT/DATABASE
  --store mysql://USER@HOST:PORT/DATABASE

The database must be empty. Another one is refused, and no table in it is changed. When the demo has ended well, its own
tables are dropped; when it has not, or with --keep, they stay. An address with a password goes into the variable
` + EnvStore + `, which takes the place of --store.`

// options are the demo's flags.
type options struct {
	seed   uint64
	copies int
	keep   bool
	limit  time.Duration
	server string // address of the store; empty means a file in the demo's directory
}

// Command is the command "demo".
func Command() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run the main job: mail in, two workers, one killed, a ledger at the end",
		Long:  long,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.chooseServer(os.Getenv(EnvStore)); err != nil {
				return err
			}
			return run(cmd.Context(), o, cmd.OutOrStdout())
		},
	}
	cmd.Flags().Uint64Var(&o.seed, "seed", 0, "seed of the order and of the kill; 0 picks one")
	cmd.Flags().IntVar(&o.copies, "copies", 25, "messages for each mail")
	cmd.Flags().BoolVar(&o.keep, "keep", false, "keep the directory, and the tables on a server")
	cmd.Flags().StringVar(&o.server, "store", "", "`address` of an empty database on a server (default a SQLite file)")
	cmd.Flags().DurationVar(&o.limit, "limit", 2*time.Minute, "give up after this time")
	return cmd
}

// stage is where the demo happens.
type stage struct {
	options
	out   io.Writer
	live  bool // out is a terminal
	dir   string
	rnd   *rand.Rand
	dsn   string // of the store
	store *store.Store
	db    app.Database // of the store
	began time.Time
}

// run sets the stage, plays, and clears it.
func run(ctx context.Context, o options, out io.Writer) (err error) {
	if o.seed == 0 {
		o.seed = rand.Uint64()
	}
	ctx, cancel := context.WithTimeout(ctx, o.limit)
	defer cancel()
	dir, err := os.MkdirTemp("", "posthorn-demo-")
	if err != nil {
		return err
	}
	if !o.keep {
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	s := &stage{options: o, out: out, dir: dir, rnd: rand.New(rand.NewPCG(o.seed, 0)), began: time.Now()}
	if f, ok := out.(*os.File); ok {
		s.live = term.IsTerminal(int(f.Fd()))
	}
	s.say("in %s, seed %d", dir, o.seed)
	if o.server != "" {
		return s.onServer(ctx)
	}
	s.dsn = "sqlite:" + s.path("demo.db")
	return s.withStore(ctx, s.withProvider)
}

// withStore plays while the store is open.
func (s *stage) withStore(ctx context.Context, play func(context.Context) error) (err error) {
	if s.store, err = open.Store(ctx, s.dsn, store.Options{}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.store.Close()) }()
	if s.db, err = app.NewDatabase(s.store.DB(), s.store.Dialect()); err != nil {
		return err
	}
	return play(ctx)
}

// withProvider plays while the provider runs.
func (s *stage) withProvider(ctx context.Context) error {
	p, err := provider.New(provider.Options{})
	if err != nil {
		return err
	}
	serving, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	var served error
	wg.Go(func() { served = p.Run(serving) })
	err = s.play(ctx, p)
	stop()
	wg.Wait()
	return errors.Join(err, served)
}

// play is the story.
func (s *stage) play(ctx context.Context, p *provider.Server) error {
	if err := s.prepare(ctx, p); err != nil {
		return err
	}
	f := &fleet{stage: s, provider: p.Addr().String()}
	defer f.killAll()
	for range 2 {
		if err := f.start(); err != nil {
			return err
		}
	}
	imported, err := s.importMail(ctx)
	if err != nil {
		return err
	}
	if err := s.watch(ctx, f); err != nil {
		return err
	}
	if err := f.stop(); err != nil {
		return err
	}
	l, err := count(ctx, s.store.DB())
	if err != nil {
		return err
	}
	l.refused, l.killed = imported.Refused, f.killed
	return l.print(s.out)
}

// prepare makes the tables, and writes what the worker processes read. The
// address of a server stays out of it, since it may have a password.
func (s *stage) prepare(ctx context.Context, p *provider.Server) error {
	address := s.dsn
	if s.server != "" {
		address = "${" + envWorkerStore + "}"
	}
	config := fmt.Sprintf("store: %s\ntransports:\n  %s:\n    retry: {delay: 500ms}\n", address, queue)
	return errors.Join(s.db.Install(ctx),
		os.WriteFile(s.path("posthorn.yaml"), []byte(config), 0o600),
		os.WriteFile(s.path("authority.pem"), p.AuthorityPEM(), 0o600))
}

func (s *stage) importMail(ctx context.Context) (app.Imported, error) {
	d, err := posthorn.NewDispatcher(s.store, posthorn.DispatcherOptions{Queue: queue})
	if err != nil {
		return app.Imported{}, err
	}
	done, err := app.Import(ctx, s.db, d, app.ImportOptions{
		Files: shuffled{samples.FS(), s.rnd}, Copies: s.copies,
		Transient: func(err error) bool { return s.store.Classify(err) == driver.ClassTransient },
	})
	if err == nil {
		s.say("imported %d mails: %d messages dispatched, %d mails refused", done.Files, done.Dispatched, done.Refused)
	}
	return done, err
}

// watch shows progress until nothing is live, and kills a worker in the middle.
func (s *stage) watch(ctx context.Context, f *fleet) error {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	killAt := 0.2 + 0.4*s.rnd.Float64()
	for turn := 0; ; turn++ {
		l, err := weigh(ctx, s.store.DB())
		if err != nil {
			return err
		}
		s.progress(l, turn)
		if l.waiting == 0 && f.killed > 0 {
			s.endProgress()
			return nil
		}
		if f.killed == 0 && float64(l.done+l.dead) >= killAt*float64(l.accepted) {
			if err := f.kill(ctx, s.rnd); err != nil {
				return err
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("not done after %s: %w", s.limit, context.Cause(ctx))
		}
	}
}

// progress shows one line: always the same one on a terminal, one a second
// elsewhere.
func (s *stage) progress(l ledger, turn int) {
	line := fmt.Sprintf("%4d of %d unsubscribed, %d waiting, %d dead letters", l.done, l.accepted, l.waiting, l.dead)
	switch {
	case s.live:
		_, _ = fmt.Fprintf(s.out, "\r\x1b[K%5.1f s  %s", time.Since(s.began).Seconds(), line)
	case turn%10 == 0:
		s.say("%s", line)
	}
}

func (s *stage) endProgress() {
	if s.live {
		_, _ = fmt.Fprintln(s.out)
	}
}

// say prints a line with the time since the start.
func (s *stage) say(format string, args ...any) {
	if s.live {
		_, _ = fmt.Fprint(s.out, "\r\x1b[K")
	}
	_, _ = fmt.Fprintf(s.out, "%5.1f s  %s\n", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
}

func (s *stage) path(name string) string { return filepath.Join(s.dir, name) }

// shuffled is a directory whose files come in an order of chance.
type shuffled struct {
	fs.FS
	rnd *rand.Rand
}

// Glob is fs.GlobFS's.
func (s shuffled) Glob(pattern string) ([]string, error) {
	names, err := fs.Glob(s.FS, pattern)
	s.rnd.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	return names, err
}
