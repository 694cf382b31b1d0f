// Package mail reads what an unsubscriber needs to know from an e-mail.
//
// It reads the header of one RFC 5322 message, with the list fields of RFC
// 2369 (List-Unsubscribe) and RFC 8058 (List-Unsubscribe-Post). Everything in
// a mail was chosen by its sender, so all that is returned is bounded in size
// and printable. RFC 8058 also wants a valid DKIM signature; to check that is
// the work of the server that received the mail.
package mail

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	netmail "net/mail"
	"net/textproto"
	"strings"
)

// The limits of a mail. What is beyond one is refused.
const (
	MaxSize    = 1 << 20  // bytes of the whole mail
	MaxHeader  = 64 << 10 // bytes of the header
	MaxURI     = 2048     // bytes of one URI
	MaxURIs    = 16       // URIs of one List-Unsubscribe field
	MaxAddress = 254      // bytes of an address, RFC 5321 §4.5.3.1.3
	MaxName    = 255      // bytes of a Message-ID or a List-Id
)

// What can be wrong with a mail. They come inside an *Error; compare with
// errors.Is.
var (
	ErrTooLarge     = errors.New("over the size limit")
	ErrMalformed    = errors.New("malformed")
	ErrMissing      = errors.New("missing")
	ErrDuplicate    = errors.New("occurs more than once")
	ErrUnterminated = errors.New("has an angle bracket or a comment that does not end")
	ErrURI          = errors.New("has a URI with characters that no URI may have")
)

// An Error says why a mail is refused. An error of Read that is not an *Error
// is one of the reader's.
type Error struct {
	Field string // the header field, or empty when it is about the whole mail
	Err   error  // wraps one of the sentinels
}

// Error names the field and the fault. It is printable whatever the mail holds.
func (e *Error) Error() string {
	if e.Field == "" {
		return "mail: " + e.Err.Error()
	}
	return "mail: " + e.Field + ": " + e.Err.Error()
}

// Unwrap returns the fault.
func (e *Error) Unwrap() error { return e.Err }

// A Method is a way to unsubscribe.
type Method string

// The methods, from the best to none.
const (
	OneClick Method = "one-click" // an https URI that takes the POST of RFC 8058
	Web      Method = "web"       // only a page for a human
	Mailto   Method = "mailto"    // only an address to write to
	None     Method = "none"      // the mail offers nothing
)

// A Mail is what the header of a mail says.
type Mail struct {
	From      string   // the first author's address
	To        string   // the first recipient's address
	MessageID string   // without angle brackets; empty when the mail has none
	Subject   string   // decoded, on one line, without control and bidi characters
	ListID    string   // the identifier of RFC 2919; empty when the mail has none
	URIs      []string // of List-Unsubscribe, in the sender's order of preference
	Method    Method   // the best way that the mail offers
	URL       string   // the URI of the method; empty for None
	Digest    string   // SHA-256 of the mail's bytes, in hex
}

// List names the list: its List-Id, else the author's address.
func (m *Mail) List() string {
	if m.ListID != "" {
		return m.ListID
	}
	return m.From
}

