#!/usr/bin/env bash
# Runs each fuzz target of the module for a time, one after the other.
set -euo pipefail
cd "$(dirname "$0")/.."
duration=${1:-3s}

log=$(mktemp)
trap 'rm -f "$log"' EXIT

# fuzz runs one target. Go may report its own deadline as the failure when the
# time is up in the wrong moment; without a failing input that is none of ours,
# and one more run tells.
fuzz() {
	local run=(go test -run='^$' -fuzz="^$2\$" -fuzztime="$duration" "$1")
	"${run[@]}" >"$log" 2>&1 && return
	if grep -q 'context deadline exceeded' "$log" && ! grep -q 'Failing input' "$log"; then
		"${run[@]}" >"$log" 2>&1 && return
	fi
	cat "$log"
	return 1
}

# with_targets lists the packages that have one: no other needs to be built.
with_targets() {
	go list -f '{{.Dir}} {{.ImportPath}}' ./... | while read -r dir package; do
		if grep -qs '^func Fuzz' "$dir"/*_test.go; then echo "$package"; fi
	done
}

count=0
for package in $(with_targets); do
	targets=$(go test -list '^Fuzz' "$package" | grep '^Fuzz') || {
		echo "error: list fuzz targets of $package: its tests do not build" >&2
		exit 1
	}
	for target in $targets; do
		echo "fuzz $package $target"
		fuzz "$package" "$target"
		count=$((count + 1))
	done
done
echo "$count fuzz targets, $duration each"
