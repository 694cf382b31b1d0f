package store

import (
	"errors"

	"github.com/posthorn/posthorn/driver"
)

// What a handler runs may end the transaction without saying so: a procedure of
// MySQL may commit. In a span of several units that would commit the settlements of
// those that have not run. And it may go back to a savepoint, which may be one that
// another unit of the span has left. So both are refused there, whatever the handler
// makes of the refusal, and its unit runs again in a span of its own, whose end releases
// all savepoints in it. Its kind is remembered.

// errTogether: an effect met what may end the transaction beside others that were
// settled. It never leaves the package.
var errTogether = errors.New("effect may end the transaction of others")

// ending notes whether the effect of a unit met what may end the transaction, and
// returns it.
func (g *group) ending(u driver.Unit, met bool) bool {
	if met || g.store.enders.known(u.Delivery.Kind) {
		g.store.enders.note(u.Delivery.Kind, met)
	}
	return met
}
