# pg_dump and pg_restore carry the whole store over: events byte for byte, the
# next position, the watermark, the guard, the rights, and subscriptions in the
# middle of their work.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventStore::Test;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_store('main', by_hand => 1);
my $directory = PostgreSQL::Test::Utils::tempdir;

sub query
{
	my ($dbname, $sql, %params) = @_;

	return $node->safe_psql($dbname, $sql, %params);
}

# What is in the store, down to the last byte.
sub fingerprint
{
	my ($dbname) = @_;
	my $copy = "$directory/copy";

	query($dbname, "\\copy (SELECT * FROM eventstore.events ORDER BY global_position) TO '$copy'");
	return query($dbname, 'SELECT * FROM eventstore.watermark')
	  . books($dbname)
	  . query($dbname, q{
SELECT last_value, is_called FROM eventstore.events_global_position_seq})
	  . slurp_file($copy);
}

# What is kept of checkpoints and subscriptions.
sub books
{
	my ($dbname) = @_;

	return join "\n", map { query($dbname, "SELECT * FROM eventstore.$_ t ORDER BY t") }
	  qw(checkpoints subscriptions subscription_partitions subscription_streams
	  subscription_parked subscription_layouts);
}

# The rights of the extension's objects, whatever the order in which granted.
sub rights
{
	my ($dbname) = @_;

	return query($dbname, q{
SELECT o, array_agg(a::text ORDER BY a::text) FROM (
	SELECT oid::regprocedure::text, unnest(proacl)
	FROM pg_proc WHERE pronamespace = 'eventstore'::regnamespace
	UNION ALL
	SELECT oid::regclass::text, unnest(relacl)
	FROM pg_class WHERE relnamespace = 'eventstore'::regnamespace
	UNION ALL
	SELECT nspname, unnest(nspacl) FROM pg_namespace WHERE nspname = 'eventstore') r (o, a)
GROUP BY o ORDER BY o});
}

# Values that a dump could spoil, in every column.
query('postgres', q{
SELECT count(*) FROM (
	SELECT eventstore.append_event(
		stream_id => 'Odd-' || i,
		event_type => E'tab\there "quoted" \\\\ ü',
		data => E'{"b" : 1,   "a": 1.10, "a": 2, "n": "\\\\n\\\\u00e9"\n}',
		metadata => '[ null ]',
		correlation_id => eventstore.uuid_v7(),
		causation_id => eventstore.uuid_v7(),
		schema_version => i,
		tags => ARRAY['a', 'with space', '', 'NULL', '{"}'],
		stream_type => E'odd\\N')
	FROM generate_series(1, 3) i
	UNION ALL
	SELECT eventstore.append_event('Binary-1', 'Stored',
		binary_data => decode('00ff5c0a', 'hex'),
		content_type => 'application/octet-stream')
	UNION ALL
	SELECT eventstore.append_event('Large-1', 'Stored',
		json_build_object('large', repeat('0123456789', 100000)))
	UNION ALL
	SELECT eventstore.append_event('Large-1', 'Stored',
		binary_data => (SELECT string_agg(sha256(i::text::bytea), '')
						FROM generate_series(1, 3000) i))) e});
my ($expected, @appenders) = start_appenders($node, 2, 30);
finish_appenders(@appenders);

# A position that nobody has, at the end.
query('postgres', q{
BEGIN;
SELECT eventstore.append_event('Account-01', 'Happened', '{}');
ROLLBACK});
query('postgres', 'SELECT eventstore.advance_watermark()');
append($node, 'Account-01');

