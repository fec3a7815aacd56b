# Followers on a logical replica miss nothing where large transactions are
# streamed while they run, and applied in parallel: among them some that advance
# the watermark in their middle, that roll back, or that are prepared.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventStore::Test;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

skip_before(16, 'parallel apply');

my $publisher = new_store('publisher', streaming => 'logical', by_hand => 1, conf => q{
logical_decoding_work_mem = 64kB
});
my $replica = new_store('replica', by_hand => 1, conf => q{
wal_retrieve_retry_interval = 100ms
max_logical_replication_workers = 12
max_parallel_apply_workers_per_subscription = 6
max_worker_processes = 20
});
my $source = $publisher->connstr . ' dbname=postgres';

$publisher->safe_psql('postgres', q{
CREATE PUBLICATION shop FOR TABLE eventstore.events, eventstore.watermark, eventstore.digests;
SELECT eventstore.advance_watermark();

-- A batch of n events, and some text to make it large.
CREATE FUNCTION append_large(stream text, tag text, first_n int, last_n int)
RETURNS bigint LANGUAGE sql AS $$
	SELECT last_version FROM eventstore.append_events(stream, (
		SELECT json_agg(json_build_object('event_type', 'Happened', 'data',
			json_build_object('tag', tag, 'n', n, 'text', repeat(md5(n::text), 20))))
		FROM generate_series(first_n, last_n) n))
$$});

# One large transaction as a psql script, and how many events it commits.  It may
# wait for a stream of others only as long as it has not written the watermark.
sub make_large_transaction
{
	my ($tag, $number) = @_;
	my $stream = "Account-large-$number";
	my $advance = rand() < 0.5 ? "SELECT eventstore.advance_watermark();\n" : '';
	my $pause = sprintf "SELECT pg_sleep(%.3f);\n", rand 0.05;
	my ($undo, $end) = (rand, rand);
	my $sql = sprintf "BEGIN;\nSELECT append_large('Account-%02d', '$tag', 1, 10);\n", 1 + int rand 20;

	$sql .= "SELECT append_large('$stream', '$tag', 11, 160);\n$advance"
	  . "SAVEPOINT s;\nSELECT append_large('$stream', '$tag', 161, 260);\n$pause"
	  . ($undo < 0.5 ? $advance : '')
	  . ($undo < 0.6 ? "ROLLBACK TO s;\n" : "RELEASE s;\n")
	  . "SELECT append_large('$stream', '$tag', 261, 300);\n$pause";

	my $nevents = $undo < 0.6 ? 200 : 300;
	return ("${sql}ROLLBACK;\n", 0) if $end < 0.25;
	return ("${sql}COMMIT;\n", $nevents) if $end < 0.8;
	my $commits = $end < 0.92;
	return ("${sql}PREPARE TRANSACTION '$tag';\n$pause" . ($commits ? 'COMMIT' : 'ROLLBACK')
		  . " PREPARED '$tag';\n", $commits ? $nevents : 0);
}

#
# The replica
#

$replica->safe_psql('postgres', qq{
CREATE SUBSCRIPTION shop CONNECTION '$source' PUBLICATION shop
WITH (streaming = parallel, two_phase = on, binary = on)});
$replica->poll_query_until('postgres', q{
SELECT bool_and(srsubstate = 'r') FROM pg_subscription_rel})
  or die 'the tables are not ready';
$replica->poll_query_until('postgres', q{SELECT subtwophasestate = 'e' FROM pg_subscription})
  or die 'two_phase is not enabled';

#
# Load
#

my %followers = (
	'a follower on the replica one event at a time' => start_follower($replica, 'all', 1),
	'a follower on the replica in small pages' => start_follower($replica, 'all', 13),
	'a follower on the replica in large pages' => start_follower($replica, 'all', 100000),
	'a follower on the replica of a category' => start_follower($replica, 'category', 25),
	'a follower on the replica by settled_position' => start_follower($replica, 'settled', 100));
my $sampler = start_sampler($replica);
my $careless = start_follower($replica, 'careless', 1000);

my ($expected, @appenders) = start_appenders($publisher, 8, 80);
my $scripts = PostgreSQL::Test::Utils::tempdir;
foreach my $number (1 .. 4)
{
	my $file = "$scripts/large_$number.sql";

	append_to_file($file, "\\o /dev/null\n");
	foreach my $turn (1 .. 12)
	{
		my $tag = "large-$number-$turn";
		my ($sql, $nevents) = make_large_transaction($tag, $number);

		append_to_file($file, $sql);
		$expected->{$tag} = $nevents if $nevents;
	}
	push @appenders, start_psql($publisher, "appender_large_$number", '-f', $file);
}
my $gate_keeper = start_gate_keeper($publisher);
my $watermark = start_psql($publisher, 'watermark', '-c', q{
DO $$ BEGIN
	WHILE NOT EXISTS (SELECT FROM eventstore.read_stream('Account-end')) LOOP
		PERFORM eventstore.advance_watermark();
		COMMIT;
		PERFORM pg_sleep(0.05);
	END LOOP;
END $$});

my $nworkers = 0;
while ($publisher->safe_psql('postgres',
	q{SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'appender%'}) > 0)
{
	my $now = $replica->safe_psql('postgres',
		q{SELECT count(*) FROM pg_stat_subscription WHERE leader_pid IS NOT NULL});

	$nworkers = $now if $nworkers < $now;
}
finish_appenders(@appenders);
finish_psql($gate_keeper);
my $end = end_load($publisher);
finish_psql($watermark);
is($publisher->safe_psql('postgres', 'SELECT eventstore.advance_watermark()'),
	$end, 'the watermark is at the end');
$publisher->wait_for_catchup('shop');

cmp_ok($nworkers, '>', 1, "transactions were applied in parallel ($nworkers workers)");
is($publisher->safe_psql('postgres', q{
SELECT stream_txns > 10, stream_count > stream_txns FROM pg_stat_replication_slots}),
	't|t', 'transactions were streamed in parts');

check_follower($publisher, $followers{$_}, $_) foreach sort keys %followers;
check_samples($publisher, $sampler);
check_events($publisher, $expected);
is_deeply([ stored($replica) ], [ stored($publisher) ], 'the replica has all events');
my $proofs = q{
SELECT settled_position, events FROM eventstore.watermark;
SELECT * FROM eventstore.digests ORDER BY up_to_position};
is($replica->safe_psql('postgres', $proofs), $publisher->safe_psql('postgres', $proofs),
	'it has the watermark and the digests');
check_store($replica);
check_files($replica);

finish_follower($careless);
my $found = compare_seen([ seen($careless) ], [ stored($publisher) ]);
cmp_ok($found->{missed}, '>', 0, 'a follower by positions alone misses events');
note("it missed $found->{missed} of " . scalar(stored($publisher)));

unlike(slurp_file($replica->logfile), qr/ ERROR: .*(?:deadlock|duplicate key)/,
	'transactions that were applied in parallel did not get in each other\'s way');

$replica->stop;
$publisher->stop;
done_testing();
