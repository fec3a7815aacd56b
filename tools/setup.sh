# shellcheck shell=bash
#
# What ./demo and ./check do before their own work, and the clean-up after
# it.  Sourced by both, in this order:
#
#	setup_begin NAME			temporary directory; clean-up on every way out
#	setup_postgresql			choose PostgreSQL; puts what it takes into PACKAGES
#	setup_node					Node.js and npm, into PACKAGES where they are missing
#	setup_packages				install the packages in PACKAGES that are missing
#	setup_stage					private copy of the PostgreSQL tree
#	setup_sources				private copy of this source tree
#	setup_run COMMAND...		run as an ordinary user, with all of the above
#
# The system's PostgreSQL is never installed into and none of its clusters is
# touched.  PostgreSQL finds its directories relative to its own program
# file, so a copy of the programs, next to links to everything else, makes a
# tree that the extension can be installed into and that a throw-away server
# runs from.  It lives in the temporary directory and goes with it.

MIN_MAJOR=15
TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
WORK=
CHILD=
CLUSTER_CONF=
PACKAGES=()
SYSTEM_PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin

say()
{
	printf '%s\n' "$*"
}

die()
{
	say "error: $*" >&2
	exit 1
}

#
# Clean-up
#

setup_begin()
{
	local base

	trap setup_end EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM

	base=$(usable_directory) || die "no directory for temporary files: need one that is writable, allows programs to run and has 500 MB free"
	WORK=$(mktemp -d "$base/$1.XXXXXX") || exit 1
}

