# Where there can be no worker, or not yet: appends go on and are announced, and
# one warning says why.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventStore::Test;
use EventStore::Worker;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $warning = qr/WARNING:  (?:\w+: )?the event store has no background worker/;
my $node = new_store('main', conf => q{
max_connections = 30
max_locks_per_transaction = 10
max_prepared_transactions = 0
eventstore.watermark_interval = '1h'
});

#
# No shared memory
#

# What the lock table takes is never given back.
$node->safe_psql('postgres', q{
DO $$
BEGIN
	FOR i IN 1 .. 10000000 LOOP
		PERFORM pg_advisory_xact_lock(i);
	END LOOP;
EXCEPTION WHEN out_of_memory THEN
	RAISE NOTICE 'no memory left';
END $$});
my $log = -s $node->logfile;
my $session = session($node);
start_listening($node);
like($session->query(append_sql('Account-1')),
	qr/$warning.*DETAIL:  There is no shared memory left.*HINT:  .*max_locks_per_transaction/s,
	'without shared memory there is a warning');
hears(1, 'and the append is announced');
unlike($session->query(append_sql('Account-1')), $warning, 'a session says it once');
hears(2, 'the next one, too');
hears(append($node, 'Account-1'), 'another session\'s, too');
is(logged($node, $warning, $log), 2, 'each session says it');
is(workers($node), '', 'there is no worker');
is((split /\n/, $session->query(q{CALL eventstore.wait_for_events(2, '10 s')}))[0],
	'3', 'wait_for_events() looks for itself');
$session->quit;

#
# No room for a worker
#

stop_listening();
$node->append_conf('postgresql.conf', q{
max_locks_per_transaction = 64
max_worker_processes = 1});
$node->restart;
$log = -s $node->logfile;
start_listening($node);
hears(append($node, 'Account-1'), 'without room for a worker an append is announced');
hears(append($node, 'Account-1'), 'another one, too') foreach 1 .. 3;
is(logged($node, qr/$warning.*\n.*DETAIL:  All background worker processes are in use.*\n.*HINT:  .*max_worker_processes/, $log),
	1, 'with one warning in the log');
is(workers($node), '', 'there is no worker');

# The last place is the worker's own: when it is terminated with something to
# announce, it comes back into that.
stop_listening();
$node->append_conf('postgresql.conf', 'max_worker_processes = 2');
$node->restart;
start_listening($node);
hears(append($node, 'Account-1'), 'there is room for one worker');
wait_for(sub { worker_pid($node) ne '' }, 'worker');
my $pid = worker_pid($node);
kill('STOP', $pid);
my $unannounced = append($node, 'Account-1');
kill('TERM', $pid);
kill('CONT', $pid);
hears($unannounced, 'it is terminated, and what it had not announced is, all the same');
ok(wait_for(sub { (worker_pid($node) || $pid) ne $pid }, 'another worker'), 'by its successor');

#
# A worker that takes its time
#

stop_listening();
$node->append_conf('postgresql.conf', 'max_worker_processes = 4');
$node->restart;
start_listening($node);
$session = session($node);
my $postmaster = $node->{_pid};
my $appended = sub { return (split /\n/, $session->query(append_sql('Account-1')))[-1] };
ok(kill('STOP', $postmaster), 'the postmaster starts nothing');
hears($appended->(), 'an append that waits for its worker is announced');
hears($appended->(), 'and another one');
$session->query('SELECT pg_sleep(11)');
hears($appended->(), 'and one after the worker was given up');
kill('CONT', $postmaster);
ok(wait_for(sub { worker_pid($node) ne '' }, 'worker'), 'a worker comes at last');
usleep(200_000);
like(worker_pid($node), qr/^\d+$/, 'and no other one stays');
hears($appended->(), 'it announces');
$session->quit;

#
# Room for others
#

SKIP:
{
	skip 'eventstore.worker_idle_limit needs WAIT_POINTS=yes', 1 if !has_wait_points($node);

	stop_listening();
	$node->append_conf('postgresql.conf', q{
eventstore.worker_idle_limit = '500ms'
eventstore.watermark_interval = '10ms'
max_worker_processes = 4
max_parallel_workers_per_gather = 3
parallel_setup_cost = 0
parallel_tuple_cost = 0
min_parallel_table_scan_size = 0});
	$node->restart;
	$node->safe_psql('postgres', 'CREATE TABLE numbers AS SELECT generate_series(1, 100000) AS n; ANALYZE numbers');

	my $explain = 'EXPLAIN (ANALYZE, COSTS off, TIMING off) SELECT count(*) FROM numbers';
	my @databases = map { "idle_$_" } 1 .. 3;
	foreach my $database (@databases)
	{
		$node->safe_psql('postgres', "CREATE DATABASE $database");
		$node->safe_psql($database, "CREATE EXTENSION eventstore; ${\append_sql('Account-1')}");
	}
	has_workers($node, '', 'workers exit when nothing happens');
	like($node->safe_psql('postgres', $explain), qr/Workers Launched: 3/,
		'and leave their room to a parallel query');
}

#
# More databases than slots: they are leased by turns
#

SKIP:
{
	skip 'eventstore.worker_idle_limit needs WAIT_POINTS=yes', 1 if !has_wait_points($node);

	$node->append_conf('postgresql.conf', q{
eventstore.worker_idle_limit = '100ms'
max_worker_processes = 8});
	$node->restart;
	$log = -s $node->logfile;
	$node->safe_psql('postgres', 'CREATE DATABASE many_1 TEMPLATE idle_1');
	$node->safe_psql('postgres', join ';', map { "CREATE DATABASE many_$_ TEMPLATE idle_1" } 2 .. 100);

	foreach my $round (1 .. 2)
	{
		my @missed;

		foreach my $database (map { "many_$_" } 1 .. 100)
		{
			my $heard = $node->safe_psql($database,
				"LISTEN eventstore; ${\append_sql('Account-1')}; SELECT pg_sleep(0.02);"
				  . "${\append_sql('Account-1')}; SELECT pg_sleep(0.03)");
			my ($last) = $heard =~ /^(\d+)$/mg ? sort { $b <=> $a } $heard =~ /^(\d+)$/mg : ();

			push @missed, $database
			  if !defined $last || $heard !~ /with payload "$last"/ || $heard !~ /with payload "${\($last - 1)}"/;
		}
		is("@missed", '', "appends to 100 databases are announced, round $round");
	}
	ok(wait_for(sub { workers($node) eq '' }, 'rest'), 'then all are at rest');
	is(logged($node, qr/FATAL|PANIC|in use, or it has just failed/, $log), 0,
		'and nothing was wrong');
}

stop_listening();
$node->stop('fast');
done_testing();