# Subscriptions in the middle of their work: consumers that have events in hand,
# streams that wait, parked events that are replayed, and a former layout.
query('postgres', q{
SELECT eventstore.save_checkpoint('follower', 7);
SELECT eventstore.create_subscription('work', '{Account,Order}', '{Happened}', 0, 2, 1);
DO $$
DECLARE
	event record;
BEGIN
	FOR event IN SELECT * FROM eventstore.fetch_events('work', 'c', 20) LOOP
		IF event.global_position % 3 = 0 THEN
			PERFORM eventstore.nack_event('work', 'c', event.partition, event.global_position, 'no');
		END IF;
	END LOOP;
	PERFORM eventstore.ack_events('work', 'c', event.partition, event.global_position);
	PERFORM eventstore.alter_subscription('work', max_attempts => 5);
	FOR event IN SELECT * FROM eventstore.fetch_events('work', 'c', 20) LOOP
		IF event.global_position % 3 = 0 THEN
			PERFORM eventstore.nack_event('work', 'c', event.partition, event.global_position, 'no', '1 hour');
		END IF;
	END LOOP;
	PERFORM eventstore.ack_events('work', 'c', event.partition, event.global_position);
	PERFORM eventstore.alter_subscription('work', partitions => 3);
	PERFORM eventstore.replay_parked('work');
	PERFORM FROM eventstore.fetch_events('work', 'a', 5, '1 hour');
	PERFORM FROM eventstore.fetch_events('work', 'b', 5, '1 hour');
END $$});
is(query('postgres', q{
SELECT count(*) FILTER (WHERE consumer IS NOT NULL), sum(waiting_streams) > 0, sum(parked) > 0,
	   (SELECT count(*) FROM eventstore.subscription_layouts)
FROM eventstore.subscription_status}),
	'2|t|t|1', 'subscriptions are in the middle of their work');

query('postgres', q{
CREATE ROLE es_reader LOGIN;
CREATE ROLE es_writer LOGIN;
CREATE ROLE es_subscriber LOGIN;
CREATE ROLE es_stranger LOGIN;
SELECT eventstore.grant_subscriber('es_subscriber');
SELECT eventstore.grant_reader('es_reader');
SELECT eventstore.grant_writer('es_writer')});

my $fingerprint = fingerprint('postgres');
my $rights = rights('postgres');
my $position = query('postgres', 'SELECT max(global_position) FROM eventstore.events');

#
# Each way to dump and to restore
#

my @source = ('-d', $node->connstr('postgres'));
$node->command_ok([ 'pg_dump', '-Fp', '-f', "$directory/plain", @source ], 'pg_dump, plain');
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$directory/custom", @source ], 'pg_dump, custom');
$node->command_ok([ 'pg_dump', '-Fd', '-j2', '-f', "$directory/directory", @source ],
	'pg_dump, directory, two jobs');

my %restore = (
	plain => [ 'psql', '-XAtq', '-o', '/dev/null', '-v', 'ON_ERROR_STOP=1', '-f', "$directory/plain" ],
	custom => [ 'pg_restore', '-e', "$directory/custom" ],
	custom_parallel => [ 'pg_restore', '-e', '-j2', "$directory/custom" ],
	custom_single => [ 'pg_restore', '-e', '-1', "$directory/custom" ],
	directory => [ 'pg_restore', '-e', '-j2', "$directory/directory" ]);

