package config

import (
	"net"
	"net/netip"
	"slices"
	"strings"
)

// The keys of what processes listen at.
const (
	KeyMetrics = "metrics.listen"
	KeyAPI     = "api.listen"
	KeyHealth  = "health.listen"
)

// Clash finds two of some listeners, by their keys, that are at one address: of a process
// that listens at both, the second would not come up. Processes apart may share an address,
// since each may run on a host of its own. Empty keys say that there are none.
func (c *Config) Clash(keys ...string) (first, second string) {
	type place struct{ key, host, port string }
	var taken []place
	for _, key := range keys {
		host, port, err := net.SplitHostPort(c.listens(key))
		if err != nil || port == "0" { // none, or it was found already
			continue
		}
		if host == "localhost" {
			host = "127.0.0.1"
		}
		if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
			host = ""
		}
		i := slices.IndexFunc(taken, func(p place) bool {
			return p.port == port && (p.host == host || p.host == "" || host == "")
		})
		if i >= 0 {
			return taken[i].key, key
		}
		taken = append(taken, place{key, host, port})
	}
	return "", ""
}

// listens is the address of a listener.
func (c *Config) listens(key string) string {
	switch key {
	case KeyMetrics:
		return c.Metrics.Listen
	case KeyAPI:
		return c.API.Listen
	}
	return c.Monitor.Listen
}

// ClashText says what is wrong with two listeners.
func ClashText(keys ...string) string { return strings.Join(keys, " and ") + " are one address" }

// checkAddresses finds two listeners at one address that every process has both that has
// one of them, but for supervise, which has no probes: monitor and up.
func (d *decoder) checkAddresses(c *Config) {
	if first, second := c.Clash(KeyAPI, KeyHealth); first != "" {
		d.at(d.byKey[second].at, Problem{Code: CodeDuplicate, Title: "two listeners have one address",
			What: ClashText(first, second) + ", and monitor and up listen at both", Try: "give each of them a port of its own"})
	}
}