// Read reads one mail, at most MaxSize bytes of it. A fault of the mail is an
// *Error; any other error is the reader's.
func Read(r io.Reader) (*Mail, error) {
	raw, err := io.ReadAll(io.LimitReader(r, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("read mail: %w", err)
	}
	if len(raw) > MaxSize {
		return nil, &Error{Err: fmt.Errorf("%w of %d bytes", ErrTooLarge, MaxSize)}
	}
	head := headOf(raw)
	if len(head) > MaxHeader {
		return nil, &Error{Field: "header", Err: fmt.Errorf("%w of %d bytes", ErrTooLarge, MaxHeader)}
	}
	msg, err := netmail.ReadMessage(bytes.NewReader(head))
	if err != nil {
		return nil, &Error{Field: "header", Err: fmt.Errorf("%w: %s", ErrMalformed, quote(err.Error()))}
	}
	sum := sha256.Sum256(raw)
	m := &Mail{Digest: hex.EncodeToString(sum[:])}
	if err := m.fill(fields(msg.Header)); err != nil {
		return nil, err
	}
	return m, nil
}

// headOf is everything up to the first empty line, or all of it.
func headOf(raw []byte) []byte {
	end := len(raw)
	for _, blank := range []string{"\n\n", "\n\r\n"} {
		if i := bytes.Index(raw[:end], []byte(blank)); i >= 0 {
			end = i + len(blank)
		}
	}
	return raw[:end]
}

func (m *Mail) fill(h fields) (err error) {
	if m.From, err = h.address("From"); err != nil {
		return err
	}
	if m.To, err = h.address("To"); err != nil {
		return err
	}
	subject, err := h.one("Subject")
	if err != nil {
		return err
	}
	m.Subject = printable(decode(subject))
	if m.MessageID, err = h.bracketed("Message-Id"); err != nil {
		return err
	}
	if m.ListID, err = h.bracketed("List-Id"); err != nil {
		return err
	}
	return m.choose(h)
}

// choose finds the best method that the mail offers.
func (m *Mail) choose(h fields) error {
	value, err := h.one("List-Unsubscribe")
	if err != nil {
		return err
	}
	if m.URIs, err = URIs(value); err != nil {
		return &Error{Field: "List-Unsubscribe", Err: err}
	}
	post, err := h.one("List-Unsubscribe-Post")
	if err != nil {
		return err
	}
	m.Method, m.URL = None, ""
	if strings.EqualFold(strings.TrimSpace(post), "List-Unsubscribe=One-Click") {
		m.take(OneClick, "https:")
	}
	m.take(Web, "https:")
	m.take(Web, "http:")
	m.take(Mailto, "mailto:")
	return nil
}

// take chooses a method when none is chosen yet and a URI has its scheme.
func (m *Mail) take(method Method, scheme string) {
	if m.Method != None {
		return
	}
	for _, uri := range m.URIs {
		if len(uri) >= len(scheme) && strings.EqualFold(uri[:len(scheme)], scheme) {
			m.Method, m.URL = method, uri
			return
		}
	}
}

// fields is a header whose fields may occur once each.
type fields map[string][]string

// one returns the value of a field, or nothing. Two of one field are a way to
// show different things to different readers, so they are refused.
func (h fields) one(name string) (string, error) {
	values := h[textproto.CanonicalMIMEHeaderKey(name)]
	switch len(values) {
	case 0:
		return "", nil
	case 1:
		return values[0], nil
	}
	return "", &Error{Field: name, Err: ErrDuplicate}
}

// address returns the first address of a field that must be there.
func (h fields) address(name string) (string, error) {
	value, err := h.one(name)
	if err != nil {
		return "", err
	}
	if strings.TrimSpace(value) == "" {
		return "", &Error{Field: name, Err: ErrMissing}
	}
	parser := netmail.AddressParser{WordDecoder: wordDecoder()}
	list, err := parser.ParseList(toUTF8(value))
	if err != nil {
		return "", &Error{Field: name, Err: fmt.Errorf("%w: %s", ErrMalformed, quote(err.Error()))}
	}
	if len(list) == 0 { // a group without members, as in "undisclosed-recipients:;"
		return "", &Error{Field: name, Err: ErrMissing}
	}
	return checkAddress(name, list[0].Address)
}

func checkAddress(name, address string) (string, error) {
	if len(address) > MaxAddress {
		return "", &Error{Field: name, Err: fmt.Errorf("%w of %d bytes", ErrTooLarge, MaxAddress)}
	}
	if printable(address) != address {
		return "", &Error{Field: name, Err: fmt.Errorf("%w: %s", ErrMalformed, quote(address))}
	}
	return address, nil
}

// bracketed returns what stands in the last angle brackets of a field, or all
// of it when it has none.
func (h fields) bracketed(name string) (string, error) {
	value, err := h.one(name)
	if err != nil {
		return "", err
	}
	if i := strings.LastIndexByte(value, '<'); i >= 0 {
		inside, _, ended := strings.Cut(value[i+1:], ">")
		if !ended {
			return "", &Error{Field: name, Err: ErrUnterminated}
		}
		value = inside
	}
	value = printable(value)
	if len(value) > MaxName {
		return "", &Error{Field: name, Err: fmt.Errorf("%w of %d bytes", ErrTooLarge, MaxName)}
	}
	return value, nil
}
