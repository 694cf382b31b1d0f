// Package mutant has known faults that a build can have on purpose, one at a time, by a
// build tag: posthorn_mutant_ and the fault's name. Torture and the tests must find each of
// them (make mutants); a check that cannot fail is worth nothing. Each is a constant, so
// that a normal build has no trace of them.
package mutant

// Tag and the name of a fault make the build tag that plants it.
const Tag = "posthorn_mutant_"

// The faults.
const (
	// AckFirst: the claims of a span are settled in a transaction of their own, before its effects run.
	AckFirst = planted == "ack_first"
	// RescueBlind: leases are rescued whether they have run out or not.
	RescueBlind = planted == "rescue_blind"
	// CommitFails: an error of a COMMIT is taken for a failure, and nobody asks what became of it.
	CommitFails = planted == "commit_fails"
	// WeakDurability: SQLite does not wait until what it commits is on the disk.
	WeakDurability = planted == "weak_durability"
	// AckOnPanic: a message whose handler panicked is done.
	AckOnPanic = planted == "ack_on_panic"
	// NoPoll: consumers wait for notifications, and never look by themselves.
	NoPoll = planted == "no_poll"
	// BuryInTwo: a dead letter is kept in one transaction, and its message removed in another.
	BuryInTwo = planted == "bury_in_two"
	// DirtyKept: a connection that a handler left dirty is used again.
	DirtyKept = planted == "dirty_kept"
	// RetryInTwo: a retry removes the message in one transaction, and sends it anew in another.
	RetryInTwo = planted == "retry_in_two"
)

// Planted is the name of the fault of this build; empty in a normal one.
const Planted = planted
