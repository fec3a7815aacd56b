# A transaction can append to any number of streams with default settings, and
# a session's memory does not grow with its appends.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventStore::Test;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nstreams = 100_000;
my $node = new_store('main', conf => q{
max_locks_per_transaction = 64
max_connections = 100
deadlock_timeout = 100ms
});
my $session = session($node);

sub nlocks
{
	my ($condition) = @_;

	return $node->safe_psql('postgres', 'SELECT count(*) FROM pg_locks WHERE pid = '
		  . $session->pid . ($condition ? " AND $condition" : ''));
}

# What the session has allocated, in MB.
sub memory
{
	return $session->query(
		'SELECT sum(total_bytes) / 1024 / 1024 FROM pg_backend_memory_contexts');
}

# ... and what the operating system has given to it, where that is known.
sub resident
{
	my $status = '/proc/' . $session->pid . '/status';

	return 0 if !-r $status;
	return slurp_file($status) =~ /^RssAnon:\s+(\d+) kB/m ? $1 / 1024 : 0;
}

#
# One statement
#

is($session->query(qq{
BEGIN;
SELECT count(*), min((a).first_version), max((a).first_version),
	   max((a).first_position) - min((a).first_position)
FROM (SELECT eventstore.append_event('Account-' || i, 'Happened', '{}') AS a
	  FROM generate_series(1, $nstreams) i) appends}),
	"$nstreams|1|1|" . ($nstreams - 1),
	'one statement appends to many streams');

my $limit = $node->safe_psql('postgres', q{
SELECT current_setting('max_locks_per_transaction')::int
	   * (current_setting('max_connections')::int
		  + current_setting('max_prepared_transactions')::int)});
cmp_ok(nlocks(), '<', $limit / 2, 'it leaves room in the lock table');
is(nlocks(q{relation = 'eventstore.events'::regclass AND mode = 'ShareRowExclusiveLock'}),
	1, 'it holds a lock on the table instead');

# Others can take locks, and append when it is done.
is($node->safe_psql('postgres', q{
SELECT count(pg_advisory_xact_lock(i)) FROM generate_series(1, 1000) i}),
	1000, 'others can take locks');
is($node->safe_psql('postgres', 'SELECT count(*) FROM eventstore.read_all()'),
	0, 'others can read');

my $appender = session($node);
$appender->send(q{
SELECT first_version FROM eventstore.append_event('Account-99999', 'Happened', '{}')});
my $newcomer = session($node);
$newcomer->send(q{
SELECT first_version FROM eventstore.append_event('Account-new', 'Happened', '{}')});
wait_until_blocked($node, $_) foreach $appender, $newcomer;
is($session->query('COMMIT'), '', 'the transaction commits');
is($appender->answer, 2, 'an appender to one of its streams goes on');
is($newcomer->answer, 1, 'an appender to another stream goes on');

#
# One statement for each stream, and savepoints
#

is($session->query(q{
BEGIN;
SAVEPOINT a;
DO $$
BEGIN
	FOR i IN 1 .. 5000 LOOP
		PERFORM eventstore.append_event('Order-' || i, 'Happened', '{}');
	END LOOP;
END $$;
SAVEPOINT b;
SELECT first_version FROM eventstore.append_event('Order-5000', 'Happened', '{}');
ROLLBACK TO a;
SELECT first_version FROM eventstore.append_event('Order-5000', 'Happened', '{}');
SELECT eventstore.stream_version('Order-4999');
COMMIT}), "2\n1\n0", 'savepoints work with many streams');

# A rollback gives the lock on the table back, so it must be taken again.
$session->query(q{
BEGIN;
SAVEPOINT a;
SELECT count(eventstore.append_event('Order-' || i, 'Happened', '{}'))
FROM generate_series(10000, 15000) i;
ROLLBACK TO a});
is(nlocks(q{relation = 'eventstore.events'::regclass AND mode = 'ShareRowExclusiveLock'}),
	0, 'a rolled-back savepoint lets go of the table');
$session->query(q{SELECT eventstore.append_event('Order-20000', 'Happened', '{}')});
$appender->send(q{
SELECT first_version FROM eventstore.append_event('Order-20000', 'Happened', '{}')});
wait_until_blocked($node, $appender);
$session->query('COMMIT');
is($appender->answer, 2, 'and the next stream is locked all the same');

#
# Two of them at once: both end, one after the other.
#

my $both = q{
SELECT count(eventstore.append_event('%s-' || i, 'Happened', '{}'))
FROM generate_series(1, 20000) i};
$session->send(sprintf $both, 'Left');
$appender->send(sprintf $both, 'Right');
my @answers = ($session->answer, $appender->answer);
my $nwell = grep { $_ eq '20000' } @answers;
my $ndeadlocks = grep { /40P01/ } @answers;
is($nwell + $ndeadlocks, 2, 'two that lock the table at once end well or in a deadlock error');
cmp_ok($nwell, '>=', 1, 'at least one of them ends well');
note("deadlocks: $ndeadlocks");

#
# Memory
#

my $append_many = q{
SELECT count(eventstore.append_event('Memory-' || i % 1000, 'Happened', '{"a": 1}'))
FROM generate_series(1, 100000) i};

$session->query($append_many);
my ($memory, $resident) = (memory(), resident());
$session->query($append_many) foreach 1 .. 2;
cmp_ok(memory() - $memory, '<', 1, 'memory does not grow with appends');
cmp_ok(resident() - $resident, '<', 8, 'nor does what the operating system has given');

# ... and not within one statement either.
$session->send($append_many =~ s/100000/200000/r);
my $most = 0;
wait_for(
	sub {
		my $now = resident();
		my $active = $node->safe_psql('postgres',
			q{SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND pid = } . $session->pid);

		$most = $now if $now > $most;
		return !$active;
	},
	'the end of a long statement');
is($session->answer, 200000, 'a long statement ends');
cmp_ok($most - $resident, '<', 16, 'memory does not grow within a statement');

my $read_many = 'SELECT count(*) FROM eventstore.read_all(0, 50000)';
$session->query($read_many);
($memory, $resident) = (memory(), resident());
$session->query($read_many) foreach 1 .. 10;
cmp_ok(memory() - $memory, '<', 1, 'memory does not grow with reads');

$_->quit foreach $session, $appender, $newcomer;
check_indexes($node);
$node->stop;
done_testing();
