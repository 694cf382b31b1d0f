package oneclick_test

import (
	"context"
	"errors"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/examples/unsubscribe/oneclick"
)

func TestAddressesThatAreNotPublicAreRefused(t *testing.T) {
	for addr, name := range map[string]string{
		"0.0.0.0": "this network", "0.255.255.255": "this network",
		"10.0.0.0": "private", "10.255.255.255": "private",
		"100.64.0.0": "carrier-grade NAT", "100.127.255.255": "carrier-grade NAT",
		"127.0.0.1": "loopback", "127.255.255.255": "loopback",
		"169.254.169.254": "link-local",
		"172.16.0.0":      "private", "172.31.255.255": "private",
		"192.0.0.1": "protocol assignments", "192.0.2.1": "documentation", "192.88.99.1": "6to4 relay",
		"192.168.0.0": "private", "192.168.255.255": "private",
		"198.18.0.0": "benchmarking", "198.19.255.255": "benchmarking",
		"198.51.100.1": "documentation", "203.0.113.1": "documentation",
		"224.0.0.1": "multicast", "239.255.255.255": "multicast",
		"240.0.0.1": "reserved", "255.255.255.255": "broadcast",
		"::": "unspecified", "::1": "loopback", "::7f00:1": "v4-compatible", "::8.8.8.8": "v4-compatible",
		"::ffff:127.0.0.1": "v4-mapped", "::ffff:8.8.8.8": "v4-mapped", "::ffff:0:8.8.8.8": "v4-translated",
		"64:ff9b::7f00:1": "NAT64", "64:ff9b::8.8.8.8": "NAT64", "64:ff9b:1::1": "local NAT64",
		"100::1": "discard-only", "2001::1": "Teredo", "2001:0:ffff::1": "Teredo",
		"2001:10::1": "protocol assignments", "2001:1ff::1": "protocol assignments",
		"2001:db8::1": "documentation", "3fff::1": "documentation", "3fff:fff::1": "documentation",
		"2002::1": "6to4", "2002:7f00:1::": "6to4", "2002:ffff::1": "6to4", "5f00::1": "segment routing",
		"fc00::1": "unique local", "fdff::1": "unique local",
		"fe80::1": "link-local", "febf::1": "link-local", "fec0::1": "site-local", "feff::1": "site-local",
		"ff02::1": "multicast", "1fff::1": "not global unicast", "4000::1": "not global unicast",
		"2606:4700::1%eth0": "an address with a zone",
	} {
		err := oneclick.CheckAddress(netip.MustParseAddr(addr))
		if !errors.Is(err, oneclick.ErrAddress) || !strings.HasSuffix(err.Error(), " is "+name) {
			t.Errorf("%s: error is %v, want one that says %s", addr, err, name)
		}
		c := newClient(t, oneclick.Options{Resolver: &resolver{answers: [][]netip.Addr{addrs(addr)}}})
		check(t, c.Unsubscribe(t.Context(), "https://evil.example/"), oneclick.ErrAddress, true)
	}
	check(t, oneclick.CheckAddress(netip.Addr{}), oneclick.ErrAddress, true)
}

