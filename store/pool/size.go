package pool

import (
	"time"

	"github.com/posthorn/posthorn/store"
)

// What a process opens beside the connections whose number is chosen.
const (
	readers  = 2 // for reading
	EarConns = 2 // for Ears, which listen on one and tell on the other
)

// From makes the options of an engine of those of the store. The server is one
// of several hosts, each of which may let a connection wait.
func From(s store.ServerOptions, hosts int) Options {
	o := Options{
		Effects: s.Effects, Control: s.Control, App: s.App, Lifetime: s.Lifetime, Idle: s.IdleCheck,
		Patience: s.ConnectTimeout,
	}.withDefaults()
	o.Patience *= time.Duration(max(hosts, 1))
	return o
}

// Connections is how many connections one process may open, without its ears.
func (o Options) Connections() int {
	o = o.withDefaults()
	return o.Effects + o.Control + readers + o.App
}
