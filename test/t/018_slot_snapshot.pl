# The snapshot of a replication slot follows the order of the commits in the
# WAL, others the order in which transactions ended; where one has committed
# and still waits for a synchronous standby, these differ.  So what a session
# has learned under an ordinary snapshot does not hold under a slot's, although
# that has a later xmax.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventStore::Test;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_store('primary', streaming => 'logical', conf => q{
synchronous_commit = local
});
my $version = $node->safe_psql('postgres', 'SHOW server_version_num');
if ($version < 150020 || $version >= 160000)
{
	$node->stop;
	plan skip_all => 'before 15.20, and since 16, a slot is made in other steps';
}
$node->safe_psql('postgres', q{
	SELECT eventstore.create_subscription('late', ARRAY['Late']);
	SELECT eventstore.append_event('A-1', 'T', '1');
	ALTER SYSTEM SET synchronous_standby_names = 'nobody';
	SELECT pg_reload_conf()});

my %s = map { $_ => session($node) } qw(x y early hanging follower other);
my $slot = session($node, 'postgres', 'replication=database');

sub wait_for_blocker
{
	my ($blocker) = @_;
	my $pid = $s{$blocker}->pid;

	$node->poll_query_until('postgres', qq{
		SELECT EXISTS (SELECT FROM pg_locks w JOIN pg_locks h USING (transactionid)
			WHERE NOT w.granted AND h.granted AND h.pid = $pid)}) or die;
	return;
}

# The slot's consistent point lies behind the commit of "hanging" and in front
# of that of "early", which ends first.
$node->safe_psql('postgres', 'CREATE TABLE other (i int)');
$s{x}->query('BEGIN; SELECT pg_current_xact_id()');
$slot->send('CREATE_REPLICATION_SLOT s TEMPORARY LOGICAL pgoutput EXPORT_SNAPSHOT');
wait_for_blocker('x');
$s{y}->query('BEGIN; SELECT pg_current_xact_id()');
$s{x}->query('COMMIT');
wait_for_blocker('y');
$s{early}->query(q{BEGIN; SELECT eventstore.append_event('Late-1', 'T', '2')});
$s{hanging}->send('SET synchronous_commit = on; INSERT INTO other VALUES (1)');
my $pid = $s{hanging}->pid;
$node->poll_query_until('postgres',
	"SELECT wait_event = 'SyncRep' FROM pg_stat_activity WHERE pid = $pid") or die;
$s{y}->query('COMMIT');
wait_for_blocker('hanging');
$s{early}->query('COMMIT');
is($s{follower}->query('SELECT eventstore.settled_position()'), '2',
	'all is settled for an ordinary snapshot');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET synchronous_standby_names');
$node->safe_psql('postgres', 'SELECT pg_reload_conf()');
$s{hanging}->answer;
my (undef, undef, $snapshot) = split /\|/, $slot->answer;

my $import = "BEGIN ISOLATION LEVEL REPEATABLE READ; SET TRANSACTION SNAPSHOT '$snapshot';";
is($s{other}->query("$import SELECT eventstore.settled_position(); COMMIT"), '1',
	'the snapshot of the slot does not see the last event');
is($s{follower}->query("$import SELECT eventstore.settled_position(); COMMIT"), '1',
	'... nor does it for a session that has seen it');
$s{follower}->query("$import SELECT FROM eventstore.fetch_events('late', 'c'); COMMIT");
is($s{follower}->query(q{SELECT stream_id FROM eventstore.fetch_events('late', 'c')}), 'Late-1',
	'the event is handed out');

$_->quit for values %s, $slot;
$node->stop;
done_testing();
