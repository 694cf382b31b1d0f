// Package supervisor keeps programs running: it starts their processes, waits
// until they are ready, watches them, replaces the ones that end, and stops all
// of them with everything that they have started. It knows no message and
// imports nothing of the project: any command can be a program.
//
// A process talks to its supervisor, and the supervisor to its own parent, by
// the protocol of sd_notify(3): READY=1, WATCHDOG=1, STATUS=, STOPPING=1, and
// fields of its own whose names begin with X_POSTHORN_.
//
// What happens next to a process is decided by a pure function, [Policy.Step];
// which processes of a program are replaced next by another, in crew.go. The
// rest of the package carries their decisions out.
package supervisor
