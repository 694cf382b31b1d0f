package app_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/examples/unsubscribe/app"
	"github.com/posthorn/posthorn/examples/unsubscribe/mail"
	"github.com/posthorn/posthorn/examples/unsubscribe/oneclick"
)

func goodMessage() app.UnsubscribeEmail {
	return app.UnsubscribeEmail{
		Mail: "abc-0", MessageID: "1@lists.example", List: "garden.lists.example", Recipient: "ann@reader.example",
		Subject: "Tulips", Method: mail.OneClick, URL: "https://lists.example/ok/1",
	}
}

func TestAGoodMessageIsUnsubscribedAndRecorded(t *testing.T) {
	db, msg, called := openDB(t), goodMessage(), ""
	exec(t, db, `insert into subscription (list, recipient) values (?, ?)`, msg.List, msg.Recipient)
	exec(t, db, `insert into subscription (list, recipient) values (?, 'ben@reader.example')`, msg.List)
	effect, d, err := slowPart(t, clientFunc(func(_ context.Context, url string) error {
		called = url
		return nil
	}), msg)
	if err != nil || effect == nil || called != msg.URL {
		t.Fatalf("called %q, error %v", called, err)
	}
	if n := one[int](t, db, `select count(*) from unsubscribed`); n != 0 {
		t.Fatal("the slow part has written")
	}
	if log, err := commit(t, db, effect, d); err != nil || log != "" {
		t.Fatalf("effect: %v, log %q", err, log)
	}
	if s := one[string](t, db, `select status from subscription where recipient = ?`, msg.Recipient); s != "unsubscribed" {
		t.Errorf("status is %s", s)
	}
	if s := one[string](t, db, `select status from subscription where recipient <> ?`, msg.Recipient); s != "active" {
		t.Errorf("the neighbour's status is %s", s)
	}
	if id := one[string](t, db, `select mail from unsubscribed`); id != msg.Mail {
		t.Errorf("mail is %s", id)
	}
	const want = "You no longer get mail from garden.lists.example: Tulips"
	if text := one[string](t, db, `select text from notification where shortened = 0`); text != want {
		t.Errorf("notification is %q", text)
	}
}

