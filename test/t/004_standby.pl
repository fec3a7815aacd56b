# Followers on a streaming standby miss nothing, and get on.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventStore::Test;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = new_store('primary', streaming => 1, by_hand => 1);
my $wait_points = has_wait_points($primary);

$primary->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->append_conf('postgresql.conf', q{
max_standby_streaming_delay = -1
wal_receiver_status_interval = 1
});
$standby->start;

# What the standby says.
sub on_standby
{
	my ($sql) = @_;

	return $standby->safe_psql('postgres', $sql);
}

sub read_on_standby
{
	my ($after) = @_;

	return join ',', split /\n/, on_standby(
		"SELECT global_position FROM eventstore.read_all($after)");
}

sub catch_up
{
	$primary->wait_for_catchup($standby);
	return;
}

# Let the rows of rolled-back appends vanish, on the standby too.  What VACUUM
# logs would be written at some later time.
sub vacuum_away
{
	$primary->safe_psql('postgres', 'VACUUM (INDEX_CLEANUP on) eventstore.events');
	$primary->safe_psql('postgres', 'CHECKPOINT');
	return;
}

# Everything that goes by the global order ends at the same position.
sub is_settled_on_standby
{
	my ($position, $description) = @_;

	is( on_standby(q{
SELECT eventstore.settled_position(),
	   (SELECT max(global_position) FROM eventstore.read_all(0, NULL)),
	   (SELECT max(global_position) FROM eventstore.read_category('Account', 0, NULL)),
	   (SELECT max(global_position) FROM eventstore.read_all_backwards(NULL, 1))}),
		join('|', ($position) x 4),
		$description);
	return;
}

sub advance_watermark
{
	return $primary->safe_psql('postgres', 'SELECT eventstore.advance_watermark()');
}

#
# Quiet: no watermark is needed where nothing runs.
#

my $position = append($primary, 'Account-01', 'Account-02', 'Account-01');
$primary->safe_psql('postgres', q{
BEGIN;
SELECT eventstore.append_event('Account-03', 'Happened', '{}');
ROLLBACK});
$position = append($primary, 'Account-02');
vacuum_away();
catch_up();

is_settled_on_standby($position, 'all is settled when nothing runs');
is( on_standby(q{
SELECT string_agg(version::text, ',') FROM eventstore.read_stream('Account-01')}),
	'1,2', 'a stream can be read on a standby');
is(on_standby(q{SELECT eventstore.stream_version('Account-02')}),
	2, 'a stream has its version on a standby');

foreach my $sql (
	q{eventstore.append_event('Account-01', 'Happened', '{}')},
	q{eventstore.append_events('Account-01', '[{"event_type": "Happened", "data": 1}]')},
	q{eventstore.advance_watermark()})
{
	my ($status, $stdout, $stderr) = $standby->psql('postgres', "SELECT $sql");

	like($stderr, qr/ERROR:  cannot execute .* in a read-only transaction/,
		'refused on a standby: ' . substr($sql, 0, 40));
}

#
# Gaps, while something runs: they are passed up to the watermark.
#

$primary->safe_psql('postgres', 'CREATE TABLE unrelated (i int)');
is(advance_watermark(), $position, 'the watermark is at the end');
my $unrelated = session($primary);
$unrelated->query('BEGIN; INSERT INTO unrelated VALUES (1)');

my $before_gap = append($primary, 'Account-01');
$primary->safe_psql('postgres', q{
BEGIN;
SELECT eventstore.append_event('Account-03', 'Happened', '{}');
ROLLBACK});
$position = append($primary, 'Account-01');
vacuum_away();
catch_up();

is($position, $before_gap + 2, 'there is a gap');
is_settled_on_standby($before_gap, 'it is not passed while it could be filled');

# Who had begun to read backwards when nothing ran goes on above the gap.
my $newest = append($primary, 'Account-02');
catch_up();
is( on_standby("SELECT string_agg(global_position::text, ',') FROM eventstore.read_all_backwards($newest, 2)"),
	"$position,$before_gap",
	'a further page backwards leaves nothing out');
