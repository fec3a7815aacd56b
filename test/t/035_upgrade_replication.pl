# pg_upgrade of a publisher, which keeps its slots, and of its logical replica,
# which keeps its subscription: nobody misses anything.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventStore::Test;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

skip_before(17, 'pg_upgrade that keeps slots and subscriptions');

my $conf = q{
max_worker_processes = 16
max_logical_replication_workers = 8
wal_retrieve_retry_interval = 100ms
};
my $publisher = new_store('publisher', streaming => 'logical', conf => $conf);
my $replica = new_store('replica', streaming => 'logical', conf => $conf);

# A new server with what an old one has.
sub upgrade
{
	my ($old) = @_;
	my $new = PostgreSQL::Test::Cluster->new('new_' . $old->name);
	my $bindir = $new->config_data('--bindir');

	$new->init(allows_streaming => 'logical', extra => [ '--encoding=UTF8', '--locale=C' ]);
	$new->append_conf('postgresql.conf', "max_prepared_transactions = 20\nautovacuum = off\n$conf");
	chdir PostgreSQL::Test::Utils::tempdir or die "chdir: $!";
	$old->command_ok([
		'pg_upgrade', '--no-sync',
		'-b' => $bindir, '-d' => $old->data_dir, '-p' => $old->port,
		'-B' => $bindir, '-D' => $new->data_dir, '-P' => $new->port,
		'-s' => $new->host ],
		'pg_upgrade of the ' . $old->name);
	$new->start;
	return $new;
}

my $received = PostgreSQL::Test::Utils::tempdir . '/received';

# A client of the output plugin, until its server ends.
sub start_client
{
	my ($node) = @_;

	return IPC::Run::start([
		'pg_recvlogical', '-d', $node->connstr('postgres'), '--slot=client', '--start', '--no-loop',
		'--status-interval=1', '--fsync-interval=1', '-f', $received ],
		'<', '/dev/null', '>', '/dev/null', '2>', '/dev/null');
}

sub connection
{
	my ($node) = @_;

	return "'" . $node->connstr . " dbname=postgres'";
}

sub takes_no_events
{
	my ($description) = @_;

	like(($replica->psql('postgres', q{SELECT eventstore.append_event('Account-01', 'Happened', '{}')}))[2],
		qr/to a logical replica/, "the replica takes no events $description");
	return;
}

#
# A client, a replica with followers, and load
#

my $create_slot = q{SELECT pg_create_logical_replication_slot('client', 'eventstore')};
$publisher->safe_psql('postgres', qq{
CREATE PUBLICATION shop FOR TABLE eventstore.events, eventstore.watermark, eventstore.digests;
$create_slot});
append($publisher, 'Account-01', 'Account-02');
$replica->safe_psql('postgres',
	'CREATE SUBSCRIPTION shop CONNECTION ' . connection($publisher) . ' PUBLICATION shop');
$replica->poll_query_until('postgres', q{
SELECT bool_and(srsubstate = 'r') AND EXISTS (SELECT FROM eventstore.watermark)
FROM pg_subscription_rel})
  or die 'the tables are not ready';

my $client = start_client($publisher);
my %before = map { $_ => start_follower($replica, $_, 20) } 'all', 'category', 'settled';
my (%expected, $expected, @appenders);

sub start_round
{
	my ($round, $count) = @_;

	($expected, @appenders) =
	  start_appenders($publisher, 8, $count, seed => $round, round => $round);
	%expected = (%expected, %$expected);
	return;
}

start_round(1, 60);
finish_appenders(@appenders);

#
# The publisher.  Who is connected when it stops gets everything before.
#

my $last = append($publisher, 'Account-01');
$publisher->stop;
$client->finish;
$replica->safe_psql('postgres', 'ALTER SUBSCRIPTION shop DISABLE');
$publisher = upgrade($publisher);
is($publisher->safe_psql('postgres', q{
SELECT slot_name, plugin, wal_status FROM pg_replication_slots ORDER BY 1}),
	"client|eventstore|reserved\nshop|pgoutput|reserved", 'the publisher keeps its slots');
cmp_ok(append($publisher, 'Account-01'), '>', $last, 'positions go on');
$client = start_client($publisher);
$replica->safe_psql('postgres', 'ALTER SUBSCRIPTION shop CONNECTION ' . connection($publisher));
takes_no_events('while its subscription is disabled');
$replica->safe_psql('postgres', 'ALTER SUBSCRIPTION shop ENABLE');

#
# The replica, while events go on coming
#

start_round(2, 150);
wait_for(sub { acknowledged(@appenders) >= 100 }, 'some appends');
$publisher->wait_for_catchup('shop');
my $subscribed = q{
SELECT srrelid::regclass, srsubstate FROM pg_subscription_rel ORDER BY srrelid::regclass::text};
my $tables = $replica->safe_psql('postgres', $subscribed);
$replica->stop;
$_->{may_fail} = 1 foreach values %before;
finish_psql($_) foreach values %before;
my $nbefore = acknowledged(@appenders);
$replica = upgrade($replica);
note('it was away for ' . (acknowledged(@appenders) - $nbefore) . ' transactions');

takes_no_events('after its upgrade');
is($replica->safe_psql('postgres', $subscribed), $tables, 'the replica knows what its subscription brings');
my %after = map { $_ => start_follower($replica, $_, 20, last_seen($before{$_})) } keys %before;
my $from_beginning = start_follower($replica, 'all', 100);
my $sampler = start_sampler($replica);
finish_appenders(@appenders);
end_load($publisher);

#
# Nothing is missed, by nobody
#

check_follower($publisher, $from_beginning, 'a follower on the replica');
foreach my $how (sort keys %after)
{
	finish_follower($after{$how});
	check_seen([ seen($before{$how}), seen($after{$how}) ],
		[ stored($publisher, $how eq 'category' ? q{stream_type = 'Account'} : 'true') ],
		"a follower on the replica before and after its upgrade, \"$how\",");
	note('it went over with ' . seen($before{$how}));
}
check_samples($publisher, $sampler);
check_events($publisher, \%expected);
is_deeply([ stored($replica) ], [ stored($publisher) ], 'the replica has all events');
check_store($replica);
takes_no_events('in the end');

$publisher->stop;
$client->finish;
$publisher->start;
my @decoded = slurp_file($received) =~ /"global_position":\s*(\d+)/g;
is_deeply([ sort { $a <=> $b } @decoded ], [ map { /^(\d+)/ } stored($publisher) ],
	'the client of the output plugin has got each event once');

$replica->stop;
$publisher->stop;
done_testing();
