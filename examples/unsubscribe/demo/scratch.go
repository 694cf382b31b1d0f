package demo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/posthorn/posthorn/examples/unsubscribe/app"
	"github.com/posthorn/posthorn/internal/migrate"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/transport/open"
)

// EnvStore is the environment variable that takes the place of --store, for an
// address with a password.
const EnvStore = "UNSUBSCRIBE_DEMO_STORE"

// Why the demo does not use an address.
var (
	ErrAddress  = errors.New("the demo does not take this address")
	ErrNotEmpty = errors.New("the database is not empty")
)

// marker is the table that makes a database the demo's. Of several demos that
// find the same empty database, one can create it.
const marker = "unsubscribe_demo"

// dropWithin bounds the removal of the demo's tables.
const dropWithin = 30 * time.Second

// made finds the tables in Posthorn's migrations.
var made = regexp.MustCompile(`(?m)^create table (?:if not exists )?(posthorn_\w+)`)

// chooseServer checks the address from the flag, or takes the one from the
// environment.
func (o *options) chooseServer(env string) error {
	if hasPassword(o.server) {
		return fmt.Errorf("%w: it has a password, and everybody on this host can read the arguments of a process; "+
			"set %s instead of --store", ErrAddress, EnvStore)
	}
	o.server = cmp.Or(o.server, env)
	switch {
	case o.server == "":
		return nil
	case strings.HasPrefix(o.server, "sqlite:"):
		return fmt.Errorf("%w: without --store it uses a SQLite file of its own, in the directory that TMPDIR names",
			ErrAddress)
	}
	_, query, _ := strings.Cut(o.server, "?")
	if strings.Contains(query, "schema=") || strings.Contains(query, "prefix=") {
		return fmt.Errorf("%w: it counts in tables that have their usual names; leave schema= and prefix= out",
			ErrAddress)
	}
	return open.CheckStore(o.server)
}

// hasPassword reports whether an address may have a password in it.
func hasPassword(dsn string) bool {
	_, rest, _ := strings.Cut(dsn, "://")
	at := strings.LastIndexByte(rest, '@')
	return at >= 0 && strings.Contains(rest[:at], ":") || strings.Contains(rest, "password=")
}

// onServer plays in a server's database that is empty, and empties it again.
func (s *stage) onServer(ctx context.Context) error {
	steps, err := open.Migrations(ctx, s.server)
	if err != nil {
		return err
	}
	own := scratch{stage: s, posthorn: tablesOf(steps)}
	if !steps[0].AppliedAt.IsZero() {
		return own.refuse(ctx)
	}
	s.dsn = s.server
	return s.withStore(ctx, func(ctx context.Context) error {
		if err := own.claim(ctx); err != nil {
			return err
		}
		err := s.withProvider(ctx)
		return errors.Join(err, own.leave(ctx, err == nil && !s.keep))
	})
}

// tablesOf lists the tables that migrations make.
func tablesOf(steps []migrate.Migration) []string {
	names := made.FindStringSubmatch(migrate.Table)[1:]
	for _, step := range steps {
		for _, found := range made.FindAllStringSubmatch(step.SQL, -1) {
			names = append(names, found[1])
		}
	}
	return names
}

// scratch is what the demo makes in a database that is not in its directory.
type scratch struct {
	*stage
	posthorn []string // the tables of the store
}

// refuse says what is in a database that has a store. It changes nothing.
func (s scratch) refuse(ctx context.Context) (err error) {
	found, err := open.Existing(ctx, s.server, store.Options{AsIs: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, found.Close()) }()
	if s.db, err = app.NewDatabase(found.DB(), found.Dialect()); err != nil {
		return err
	}
	names, err := s.db.Names(ctx)
	if err != nil {
		return err
	}
	return s.notEmpty(names)
}

// notEmpty tells what there is, and what to do.
func (s scratch) notEmpty(names []string) error {
	if slices.Contains(names, marker) {
		return fmt.Errorf("%w: it has the tables of another demo; when that has ended and nobody needs them, run `%s`",
			ErrNotEmpty, s.dropping(names))
	}
	slices.Sort(names)
	return fmt.Errorf("%w: it has %d tables, the first is %q; create a database for the demo and give its address",
		ErrNotEmpty, len(names), names[0])
}

// claim makes the database the demo's. The store has been made in it; if there
// is anything else, the store is taken back.
func (s scratch) claim(ctx context.Context) error {
	_, failed := s.store.DB().ExecContext(ctx, "create table "+marker+" (note varchar(40))")
	names, err := s.db.Names(ctx)
	switch {
	case failed != nil && slices.Contains(names, marker):
		return s.notEmpty(names)
	case failed != nil || err != nil:
		return errors.Join(failed, err)
	}
	ours := func(name string) bool { return name == marker || slices.Contains(s.posthorn, name) }
	others := slices.DeleteFunc(slices.Clone(names), ours)
	if len(others) == 0 {
		return nil
	}
	mine := slices.DeleteFunc(names, func(name string) bool { return !ours(name) })
	return errors.Join(s.notEmpty(others), s.drop(ctx, mine))
}

// leave drops the demo's tables, or says how to.
func (s scratch) leave(ctx context.Context, empty bool) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropWithin)
	defer cancel()
	names, err := s.db.Names(ctx)
	if err != nil {
		return err
	}
	if empty {
		return s.drop(ctx, names)
	}
	s.say("the tables stay in the database; when nobody needs them, run `%s`", s.dropping(names))
	return nil
}

func (s scratch) drop(ctx context.Context, names []string) error {
	if _, err := s.store.DB().ExecContext(ctx, s.dropping(names)); err != nil {
		return fmt.Errorf("drop the demo's tables: %w", err)
	}
	return nil
}

// dropping is the statement that drops those of the tables that a demo makes.
func (s scratch) dropping(names []string) string {
	own := slices.Concat(s.posthorn, app.Tables(), []string{marker})
	return "drop table " + strings.Join(slices.DeleteFunc(own, func(name string) bool {
		return !slices.Contains(names, name)
	}), ", ")
}
