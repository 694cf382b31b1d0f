package oneclick

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// A Resolver looks a host name up. A *net.Resolver is one.
type Resolver interface {
	// LookupNetIP returns the addresses of a host; network is always "ip". An
	// unknown host is a *net.DNSError with IsNotFound.
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// System is the Resolver of the operating system.
type System struct{}

// LookupNetIP asks for the name as it stands: the final dot keeps the search
// list of the host, and so its internal names, out.
func (System) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, network, host+".")
	for i, addr := range addrs {
		addrs[i] = addr.Unmap() // some systems give IPv4 addresses in the mapped form
	}
	return addrs, err
}

// Offline is a Resolver that knows no host, so that only Options.Routes and
// addresses can be reached.
type Offline struct{}

// LookupNetIP always says that the host does not exist.
func (Offline) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

// lookUp returns the addresses of the target's host, all of them checked. One
// bad address spoils the answer: a public name has no business with it.
func (c *Client) lookUp(ctx context.Context, t *target) ([]netip.AddrPort, error) {
	addrs, err := c.resolve(ctx, t)
	if err != nil {
		return nil, err
	}
	for _, addr := range addrs {
		if err := c.checkAddress(addr); err != nil {
			return nil, err
		}
	}
	return addrs[:min(len(addrs), maxDials)], nil
}

func (c *Client) resolve(ctx context.Context, t *target) ([]netip.AddrPort, error) {
	if addr, err := netip.ParseAddr(t.host); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(addr, t.port)}, nil
	}
	if route, ok := c.routes[t.host]; ok && t.port == httpsPort {
		return []netip.AddrPort{route}, nil
	}
	found, err := c.resolver.LookupNetIP(ctx, "ip", t.host)
	var dns *net.DNSError
	if errors.As(err, &dns) && dns.IsNotFound || err == nil && len(found) == 0 {
		return nil, &Error{Reason: ErrName, Host: t.host, Detail: "no such host", Err: err}
	}
	if err != nil {
		return nil, networkError(ctx, t, err)
	}
	addrs := make([]netip.AddrPort, len(found))
	for i, addr := range found {
		addrs[i] = netip.AddrPortFrom(addr, t.port)
	}
	return addrs, nil
}

func (c *Client) checkAddress(addr netip.AddrPort) error {
	if c.allow[addr] {
		return nil
	}
	if err := CheckAddress(addr.Addr()); err != nil {
		return err
	}
	if addr.Port() != httpsPort {
		return refuseURL(fmt.Sprintf("port %d is not 443", addr.Port()))
	}
	return nil
}

// connect tries the checked addresses in their order, and proves the server's
// name on the first that answers.
func (c *Client) connect(ctx context.Context, t *target, addrs []netip.AddrPort) (*tls.Conn, error) {
	var faults []error
	for i, addr := range addrs {
		raw, err := dial(ctx, addr, len(addrs)-i)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		config := c.tls.Clone()
		config.ServerName = t.host
		conn := tls.Client(raw, config)
		if err := conn.HandshakeContext(ctx); err != nil {
			_ = raw.Close() // the handshake's error is the one that matters
			return nil, fmt.Errorf("tls handshake: %w", err)
		}
		return conn, nil
	}
	return nil, errors.Join(faults...)
}

// dial connects to one address. It leaves time for the others that are left.
func dial(ctx context.Context, addr netip.AddrPort, left int) (net.Conn, error) {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/time.Duration(left))
		defer cancel()
	}
	return new(net.Dialer).DialContext(ctx, "tcp", addr.String())
}
