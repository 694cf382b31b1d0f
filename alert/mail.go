package alert

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"strconv"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"

	"github.com/posthorn/posthorn/internal/tap"
)

// An Encryption says how a connection to a mail server is protected.
type Encryption string

// The kinds of encryption.
const (
	StartTLS  Encryption = "starttls" // which the server must offer
	Implicit  Encryption = "implicit" // from the first byte
	Plaintext Encryption = "none"
)

// A Mail says how notices are mailed.
type Mail struct {
	Server     string     // host:port
	Encryption Encryption // empty means StartTLS
	User       string     // empty: without authentication
	Password   Secret
	From       string
	To         []string
	Program    string      // the name before commands to run
	TLS        *tls.Config // nil: the authorities of the system
}

// ErrMail: mail cannot be sent in this way.
var ErrMail = errors.New("not a way to send mail")

// Check refuses what makes no sense, and a password that would travel in plain text beyond
// this host. The error is ErrMail.
func (m Mail) Check() error {
	host, port, err := net.SplitHostPort(m.Server)
	if err != nil || host == "" {
		return fmt.Errorf("%w: %q is not like mail.example.org:587", ErrMail, m.Server)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("%w: %q is not a port", ErrMail, port)
	}
	if _, err := mail.ParseAddress(m.From); err != nil {
		return fmt.Errorf("%w: the sender %q is not an address", ErrMail, m.From)
	}
	if len(m.To) == 0 {
		return fmt.Errorf("%w: nobody is to get it", ErrMail)
	}
	for _, to := range m.To {
		if _, err := mail.ParseAddress(to); err != nil {
			return fmt.Errorf("%w: %q is not an address", ErrMail, to)
		}
	}
	ip := net.ParseIP(host)
	if m.Encryption == Plaintext && m.User != "" && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("%w: the password would travel in plain text", ErrMail)
	}
	return nil
}

// Send mails the notices as one mail.
func (m Mail) Send(ctx context.Context, notices []Notice) error {
	if err := m.Check(); err != nil {
		return err
	}
	password, err := m.Password.reveal()
	if err != nil {
		return err
	}
	if err := m.deliver(ctx, password, notices); err != nil {
		return errors.New(hide(err.Error(), m.forms(password)...))
	}
	return nil
}

// forms are how a password may stand in what a server says.
func (m Mail) forms(password string) []string {
	return []string{
		password, base64.StdEncoding.EncodeToString([]byte(password)),
		base64.StdEncoding.EncodeToString([]byte("\x00" + m.User + "\x00" + password)),
	}
}

func (m Mail) deliver(ctx context.Context, password string, notices []Notice) error {
	msg, err := m.compose(notices)
	if err != nil {
		return err
	}
	client, err := m.client(ctx, password)
	if err != nil {
		return err
	}
	conn, err := client.DialToSMTPClientWithContext(ctx)
	if err == nil {
		err = client.SendWithSMTPClient(conn, msg)
		_ = client.CloseWithSMTPClient(conn) // the server has taken it, or has not: see err
	}
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return err
}

// compose writes the mail. Addresses and titles cannot break its headers: the ones were
// parsed, the others have no control characters.
func (m Mail) compose(notices []Notice) (*gomail.Msg, error) {
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	if err := errors.Join(msg.From(m.From), msg.To(m.To...)); err != nil {
		return nil, ErrMail
	}
	from, err := mail.ParseAddress(m.From)
	if err != nil {
		return nil, ErrMail
	}
	_, domain, _ := strings.Cut(from.Address, "@")
	msg.SetMessageIDWithValue(delivery(notices) + "@" + domain)
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: no out-of-office notes, please
	msg.SetDate()
	program := programOf(m.Program)
	msg.Subject("[" + program + "] " + summary(notices))
	var blocks []string
	for _, n := range notices {
		blocks = append(blocks, n.block(program))
	}
	text := strings.Join(blocks, "\n")
	msg.SetBodyString(gomail.TypeTextPlain, text)
	tap.Show(tap.Alert, []byte(strings.Join(msg.GetGenHeader(gomail.HeaderSubject), "\n")+"\n"+text))
	return msg, nil
}

// client makes the client of one delivery, whose connection ends with ctx.
func (m Mail) client(ctx context.Context, password string) (*gomail.Client, error) {
	host, text, _ := net.SplitHostPort(m.Server)
	port, err := strconv.Atoi(text)
	if err != nil {
		return nil, ErrMail
	}
	within := DefaultWithin
	if end, ok := ctx.Deadline(); ok {
		within = max(time.Until(end), time.Millisecond)
	}
	config := &tls.Config{}
	if m.TLS != nil {
		config = m.TLS.Clone()
	}
	config.ServerName, config.MinVersion = host, tls.VersionTLS12
	options := []gomail.Option{
		gomail.WithPort(port), gomail.WithTimeout(within), gomail.WithTLSConfig(config), gomail.WithoutNoop(),
		gomail.WithDialContextFunc(m.dial(ctx, config)),
	}
	switch m.Encryption {
	case Plaintext, Implicit:
		options = append(options, gomail.WithTLSPolicy(gomail.NoTLS))
	default:
		options = append(options, gomail.WithTLSPolicy(gomail.TLSMandatory))
	}
	switch {
	case m.User == "":
	case m.Encryption == StartTLS || m.Encryption == "":
		options = append(options, gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover))
	default: // the library does not see that the dialler encrypts, and loopback needs no encryption
		options = append(options, gomail.WithSMTPAuth(gomail.SMTPAuthPlainNoEnc))
	}
	if m.User != "" {
		options = append(options, gomail.WithUsername(m.User), gomail.WithPassword(password))
	}
	return gomail.NewClient(host, options...)
}

// dial opens a connection that is closed when ctx ends: a server that hangs ends no wait by
// itself.
func (m Mail) dial(ctx context.Context, config *tls.Config) gomail.DialContextFunc {
	return func(dialing context.Context, network, address string) (net.Conn, error) {
		var (
			conn net.Conn
			err  error
		)
		if m.Encryption == Implicit {
			conn, err = (&tls.Dialer{Config: config}).DialContext(dialing, network, address)
		} else {
			conn, err = (&net.Dialer{}).DialContext(dialing, network, address)
		}
		if err == nil {
			context.AfterFunc(ctx, func() { _ = conn.Close() })
		}
		return conn, err
	}
}
