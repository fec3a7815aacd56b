# The publisher of a logical replica is lost under load, its standby is promoted,
# and the subscription goes on there, with its slot: the replica's followers miss
# nothing.  See 012_decoding_standby.pl for slots of the output plugin.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventStore::Test;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

skip_before(17, 'failover slots');

my $primary = new_store('primary', streaming => 'logical');
my $replica = new_store('replica', conf => q{
wal_retrieve_retry_interval = 100ms
max_logical_replication_workers = 8
max_worker_processes = 16
});

$primary->safe_psql('postgres', q{SELECT pg_create_physical_replication_slot('standby')});
$primary->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
my $conninfo = ($primary->connstr('postgres') . ' application_name=standby') =~ s/'/''/gr;
$standby->append_conf('postgresql.conf', qq{
hot_standby_feedback = on
wal_receiver_status_interval = 1
primary_slot_name = standby
primary_conninfo = '$conninfo'
sync_replication_slots = on
});
$standby->start;

# Nothing is acknowledged, or sent to the replica, that the standby does not have.
$primary->append_conf('postgresql.conf', q{
synchronous_standby_names = standby
synchronized_standby_slots = standby
});
$primary->reload;

#
# The replica, and the copy of its slot
#

sub connection
{
	my ($node) = @_;

	return "'" . $node->connstr . " dbname=postgres'";
}

$primary->safe_psql('postgres', q{
CREATE PUBLICATION shop FOR TABLE eventstore.events, eventstore.watermark, eventstore.digests});
append($primary, 'Account-01', 'Account-02');
$replica->safe_psql('postgres',
	'CREATE SUBSCRIPTION shop CONNECTION ' . connection($primary) . ' PUBLICATION shop WITH (failover = on)');
$replica->poll_query_until('postgres', q{
SELECT bool_and(srsubstate = 'r') AND EXISTS (SELECT FROM eventstore.watermark)
FROM pg_subscription_rel})
  or die 'the tables are not ready';
wait_for(
	sub {
		$primary->safe_psql('postgres', 'SELECT pg_log_standby_snapshot()');
		return $standby->safe_psql('postgres', q{
SELECT count(*) FROM pg_replication_slots
WHERE slot_name = 'shop' AND failover AND synced AND NOT temporary});
	},
	'the slot to be on the standby');

#
# Load, and a disaster in the middle
#

my %followers = (
	'a follower on the replica one event at a time' => start_follower($replica, 'all', 1),
	'a follower on the replica in small pages' => start_follower($replica, 'all', 13),
	'a follower on the replica of a category' => start_follower($replica, 'category', 25),
	'a follower on the replica by settled_position' => start_follower($replica, 'settled', 100));
my $sampler = start_sampler($replica);
my ($expected, @appenders) = start_appenders($primary, 8, 2000);

wait_for(sub { acknowledged(@appenders) >= 800 }, 'some appends');
my $cut_off = session($primary);
$cut_off->query(q{BEGIN; SELECT eventstore.append_event('Account-cut', 'CutOff', '{}')});
my $before = append($primary, 'Account-next');
$primary->stop('immediate');
foreach my $appender (@appenders)
{
	$appender->{may_fail} = 1;
	finish_psql($appender);
}
$cut_off->quit;

my $arrived = $replica->safe_psql('postgres', 'SELECT count(*) FROM eventstore.events');
$standby->promote;
$standby->safe_psql('postgres', "ROLLBACK PREPARED '$_'")
  foreach split /\n/, $standby->safe_psql('postgres', 'SELECT gid FROM pg_prepared_xacts');
cmp_ok($standby->safe_psql('postgres', 'SELECT count(*) FROM eventstore.events'),
	'>=', $arrived, 'the replica is not ahead of the standby');

$replica->safe_psql('postgres', 'ALTER SUBSCRIPTION shop CONNECTION ' . connection($standby));
my ($more, @more_appenders) = start_appenders($standby, 8, 60, seed => 2, round => 2);
like(($replica->psql('postgres', q{SELECT eventstore.append_event('Account-01', 'Happened', '{}')}))[2],
	qr/to a logical replica/, 'the replica takes no events');
finish_appenders(@more_appenders);
my $end = end_load($standby);
cmp_ok($end, '>', $before, 'positions go on');

#
# Nothing is missed, by nobody
#

check_follower($standby, $followers{$_}, $_) foreach sort keys %followers;
check_samples($standby, $sampler);
is_deeply([ stored($replica) ], [ stored($standby) ], 'the replica has all events');
is($standby->safe_psql('postgres', q{SELECT slot_name, active, synced FROM pg_replication_slots}),
	'shop|t|t', '... by the slot that came from the lost publisher');

# A transaction whose acknowledgement was under way can be there or not.
my %stored = map { $_ => 1 } split /\n/, $standby->safe_psql('postgres', q{
SELECT DISTINCT data->>'tag' FROM eventstore.events WHERE data->>'tag' IS NOT NULL});
my @acknowledged = acknowledged(@appenders);
is(join(' ', grep { !$stored{$_} } @acknowledged),
	'', 'all ' . @acknowledged . ' acknowledged transactions are there');
check_events($standby, { %$more, map { $_ => $expected->{$_} } grep { $stored{$_} } keys %$expected });
check_store($replica);

$replica->stop;
$standby->stop;
done_testing();
