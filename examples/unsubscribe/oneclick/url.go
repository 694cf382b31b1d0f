package oneclick

import (
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// target is a URL that has passed the rules of form.
type target struct {
	url  *url.URL
	host string // lower case, without a final dot
	port uint16
}

// parse applies the rules that need no look-up.
func (c *Client) parse(raw string) (*target, error) {
	if err := checkBytes(raw); err != nil {
		return nil, err
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, refuseURL("it does not parse: " + plain(err))
	}
	switch {
	case u.Scheme != "https":
		return nil, refuseURL("the scheme is " + quote(u.Scheme) + ", not https")
	case u.Opaque != "" || u.Host == "":
		return nil, refuseURL("it has no host")
	case u.User != nil:
		return nil, refuseURL("it has user information before the host")
	}
	u.Fragment, u.RawFragment = "", ""
	t := &target{url: u, host: strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))}
	if t.port, err = c.port(u); err != nil {
		return nil, err
	}
	return t, checkHost(t.host)
}

// checkBytes refuses what RFC 3986 leaves out of a URI. The request line
// carries the URI as it is, so a space or a line break would be an injection.
func checkBytes(raw string) error {
	if len(raw) > MaxURL {
		return refuseURL(fmt.Sprintf("it has %d bytes, the limit is %d", len(raw), MaxURL))
	}
	for i := range len(raw) {
		if c := raw[i]; c <= 0x20 || c >= 0x7f || strings.IndexByte("\"<>\\^`{|}", c) >= 0 {
			return refuseURL(fmt.Sprintf("it has %+q at byte %d", rune(c), i))
		}
	}
	return nil
}

// port returns the port to connect to: 443, or one that was opened.
func (c *Client) port(u *url.URL) (uint16, error) {
	text := u.Port()
	if text == "" {
		return httpsPort, nil
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err == nil && (n == httpsPort || c.opensPort(uint16(n))) {
		return uint16(n), nil
	}
	return 0, refuseURL("port " + quote(text) + " is not 443")
}

// opensPort reports whether an opened address has this port.
func (c *Client) opensPort(port uint16) bool {
	for open := range c.allow {
		if open.Port() == port {
			return true
		}
	}
	return false
}

// checkHost accepts an IP address, and a DNS name of at least two labels whose
// last one is not a number: "2130706433", "0x7f.1" and "127.1" are addresses
// to some resolvers and names to others.
func checkHost(host string) error {
	if _, err := netip.ParseAddr(host); err == nil {
		return nil // the address rules will judge it
	}
	labels := strings.Split(host, ".")
	if len(host) > 253 || len(labels) < 2 {
		return refuseURL("host " + quote(host) + " is no full domain name")
	}
	for _, label := range labels {
		if !isLabel(label) {
			return refuseURL("host " + quote(host) + " is no domain name")
		}
	}
	if last := labels[len(labels)-1]; last[0] >= '0' && last[0] <= '9' {
		return refuseURL("host " + quote(host) + " ends in a number but is no address")
	}
	return nil
}

// isLabel checks a label of letters, digits, hyphens and underscores.
func isLabel(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

func refuseURL(why string) *Error { return &Error{Reason: ErrURL, Detail: why} }
