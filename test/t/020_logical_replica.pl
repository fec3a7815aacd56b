# Followers on a logical replica miss nothing, although events arrive there in
# the order of their commits; and the replica can take over.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventStore::Test;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $publisher = new_store('publisher', streaming => 'logical', by_hand => 1);
my $replica = new_store('replica', by_hand => 1, conf => q{
wal_retrieve_retry_interval = 100ms
max_logical_replication_workers = 8
max_worker_processes = 16
});
my $source = $publisher->connstr . ' dbname=postgres';

# Two replicas: one for what goes wrong, one for the load.
$replica->safe_psql('postgres', 'CREATE DATABASE small');
$replica->safe_psql('small', 'CREATE EXTENSION eventstore; CREATE TABLE other (i int)');

sub on_publisher
{
	my ($sql) = @_;

	return $publisher->safe_psql('postgres', $sql);
}

sub advance_watermark
{
	return on_publisher('SELECT eventstore.advance_watermark()');
}

# Wait until the initial copies are made and handed over to the apply worker.
sub wait_until_ready
{
	my ($dbname) = @_;

	$replica->poll_query_until($dbname,
		q{SELECT bool_and(srsubstate = 'r') FROM pg_subscription_rel})
	  or die 'the tables are not ready';
	return;
}

sub catch_up
{
	my ($subscription, $dbname) = @_;

	wait_until_ready($dbname);
	$publisher->wait_for_catchup($subscription);
	return;
}

sub is_refused
{
	my ($dbname, $sql, $message, $description) = @_;
	my ($status, $stdout, $stderr) =
	  $replica->psql($dbname, "\\set VERBOSITY verbose\nSELECT * FROM eventstore.$sql");

	like($stderr, qr/ERROR:  55000: (?=.*$message).*DETAIL:  .*HINT:  /s, "$description: $sql");
	return;
}

my @following = (
	'read_all()', 'read_all_backwards()', 'settled_position()', q{read_category('Account')});
my $appending = q{append_event('Account-01', 'Happened', '{}')};

# Everything that goes by the global order ends at the same position.
sub is_settled
{
	my ($session, $position, $description) = @_;

	is( $session->query(q{
SELECT eventstore.settled_position(),
	   (SELECT max(global_position) FROM eventstore.read_all(0, NULL)),
	   (SELECT max(global_position) FROM eventstore.read_category('Account', 0, NULL)),
	   (SELECT max(global_position) FROM eventstore.read_all_backwards(NULL, 1))}),
		join('|', $position, ($position || '') x 3),
		$description);
	return;
}

sub is_sound
{
	my ($dbname, $description) = @_;

	is($replica->safe_psql($dbname, 'SELECT * FROM eventstore.verify()'),
		'', "verify() finds nothing $description");
	return;
}

#
# What a replica needs in order to be followed
#

on_publisher(q{
CREATE TABLE other (i int);
CREATE PUBLICATION small FOR TABLE eventstore.events, other;
CREATE PUBLICATION whole FOR TABLE eventstore.events, eventstore.watermark;
CREATE PUBLICATION lone FOR TABLE eventstore.watermark});
my $last = append($publisher, 'Account-01', 'Account-02', 'Account-01');

my $small = session($replica, 'small');
is_settled($small, 0, 'an empty store');
$replica->safe_psql('small', "CREATE SUBSCRIPTION small CONNECTION '$source' PUBLICATION small");
catch_up('small', 'small');

is($small->query(q{
SELECT string_agg(version::text, ',') FROM eventstore.read_stream('Account-01')}),
	'1,2', 'a stream can be read on a replica');
is($small->query(q{
SELECT eventstore.stream_version('Account-02'),
	   (SELECT count(*) FROM eventstore.events e, eventstore.read_event(e.event_id))}),
	'1|3', '... and a version, and events by their ids');
is($small->query(q{
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM eventstore.read_visible();
COMMIT}),
	'3', '... and all that is visible');
is_refused('small', $_, 'does not bring \"eventstore.watermark\"', 'without the watermark')
  foreach @following;
is_refused('small', $appending, 'to a logical replica', 'on a replica');
is_refused('small', 'continue_positions()', 'a subscription brings events', 'on a replica');
is_sound('small', 'on a replica');

on_publisher('ALTER PUBLICATION small ADD TABLE eventstore.watermark');
$replica->safe_psql('small', 'ALTER SUBSCRIPTION small REFRESH PUBLICATION');
catch_up('small', 'small');
is_refused('small', $_, 'No watermark has arrived', 'before the first watermark') foreach @following;

advance_watermark();
catch_up('small', 'small');
is_settled($small, $last, 'up to the watermark');

# Of two transactions the later one commits first.
my $early = session($publisher);
$early->query(q{BEGIN; SELECT eventstore.append_event('Account-03', 'Happened', '{}')});
my $late = append($publisher, 'Account-04');
advance_watermark();
catch_up('small', 'small');
is($small->query('SELECT max(global_position) FROM eventstore.events'),
	$late, 'a later event has arrived');
