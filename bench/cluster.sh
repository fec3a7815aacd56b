# What the benchmarks share: a throw-away cluster, and medians.

bin=$("${PG_CONFIG:-pg_config}" --bindir)
dir=$(mktemp -d)
export PGHOST=$dir PGDATABASE=postgres PGUSER=bench

cluster_stop()
{
	"$bin/pg_ctl" -s -m immediate -D "$dir/data" stop || true
	rm -rf "$dir"
}

# cluster_start SETTING...
cluster_start()
{
	trap cluster_stop EXIT
	"$bin/initdb" --no-sync -A trust -U bench -D "$dir/data" >"$dir/initdb.log"
	cat >>"$dir/data/postgresql.conf" <<EOF
listen_addresses = ''
unix_socket_directories = '$dir'
shared_buffers = 512MB
max_wal_size = 8GB
checkpoint_timeout = 1h
autovacuum = off
EOF
	printf '%s\n' "$@" >>"$dir/data/postgresql.conf"
	"$bin/pg_ctl" -s -w -D "$dir/data" -l "$dir/log" start
}

median()
{
	sort -g | awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'
}
