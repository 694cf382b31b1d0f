#!/usr/bin/env bash
# Installs what is missing of the things that are named: cc (a C compiler with
# its headers, for the race detector), make. It says nothing when all is there.
set -euo pipefail

# works says whether a thing is usable, not only whether a file is there.
works() {
	local compiler
	case $1 in
	cc)
		read -ra compiler <<<"$(go env CC)"
		echo 'int main(void) { return 0; }' | "${compiler[@]}" -include stdlib.h -x c -o /dev/null - 2>/dev/null
		;;
	*) command -v "$1" >/dev/null ;;
	esac
}

# packages names the Debian packages of a thing.
packages() {
	case $1 in
	cc) echo gcc libc6-dev ;;
	*) echo "$1" ;;
	esac
}

missing=()
for thing in "$@"; do
	works "$thing" || missing+=("$thing")
done
[ ${#missing[@]} -gt 0 ] || exit 0

names=()
for thing in "${missing[@]}"; do
	read -ra more <<<"$(packages "$thing")"
	names+=("${more[@]}")
done

as_root=()
if [ "$(id -u)" -ne 0 ]; then
	as_root=(sudo)
	# Without a terminal nobody can type a password.
	[ -t 0 ] || as_root=(sudo -n)
fi
install="apt-get update && apt-get install -y ${names[*]}"

refuse() {
	{
		echo "error: not usable here: ${missing[*]}"
		echo "  why  $1"
		echo "  try  sudo sh -c '$install'"
	} >&2
	exit 1
}

command -v apt-get >/dev/null || {
	echo "error: not usable here: ${missing[*]}; install what Debian calls ${names[*]}" >&2
	exit 1
}
[ ${#as_root[@]} -eq 0 ] || command -v sudo >/dev/null || refuse "only root can install, and sudo is missing"

echo "installing ${names[*]}" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
wait_for_lock='-o DPkg::Lock::Timeout=300'
if ! "${as_root[@]}" sh -c "export DEBIAN_FRONTEND=noninteractive
	apt-get $wait_for_lock update && apt-get $wait_for_lock install -y --no-install-recommends ${names[*]}" \
	>"$log" 2>&1 </dev/null; then
	tail -n 15 "$log" >&2
	refuse "the installation failed"
fi
for thing in "${missing[@]}"; do
	works "$thing" || refuse "it was installed, and still does not work"
done
