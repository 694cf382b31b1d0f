// Package app is the application of the example: what it does with a mail from
// which somebody wants to be unsubscribed.
package app

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/posthorn/posthorn/examples/unsubscribe/mail"
)

// Kind is the kind of UnsubscribeEmail.
const Kind = "unsubscribe_email"

// maxSubject bounds a message's subject in bytes: decoding makes at most three
// of each byte of a header.
const maxSubject = 3 * mail.MaxHeader

// UnsubscribeEmail asks to unsubscribe one recipient from one list.
type UnsubscribeEmail struct {
	Mail      string      `json:"mail"`       // the row of the mail's ledger; also the message's id
	MessageID string      `json:"message_id"` // of the mail; may be empty
	List      string      `json:"list"`
	Recipient string      `json:"recipient"`
	Subject   string      `json:"subject"`
	Method    mail.Method `json:"method"`
	URL       string      `json:"url"` // of the method; empty for mail.None
}

// Kind is Kind.
func (UnsubscribeEmail) Kind() string { return Kind }

// Validate checks what every other step relies on. Whether the URL may be
// called is for the client to say.
func (m UnsubscribeEmail) Validate() error {
	for _, field := range []struct {
		name, value string
		min, max    int
	}{
		{"mail", m.Mail, 1, mail.MaxName},
		{"message_id", m.MessageID, 0, mail.MaxName},
		{"list", m.List, 1, mail.MaxName},
		{"recipient", m.Recipient, 1, mail.MaxAddress},
		{"subject", m.Subject, 0, maxSubject},
		{"url", m.URL, 0, mail.MaxURI},
	} {
		if err := checkField(field.value, field.min, field.max); err != nil {
			return fmt.Errorf("%s %w", field.name, err)
		}
	}
	return m.checkMethod()
}

func checkField(s string, min, max int) error {
	switch {
	case len(s) < min:
		return errors.New("is empty")
	case len(s) > max:
		return fmt.Errorf("has %d bytes, the limit is %d", len(s), max)
	case !utf8.ValidString(s):
		return errors.New("is not valid UTF-8")
	}
	return nil
}

func (m UnsubscribeEmail) checkMethod() error {
	switch m.Method {
	case mail.None:
		return nil
	case mail.OneClick, mail.Web, mail.Mailto:
		if m.URL == "" {
			return fmt.Errorf("url is empty for method %s", m.Method)
		}
		return nil
	}
	return fmt.Errorf("method %q is unknown", m.Method)
}
