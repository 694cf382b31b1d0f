#!/usr/bin/env bash
# Runs each fuzz target of the module for a time, and prints how many inputs it had:
#   fuzz.sh [DURATION [LANES [PART/PARTS]]]
# so many side by side, each with one worker if there are several, and only one part of the
# targets: every PARTS-th, from PART on, which begins with 0.
set -euo pipefail
cd "$(dirname "$0")/.."
duration=${1:-3s} lanes=${2:-1} part=${3:-0/1}

logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

# fuzz runs one target. Go may report its own deadline as the failure when the
# time is up in the wrong moment; without a failing input that is none of ours,
# and one more run tells.
fuzz() {
	local log=$logs/${1//\//_}.$2
	local run=(go test -vet=off -run='^$' -fuzz="^$2\$" -fuzztime="$duration" "$1")
	[ "$lanes" -eq 1 ] || run+=(-parallel=1)
	"${run[@]}" >"$log" 2>&1 || {
		grep -q 'context deadline exceeded' "$log" && ! grep -q 'Failing input' "$log" && "${run[@]}" >"$log" 2>&1
	} || {
		cat "$log"
		return 1
	}
	local execs
	execs=$(grep -o 'execs: [0-9]*' "$log" | tail -n 1) || { cat "$log" && return 1; } # it had no such target
	echo "fuzz $1 $2: $execs"
}

# targets lists packages and targets, without those that another part has. They are found by
# their names: to build a package's tests in order to ask them takes longer than to fuzz.
targets() {
	local i=0 dir package name
	go list -f '{{.Dir}} {{.ImportPath}}' ./... | while read -r dir package; do
		for name in $(grep -hos '^func Fuzz[A-Za-z0-9_]*' "$dir"/*_test.go | cut -d ' ' -f 2); do
			[ $((i++ % ${part#*/})) -ne "${part%/*}" ] || echo "$package $name"
		done
	done
}

list=$(targets)
# What is fuzzed is built in its own way, all that it imports included. Side by side each lane
# would build the same again.
[ "$lanes" -eq 1 ] || while read -r package target; do
	go test -vet=off -run='^$' -fuzz="^$target\$" -fuzztime=1x "$package" >/dev/null
done < <(sort -u -k 1,1 <<<"$list")
export duration lanes logs
export -f fuzz
xargs -P "$lanes" -n 2 bash -c 'fuzz "$@"' fuzz <<<"$list"
echo "$(wc -l <<<"$list") fuzz targets, $duration each, $lanes side by side"
