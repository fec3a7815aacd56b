# pg_createsubscriber makes a logical replica of a physical standby under load.
# Its sequences are copies, too: that the events come from elsewhere has to be
# known all the same.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventStore::Test;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

skip_before(17, 'pg_createsubscriber');

my $publisher = new_store('publisher', streaming => 'logical', conf => q{
max_worker_processes = 16
max_logical_replication_workers = 8
wal_retrieve_retry_interval = 100ms
});

my $publish = 'CREATE PUBLICATION shop FOR TABLE eventstore.events, eventstore.watermark, eventstore.digests';
$publisher->safe_psql('postgres', $publish);

# A second store, where nothing goes on.
$publisher->safe_psql('postgres', 'CREATE DATABASE quiet');
$publisher->safe_psql('quiet', q{
CREATE EXTENSION eventstore;
SELECT FROM eventstore.append_event('Account-01', 'Happened', '{}');
SELECT FROM eventstore.append_event('Account-02', 'Happened', '{}');
SELECT eventstore.advance_watermark()});
$publisher->safe_psql('quiet', $publish);

$publisher->backup('backup');
my $replica = PostgreSQL::Test::Cluster->new('replica');
$replica->init_from_backup($publisher, 'backup', has_streaming => 1);
$replica->start;

# This makes the copy of the sequence run ahead.
$publisher->safe_psql('quiet', q{SELECT eventstore.append_event('Account-03', 'Happened', '{}')});

sub is_refused
{
	my ($dbname, $sql, $description) = @_;
	my ($status, $stdout, $stderr) =
	  $replica->psql($dbname, "\\set VERBOSITY verbose\nSELECT * FROM eventstore.$sql");

	like($stderr, qr/ERROR:  55000: /, "$description: $sql");
	return;
}

my $appending = q{append_event('Account-01', 'Happened', '{}')};
my @following = (
	'read_all()', 'read_all_backwards()', 'settled_position()', q{read_category('Account')});

# A session in a transaction that has an id.
sub open_transaction
{
	my $session = session($publisher);

	return { session => $session, xid => $session->query("BEGIN;\nSELECT txid_current()") };
}

#
# Followers on the standby, load, and the change
#

my %before = map { $_ => start_follower($replica, $_, 20) } 'all', 'category', 'settled';
my ($expected, @appenders) = start_appenders($publisher, 6, 300);
my @steady = map { start_psql($publisher, "steady_$_", '-c', qq{
DO \$\$ BEGIN
	WHILE NOT EXISTS (SELECT FROM eventstore.read_stream('Order-stop')) LOOP
		PERFORM eventstore.append_event('Account-steady-$_', 'Happened', '{}');
		COMMIT;
		PERFORM pg_sleep(0.01);
	END LOOP;
END \$\$}) } 1 .. 2;

wait_for(sub { acknowledged(@appenders) >= 100 }, 'some appends');
$publisher->wait_for_catchup($replica);
$replica->stop;
$_->{may_fail} = 1 foreach values %before;
finish_psql($_) foreach values %before;

# Slots are created one after the other, and each waits twice for those who are
# running.  A transaction that begins during the last wait, and is prepared, gets
# into the replica with the files, and comes once more when it is committed.
my $runs = open_transaction();
my $output = '';
my $conversion = IPC::Run::start([
	'pg_createsubscriber', '--recovery-timeout' => $PostgreSQL::Test::Utils::timeout_default,
	'--pgdata' => $replica->data_dir,
	'--publisher-server' => $publisher->connstr('postgres'),
	'--socketdir' => $replica->host,
	'--subscriber-port' => $replica->port,
	map { ('--database' => $_, '--subscription' => "from_$_") } 'quiet', 'postgres' ],
	'<', '/dev/null', '>&', \$output);
foreach my $wait (1 .. 4)
{
	$publisher->poll_query_until('postgres', qq{
SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND transactionid::text = '$runs->{xid}')})
	  or die 'no slot is being created';
	my $next = $wait < 4 ? open_transaction() : undef;
	$publisher->safe_psql('postgres', q{
BEGIN;
SELECT eventstore.append_event('Account-prepared', 'Happened', '{}');
PREPARE TRANSACTION 'prepared'}) if !$next;
	$runs->{session}->query('COMMIT');
	$runs->{session}->quit;
	$runs = $next;
}
ok($conversion->finish, 'pg_createsubscriber makes a logical replica') or diag($output);
$replica->start;

