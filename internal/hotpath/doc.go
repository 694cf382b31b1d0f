// Package hotpath holds the benchmarks of what every message passes through, with
// their allocations. It has no code of its own. They are for profiles (make
// profile), and to see what a change costs; figures to be compared with other
// systems come from the module bench.
package hotpath