foreach my $way (sort keys %restore)
{
	my @destination = ('-d', $node->connstr($way));

	query('postgres', "CREATE DATABASE $way");
	$node->command_ok([ @{ $restore{$way} }, @destination ], "$way: restored");

	ok(fingerprint($way) eq $fingerprint, "$way: the same store, byte for byte");
	is(rights($way), $rights, "$way: the same rights");
	is(query($way, 'SELECT eventstore.settled_position()'), $position, "$way: all is settled");
	is(query($way, 'SELECT count(*) FROM eventstore.read_all(0, NULL)'),
		query('postgres', 'SELECT count(*) FROM eventstore.events'),
		"$way: a follower sees all events");

	my ($status, $stdout, $stderr) =
	  $node->psql($way, 'DELETE FROM eventstore.events', extra_params => [ '-v', 'VERBOSITY=verbose' ]);
	like($stderr, qr/ST004/, "$way: the guard is in force");

	my $append = q{SELECT first_position FROM eventstore.append_event('Account-01', 'Happened', '{}')};
	cmp_ok(query($way, "SET ROLE es_writer; $append"), '>', $position,
		"$way: a writer appends, and positions go on");
	is(query($way, q{SET ROLE es_reader; SELECT max(version) FROM eventstore.read_stream('Account-01')}),
		1 + query('postgres', q{SELECT eventstore.stream_version('Account-01')}),
		"$way: a reader reads, and versions go on");

	my %refused = (
		es_writer => 'SELECT * FROM eventstore.read_all()',
		es_reader => $append,
		es_stranger => q{SELECT eventstore.stream_version('Account-01')});
	foreach my $role (sort keys %refused)
	{
		($status, $stdout, $stderr) = $node->psql($way, "SET ROLE $role; $refused{$role}");
		like($stderr, qr/permission denied/, "$way: $role may not do more than before");
	}

	# Leases last, and the one who has the events can answer.
	query($way, q{SELECT count(*) FROM eventstore.fetch_events('work', 'd')});
	like(books($way), qr/\|a\|.*\|b\|/s, "$way: the consumers have what they had");
	query($way, q{
SET ROLE es_subscriber;
SELECT eventstore.ack_events(subscription, consumer, partition, scanned_to)
FROM eventstore.subscription_status WHERE consumer = 'a'});
	unlike(books($way), qr/\|a\|/, "$way: one of them acknowledges");
	is(query($way, 'SELECT * FROM eventstore.verify()'), '', "$way: verify() finds nothing");
	check_indexes($node, $way);
	query('postgres', "DROP DATABASE $way");
}

#
# A dump of the events alone goes into an empty store.
#

query('postgres', 'CREATE DATABASE data_only');
query('data_only', 'CREATE EXTENSION eventstore');
$node->command_ok(
	[ 'pg_restore', '-e', '--data-only', '-d', $node->connstr('data_only'), "$directory/custom" ],
	'data only: restored');
ok(fingerprint('data_only') eq $fingerprint, 'data only: the same store, byte for byte');

#
# A dump that is made while appenders are at work
#

($expected, @appenders) = start_appenders($node, 4, 150, round => 2);
wait_for(sub { acknowledged(@appenders) >= 50 }, 'some appends');
query('postgres', 'SELECT eventstore.advance_watermark()');
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$directory/busy", @source ], 'busy: pg_dump');
finish_appenders(@appenders);

query('postgres', 'CREATE DATABASE busy');
$node->command_ok([ 'pg_restore', '-e', '-j2', '-d', $node->connstr('busy'), "$directory/busy" ],
	'busy: restored');
is(query('busy', q{
SELECT count(*) FROM (
	SELECT count(*) AS events, count(DISTINCT data->>'n') AS numbers,
		   max((data->>'n')::int) AS last
	FROM eventstore.events WHERE data->>'tag' IS NOT NULL
	GROUP BY data->>'tag') t
WHERE events <> numbers}), 0, 'busy: no event is there twice');
is(query('busy', q{
SELECT count(*) FROM (
	SELECT version, row_number() OVER (PARTITION BY stream_id ORDER BY version) AS place
	FROM eventstore.events) e
WHERE version <> place}), 0, 'busy: versions have no gaps');

my %whole = map { split /\|/ } split /\n/, query('busy', q{
SELECT data->>'tag', count(*) FROM eventstore.events
WHERE data->>'tag' LIKE '2-%' GROUP BY 1});
is(join(' ', grep { $whole{$_} != ($expected->{$_} // 0) } sort keys %whole),
	'', 'busy: transactions are there whole or not at all');
cmp_ok(scalar keys %whole, '<', scalar keys %$expected, 'busy: the appenders were not done');

my $last = query('busy', 'SELECT max(global_position) FROM eventstore.events');
cmp_ok(query('busy', 'SELECT max(settled_position) FROM eventstore.watermark'),
	'<=', $last, 'busy: the watermark is not ahead of the events');
is(query('busy', 'SELECT eventstore.settled_position()'), $last, 'busy: all is settled');
cmp_ok(query('busy', q{
SELECT first_position FROM eventstore.append_event('Account-01', 'Happened', '{}')}),
	'>', $last, 'busy: positions go on');

check_indexes($node, $_) foreach 'postgres', 'busy';
$node->stop;
done_testing();