is(on_standby('SELECT max(global_position) FROM eventstore.read_all_backwards(' . ($newest + 1) . ')'),
	$before_gap, 'a first page backwards begins in front of the gap');
$position = $newest;
is(advance_watermark(), $position, 'the watermark passes it');
catch_up();
is_settled_on_standby($position, 'it is passed when the watermark has passed it');

#
# A transaction that has taken a position and has not written anything yet,
# and one that began before and takes a later position: the standby must know
# that the first one runs.
#

sub check_silent_appender
{
	my ($description, $setup) = @_;
	my $keeper = session($primary);
	my $silent = session($primary);
	my $other = session($primary);

	# The silent one's position must not be the one that logs the sequence.
	append($primary, 'Account-09')
	  while $primary->safe_psql('postgres',
		'SELECT log_cnt FROM eventstore.events_global_position_seq') < 2;
	advance_watermark();
	my $before = append($primary, 'Account-09');

	$keeper->query(q{SELECT pg_advisory_lock(hashtext('positions-taken'))});
	$silent->query(q{LOAD 'eventstore'; SET eventstore.wait_points = 'positions-taken'});
	$setup->($silent, $other);
	$silent->send(q{SELECT last_position FROM eventstore.append_event('Account-04', 'Silent', '{}')});
	wait_until_blocked($primary, $silent);
	my $later = $other->query(q{
SELECT last_position FROM eventstore.append_event('Account-05', 'Other', '{}'); COMMIT});
	is($later, $before + 2, "$description: the later position is committed");
	catch_up();
	is_settled_on_standby($before, "$description: the standby waits for the earlier one");

	$keeper->query(q{SELECT pg_advisory_unlock_all()});
	is($silent->answer, $before + 1, "$description: the earlier position");
	catch_up();
	is_settled_on_standby($before, "$description: and still waits when it is written");
	$silent->query('COMMIT');
	catch_up();
	is(read_on_standby($before), ($before + 1) . ',' . ($before + 2),
		"$description: nothing was skipped");

	$_->quit foreach $keeper, $silent, $other;
	return;
}

sub check_silent_appenders
{
	my ($level) = @_;

	is($primary->safe_psql('postgres', 'SHOW wal_level'), $level, "wal_level is $level");
	check_silent_appender('older', sub {
		my ($silent, $other) = @_;
		$other->query('BEGIN; SELECT txid_current()');
		$silent->query('BEGIN');
	});
	check_silent_appender('older, ids known before', sub {
		my ($silent, $other) = @_;
		$other->query('BEGIN; SELECT txid_current()');
		$silent->query('BEGIN; SELECT txid_current()');
	});
	check_silent_appender('younger', sub {
		my ($silent, $other) = @_;
		$silent->query('BEGIN; SELECT txid_current()');
		$other->query('BEGIN; SELECT txid_current()');
	});
	check_silent_appender('with an old snapshot', sub {
		my ($silent, $other) = @_;
		$silent->query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
		$other->query('BEGIN; SELECT txid_current()');
	});
	check_silent_appender('in a subtransaction', sub {
		my ($silent, $other) = @_;
		$silent->query('BEGIN');
		$other->query('BEGIN; SAVEPOINT s; SELECT txid_current()');
		$silent->query('SAVEPOINT s; SAVEPOINT t');
	});
	check_silent_appender('in a later subtransaction', sub {
		my ($silent, $other) = @_;
		$silent->query('BEGIN; SAVEPOINT s; SELECT txid_current(); ROLLBACK TO s');
		$other->query('BEGIN; SELECT txid_current(); SAVEPOINT s');
	});
	check_silent_appender('behind a rolled back one', sub {
		my ($silent, $other) = @_;
		my $third = session($primary);
		$third->query('BEGIN; SELECT txid_current()');
		$silent->query('BEGIN; SELECT txid_current()');
		$other->query('BEGIN; SELECT txid_current()');
		$third->query('ROLLBACK');
		$third->quit;
	});
	return;
}

