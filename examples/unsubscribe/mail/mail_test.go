package mail_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"unicode"
	"unicode/utf8"

	"github.com/posthorn/posthorn/examples/unsubscribe/mail"
	"github.com/posthorn/posthorn/examples/unsubscribe/mail/samples"
)

// want is what a sample must be read as. An empty field is not compared.
type want struct {
	method  mail.Method
	url     string
	subject string
	err     error
}

func wants() map[string]want {
	ok := func(path string) want { return want{method: mail.OneClick, url: "https://lists.example" + path} }
	return map[string]want{
		"01-one-click":    ok("/ok/01"),
		"02-one-click-lf": ok("/ok/02"),
		"03-folded": {mail.OneClick, "https://lists.example/ok/03?user=ann&token=4f2a",
			"A subject that is folded over three lines", nil},
		"04-encoded-words-q": {mail.OneClick, "", "Grüße aus dem Café – nur 5 €", nil},
		"05-encoded-words-b": {mail.OneClick, "", "東京ガーデン通信 🌷", nil},
		"06-encoded-words-unknown-charset": {mail.OneClick, "",
			strings.Repeat("\ufffd", 6) + "sale \ufffd now =?utf-8?B?%%%?=", nil},
		"07-several-mailto-first": ok("/ok/07"),
		"08-several-http-first":   ok("/ok/08"),
		"09-mailto-only": {method: mail.Mailto,
			url: "mailto:leave-garden@lists.example?subject=unsubscribe%20ann"},
		"10-http-only":              {method: mail.Web, url: "http://lists.example/page/10"},
		"11-no-list-unsubscribe":    {method: mail.None},
		"12-no-post-header":         {method: mail.Web, url: "https://lists.example/ok/12"},
		"13-post-wrong-value":       {method: mail.Web, url: "https://lists.example/ok/13"},
		"14-post-with-mailto-only":  {method: mail.Mailto},
		"15-comments":               ok("/ok/15"),
		"16-uppercase-names":        {method: mail.OneClick, url: "HTTPS://LISTS.EXAMPLE/ok/16", subject: "LAST CALL"},
		"17-long-subject-emoji":     ok("/ok/17"),
		"18-long-subject-combining": ok("/ok/18"),
		"19-long-subject-plain":     ok("/ok/19"),
		"20-bidi-subject":           {mail.OneClick, "", "Invoice gpj.exe hidden", nil},
		"21-rtl-subject":            {mail.OneClick, "", "שלום עולם: חדשות השבוע", nil},
		"22-control-characters":     {mail.OneClick, "", "[31mred [0m ]0;owned 2J", nil},
		"23-injection-subject": {mail.OneClick, "",
			"Hello Bcc: all@lists.example <script>alert(1)</script>", nil},
		"24-injection-uri":        ok("/ok/24%0d%0aCookie:%20a=b?x=%0d%0a%0d%0aGET"),
		"25-bare-cr-in-uri":       {err: mail.ErrURI},
		"26-duplicate-field":      {err: mail.ErrDuplicate},
		"27-idn-punycode":         {method: mail.OneClick, url: "https://xn--bcher-kva.lists.example/ok/27"},
		"28-idn-raw":              {err: mail.ErrURI},
		"29-userinfo":             {method: mail.OneClick, url: "https://lists.example@127.0.0.1/ok/29"},
		"30-ip-private":           {method: mail.OneClick},
		"31-ip-loopback":          {method: mail.OneClick},
		"32-ip-v4-mapped":         {method: mail.OneClick, url: "https://[::ffff:127.0.0.1]/ok/32"},
		"33-ip-metadata":          {method: mail.OneClick},
		"34-ip-decimal":           {method: mail.OneClick},
		"35-odd-port":             {method: mail.OneClick, url: "https://lists.example:6379/ok/35"},
		"36-localhost":            {method: mail.OneClick},
		"37-unknown-host":         {method: mail.OneClick},
		"38-empty-brackets":       ok("/ok/38"),
		"39-only-empty-brackets":  {method: mail.None},
		"40-unterminated":         {err: mail.ErrUnterminated},
		"41-no-brackets":          {method: mail.None},
		"42-huge-header":          {err: mail.ErrTooLarge},
		"43-raw-8bit":             {mail.OneClick, "", "Grüße – 5 €", nil},
		"44-no-body":              ok("/ok/44"),
		"45-multipart":            ok("/ok/45"),
		"46-truncated":            {err: mail.ErrUnterminated},
		"47-no-message-id":        ok("/ok/47"),
		"48-no-recipient":         {err: mail.ErrMissing},
		"49-not-a-mail":           {err: mail.ErrMalformed},
		"50-overlong-uri":         {err: mail.ErrTooLarge},
		"60-provider-flaky":       ok("/flaky/60"),
		"61-provider-flaky-after": ok("/flaky-after/61"),
		"62-provider-redirect":    ok("/redirect/62"),
		"63-provider-gone":        ok("/gone/63"),
		"64-provider-hang":        ok("/hang/64"),
		"65-provider-reset":       ok("/reset/65"),
		"66-provider-huge":        ok("/huge/66"),
		"67-provider-hostile":     ok("/hostile/67"),
		"68-provider-slow":        ok("/slow/50/68"),
	}
}