my @prepared = split /\n/, $replica->safe_psql('postgres', 'SELECT gid FROM pg_prepared_xacts');
is(join(' ', grep { $_ eq 'prepared' } @prepared), 'prepared', 'a transaction is prepared there');
$publisher->safe_psql('postgres', q{COMMIT PREPARED 'prepared'});
$replica->poll_query_until('postgres', q{
SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_stat_subscription s USING (pid) WHERE NOT granted)})
  or die 'the apply worker does not wait';
$replica->safe_psql('postgres', "ROLLBACK PREPARED '$_'") foreach @prepared;

my %after = map { $_ => start_follower($replica, $_, 20, last_seen($before{$_})) } keys %before;
my $from_beginning = start_follower($replica, 'all', 100);
my $sampler = start_sampler($replica);
is_refused('postgres', $appending, 'on a replica');
is_refused('quiet', $appending, 'on a replica');

finish_appenders(@appenders);
append($publisher, 'Order-stop');
finish_psql($_) foreach @steady;
end_load($publisher);

check_follower($publisher, $from_beginning, 'a follower on the replica');
foreach my $how (sort keys %after)
{
	finish_follower($after{$how});
	check_seen([ seen($before{$how}), seen($after{$how}) ],
		[ stored($publisher, $how eq 'category' ? q{stream_type = 'Account'} : 'true') ],
		"a follower on the standby, and then on the replica, \"$how\",");
	note('it went over with ' . seen($before{$how}));
}
check_samples($publisher, $sampler);
check_events($publisher, $expected);
is_deeply([ stored($replica) ], [ stored($publisher) ], 'the replica has all events');
check_store($replica);
is($replica->safe_psql('postgres', q{SELECT eventstore.stream_version('Account-prepared')}),
	1, '... and the one that was prepared');

#
# It has all tables of the publisher.  What followers keep on either side must not
# meet: the publication with just the tables of the events takes its place.
#

my $tables = q{
SELECT string_agg(srrelid::regclass::text, ' ' ORDER BY srrelid::regclass::text)
FROM pg_subscription_rel};
like($replica->safe_psql('quiet', $tables), qr/eventstore\.checkpoints/, 'checkpoints are brought, too');
$replica->safe_psql('quiet', q{ALTER SUBSCRIPTION from_quiet SET PUBLICATION shop WITH (copy_data = off)});
is($replica->safe_psql('quiet', $tables),
	'eventstore.digests eventstore.events eventstore.watermark', '... until the publication is another');
$replica->safe_psql('quiet', q{SELECT eventstore.save_checkpoint('follower', 1)});
$publisher->safe_psql('quiet', q{
SELECT eventstore.save_checkpoint('follower', 2);
SELECT eventstore.append_event('Account-01', 'Happened', '{}');
SELECT eventstore.advance_watermark()});
$publisher->wait_for_catchup('from_quiet');
is($replica->safe_psql('quiet', q{
SELECT max(global_position), eventstore.get_checkpoint('follower') FROM eventstore.read_all()}),
	'4|1', 'events go on arriving, and the replica keeps its own checkpoint');

#
# Without its subscription the store belongs nowhere, until it is told to go on
# by itself.
#

foreach my $dbname ('postgres', 'quiet')
{
	my $last = $replica->safe_psql($dbname, 'SELECT max(global_position) FROM eventstore.events');

	$replica->safe_psql($dbname, "DROP SUBSCRIPTION from_$dbname");
	is_refused($dbname, $_, "without a subscription, in $dbname") foreach @following, $appending;
	cmp_ok($replica->safe_psql($dbname, 'SELECT eventstore.continue_positions()'),
		'>=', $last, "it is told to go on, in $dbname");
	cmp_ok($replica->safe_psql($dbname, "SELECT last_position FROM eventstore.$appending"),
		'>', $last, "... and appends, in $dbname");
	is($replica->safe_psql($dbname, 'SELECT count(*) FROM eventstore.read_all(0, NULL)'),
		$replica->safe_psql($dbname, 'SELECT count(*) FROM eventstore.events'),
		"... and is followed, in $dbname");
	is($replica->safe_psql($dbname, 'SELECT * FROM eventstore.verify()'),
		'', "verify() finds nothing in $dbname");
}

$replica->stop;
$publisher->stop;
done_testing();