func TestADoubledEffectWouldShow(t *testing.T) {
	db, msg := openDB(t), goodMessage()
	exec(t, db, `insert into subscription (list, recipient) values (?, ?)`, msg.List, msg.Recipient)
	for range 2 {
		effect, d, err := slowPart(t, clientFunc(func(context.Context, string) error { return nil }), msg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := commit(t, db, effect, d); err != nil {
			t.Fatal(err)
		}
	}
	if n := one[int](t, db, `select count(*) from unsubscribed where mail = ?`, msg.Mail); n != 2 {
		t.Errorf("%d rows", n)
	}
}

func TestANotificationIsMadeToFitItsColumn(t *testing.T) {
	for name, subject := range map[string]string{
		"plain":     strings.Repeat("everything must go ", 30),
		"emoji":     strings.Repeat("👨\u200d👩\u200d👧\u200d👦", 60),
		"combining": strings.Repeat("z\u0301\u0327\u0323", 100),
	} {
		t.Run(name, func(t *testing.T) {
			db, msg := openDB(t), goodMessage()
			msg.Subject = subject
			exec(t, db, `insert into subscription (list, recipient) values (?, ?)`, msg.List, msg.Recipient)
			effect, d, err := slowPart(t, clientFunc(func(context.Context, string) error { return nil }), msg)
			if err != nil {
				t.Fatal(err)
			}
			log, err := commit(t, db, effect, d)
			if err != nil || !strings.Contains(log, "message_id=abc-0") {
				t.Fatalf("effect: %v, log %q", err, log)
			}
			text := one[string](t, db, `select text from notification where shortened = 1`)
			if n := utf8.RuneCountInString(text); n > 255 || n < 230 || strings.HasSuffix(text, "\u200d") {
				t.Errorf("text has %d characters: %q", n, text)
			}
		})
	}
}

func TestAnUnknownSubscriptionIsRejectedAndLeavesNothing(t *testing.T) {
	db := openDB(t)
	effect, d, err := slowPart(t, clientFunc(func(context.Context, string) error { return nil }), goodMessage())
	if err != nil {
		t.Fatal(err)
	}
	_, err = commit(t, db, effect, d)
	if !errors.Is(err, app.ErrNotKnown) || posthorn.ClassOf(err) != driver.ClassReject {
		t.Errorf("error is %v", err)
	}
	if n := one[int](t, db, `select (select count(*) from unsubscribed) + (select count(*) from notification)`); n != 0 {
		t.Errorf("%d rows", n)
	}
}

func TestAStatementThatFailsFailsTheEffect(t *testing.T) {
	for _, table := range []string{"subscription", "unsubscribed", "notification"} {
		db, msg := openDB(t), goodMessage()
		exec(t, db, `insert into subscription (list, recipient) values (?, ?)`, msg.List, msg.Recipient)
		exec(t, db, `drop table `+table)
		effect, d, err := slowPart(t, clientFunc(func(context.Context, string) error { return nil }), msg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := commit(t, db, effect, d); err == nil || posthorn.ClassOf(err) != driver.ClassFailure {
			t.Errorf("without %s: %v", table, err)
		}
	}
}

func TestMailsWithoutOneClickAreRejectedWithTheirReason(t *testing.T) {
	for method, want := range map[mail.Method]error{
		mail.Mailto: app.ErrMailtoOnly, mail.Web: app.ErrWebOnly, mail.None: app.ErrNoMethod,
	} {
		msg := goodMessage()
		msg.Method = method
		effect, _, err := slowPart(t, clientFunc(func(context.Context, string) error {
			t.Errorf("%s: the client was called", method)
			return nil
		}), msg)
		if effect != nil || !errors.Is(err, want) || posthorn.ClassOf(err) != driver.ClassReject {
			t.Errorf("%s: error is %v", method, err)
		}
	}
}

func TestTheClientsErrorsDecideWhatBecomesOfTheMessage(t *testing.T) {
	d := driver.Delivery{Deliveries: 1}
	policy := posthorn.RetryPolicy{Delay: time.Second, Jitter: -1}
	plainCause := fmt.Errorf("unsubscribe: %w", posthorn.ErrShutdown)
	for name, c := range map[string]struct {
		err     error
		verdict driver.Verdict
		delay   time.Duration
	}{
		"permanent":   {&oneclick.Error{Reason: oneclick.ErrAddress}, driver.Bury, 0},
		"temporary":   {&oneclick.Error{Reason: oneclick.ErrNetwork}, driver.Retry, time.Second},
		"retry after": {&oneclick.Error{Reason: oneclick.ErrUnavailable, After: time.Minute}, driver.Retry, time.Minute},
		"shutdown":    {plainCause, driver.Release, 0},
	} {
		_, _, err := slowPart(t, clientFunc(func(context.Context, string) error { return c.err }), goodMessage())
		if !errors.Is(err, c.err) {
			t.Errorf("%s: error is %v", name, err)
		}
		if out := policy.Decide(d, err, time.Time{}); out.Verdict != c.verdict || out.Delay != c.delay {
			t.Errorf("%s: outcome is %+v", name, out)
		}
	}
}

func TestMessagesThatMakeNoSenseAreInvalid(t *testing.T) {
	for name, change := range map[string]func(*app.UnsubscribeEmail){
		"no mail":        func(m *app.UnsubscribeEmail) { m.Mail = "" },
		"no list":        func(m *app.UnsubscribeEmail) { m.List = "" },
		"no recipient":   func(m *app.UnsubscribeEmail) { m.Recipient = "" },
		"no url":         func(m *app.UnsubscribeEmail) { m.URL = "" },
		"long url":       func(m *app.UnsubscribeEmail) { m.URL = strings.Repeat("a", mail.MaxURI+1) },
		"long subject":   func(m *app.UnsubscribeEmail) { m.Subject = strings.Repeat("a", 1<<20) },
		"unknown method": func(m *app.UnsubscribeEmail) { m.Method = "carrier pigeon" },
		"not UTF-8":      func(m *app.UnsubscribeEmail) { m.Subject = "\xff" },
	} {
		msg := goodMessage()
		change(&msg)
		if msg.Validate() == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := goodMessage().Validate(); err != nil {
		t.Error(err)
	}
	if err := (app.UnsubscribeEmail{Mail: "1", List: "l", Recipient: "r", Method: mail.None}).Validate(); err != nil {
		t.Error(err)
	}
}

func TestTheSchemaRefusesATextThatIsTooLong(t *testing.T) {
	db := openDB(t)
	insert := func(n int) (sql.Result, error) {
		return db.ExecContext(t.Context(), `insert into notification (mail, recipient, text, shortened)
			values ('1', 'r', ?, 0)`, strings.Repeat("ü", n))
	}
	if _, err := insert(app.MaxNotification); err != nil {
		t.Error(err)
	}
	if _, err := insert(app.MaxNotification + 1); err == nil {
		t.Error("one character more was stored")
	}
}