func sample(t testing.TB, name string) []byte {
	t.Helper()
	raw, err := fs.ReadFile(samples.FS(), name+".eml")
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestEachSampleIsReadAsItShould(t *testing.T) {
	for name, w := range wants() {
		t.Run(name, func(t *testing.T) {
			checkSample(t, name, w.err)
			if w.err != nil {
				return
			}
			m, err := mail.Read(bytes.NewReader(sample(t, name)))
			if err != nil {
				t.Fatal(err)
			}
			if m.Method != w.method || w.url != "" && m.URL != w.url {
				t.Errorf("method is %s %q, want %s %q", m.Method, m.URL, w.method, w.url)
			}
			if w.subject != "" && m.Subject != w.subject {
				t.Errorf("subject is %q, want %q", m.Subject, w.subject)
			}
			checkInvariants(t, m)
		})
	}
}

// checkSample reads a sample and checks its error.
func checkSample(t *testing.T, name string, want error) {
	t.Helper()
	_, err := mail.Read(bytes.NewReader(sample(t, name)))
	if !errors.Is(err, want) {
		t.Fatalf("error is %v, want %v", err, want)
	}
	var e *mail.Error
	if want != nil && (!errors.As(err, &e) || !isPrintable(err.Error())) {
		t.Fatalf("error %q is no printable *mail.Error", err)
	}
}

func TestEverySampleHasItsExpectation(t *testing.T) {
	names, err := fs.Glob(samples.FS(), "*.eml")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if _, ok := wants()[strings.TrimSuffix(name, ".eml")]; !ok {
			t.Errorf("%s is not in the table", name)
		}
	}
	if len(names) < 34 {
		t.Errorf("there are %d samples", len(names))
	}
}

func TestLongSubjectsArriveWhole(t *testing.T) {
	for _, name := range []string{"17-long-subject-emoji", "18-long-subject-combining", "19-long-subject-plain"} {
		m, err := mail.Read(bytes.NewReader(sample(t, name)))
		if err != nil {
			t.Fatal(err)
		}
		if n := utf8.RuneCountInString(m.Subject); n <= 255 || strings.Contains(m.Subject, "\ufffd") {
			t.Errorf("%s: subject has %d characters: %q", name, n, m.Subject)
		}
	}
}

func TestTheOtherFieldsAreRead(t *testing.T) {
	m, err := mail.Read(bytes.NewReader(sample(t, "45-multipart")))
	if err != nil {
		t.Fatal(err)
	}
	if m.From != "news@lists.example" || m.To != "ann@reader.example" || m.MessageID != "45-multipart@lists.example" {
		t.Errorf("from %q, to %q, message id %q", m.From, m.To, m.MessageID)
	}
	if m.ListID != "garden.lists.example" || m.List() != m.ListID || len(m.Digest) != 64 {
		t.Errorf("list %q, digest %q", m.ListID, m.Digest)
	}
	plain, err := mail.Read(bytes.NewReader(sample(t, "47-no-message-id")))
	if err != nil || plain.MessageID != "" {
		t.Errorf("without a Message-ID: %v, %v", plain, err)
	}
	if m, err = mail.Read(bytes.NewReader(sample(t, "44-no-body"))); err != nil || m.List() != "news@lists.example" {
		t.Errorf("without a List-Id the list is %v, %v", m, err)
	}
}

func TestFieldsAreRefusedByName(t *testing.T) {
	const ends = "From: a@b.example\r\nTo: a@b.example\r\n"
	for name, c := range map[string]struct {
		head, field string
		err         error
	}{
		"no author":       {"To: a@b.example\r\n", "From", mail.ErrMissing},
		"empty author":    {"From: \r\nTo: a@b.example\r\n", "From", mail.ErrMissing},
		"bad recipient":   {"From: a@b.example\r\nTo: \x1b[31m\r\n", "To", mail.ErrMalformed},
		"two authors":     {"From: a@b.example\r\n" + ends, "From", mail.ErrDuplicate},
		"two subjects":    {ends + "Subject: y\r\n", "Subject", mail.ErrDuplicate},
		"long address":    {"From: " + strings.Repeat("a", 250) + "@b.example\r\n", "From", mail.ErrTooLarge},
		"open Message-ID": {ends + "Message-ID: <a\r\n", "Message-Id", mail.ErrUnterminated},
		"long List-Id":    {ends + "List-Id: " + strings.Repeat("a", 256) + "\r\n", "List-Id", mail.ErrTooLarge},
		"two one-click fields": {ends + "List-Unsubscribe-Post: x\r\nList-Unsubscribe-Post: y\r\n",
			"List-Unsubscribe-Post", mail.ErrDuplicate},
	} {
		_, err := mail.Read(strings.NewReader(c.head + "Subject: x\r\n\r\n"))
		var e *mail.Error
		if !errors.Is(err, c.err) || !errors.As(err, &e) || e.Field != c.field || !isPrintable(err.Error()) {
			t.Errorf("%s: error is %v, want %v of %s", name, err, c.err, c.field)
		}
	}
}

