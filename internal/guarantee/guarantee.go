// Package guarantee writes the page of guarantees: what is promised, on which store, under
// which fault, by which test it is shown, and how its last recorded run came out. It knows
// which test shows what; figures come from the record of runs alone.
package guarantee

import "github.com/posthorn/posthorn/internal/runs"

// A Test is a test function in a file of the repository.
type Test struct{ File, Name string }

// A Case is one fault under which a guarantee holds.
type Case struct {
	Fault string          // by its name in the list of faults
	About string          // in plain words
	Class string          // the least durability of the store
	Tests map[string]Test // by store; one that is missing cannot have the fault
}

// A Guarantee is one of the promises, in plain words.
type Guarantee struct {
	ID, Text string
	Cases    []Case
}

// The stores, as runs.Run names them.
const (
	sqlite   = "sqlite"
	postgres = "postgres"
	mariaDB  = "mysql"
)

// stores lists them in the order of the page.
func stores() []string { return []string{sqlite, postgres, mariaDB} }

// title is a store's name for people.
func title(store string) string {
	return map[string]string{sqlite: "SQLite", postgres: "PostgreSQL", mariaDB: "MariaDB"}[store]
}

// The classes of durability, from which on a case holds.
const (
	anyDurable = "process-safe"
	powerSafe  = "power-safe"
)

// operations is what stands for a fault where faults hit operations.
const operations = "O"

// everywhere is a test that runs on each store.
func everywhere(file, name string) map[string]Test {
	t := Test{file, name}
	return map[string]Test{sqlite: t, postgres: t, mariaDB: t}
}

// servers is a test that runs on the stores that are servers.
func servers(file, name string) map[string]Test {
	t := Test{file, name}
	return map[string]Test{postgres: t, mariaDB: t}
}

// contract is the conformance suite on each store.
func contract() map[string]Test {
	return map[string]Test{
		sqlite:   {"store/sqlite/conformance_test.go", "TestSQLiteKeepsTheContract"},
		postgres: {"store/postgres/conformance_test.go", "TestPostgreSQLKeepsTheContract"},
		mariaDB:  {"store/mysql/conformance_test.go", "TestMariaDBKeepsTheContract"},
	}
}

// tortured is a run of torture on each store.
func tortured() map[string]Test {
	shared := Test{"torture/run_test.go", "TestARunOnASharedServerTouchesNothingButItsScratch"}
	return map[string]Test{
		sqlite: {"torture/run_test.go", "TestARunOnSQLiteHoldsAndLeavesNothing"}, postgres: shared, mariaDB: shared,
	}
}

// Guarantees lists what is promised of a store.
func Guarantees() []Guarantee {
	return []Guarantee{
		{"S1", "A message that was accepted has exactly one committed set of effects, or is a dead letter and has none. " +
			"Its handler may start more than once.", once()},
		{"S2", "Only the newest claim of a message settles it: whoever lost the lease commits nothing.", []Case{
			{"P-7", "a worker stands still beyond its lease, and goes on", anyDurable, contract()},
			{"P-9", "handlers that never end, and outlive their lease", anyDurable, tortured()},
		}},
		{"S3", "Leases and due times are decided by the clock of the store.", []Case{
			{"C-1", "the database's clock jumps by an hour", anyDurable,
				servers("internal/faulttest/clock_test.go", "TestAClockThatJumpsLosesAndDoublesNothing")},
		}},
		{"S4", "When nobody knows what became of a COMMIT, the store is asked: nothing is guessed.", []Case{
			{"N-1", "the connection is cut before and after a COMMIT", anyDurable,
				servers("internal/faulttest/network_test.go", "TestACommitThatIsCutOffIsResolved")},
			{"P-3", "the disk fails under a COMMIT", anyDurable, map[string]Test{
				sqlite: {"internal/sweeptest/sweep_test.go", "TestASendWhoseSyncFailedIsNotCalledRefused"}}},
		}},
		{"S7", "Attempts and crashes are counted before user code runs, and charged to nobody else.", []Case{
			{"P-2", "the process dies at each moment in which a message moves", anyDurable,
				everywhere("internal/crashtest/point_test.go", "TestADeathAtEachPointLosesAndDoublesNothing")},
			{"P-9", "handlers that end their process, or never end", anyDurable, map[string]Test{
				sqlite:   {"internal/fleettest/poison_test.go", "TestProcessKillersAreFoundAndInnocentsPayNothing"},
				postgres: {"internal/fleettest/poison_test.go", "TestProcessKillersAreFoundAndInnocentsPayNothing"},
				mariaDB:  tortured()[mariaDB]}},
		}},
		{"S8", "Work is found without a notification.", []Case{
			{"D-3", "the server ends the connections of those who listen", anyDurable,
				servers("internal/faulttest/connections_test.go", "TestConnectionsThatTheServerEndsAreReplaced")},
		}},
		{"S9", "No connection that a handler left dirty is used again.", []Case{
			{"H", "handlers that fail, panic, are late, or leave their session dirty", anyDurable,
				everywhere("internal/nastytest/nasty_test.go", "TestANastyHandlerHarmsNeitherItsNeighboursNorTheNextMessage")},
		}},
		{"S10", "A server that takes no writes is a bad connection, not a failed message.", []Case{
			{"D-6", "the server takes no writes", anyDurable,
				servers("internal/faulttest/server_test.go", "TestAReadOnlyServerCostsNoAttempt")},
		}},
		{"S11", "Whatever was accepted is done, waiting, running, dead or removed at every quiet moment.", []Case{
			{"H", "handlers that fail, panic, are late, or leave their session dirty", anyDurable,
				everywhere("internal/nastytest/mixed_test.go", "TestNastyHandlersAmongGoodOnesDoubleAndLoseNothing")},
			{operations, "operations on dead letters whose executors are killed (SQLite, PostgreSQL), " +
				"or whose commits are cut (MariaDB)", anyDurable, map[string]Test{
				sqlite:   {"internal/crashtest/executor_test.go", "TestKilledExecutorsLoseNoLetterAndSendNoneTwice"},
				postgres: {"internal/crashtest/executor_test.go", "TestKilledExecutorsLoseNoLetterAndSendNoneTwice"},
				mariaDB: {"internal/crashtest/executor_test.go",
					"TestAnExecutorWhoseCommitsAreCutLosesNoLetterAndSendsNoneTwice"},
			}},
		}},
		{"S12", "After the last fault, work goes on without a human hand.", resuming()},
	}
}

