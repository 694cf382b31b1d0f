//go:build !posthorn_bench_unsafe_history

package safety

// History says that failed attempts and crashes are noted with their message.
const History = true
