package app

import (
	"context"
	"fmt"
	"slices"
)

// MaxNotification is how many characters a notification's text may have.
const MaxNotification = 255

// Tables are the names of the application's tables.
func Tables() []string { return []string{"mail", "subscription", "unsubscribed", "notification"} }

// schema makes the tables; it may be run again. What stands in braces is the
// dialect's. The states of a mail are "dispatched" and "refused". The table
// unsubscribed has no unique key on purpose: an effect that was committed twice
// would show.
func schema() []string {
	return []string{`
create table if not exists mail (
  id          {key} primary key,
  file        {key} not null,
  message_id  {key} not null default '',
  list        {key} not null default '',
  recipient   {key} not null default '',
  state       varchar(16) not null check (state in ('dispatched', 'refused')),
  reason      varchar(1000) not null default '',
  imported_at {time} not null default {now}
)`, `
create table if not exists subscription (
  list       {key} not null,
  recipient  {key} not null,
  status     varchar(16) not null default 'active' check (status in ('active', 'unsubscribed')),
  changed_at {time} not null default {now},
  primary key (list, recipient)
)`, `
create table if not exists unsubscribed (
  mail      {key} not null,
  list      {key} not null,
  recipient {key} not null,
  attempt   integer not null,
  at        {time} not null default {now}{index}
)`, `
create table if not exists notification (
  id        {number} primary key,
  mail      {key} not null,
  recipient {key} not null,
  text      {line} not null,
  shortened {bool} not null,
  at        {time} not null default {now}
)`}
}

// Install makes the tables that are not there. Several processes may call it
// at once.
func (d Database) Install(ctx context.Context) error {
	there, err := d.Names(ctx)
	if err != nil {
		return err
	}
	missing := func(name string) bool { return !slices.Contains(there, name) }
	if !slices.ContainsFunc(Tables(), missing) {
		return nil
	}
	tx, err := d.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // does nothing after the commit
	for _, stmt := range slices.Concat(d.dialect.before, schema(), d.dialect.after) {
		if _, err := tx.ExecContext(ctx, d.sql(stmt)); err != nil {
			return fmt.Errorf("create tables: %w", err)
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

// Names lists all tables and views of the database, the application's and
// others.
func (d Database) Names(ctx context.Context) ([]string, error) {
	rows, err := d.db.QueryContext(ctx, d.dialect.names)
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", err)
	}
	defer func() { _ = rows.Close() }() // Err tells what matters
	var names []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, fmt.Errorf("list tables: %w", err)
		}
		names = append(names, name)
	}
	return names, rows.Err()
}
