package oneclick

import (
	"fmt"
	"net/netip"
)

// block is a range of addresses that is not on the public internet.
type block struct {
	prefix netip.Prefix
	name   string
}

// CheckAddress returns nil for an address on the public internet, and an
// *Error with ErrAddress and the name of the range for any other. Addresses
// that carry another one inside (v4-mapped, NAT64, 6to4, Teredo) are refused
// whatever they carry. The ranges are those of the IANA special-purpose
// registries (RFC 6890) that are not globally reachable; of IPv6 only the part
// that is given out for global unicast, 2000::/3, is left.
func CheckAddress(addr netip.Addr) error {
	if !addr.IsValid() {
		return &Error{Reason: ErrAddress, Detail: "no address"}
	}
	if addr.Zone() != "" {
		return refuseAddress(addr.WithZone(""), "an address with a zone")
	}
	for _, b := range blocks() {
		if b.prefix.Contains(addr) {
			return refuseAddress(addr, b.name)
		}
	}
	if addr.Is6() && !netip.MustParsePrefix("2000::/3").Contains(addr) {
		return refuseAddress(addr, "not global unicast")
	}
	return nil
}

func refuseAddress(addr netip.Addr, name string) *Error {
	return &Error{Reason: ErrAddress, Detail: fmt.Sprintf("%s is %s", addr, name)}
}

// blocks lists the narrow ranges before the wide ones, so that the name that
// is told is the exact one.
func blocks() []block {
	return append(blocks4(), blocks6()...)
}

func blocks4() []block {
	return parseBlocks([][2]string{
		{"0.0.0.0/8", "this network"},
		{"10.0.0.0/8", "private"},
		{"100.64.0.0/10", "carrier-grade NAT"},
		{"127.0.0.0/8", "loopback"},
		{"169.254.0.0/16", "link-local"},
		{"172.16.0.0/12", "private"},
		{"192.0.0.0/24", "protocol assignments"},
		{"192.0.2.0/24", "documentation"},
		{"192.88.99.0/24", "6to4 relay"},
		{"192.168.0.0/16", "private"},
		{"198.18.0.0/15", "benchmarking"},
		{"198.51.100.0/24", "documentation"},
		{"203.0.113.0/24", "documentation"},
		{"224.0.0.0/4", "multicast"},
		{"255.255.255.255/32", "broadcast"},
		{"240.0.0.0/4", "reserved"},
	})
}

func blocks6() []block {
	return parseBlocks([][2]string{
		{"::/128", "unspecified"},
		{"::1/128", "loopback"},
		{"::ffff:0:0/96", "v4-mapped"},
		{"::ffff:0:0:0/96", "v4-translated"},
		{"::/96", "v4-compatible"},
		{"64:ff9b::/96", "NAT64"},
		{"64:ff9b:1::/48", "local NAT64"},
		{"100::/64", "discard-only"},
		{"2001::/32", "Teredo"},
		{"2001::/23", "protocol assignments"},
		{"2001:db8::/32", "documentation"},
		{"2002::/16", "6to4"},
		{"3fff::/20", "documentation"},
		{"5f00::/16", "segment routing"},
		{"fc00::/7", "unique local"},
		{"fe80::/10", "link-local"},
		{"fec0::/10", "site-local"},
		{"ff00::/8", "multicast"},
	})
}

func parseBlocks(rows [][2]string) []block {
	list := make([]block, len(rows))
	for i, row := range rows {
		list[i] = block{prefix: netip.MustParsePrefix(row[0]), name: row[1]}
	}
	return list
}
