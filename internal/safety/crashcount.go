//go:build !posthorn_bench_unsafe_crashcount

package safety

// CrashCount says that each claim counts a delivery, by which a crash is known.
const CrashCount = true
