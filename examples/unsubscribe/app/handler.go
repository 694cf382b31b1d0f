package app

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/examples/unsubscribe/mail"
	"github.com/posthorn/posthorn/examples/unsubscribe/oneclick"
)

// Why a mail cannot be unsubscribed from without a human. The messages become
// dead letters, so that a human can see them.
var (
	ErrMailtoOnly = errors.New("mailto only: the list wants to be written to")
	ErrWebOnly    = errors.New("web only: the list wants a human on its page")
	ErrNoMethod   = errors.New("no method: the mail offers no way to unsubscribe")
	ErrNotKnown   = errors.New("no such subscription")
)

// Client makes a one-click request. A *oneclick.Client is one.
type Client interface {
	Unsubscribe(ctx context.Context, url string) error
}

// Register puts the handler for UnsubscribeEmail on m; db is the database of
// the workers' store. It panics when the handler is there already.
func Register(m *posthorn.Mux, c Client, db Database, opts ...posthorn.HandlerOption) {
	posthorn.HandleEffect(m, func(ctx context.Context, msg UnsubscribeEmail) (posthorn.Effect, error) {
		if err := refuse(msg.Method); err != nil {
			return nil, posthorn.Reject(err)
		}
		if err := c.Unsubscribe(ctx, msg.URL); err != nil {
			return nil, verdict(err)
		}
		return db.record(msg), nil
	}, opts...)
}

// refuse says why a method is not for a machine.
func refuse(method mail.Method) error {
	switch method {
	case mail.OneClick:
		return nil
	case mail.Web:
		return ErrWebOnly
	case mail.Mailto:
		return ErrMailtoOnly
	}
	return ErrNoMethod
}

// verdict tells Posthorn what the client's error means.
func verdict(err error) error {
	var e *oneclick.Error
	switch {
	case !errors.As(err, &e):
		return err
	case e.Permanent():
		return posthorn.Reject(err)
	case e.After > 0:
		return posthorn.RetryAfter(e.After, err)
	}
	return err
}

// record is what must be in the database exactly once for each message.
func (d Database) record(msg UnsubscribeEmail) posthorn.Effect {
	return func(ctx context.Context, tx *posthorn.Tx) error {
		if err := d.endSubscription(ctx, tx, msg); err != nil {
			return err
		}
		delivery, _ := posthorn.DeliveryFrom(ctx)
		_, err := tx.ExecContext(ctx,
			d.sql(`insert into unsubscribed (mail, list, recipient, attempt) values (?, ?, ?, ?)`),
			msg.Mail, msg.List, msg.Recipient, delivery.Attempt)
		if err != nil {
			return fmt.Errorf("record unsubscription: %w", err)
		}
		return d.notify(ctx, tx, msg)
	}
}

func (d Database) endSubscription(ctx context.Context, tx *posthorn.Tx, msg UnsubscribeEmail) error {
	result, err := tx.ExecContext(ctx, d.sql(`update subscription
		set status = 'unsubscribed', changed_at = {now} where list = ? and recipient = ?`), msg.List, msg.Recipient)
	if err != nil {
		return fmt.Errorf("update subscription: %w", err)
	}
	n, err := result.RowsAffected()
	if err != nil {
		return fmt.Errorf("update subscription: %w", err)
	}
	if n == 0 {
		return posthorn.Reject(ErrNotKnown)
	}
	return nil
}

// notify tells the recipient. The subject is the sender's and may be longer
// than the column, so the text is made to fit.
func (d Database) notify(ctx context.Context, tx *posthorn.Tx, msg UnsubscribeEmail) error {
	full := strings.TrimSpace(fmt.Sprintf("You no longer get mail from %s: %s", msg.List, msg.Subject))
	text := posthorn.Fit(ctx, "notification.text", full, MaxNotification)
	shortened := utf8.RuneCountInString(full) > MaxNotification
	_, err := tx.ExecContext(ctx,
		d.sql(`insert into notification (mail, recipient, text, shortened) values (?, ?, ?, ?)`),
		msg.Mail, msg.Recipient, text, shortened)
	if err != nil {
		return fmt.Errorf("insert notification: %w", err)
	}
	return nil
}
