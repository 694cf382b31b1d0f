// Package mutant has known faults that a build can have on purpose, one at a time, by two
// build tags: posthorn_mutant and the fault's name. Torture and the tests must find each of
// them (make mutants); a check that cannot fail is worth nothing. Each is a constant, so
// that a normal build has no trace of them.
package mutant

// Tag is the build tag of all planted faults; another one is the fault's name.
const Tag = "posthorn_mutant"

// The faults.
const (
	// The claims of a span are settled in a transaction of their own, before its effects run.
	AckFirst = planted == "ack_first"
	// Leases are rescued whether they have run out or not.
	RescueBlind = planted == "rescue_blind"
	// An error of a COMMIT is taken for a failure: nobody says that it may have been committed.
	CommitFails = planted == "commit_fails"
	// SQLite does not wait until what it commits is on the disk.
	WeakDurability = planted == "weak_durability"
	// A message whose handler panicked is done.
	AckOnPanic = planted == "ack_on_panic"
	// Consumers wait for notifications, and never look by themselves.
	NoPoll = planted == "no_poll"
	// A dead letter is kept in one transaction, and its message removed in another.
	BuryInTwo = planted == "bury_in_two"
	// A connection that a handler left dirty is used again.
	DirtyKept = planted == "dirty_kept"
	// A retry removes the message in one transaction, and sends it anew in another.
	RetryInTwo = planted == "retry_in_two"
	// All that a dead worker held is charged with a crash, whether it had begun or not.
	InnocentsCharged = planted == "innocents_charged"
	// The release of a dead worker's claims ends claims that others have now.
	ReleasedTwice = planted == "released_twice"
	// An operation sends its letters in one transaction, and writes down in another that it
	// has: after a crash in between it sends them twice.
	OperationInTwo = planted == "operation_in_two"
	// A step of an operation does not compare the fence of who takes it.
	OperationUnfenced = planted == "operation_unfenced"
	// An operation goes on to its next stage before the canaries of this one have their ends.
	CanaryEarly = planted == "canary_early"
	// Letters of an operation have their turn although it rests for the others' sake.
	RestIgnored = planted == "rest_ignored"
)

// Two more are in package supervisor, which imports nothing of the project: gives_up, by
// which a process that fails again and again is not started any more, and backoff_kept, by
// which the failures of long ago keep its successor waiting.

// Planted is the name of the fault of this build; empty in a normal one.
const Planted = planted