is_settled($small, $last, '... and is not settled');
$early->query('COMMIT');
$early->quit;
advance_watermark();
catch_up('small', 'small');
is_settled($small, $late, '... until the earlier one has arrived');
is($small->query('SELECT count(*) FROM eventstore.read_all()'), 5, '... which is not missed');

is($small->query('SELECT eventstore.advance_watermark()'),
	$late, 'advance_watermark() tells the publisher\'s on a replica');
$replica->safe_psql('small', 'ALTER SUBSCRIPTION small DISABLE');
is_settled($small, $late, 'a disabled subscription');
is_refused('small', $appending, 'to a logical replica', 'a disabled subscription');
$replica->safe_psql('small', 'ALTER SUBSCRIPTION small ENABLE');

$replica->safe_psql('small', "CREATE SUBSCRIPTION lone CONNECTION '$source' PUBLICATION lone WITH (copy_data = off)");
is_refused('small', $_, 'by several subscriptions', 'two watermarks') foreach @following;
$replica->safe_psql('small', 'DROP SUBSCRIPTION lone');
is_settled($small, $late, 'one subscription again');

#
# The guard lets an apply worker change what was changed on the publisher, but
# not what triggers do in it.
#

on_publisher(q{
BEGIN;
ALTER TABLE eventstore.events DISABLE TRIGGER guard_update, DISABLE TRIGGER guard_update_row;
UPDATE eventstore.events SET data = '"changed"' WHERE stream_id = 'Account-02';
ALTER TABLE eventstore.events ENABLE ALWAYS TRIGGER guard_update, ENABLE ALWAYS TRIGGER guard_update_row;
COMMIT});
catch_up('small', 'small');
is($small->query(q{SELECT data FROM eventstore.read_stream('Account-02')}),
	'"changed"', 'a change on the publisher is repeated');
is_settled($small, $late, 'a changed event');

# What runs in an apply worker: a trigger, and a constraint, each of which does
# as it likes.
sub is_harmless
{
	my ($command, $setup, $removal) = @_;
	my $count = $small->query('SELECT count(*) FROM other');
	my $log_size = -s $replica->logfile;

	$replica->safe_psql('small', qq{
CREATE OR REPLACE FUNCTION public.harm() RETURNS boolean LANGUAGE plpgsql AS \$\$
BEGIN
	$command eventstore.events;
	RETURN true;
END \$\$;
$setup});
	on_publisher('INSERT INTO other VALUES (1)');
	wait_for(
		sub {
			return slurp_file($replica->logfile, $log_size) =~
			  /ERROR:  events are immutable\n.*$1 on "eventstore.events" is refused/
			  if $command =~ /^(\w+)/;
		},
		'the apply worker is refused');
	is($small->query('SELECT count(*) FROM eventstore.events'),
		5, "refused in an apply worker: $setup, which does $command");
	$replica->safe_psql('small', $removal);
	catch_up('small', 'small');
	is($small->query('SELECT count(*) FROM other'), $count + 1, 'replication goes on');
	return;
}

$replica->safe_psql('small', q{
CREATE FUNCTION harm_all() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM public.harm();
	RETURN NULL;
END $$;
CREATE TRIGGER harm AFTER INSERT ON other FOR EACH ROW EXECUTE FUNCTION harm_all()});

is_harmless($_, 'ALTER TABLE other ENABLE ALWAYS TRIGGER harm', 'ALTER TABLE other DISABLE TRIGGER harm')
  foreach 'TRUNCATE', 'DELETE FROM';
is_harmless('DELETE FROM', 'ALTER TABLE other ADD CONSTRAINT harm CHECK (public.harm()) NOT VALID',
	'ALTER TABLE other DROP CONSTRAINT harm');

#
# Without its subscription the store belongs nowhere, until it is told to go on
# by itself.
#

$replica->safe_psql('small', 'DROP SUBSCRIPTION small');
is_refused('small', $_, 'a logical replica without a subscription', 'without a subscription') foreach @following, $appending;
is($replica->safe_psql('small', 'SELECT invariant FROM eventstore.verify()'),
	join("\n", 'events are immutable', 'the next position is above all that are taken',
		'the watermark is one row and not above the last position'),
	'verify() finds what was changed above, and that positions were not continued');

$replica->safe_psql('small', "CREATE SUBSCRIPTION small CONNECTION '$source' PUBLICATION small WITH (copy_data = off)");
is_settled($small, $late, 'the subscription is there again');
$replica->safe_psql('small', 'DROP SUBSCRIPTION small');

my $writer = session($replica, 'small');
$writer->query(q{
BEGIN;
INSERT INTO eventstore.events SELECT (jsonb_populate_record(e, jsonb_build_object(
	'global_position', 1000, 'event_id', eventstore.uuid_v7(), 'stream_id', 'Account-09'))).*
FROM eventstore.read_stream('Account-04') e});
my $owner = session($replica, 'small');
$owner->send('SELECT eventstore.continue_positions()');
$replica->poll_query_until('small',
	'SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND pid = ' . $owner->pid . ')');