# The first directory that programs can run from.  Its name must be short: it
# becomes part of the names of Unix sockets, which have little room.
usable_directory()
{
	local base probe

	for base in "${TMPDIR:-/tmp}" /tmp /var/tmp; do
		[ ${#base} -le 30 ] && probe=$(mktemp "$base/probe.XXXXXX" 2>/dev/null) || continue
		printf '#!/bin/sh\nexit 0\n' >"$probe"
		chmod +x "$probe"
		if "$probe" 2>/dev/null &&
			[ "$(df -Pk "$base" | awk 'NR == 2 {print $4}')" -ge 500000 ]; then
			rm -f "$probe"
			echo "$base"
			return 0
		fi
		rm -f "$probe"
	done
	return 1
}

setup_end()
{
	trap '' HUP INT TERM
	allow_main_cluster
	[ -z "$CHILD" ] || end_group
	if [ -n "$WORK" ]; then
		end_programs
		rm -rf "$WORK"
		WORK=
	fi
}

# What setup_run() has started and what that has left, in three seconds.
end_group()
{
	local try signal=TERM

	for try in {1..30}; do
		kill -$signal -- "-$CHILD" 2>/dev/null || return 0
		signal=0
		sleep 0.1
	done
	kill -KILL -- "-$CHILD" 2>/dev/null
}

# Every process that runs one of our own copies of PostgreSQL's programs.  One
# that runs under valgrind is known by its directory, the server's data.
own_processes()
{
	local process

	for process in /proc/[0-9]*; do
		case $(readlink "$process/exe" "$process/cwd" 2>/dev/null) in
			"$WORK"/* | */valgrind/*$'\n'"$WORK"/*) echo "${process#/proc/}" ;;
		esac
	done
}

# Stop them; by force if that takes longer than five seconds.  A server that
# is just starting would not clean up if it were stopped at once.
end_programs()
{
	local try pids

	for try in {1..60}; do
		pids=$(own_processes)
		[ -n "$pids" ] || return 0
		# shellcheck disable=SC2086
		case $try in
			5) kill -QUIT $pids ;;
			50) kill -KILL $pids ;;
		esac 2>/dev/null
		sleep 0.1
	done
}

#
# Packages
#

# Settings that apt and its downloads need, where there are any.
proxy_settings()
{
	env | grep -iE '^(http|https|ftp|all|no)_proxy=' || :
}

as_root()
{
	local settings

	mapfile -t settings < <(proxy_settings)
	if [ "$(id -u)" -eq 0 ]; then
		env "${settings[@]}" "$@"
	elif sudo -n true </dev/null 2>/dev/null; then
		sudo -n env "${settings[@]}" "$@"
	else
		die "installing packages takes root, or sudo without a password; as root, run: apt-get install --no-install-recommends ${MISSING[*]:-}"
	fi
}

apt_get()
{
	as_root DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 LC_ALL=C \
		apt-get -qq -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 \
		-o Acquire::Retries=3 "$@" </dev/null >>"$WORK/apt.log" 2>&1
}

apt_update()
{
	[ -z "${APT_UPDATED:-}" ] || return 1
	APT_UPDATED=1
	say "apt-get update"
	apt_get update || { cat "$WORK/apt.log" >&2; die "apt-get update failed"; }
}

apt_knows()
{
	apt-cache show "$1" >/dev/null 2>&1
}

# Try again with fresh lists, since old ones name files that are gone.
apt_retry()
{
	"$@" || { apt_update && "$@"; } || { cat "$WORK/apt.log" >&2; return 1; }
}

is_installed()
{
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# Installing a PostgreSQL server on Debian creates and starts a cluster
# "main".  While we install one, it does not.
forbid_main_cluster()
{
	local conf=/etc/postgresql-common/createcluster.d/00-no-main-cluster.conf

	[ ! -e $conf ] || return 0
	as_root mkdir -p "${conf%/*}"
	CLUSTER_CONF=$conf
	echo 'create_main_cluster = false' | as_root tee $conf >/dev/null
}

allow_main_cluster()
{
	[ -n "$CLUSTER_CONF" ] || return 0
	as_root rm -f "$CLUSTER_CONF"
	as_root rmdir --ignore-fail-on-non-empty "${CLUSTER_CONF%/*}"
	CLUSTER_CONF=
}

setup_packages()
{
	local package

	MISSING=()
	for package in "${PACKAGES[@]}"; do
		is_installed "$package" || MISSING+=("$package")
	done
	[ ${#MISSING[@]} -gt 0 ] || return 0

	command -v apt-get >/dev/null || die "these are missing: ${MISSING[*]}"
	say "install ${MISSING[*]}"
	case " ${MISSING[*]} " in
		*" postgresql-$MAJOR "*) forbid_main_cluster ;;
	esac
	apt_retry apt_get --no-install-recommends install "${MISSING[@]}" ||
		die "could not install ${MISSING[*]}"
	allow_main_cluster
}

#
# PostgreSQL
#

# A server with everything that extensions are built with?
is_complete()
{
	local tree=/usr/lib/postgresql/$1

	[ -x "$tree/bin/postgres" ] && [ -x "$tree/bin/pg_config" ] &&
		[ -e "$tree/lib/pgxs/src/makefiles/pgxs.mk" ] &&
		[ -e "/usr/include/postgresql/$1/server/postgres.h" ]
}

# Installed servers that are new enough, newest first.
installed_majors()
{
	local program major

	for program in /usr/lib/postgresql/*/bin/postgres; do
		major=${program#/usr/lib/postgresql/}
		major=${major%%/*}
		[ -x "$program" ] && [ "${major%%[!0-9]*}" = "$major" ] &&
			[ "$major" -ge $MIN_MAJOR ] && echo "$major"
	done | sort -rn
}

# The major version that the distribution's package "postgresql" stands for.
distribution_major()
{
	LC_ALL=C apt-cache depends postgresql 2>/dev/null |
		sed -n 's/^ *Depends: postgresql-\([0-9][0-9]*\)$/\1/p' | head -n 1
}

choose_major()
{
	local major

	for major in $(installed_majors); do
		! is_complete "$major" || { MAJOR=$major; return; }
	done

	command -v apt-get >/dev/null ||
		die "set PG_CONFIG to the pg_config of PostgreSQL $MIN_MAJOR or newer"
	apt_knows postgresql-common || apt_update
	for major in $(installed_majors); do
		! apt_knows "postgresql-server-dev-$major" || { MAJOR=$major; return; }
	done

	MAJOR=$(distribution_major)
	[ "${MAJOR:-0}" -ge $MIN_MAJOR ] ||
		die "this takes PostgreSQL $MIN_MAJOR or newer; the distribution has ${MAJOR:-none}"
}

# Sets MAJOR, PG_BIN (the directory of the server's programs) and PACKAGES.
setup_postgresql()
{
	UNPACK=()
	command -v gcc >/dev/null || PACKAGES+=(gcc)
	[ -e /usr/include/stdio.h ] || PACKAGES+=(libc6-dev)
	command -v make >/dev/null || PACKAGES+=(make)

	if [ -n "${PG_CONFIG:-}" ]; then
		PG_BIN=$("$PG_CONFIG" --bindir) || die "PG_CONFIG is not a pg_config: $PG_CONFIG"
		MAJOR=$("$PG_CONFIG" --version | sed 's/^[^0-9]*\([0-9]*\).*/\1/')
		[ -x "$PG_BIN/postgres" ] && [ -x "$PG_BIN/pg_config" ] &&
			[ -e "$("$PG_CONFIG" --pgxs)" ] && [ -e "$("$PG_CONFIG" --includedir-server)/postgres.h" ] ||
			die "$PG_CONFIG has no server or no server headers beside it"
		[ "$MAJOR" -ge $MIN_MAJOR ] || die "this takes PostgreSQL $MIN_MAJOR or newer; $PG_CONFIG is of $MAJOR"
		return
	fi

	choose_major
	PG_BIN=/usr/lib/postgresql/$MAJOR/bin
	is_complete "$MAJOR" || UNPACK+=("postgresql-server-dev-$MAJOR")
	[ -x "$PG_BIN/postgres" ] || PACKAGES+=("postgresql-$MAJOR")
}

#
# Node.js, for the tests with clients that are written in JavaScript
#

setup_node()
{
	local program

	for program in node npm; do
		# With Debian, node is in the package nodejs.
		PATH=$SYSTEM_PATH command -v $program >/dev/null || PACKAGES+=("${program/node/nodejs}")
	done
}

#
# Private copies
#

# The package's files, in the same version as the server where there is one.
unpack_package()
{
	local version

	version=$(dpkg-query -W -f '${Version}' "postgresql-$MAJOR")
	(
		cd "$WORK/packages" || exit 1
		apt-get -qq download "$1=$version" >>"$WORK/apt.log" 2>&1 ||
			apt-get -qq download "$1" >>"$WORK/apt.log" 2>&1
	) && ordinary dpkg-deb -x "$WORK"/packages/"$1"_*.deb "$STAGE"
}

choose_user()
{
	if [ "$(id -u)" -ne 0 ]; then
		RUN_AS=$(id -un)
	elif id -u postgres >/dev/null 2>&1; then
		RUN_AS=postgres
	else
		RUN_AS=nobody
	fi
}

setup_stage()
{
	local name directory package

	choose_user
	STAGE=$WORK/stage
	say "copy PostgreSQL $MAJOR to a private tree in $WORK"
	mkdir "$STAGE" "$WORK/packages" "$WORK/tmp"
	touch "$WORK/apt.log"
	chown -R "$RUN_AS" "$WORK"

	ordinary mkdir -p "$STAGE$PG_BIN"
	ordinary cp -r "$PG_BIN/." "$STAGE$PG_BIN" || die "user $RUN_AS cannot copy $PG_BIN"
	for name in pkglibdir sharedir includedir-server; do
		directory=$("$PG_BIN/pg_config" --$name)
		ordinary mkdir -p "$STAGE$directory"
		[ ! -d "$directory" ] || ordinary cp -rs "$directory/." "$STAGE$directory"
	done
	for package in "${UNPACK[@]}"; do
		say "unpack $package privately, without the compilers that it would bring"
		apt_retry unpack_package "$package" || die "could not unpack $package"
	done
	find "$STAGE" -name 'eventstore*' -prune -exec rm -rf {} +
	PG_BIN=$STAGE$PG_BIN
}

# Into SOURCES: without version control and without what a build leaves behind.
copy_sources()
{
	tar -C "$TOP" -cf - --exclude=./.git --exclude='*.o' --exclude='*.so' --exclude='*.bc' \
		--exclude=./results --exclude=./output_iso --exclude=./tmp_check --exclude=node_modules . |
		ordinary tar -C "$SOURCES" -xf - --no-same-owner
}

setup_sources()
{
	SOURCES=$WORK/eventstore
	ordinary mkdir "$SOURCES"
	copy_sources
}

# Run a command as the user whom the server may run as, in a clean
# environment.
ordinary()
{
	local become=() settings

	[ "$(id -un)" = "$RUN_AS" ] ||
		become=(setpriv --reuid="$RUN_AS" --regid="$(id -g "$RUN_AS")" --init-groups)
	mapfile -t settings < <(proxy_settings)
	"${become[@]}" env -i "${settings[@]}" \
		HOME="$WORK/tmp" TMPDIR="$WORK/tmp" WORK="$WORK" PATIENCE="${PATIENCE:-1}" \
		PATH="$PG_BIN:$SYSTEM_PATH" \
		LANG=C.UTF-8 LC_ALL=C.UTF-8 TERM="${TERM:-dumb}" USER="$RUN_AS" "$@"
}

# In a process group of its own, so that setup_end() can end all of it, and
# in the background, so that a signal is acted upon at once.
setup_run()
{
	set -m
	(cd "$SOURCES" && ordinary "$@") </dev/null &
	CHILD=$!
	set +m
	wait "$CHILD"
}
