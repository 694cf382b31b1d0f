//go:build posthorn_bench_unsafe_history

package safety

// History is off in this build, which is for the benchmark alone.
const History = false