func TestAMailOverItsSizeIsRefused(t *testing.T) {
	head := "From: a@b.example\r\nTo: c@b.example\r\n\r\n"
	fits := head + strings.Repeat("x", mail.MaxSize-len(head))
	if _, err := mail.Read(strings.NewReader(fits)); err != nil {
		t.Errorf("a mail of just the limit: %v", err)
	}
	if _, err := mail.Read(strings.NewReader(fits + "x")); !errors.Is(err, mail.ErrTooLarge) {
		t.Errorf("one byte more: %v", err)
	}
}

func TestAReaderFaultIsNoFaultOfTheMail(t *testing.T) {
	_, err := mail.Read(io.MultiReader(strings.NewReader("From: a@b.example\r\n"), iotest.ErrReader(io.ErrClosedPipe)))
	var e *mail.Error
	if !errors.Is(err, io.ErrClosedPipe) || errors.As(err, &e) {
		t.Errorf("error is %v", err)
	}
}

func TestURIsOfAField(t *testing.T) {
	many := func(n int) string { return strings.TrimSuffix(strings.Repeat("<a:b>,", n), ",") }
	for value, c := range map[string]struct {
		uris []string
		err  error
	}{
		"":                                {},
		"  ":                              {},
		"(a comment only)":                {},
		"https://a.example/":              {},
		"<https://a.example/>":            {uris: []string{"https://a.example/"}},
		"<https://a.example/?a,b>, <m:x>": {uris: []string{"https://a.example/?a,b", "m:x"}},
		"< https://a.example/\tb c >":     {uris: []string{"https://a.example/bc"}},
		"<a:b>,,<c:d>,":                   {uris: []string{"a:b", "c:d"}},
		"(a(b)\\))<a:b>(c),(d)<e:f>(g)":   {uris: []string{"a:b", "e:f"}},
		"<>,<a:b>":                        {uris: []string{"a:b"}},
		"<a:b":                            {err: mail.ErrUnterminated},
		"<a:b> (":                         {err: mail.ErrUnterminated},
		"(<a:b>":                          {err: mail.ErrUnterminated},
		"<a:b> <c:d>":                     {err: mail.ErrMalformed},
		"<a:b>, c:d":                      {err: mail.ErrMalformed},
		"<a:b> x":                         {err: mail.ErrMalformed},
		"<<a:b>>":                         {err: mail.ErrURI},
		"<a:\x00b>":                       {err: mail.ErrURI},
		"<a:\x7fb>":                       {err: mail.ErrURI},
		"<a:ü>":                           {err: mail.ErrURI},
		many(mail.MaxURIs + 1):            {err: mail.ErrTooLarge},
		"<" + strings.Repeat("a", mail.MaxURI+1) + ">": {err: mail.ErrTooLarge},
	} {
		uris, err := mail.URIs(value)
		if !slices.Equal(uris, c.uris) || !errors.Is(err, c.err) {
			t.Errorf("URIs(%.60q) = %q, %v, want %q, %v", value, uris, err, c.uris, c.err)
		}
	}
	if uris, err := mail.URIs(many(mail.MaxURIs)); err != nil || len(uris) != mail.MaxURIs {
		t.Errorf("just as many as may be: %d, %v", len(uris), err)
	}
}

func FuzzRead(f *testing.F) {
	for name := range wants() {
		if raw := sample(f, name); len(raw) < 8<<10 {
			f.Add(raw)
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := mail.Read(bytes.NewReader(raw))
		var e *mail.Error
		if err != nil && (!errors.As(err, &e) || !isPrintable(err.Error())) {
			t.Fatalf("error %q is no printable *mail.Error", err)
		}
		if err == nil {
			checkInvariants(t, m)
		}
	})
}

// checkInvariants holds for whatever Read returns.
func checkInvariants(t *testing.T, m *mail.Mail) {
	t.Helper()
	for _, text := range []string{m.From, m.To, m.MessageID, m.Subject, m.ListID} {
		if !isPrintable(text) {
			t.Errorf("%q is not printable", text)
		}
	}
	if m.From == "" || m.To == "" || (m.URL == "") != (m.Method == mail.None) {
		t.Errorf("incomplete: %+v", m)
	}
	if m.Method == mail.OneClick && !strings.EqualFold(m.URL[:6], "https:") {
		t.Errorf("one-click with %q", m.URL)
	}
	for _, uri := range m.URIs {
		if len(uri) > mail.MaxURI || strings.ContainsFunc(uri, func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Errorf("URI %q", uri)
		}
	}
}

func isPrintable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)
	})
}

func ExampleRead() {
	m, err := mail.Read(strings.NewReader("From: news@lists.example\r\nTo: ann@reader.example\r\n" +
		"List-Unsubscribe: <mailto:leave@lists.example>, <https://lists.example/u/1>\r\n" +
		"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n\r\n"))
	fmt.Println(m.Method, m.URL, err)
	// Output: one-click https://lists.example/u/1 <nil>
}
