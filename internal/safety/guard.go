//go:build !posthorn_bench_unsafe_guard

package safety

// Guard says that handlers' statements are asked about, and their sessions inspected.
const Guard = true
