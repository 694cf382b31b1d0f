// Package drivertest is the conformance suite of transports: what it accepts
// keeps the contract of package driver. Every transport runs the same suite,
// from a test of its own:
//
//	func TestTheTransportKeepsTheContract(t *testing.T) {
//		drivertest.Run(t, func(t *testing.T) drivertest.Opened { … })
//	}
//
// What the transport declares in its Capabilities and by its roles decides
// what is asked of it: a declared capability must work, one that is not
// declared must be refused.
package drivertest

import (
	"database/sql"
	"slices"
	"testing"

	"github.com/posthorn/posthorn/driver"
)

// Opened is a transport that holds no message yet, and that shares nothing with
// any other one that was opened. The suite closes the transport and what Reopen
// returns.
type Opened struct {
	Transport driver.Transport
	// Reopen opens one more handle on the same data, while the first one is
	// open or after it was closed. Nil only for a transport that is volatile.
	Reopen func(t *testing.T) driver.Transport
	// DB is the database of a transport that is a driver.Transactor; the suite
	// makes a table named effect in it. Nil for any other transport.
	DB *sql.DB
	// Placeholder writes the n-th parameter of a statement, from 1; nil means
	// a question mark.
	Placeholder func(n int) string
}

// A subtest is a sentence of behaviour and its proof.
type subtest struct {
	name string
	run  func(r *rig)
}

// A group is what the suite asks about one noun.
type group struct {
	noun  string
	tests []subtest
}

// Run asks everything of the transports that open returns; open is called once
// for each subtest and may be called from several of them at a time. It takes
// some seconds, because leases have to run out.
func Run(t *testing.T, open func(t *testing.T) Opened) {
	t.Helper()
	caps, roles := declared(t, open)
	for _, g := range groups(caps, roles) {
		t.Run(g.noun, func(t *testing.T) {
			t.Parallel()
			runGroup(t, g, open)
		})
	}
	t.Run("model", func(t *testing.T) { checkModel(newRig(t, open)) })
	if caps.Suspects {
		t.Run("deaths", func(t *testing.T) { checkDeaths(newRig(t, open)) })
	}
	t.Run("load", func(t *testing.T) { runLoad(t, open) })
}

// runGroup runs the subtests of one noun.
func runGroup(t *testing.T, g group, open func(t *testing.T) Opened) {
	for _, s := range g.tests {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			s.run(newRig(t, open))
		})
	}
}

// declared opens a transport to see what it says of itself.
func declared(t *testing.T, open func(t *testing.T) Opened) (caps driver.Capabilities, roles driver.Roles) {
	t.Run("declares", func(t *testing.T) {
		r := newRig(t, open)
		caps, roles = r.caps, r.roles
		checkDeclaration(r)
	})
	return caps, roles
}

// checkDeclaration makes sure that what the transport declares can be asked.
func checkDeclaration(r *rig) {
	durable := []driver.Durability{driver.ProcessSafe, driver.PowerSafe}
	switch {
	case r.caps.Durability != driver.Volatile && !slices.Contains(durable, r.caps.Durability):
		r.Fatalf("durability %q is none of the classes", r.caps.Durability)
	case r.caps.Durability != driver.Volatile && r.Reopen == nil:
		r.Fatalf("a transport that is %s needs Reopen, to be asked about a crash", r.caps.Durability)
	case r.roles.Transactor != nil && r.DB == nil:
		r.Fatal("a transport that is a Transactor needs DB, to be asked about transactions")
	case r.caps.Suspects && r.roles.Reaper == nil:
		r.Fatal("a transport that knows suspects needs to be a Reaper")
	case r.caps.MaxBody < 0 || r.caps.MaxHold < 0:
		r.Fatalf("a limit is negative: %+v", r.caps)
	}
}

// groups chooses what to ask of a transport.
func groups(c driver.Capabilities, roles driver.Roles) []group {
	gs := []group{
		{"send", sendTests(c)},
		{"body", bodyTests()},
		{"name", nameTests(c)},
		{"receive", receiveTests()},
		{"order", orderTests(c)},
		{"delay", delayTests(c)},
		{"wake", wakeTests(c)},
		{"lease", leaseTests()},
		{"fence", fenceTests(c)},
		{"settle", settleTests(c)},
		{"bury", buryTests(c)},
		{"close", closeTests()},
		{"suspect", suspectTests(c)},
	}
	if c.Durability != driver.Volatile {
		gs = append(gs, group{"crash", crashTests()})
	}
	if roles.Transactor != nil {
		gs = append(gs, group{"transact", transactTests()}, group{"tx", txTests()}, group{"sendtx", sendTxTests()})
	}
	return gs
}
