# What the benchmarks share: a throw-away cluster, and medians.

bin=$("${PG_CONFIG:-pg_config}" --bindir)
dir=$(mktemp -d)
export PGHOST=$dir PGDATABASE=postgres PGUSER=bench

cluster_stop()
{
	"$bin/pg_ctl" -s -m immediate -D "$dir/data" stop || true
	rm -rf "$dir"
}

# cluster_start SETTING...: everything else is as the server has it.
cluster_start()
{
	trap cluster_stop EXIT
	"$bin/initdb" --no-sync -A trust -U bench -D "$dir/data" >"$dir/initdb.log"
	cat >>"$dir/data/postgresql.conf" <<EOF
listen_addresses = ''
unix_socket_directories = '$dir'
EOF
	printf '%s\n' "$@" >>"$dir/data/postgresql.conf"
	"$bin/pg_ctl" -s -w -D "$dir/data" -l "$dir/log" start
}

# A listener that takes what comes: psql reads notifications when a command
# ends, so it has one to run all the time.
start_listener()
{
	{ echo 'LISTEN eventstore;'; while sleep 0.1; do echo 'SELECT;'; done; } |
		"$bin/psql" -qXAt >"$dir/listener.log" 2>&1 &
	listener=$!
}

stop_listener()
{
	kill $listener
	wait $listener || true
}

median()
{
	sort -g | awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'
}
