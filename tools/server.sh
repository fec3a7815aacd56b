# shellcheck shell=bash
#
# The throw-away server of ./demo and ./check.  Sourced by what setup_run()
# runs, so the environment holds WORK, and PATH begins with PostgreSQL's
# programs.

# Does the server have this setting?  Newer minor releases have more.
server_has_setting()
{
	postgres --describe-config | grep -q "^$1	"
}

# Newer minor releases name the output plugins that may be used: the line for that
# in the configuration, or nothing.
server_plugins()
{
	! server_has_setting output_plugin_libraries ||
		echo "output_plugin_libraries = 'pgoutput, test_decoding, eventstore'"
}

# server_start SETTING...: a new cluster, on a Unix socket in WORK only.
server_start()
{
	local data=$WORK/data

	export PGHOST=$WORK PGPORT=5432 PGUSER=postgres PGDATABASE=postgres
	initdb -D "$data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync \
		>"$WORK/initdb.log" 2>&1 || { cat "$WORK/initdb.log"; return 1; }
	printf '%s\n' "listen_addresses = ''" "unix_socket_directories = '$WORK'" \
		"port = $PGPORT" "$@" >>"$data/postgresql.conf"
	pg_ctl -s -w -D "$data" -l "$WORK/server.log" start ||
		{ cat "$WORK/server.log"; return 1; }
}

server_stop()
{
	pg_ctl -s -w -D "$WORK/data" -m "${1:-fast}" stop && rm -rf "$WORK/data"
}