SKIP:
{
	skip 'built without wait points', 1 if !$wait_points;
	$unrelated->query('ROLLBACK');
	check_silent_appenders('replica');

	$primary->append_conf('postgresql.conf', 'wal_level = logical');
	$primary->restart;
	$standby->poll_query_until('postgres', 'SELECT count(*) = 1 FROM pg_stat_wal_receiver');
	check_silent_appenders('logical');
}

#
# Load: aborted rows are vacuumed away, the standby's replay stops here and
# there, and a transaction runs all the time.
#

$unrelated->quit;
$unrelated = session($primary);
$unrelated->query('BEGIN; INSERT INTO unrelated VALUES (1)');

my %followers = (
	'a follower on the standby one event at a time' => start_follower($standby, 'all', 1),
	'a follower on the standby in small pages' => start_follower($standby, 'all', 13),
	'a follower on the standby in large pages' => start_follower($standby, 'all', 100000),
	'a follower on the standby of a category' => start_follower($standby, 'category', 25),
	'a follower on the standby by settled_position' => start_follower($standby, 'settled', 100));
my $on_primary = start_follower($primary, 'all', 50);
my $sampler = start_sampler($standby);
my $careless = start_follower($standby, 'careless', 1000);

my ($expected, @appenders) = start_appenders($primary, 8, 150);
my $gate_keeper = start_gate_keeper($primary);
my $control = session($standby);
while ($primary->safe_psql('postgres',
	q{SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'appender%'}) > 0)
{
	$control->query('SELECT pg_wal_replay_pause()');
	$primary->safe_psql('postgres', 'VACUUM (INDEX_CLEANUP on) eventstore.events');
	$control->query('SELECT pg_wal_replay_resume()');
	advance_watermark();
}
$control->quit;
finish_appenders(@appenders);
finish_psql($gate_keeper);
my $end = end_load($primary);
is(advance_watermark(), $end, 'the watermark is at the end');

# On the standby no VACUUM could have waited for a reader that stands still.
check_follower($primary, $followers{$_}, $_) foreach sort keys %followers;
check_follower($primary, $on_primary, 'a follower on the primary');
check_samples($primary, $sampler);
check_events($primary, $expected);
check_indexes($standby);

is($unrelated->query('SELECT count(*) FROM unrelated'),
	1, 'nobody waited for the unrelated transaction, which is still open');
cmp_ok($primary->safe_psql('postgres', q{
SELECT max(global_position) - count(*) FROM eventstore.events}),
	'>', 0, 'the positions have gaps');

finish_follower($careless);
my $found = compare_seen([ seen($careless) ], [ stored($primary) ]);
cmp_ok($found->{missed}, '>', 0, 'a follower by positions alone misses events');
note("it missed $found->{missed} of " . scalar(stored($primary)));

#
# Promotion: with an appender that is cut off.
#

my $cut_off = session($primary);
$cut_off->query(q{BEGIN; SELECT eventstore.append_event('Account-06', 'CutOff', '{}')});
$position = append($primary, 'Account-07');
catch_up();
my @stored = stored($primary);
is(read_on_standby($end), '', 'the standby waits for an appender');

$primary->stop('immediate');
$standby->promote;
is(read_on_standby($end), $position, 'a cut off appender is passed after the promotion');
is_deeply([ stored($standby) ], \@stored, 'the promoted standby has all events');
cmp_ok(append($standby, 'Account-06'), '>', $position, 'positions go on');
is(on_standby(q{
SELECT settled_position = eventstore.settled_position() FROM eventstore.watermark
WHERE settled_position <> eventstore.advance_watermark()}),
	'f', 'the watermark goes on');

check_indexes($standby);
$standby->stop;
done_testing();
