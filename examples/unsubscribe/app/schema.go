package app

// MaxNotification is how many characters a notification's text may have.
const MaxNotification = 255

// Schema makes the application's tables in SQLite; it may be run again. The
// states of a mail are "dispatched" and "refused". The table unsubscribed has
// no unique key on purpose: an effect that was committed twice would show.
const Schema = `
create table if not exists mail (
  id          text primary key,
  file        text not null,
  message_id  text not null default '',
  list        text not null default '',
  recipient   text not null default '',
  state       text not null check (state in ('dispatched', 'refused')),
  reason      text not null default '',
  imported_at text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);
create table if not exists subscription (
  list       text not null,
  recipient  text not null,
  status     text not null default 'active' check (status in ('active', 'unsubscribed')),
  changed_at text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
  primary key (list, recipient)
);
create table if not exists unsubscribed (
  mail      text not null,
  list      text not null,
  recipient text not null,
  attempt   integer not null,
  at        text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);
create index if not exists unsubscribed_mail on unsubscribed (mail);
create table if not exists notification (
  id        integer primary key,
  mail      text not null,
  recipient text not null,
  text      varchar(255) not null check (length(text) <= 255),
  shortened integer not null check (shortened in (0, 1)),
  at        text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);
`
