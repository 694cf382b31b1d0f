#!/usr/bin/env bash
# Profiles hot paths (internal/hotpath) under a bounded load: for each benchmark a
# directory with its figures, its binary and its profiles, and the top of each here.
#   scripts/profile.sh [BENCHMARK...]   such as HandleTx/PostgreSQL
# TURNS is the number of messages, TOP that of the lines, DIR the directory.
set -euo pipefail
cd "$(dirname "$0")/.."
turns=${TURNS:-20000}
top=${TOP:-12}
dir=${DIR:-bin/profile}
[ $# -gt 0 ] || set -- Dispatch/SQLite ClaimAndAck/SQLite Handle/SQLite HandleTx/SQLite

# show prints the top of a profile, without the head that repeats itself.
show() {
	printf -- '-- %s\n' "$1"
	go tool pprof -top -nodecount="$top" "${@:3}" "$2" 2>/dev/null | sed '/^\(File\|Build ID\|Type\|Time\)/d'
}

# exactly makes a pattern that matches a benchmark and none of whose name it is a part.
exactly() { sed 's|^|^Benchmark|; s|/|$/^|g; s|$|$|' <<<"$1"; }

for benchmark in "$@"; do
	to=$dir/${benchmark//\//-}
	mkdir -p "$to"
	printf '\n== %s, %s turns: %s\n' "$benchmark" "$turns" "$to"
	go test -run='^$' -bench="$(exactly "$benchmark")" -benchtime="${turns}x" -timeout=5m \
		-cpuprofile="$to/cpu.prof" -memprofile="$to/alloc.prof" -memprofilerate=65536 \
		-mutexprofile="$to/mutex.prof" -o "$to/hotpath.test" ./internal/hotpath >"$to/figures.txt" ||
		{ cat "$to/figures.txt" && exit 1; }
	grep '^Benchmark' "$to/figures.txt" || {
		echo "error: there is no benchmark $benchmark, or its server is not installed; see internal/hotpath" >&2
		exit 1
	}
	show "CPU" "$to/cpu.prof"
	show "allocations" "$to/alloc.prof" -sample_index=alloc_space
	show "mutexes, waited for" "$to/mutex.prof"
done
