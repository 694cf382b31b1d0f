package app_test

import (
	"database/sql"
	"encoding/json"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/examples/unsubscribe/app"
	"github.com/posthorn/posthorn/examples/unsubscribe/mail"
	"github.com/posthorn/posthorn/examples/unsubscribe/mail/samples"
)

func TestImportKeepsALedgerThatAgreesWithTheQueue(t *testing.T) {
	db, d := openDB(t), newDispatcher(t)
	var last app.Imported
	done, err := app.Import(t.Context(), on(t, db), d, app.ImportOptions{
		Files: samples.FS(), Copies: 3, Progress: func(i app.Imported) { last = i },
	})
	if err != nil {
		t.Fatal(err)
	}
	names, err := fs.Glob(samples.FS(), "*.eml")
	if err != nil {
		t.Fatal(err)
	}
	if done.Files != len(names) || done.Total != len(names) || done.Refused == 0 || done.Known != 0 || last != done {
		t.Errorf("done %+v, last progress %+v", done, last)
	}
	if done.Dispatched != 3*(len(names)-done.Refused) {
		t.Errorf("%d messages of %d mails, %d refused", done.Dispatched, len(names), done.Refused)
	}
	checkLedger(t, db, done)

	again, err := app.Import(t.Context(), on(t, db), d, app.ImportOptions{Files: samples.FS(), Copies: 4})
	if err != nil || again.Refused != 0 || again.Dispatched != len(names)-done.Refused {
		t.Errorf("imported again: %+v, %v", again, err)
	}
	if again.Known != done.Refused+done.Dispatched {
		t.Errorf("%d known, want %d", again.Known, done.Refused+done.Dispatched)
	}
}

// checkLedger compares the tables with what the import said.
func checkLedger(t *testing.T, db *sql.DB, done app.Imported) {
	t.Helper()
	for query, want := range map[string]int{
		`select count(*) from mail where state = 'dispatched'`:                            done.Dispatched,
		`select count(*) from mail where state = 'refused' and reason <> ''`:              done.Refused,
		`select count(*) from queue join mail using (id) where kind = '` + app.Kind + `'`: done.Dispatched,
		`select count(*) from queue`:                                                      done.Dispatched,
		`select count(*) from subscription where status <> 'active'`:                      0,
		`select count(*) from queue where not exists (select 1 from subscription s
			where s.list = body ->> 'list' and s.recipient = body ->> 'recipient')`: 0,
	} {
		if got := one[int](t, db, query); got != want {
			t.Errorf("%s: %d, want %d", query, got, want)
		}
	}
}

func oneMail(list string) fstest.MapFS {
	return fstest.MapFS{"a.eml": {Data: []byte("From: news@lists.example\r\nTo: ann@reader.example\r\n" +
		"List-Unsubscribe: <" + list + ">\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n\r\n")}}
}

func TestCopiesDifferInIDRecipientAndURL(t *testing.T) {
	db := openDB(t)
	_, err := app.Import(t.Context(), on(t, db), newDispatcher(t), app.ImportOptions{
		Files: oneMail("https://lists.example/u?a=b#c"), Copies: 2,
	})
	if err != nil {
		t.Fatal(err)
	}
	for suffix, want := range map[string][2]string{
		"-0": {"ann@reader.example", "https://lists.example/u?a=b#c"},
		"-1": {"ann+1@reader.example", "https://lists.example/u?a=b&copy=1"},
	} {
		var msg app.UnsubscribeEmail
		body := one[[]byte](t, db, `select body from queue where id like '%' || ?`, suffix)
		if err := json.Unmarshal(body, &msg); err != nil {
			t.Fatal(err)
		}
		if msg.Recipient != want[0] || msg.URL != want[1] || !strings.HasSuffix(msg.Mail, suffix) {
			t.Errorf("%+v", msg)
		}
	}
}

func TestTheLongestMailsCanBeCopied(t *testing.T) {
	long := "https://lists.example/" + strings.Repeat("a", mail.MaxURI-22)
	files := oneMail(long)
	files["b.eml"] = &fstest.MapFile{Data: []byte("From: a@b.example\nTo: " + strings.Repeat("a", mail.MaxAddress-10) +
		"@b.example\nSubject: " + strings.Repeat("\x80", 60<<10) + "\n\n")}
	done, err := app.Import(t.Context(), on(t, openDB(t)), newDispatcher(t), app.ImportOptions{Files: files, Copies: 2})
	if err != nil || done.Dispatched != 4 {
		t.Errorf("%+v, %v", done, err)
	}
}

func TestNoMailIsAnError(t *testing.T) {
	_, err := app.Import(t.Context(), on(t, openDB(t)), newDispatcher(t), app.ImportOptions{
		Files: fstest.MapFS{"readme.txt": {}},
	})
	if !errors.Is(err, app.ErrNoMail) {
		t.Errorf("error is %v", err)
	}
}

func TestAnImportThatFailsLeavesNoHalfMail(t *testing.T) {
	db := openDB(t)
	exec(t, db, `drop table queue`)
	_, err := app.Import(t.Context(), on(t, db), newDispatcher(t), app.ImportOptions{Files: oneMail("https://a.example/")})
	if err == nil || !strings.Contains(err.Error(), "a.eml") {
		t.Errorf("error is %v", err)
	}
	if n := one[int](t, db, `select (select count(*) from mail) + (select count(*) from subscription)`); n != 0 {
		t.Errorf("%d rows", n)
	}
}

func TestAFileThatCannotBeReadEndsTheImport(t *testing.T) {
	db := openDB(t)
	files := fstest.MapFS{"a.eml": {Mode: fs.ModeDir}}
	if _, err := app.Import(t.Context(), on(t, db), newDispatcher(t), app.ImportOptions{Files: files}); err == nil {
		t.Error("no error")
	}
	if n := one[int](t, db, `select count(*) from mail`); n != 0 {
		t.Errorf("%d rows", n)
	}
}

func TestATransportWithoutTransactionsIsRefused(t *testing.T) {
	d, err := posthorn.NewDispatcher(sendOnly{}, posthorn.DispatcherOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = app.Import(t.Context(), on(t, openDB(t)), d, app.ImportOptions{Files: oneMail("https://a.example/")})
	if !errors.Is(err, driver.ErrUnsupported) {
		t.Errorf("error is %v", err)
	}
}

// sendOnly is a transport that is not in a database.
type sendOnly struct{ driver.Transport }

func (sendOnly) Capabilities() driver.Capabilities { return driver.Capabilities{} }

func TestAFileThatMetADeadlockIsTriedAgainButNotForEver(t *testing.T) {
	db := openDB(t)
	exec(t, db, `drop table queue`)
	for _, c := range []struct{ heals, calls int }{{2, 2}, {1000, 9}} {
		calls := 0
		_, err := app.Import(t.Context(), on(t, db), newDispatcher(t), app.ImportOptions{
			Files: oneMail("https://a.example/"),
			Transient: func(error) bool {
				if calls++; calls == c.heals {
					exec(t, db, `create table queue (id text primary key, kind text, body blob)`)
				}
				return true
			},
		})
		if calls != c.calls || (err == nil) != (c.heals < 10) {
			t.Errorf("%d times, %v", calls, err)
		}
		exec(t, db, `drop table if exists queue`)
		exec(t, db, `delete from mail`)
	}
}