// once are the cases of S1.
func once() []Case {
	return []Case{
		{"P-1", "workers are killed at any time", anyDurable,
			everywhere("internal/crashtest/kill_test.go", "TestKilledWorkersLoseAndDoubleNothing")},
		{"P-2", "the process dies at each moment in which a message moves", anyDurable,
			everywhere("internal/crashtest/point_test.go", "TestADeathAtEachPointLosesAndDoublesNothing")},
		{"P-3", "the N-th write or sync kills the process, or fails: EIO, ENOSPC", anyDurable, map[string]Test{
			sqlite: {"internal/sweeptest/sweep_test.go", "TestAStoreThatIsCutOffAtAnyCallLosesAndDoublesNothing"}}},
		{"D-1", "the server is killed and started again", anyDurable,
			servers("internal/faulttest/server_test.go", "TestAKilledServerLosesAndDoublesNothing")},
		{"D-2", "the power is cut", powerSafe,
			everywhere("internal/powertest/power_test.go", "TestAPowerCutTakesNothingThatWasAcknowledged")},
		{"D-9h", "handlers that run into each other", anyDurable,
			servers("internal/faulttest/conflict_test.go", "TestConflictsInHandlersCostNoAttempt")},
	}
}

// resuming are the cases of S12.
func resuming() []Case {
	return []Case{
		{"P-4", "the supervisor is killed, or its process group", anyDurable,
			map[string]Test{sqlite: {"cli/supervise_test.go", "TestNothingOutlivesAKilledUp"}}},
		{"P-6", "workers get SIGTERM", anyDurable, tortured()},
		{"P-12", "workers reach their limits", anyDurable, tortured()},
		{"D-9", "somebody holds the lock that writers need", anyDurable, map[string]Test{sqlite: tortured()[sqlite]}},
		{"M", "bodies, kinds, ids and times that are odd", anyDurable, tortured()},
		{"M-15", "every handler fails that needs a partner, until he is back", anyDurable, tortured()},
		{"D-4", "the server stands still", anyDurable,
			servers("internal/faulttest/server_test.go", "TestAFrozenServerIsWaitedFor")},
		{"D-5", "somebody takes all connections", anyDurable,
			servers("internal/faulttest/connections_test.go", "TestAServerWithoutARoomIsWaitedFor")},
		{"D-11", "the server ends what is idle", anyDurable,
			servers("internal/faulttest/connections_test.go", "TestTheFirstMessageAfterIdlenessCostsNothing")},
		{"N-3", "connections are half open", anyDurable,
			servers("internal/faulttest/network_test.go", "TestAHalfOpenConnectionIsFound")},
	}
}

// last is the newest run of a fault on a store that was not weakened.
func last(rs []runs.Run, fault, store string) (got runs.Run, ok bool) {
	for _, r := range rs {
		if r.Fault == fault && r.Store == store && r.Weakened == "" && (!ok || r.Host.Time.After(got.Host.Time)) {
			got, ok = r, true
		}
	}
	return got, ok
}
