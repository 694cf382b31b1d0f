#!/usr/bin/env bash
# Installs what is missing of the things that are named: cc (a C compiler with
# its headers, for the race detector), make, postgresql, mariadb, pgbouncer,
# redis-server, prometheus, prometheus-alertmanager. Of the servers it installs the programs, for tests to start: none
# of them runs afterwards. It says nothing when all is there.
set -euo pipefail

# works says whether a thing is usable, not only whether a file is there.
works() {
	local compiler
	case $1 in
	cc)
		read -ra compiler <<<"$(go env CC)"
		echo 'int main(void) { return 0; }' | "${compiler[@]}" -include stdlib.h -x c -o /dev/null - 2>/dev/null
		;;
	postgresql) has initdb && has postgres ;;
	mariadb) has mariadb-install-db && has mariadbd ;;
	redis-server) has redis-server || has valkey-server ;;
	supervisor) has supervisord && has supervisorctl ;;
	systemd) has systemd-analyze ;;
	cron) has cron && has crontab ;;
	prometheus) has prometheus && has promtool ;;
	prometheus-alertmanager) has prometheus-alertmanager || has alertmanager ;;
	*) has "$1" ;;
	esac
}

# has looks for a program, also where servers are that PATH often lacks.
has() {
	(
		shopt -s nullglob
		places=(/usr/sbin /usr/local/sbin /usr/libexec /usr/lib/postgresql/*/bin /usr/pgsql-*/bin)
		PATH=$PATH$(printf ':%s' "${places[@]}") command -v "$1" >/dev/null
	)
}

# packages names the Debian packages of a thing.
packages() {
	case $1 in
	cc) echo gcc libc6-dev ;;
	mariadb) echo mariadb-server-core mariadb-client-core ;; # mariadb-server would start one
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

# What root does. Debian starts a server when it installs one, and again when the
# machine starts; what is here meanwhile tells it not to.
# shellcheck disable=SC2016 # the inner shell expands it
as_root_do='set -eu
export DEBIAN_FRONTEND=noninteractive
made=
trap "rm -f \$made" EXIT
trap "exit 1" HUP INT TERM
rule() {
	[ ! -e "$1" ] || return 0
	made="$made $1"
	mkdir -p "$(dirname "$1")"
	printf "%s\n" "$2" >"$1"
	chmod 755 "$1"
}
rule /usr/sbin/policy-rc.d "#!/bin/sh
exit 101"
case " $* " in
*" postgresql "*) rule /etc/postgresql-common/createcluster.d/posthorn.conf "create_main_cluster = false" ;;
esac
apt="apt-get -o DPkg::Lock::Timeout=300"
$apt update
$apt install -y --no-install-recommends "$@"
for service in pgbouncer redis-server supervisor cron prometheus prometheus-alertmanager; do
	case " $* " in
	*" $service "*) [ ! -d /run/systemd/system ] || systemctl disable "$service" ;;
	esac
done'

echo "installing ${names[*]}" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! "${as_root[@]}" sh -c "$as_root_do" sh "${names[@]}" >"$log" 2>&1 </dev/null; then
	tail -n 15 "$log" >&2
	refuse "the installation failed"
fi
for thing in "${missing[@]}"; do
	works "$thing" || refuse "it was installed, and still does not work"
done
