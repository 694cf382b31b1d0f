//go:build posthorn_bench_unsafe_crashcount

package safety

// CrashCount is off in this build, which is for the benchmark alone.
const CrashCount = false
