# However large a transaction is, decoding it takes little memory, and a
# client that gets nothing of it is not given up.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventStore::Test;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $nevents = 300_000;
my $node = new_store('main', streaming => 'logical', conf => 'logical_decoding_work_mem = 64kB');

# The payloads are compressed in the rows, but not in the messages.
$node->safe_psql('postgres', qq{
SELECT FROM pg_create_logical_replication_slot('client', 'eventstore');
SELECT count(a.last_version)
FROM (SELECT json_agg(json_build_object('event_type', 'Happened', 'data', repeat('x', 2100))) AS events
	  FROM generate_series(1, 1000)) e,
	 generate_series(1, $nevents / 1000) i,
	 eventstore.append_events('Large-' || i, e.events) a});
my $end = $node->safe_psql('postgres', 'SELECT pg_current_wal_insert_lsn()');
$node->safe_psql('postgres', q{SELECT FROM pg_logical_emit_message(false, 'test', 'end')});

# The most memory that a process has used so far, in kB.
sub peak_memory
{
	my ($pid) = @_;

	open(my $status, '<', "/proc/$pid/status") or return;
	my ($peak) = map { /^VmHWM:\s*(\d+) kB/ } <$status>;
	return $peak;
}

# Receive all; returns the number of messages and the server process's memory.
sub receive
{
	my (@arguments) = @_;
	my $count = '';
	my ($pid, $peak);

	$node->safe_psql('postgres', q{SELECT FROM pg_copy_logical_replication_slot('client', 'copy')});
	my $run = IPC::Run::start(
		[
			'pg_recvlogical', '-d', $node->connstr('postgres'), '-S', 'copy', '--start',
			"--endpos=$end", '-f', '-', @arguments
		],
		'<', '/dev/null', '2>', \my $stderr, '|', [ 'wc', '-l' ], '>', \$count,
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	wait_for(
		sub {
			$pid = $node->safe_psql('postgres',
				q{SELECT active_pid FROM eventstore.replication_status WHERE slot_name = 'copy' AND active});
		},
		'the client to connect');
	while (defined(my $now = peak_memory($pid)))
	{
		$peak = $now;
		usleep(10_000);
	}
	ok($run->finish, 'the client received all') or diag($stderr);
	cmp_ok($node->safe_psql('postgres', q{SELECT spill_count FROM pg_stat_replication_slots WHERE slot_name = 'copy'}),
		'>', 0, 'the transaction was spilled to disk');
	$node->safe_psql('postgres', q{SELECT pg_drop_replication_slot('copy')});
	return ($count + 0, $peak / 1024);
}

# Shared buffers count, and the two thirds of the messages that are payload
# would be 600 MB.
my ($count, $peak) = receive();
is($count, $nevents, "one transaction with $nevents events was received");
cmp_ok($peak, '<', 64, 'the server process took little memory');
note("it took $peak MB");

#
# Nothing of it is wanted, and that takes longer than the server waits for a
# client to answer.  A client that is given up comes back, and again, without
# an end.
#

$node->safe_psql('postgres', q{ALTER SYSTEM SET wal_sender_timeout = '300ms'});
$node->reload;
($count, $peak) = receive('-o', 'event_types=NeverHappened');
is($count, 0, 'nothing was received');
cmp_ok($peak, '<', 64, 'the server process took little memory');

$node->stop;
done_testing();