$writer->query('COMMIT');
$writer->quit;
is($owner->answer, 1000, 'continue_positions() waits for whoever writes events');
is($owner->query('SELECT eventstore.continue_positions(10), eventstore.continue_positions(2000),
						 eventstore.continue_positions()'),
	'1000|2000|2000', 'it can go further, and never goes back');
$owner->quit;
is($small->query("SELECT last_version, last_position FROM eventstore.$appending"),
	'3|2001', 'appends go on');
is_settled($small, 2001, 'all is settled');
is($replica->safe_psql('small', q{SELECT invariant FROM eventstore.verify()}),
	'events are immutable', 'verify() finds what was changed above only');
$small->quit;

#
# Load.  While the events are copied, the watermark is there already.
#

on_publisher(q{
SELECT count(eventstore.append_events('Account-' || i, '[{"event_type": "Happened", "data": 1}]'))
FROM generate_series(100, 2000) i});
advance_watermark();

my $lock = session($replica);
$lock->query('BEGIN; LOCK TABLE eventstore.events IN SHARE MODE');
$replica->safe_psql('postgres', "CREATE SUBSCRIPTION big CONNECTION '$source' PUBLICATION whole");
$replica->poll_query_until('postgres', q{
SELECT srsubstate IN ('s', 'r') AND EXISTS (SELECT FROM eventstore.watermark WHERE published_position > 0)
FROM pg_subscription_rel WHERE srrelid = 'eventstore.watermark'::regclass})
  or die 'there is no watermark';
my %followers = (
	'a follower on the replica one event at a time' => start_follower($replica, 'all', 1),
	'a follower on the replica in small pages' => start_follower($replica, 'all', 13),
	'a follower on the replica in large pages' => start_follower($replica, 'all', 100000),
	'a follower on the replica of a category' => start_follower($replica, 'category', 25),
	'a follower on the replica by settled_position' => start_follower($replica, 'settled', 100));
my $sampler = start_sampler($replica);

my ($expected, @appenders) = start_appenders($publisher, 8, 150);
my $gate_keeper = start_gate_keeper($publisher);
my $watermark = start_psql($publisher, 'watermark', '-c', q{
DO $$ BEGIN
	WHILE NOT EXISTS (SELECT FROM eventstore.read_stream('Account-end')) LOOP
		PERFORM eventstore.advance_watermark();
		COMMIT;
		PERFORM pg_sleep(0.1);
	END LOOP;
END $$});

my $reader = session($replica);
is_settled($reader, 0, 'a watermark without the events');
$reader->query('BEGIN ISOLATION LEVEL REPEATABLE READ');
is_settled($reader, 0, '... for a snapshot');
$lock->query('COMMIT');
$lock->quit;
wait_until_ready('postgres');
my $careless = start_follower($replica, 'careless', 1000);
is_settled($reader, 0, '... and that stays so');
$reader->query('COMMIT');
cmp_ok($reader->query('SELECT eventstore.settled_position()'), '>', 0, 'but for a new snapshot');

finish_appenders(@appenders);
finish_psql($gate_keeper);
my $end = end_load($publisher);
finish_psql($watermark);
is(advance_watermark(), $end, 'the watermark is at the end');
catch_up('big', 'postgres');

check_follower($publisher, $followers{$_}, $_) foreach sort keys %followers;
check_samples($publisher, $sampler);
is_deeply([ stored($replica) ], [ stored($publisher) ], 'the replica has all events');
is_sound('postgres', 'on the replica');
check_indexes($_) foreach $publisher, $replica;

finish_follower($careless);
my $found = compare_seen([ seen($careless) ], [ stored($publisher) ]);
cmp_ok($found->{missed}, '>', 0, 'a follower by positions alone misses events');
note("it missed $found->{missed} of " . scalar(stored($publisher)));

#
# Switch-over, with sessions that have been there all the time.
#

my ($taken) = on_publisher(q{
BEGIN;
SELECT last_position FROM eventstore.append_event('Account-01', 'Happened', '{}');
ROLLBACK}) =~ /(\d+)/;
like($reader->query("SELECT eventstore.$appending"), qr/to a logical replica/, 'the replica takes no events');
$publisher->stop;
$replica->safe_psql('postgres', q{
ALTER SUBSCRIPTION big DISABLE;
ALTER SUBSCRIPTION big SET (slot_name = NONE);
DROP SUBSCRIPTION big;
SELECT eventstore.continue_positions(} . $taken . ')');
is($reader->query("SELECT last_position FROM eventstore.append_event('Account-end', 'Happened', '{}', 1)"),
	$taken + 1, 'it takes over, above the positions of the publisher');
is_settled($reader, $taken + 1, 'all is settled');

my $after = start_follower($replica, 'all', 100, $end);
my ($more, @more_appenders) = start_appenders($replica, 4, 50, seed => 2, round => 2);
finish_appenders(@more_appenders);
$replica->safe_psql('postgres', q{SELECT eventstore.append_event('Account-end', 'LoadEnded', '{}')});
finish_follower($after);
check_seen([ seen($after) ], [ stored($replica, "global_position > $end") ], 'a follower across the switch-over');
check_events($replica, { %$expected, %$more });
$reader->quit;

$replica->stop;
done_testing();