func TestPublicAddressesAreNotRefused(t *testing.T) {
	for _, addr := range []string{
		"1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255",
		"128.0.0.0", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.167.255.255",
		"192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255",
		"2000::1", "2001:200::1", "2001:4860:4860::8888", "2003::1", "2606:4700::1111", "3ffe::1", "3fff:1000::1",
	} {
		if err := oneclick.CheckAddress(netip.MustParseAddr(addr)); err != nil {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

func TestURLsThatBreakARuleAreRefusedBeforeAnyLookUp(t *testing.T) {
	r := &resolver{answers: [][]netip.Addr{addrs("127.0.0.1")}}
	c := newClient(t, oneclick.Options{Resolver: r})
	for _, url := range []string{
		"", "/path", "lists.example/x", "http://lists.example/", "ftp://lists.example/", "mailto:a@lists.example",
		"https:lists.example", "https:///x", "https://", "//lists.example/x",
		"https://user@lists.example/", "https://user:pass@lists.example/", "https://@lists.example/",
		"https://lists.example@127.0.0.1/", "https://lists.example:80/", "https://lists.example:8443/",
		"https://lists.example:0/", "https://lists.example:70000/", "https://lists.example:x/",
		"https://localhost/", "https://printer/", "https://2130706433/", "https://0x7f.1/", "https://127.1/",
		"https://0177.0.0.1/", "https://1.2.3.4.5/", "https://lists..example/", "https://.lists.example/",
		"https://-lists.example/", "https://lists.example-/", "https://lists.ex*mple/", "https://lists%2eexample/",
		"https://b\u00fccher.example/", "https://lists.example/a b", "https://lists.example/\r\nX: y",
		"https://lists.example/\x00", "https://lists.example/\x7f", "https://lists.example/<x>",
		"https://lists.example\\@127.0.0.1/", "https://lists.example/%zz", "https://[::1/", "https://[::1]x/",
		"https://" + strings.Repeat("a.", 130) + "example/", "https://" + strings.Repeat("a", 64) + ".example/",
		"https://lists.example/" + strings.Repeat("a", oneclick.MaxURL),
	} {
		check(t, c.Unsubscribe(t.Context(), url), oneclick.ErrURL, true)
	}
	if n := r.calls.Load(); n != 0 {
		t.Errorf("%d look-ups", n)
	}
}

func TestAddressesInURLsAreJudged(t *testing.T) {
	c := newClient(t, oneclick.Options{Resolver: oneclick.Offline{}})
	for _, url := range []string{
		"https://127.0.0.1/", "https://10.0.0.1:443/", "https://169.254.169.254/latest/meta-data/",
		"https://[::1]/", "https://[::ffff:127.0.0.1]/", "https://[::ffff:7f00:1]:443/", "https://[fe80::1%25eth0]/",
		"https://[64:ff9b::7f00:1]/", "https://255.255.255.255/", "https://127.0.0.1./",
	} {
		check(t, c.Unsubscribe(t.Context(), url), oneclick.ErrAddress, true)
	}
}

func FuzzUnsubscribe(f *testing.F) {
	for _, url := range []string{
		"https://lists.example/ok/1", "https://[::1]:443/", "https://a@b.example/", "https://2130706433/",
		"https://lists.example:443#x", "HTTPS://Lists.Example./?q=1", "https://0x7f.1/",
	} {
		f.Add(url)
	}
	// The context has ended, so that an address which a fuzzer finds is not called.
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	f.Fuzz(func(t *testing.T, url string) {
		c := newClient(t, oneclick.Options{Resolver: plainNames{t}})
		if err := c.Unsubscribe(ctx, url); err == nil {
			t.Fatalf("%q: no error", url)
		}
	})
}

// plainNames is a resolver that wants to be asked for proper names only.
type plainNames struct{ t *testing.T }

func (r plainNames) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	if !regexp.MustCompile(`^[a-z0-9_-]+(\.[a-z0-9_-]+)*\.[a-z_][a-z0-9_-]*$`).MatchString(host) || len(host) > 253 {
		r.t.Errorf("asked for %q", host)
	}
	return addrs("10.0.0.1"), nil
}

func TestAnOpenedPortIsOpenForItsAddressOnly(t *testing.T) {
	c := newClient(t, oneclick.Options{
		Resolver: &resolver{answers: [][]netip.Addr{addrs("8.8.8.8")}}, Timeout: 50 * time.Millisecond,
		Allow: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:8443")},
	})
	check(t, c.Unsubscribe(t.Context(), "https://evil.example:8443/"), oneclick.ErrURL, true)
	check(t, c.Unsubscribe(t.Context(), "https://127.0.0.2:8443/"), oneclick.ErrAddress, true)
}
