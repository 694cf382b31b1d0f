// Package mutant has known faults that a build can have on purpose, one at a time, by a
// build tag: posthorn_mutant_ and the fault's name. Torture and the tests must find each of
// them (make mutants); a check that cannot fail is worth nothing. Each is a constant, so
// that a normal build has no trace of them.
package mutant

// Tag and the name of a fault make the build tag that plants it.
const Tag = "posthorn_mutant_"

// The faults.
const (
	AckFirst       = planted == "ack_first"       // the claims of a span are settled in a transaction of their own, before its effects run
	RescueBlind    = planted == "rescue_blind"    // leases are rescued whether they have run out or not
	CommitFails    = planted == "commit_fails"    // an error of a COMMIT is taken for a failure, and nobody asks what became of it
	WeakDurability = planted == "weak_durability" // SQLite does not wait until what it commits is on the disk
	AckOnPanic     = planted == "ack_on_panic"    // a message whose handler panicked is done
	NoPoll         = planted == "no_poll"         // consumers wait for notifications, and never look by themselves
	BuryInTwo      = planted == "bury_in_two"     // a dead letter is kept in one transaction, and its message removed in another
	DirtyKept      = planted == "dirty_kept"      // a connection that a handler left dirty is used again
	RetryInTwo     = planted == "retry_in_two"    // a retry removes the message in one transaction, and sends it anew in another
)

// Planted is the name of the fault of this build; empty in a normal one.
const Planted = planted
