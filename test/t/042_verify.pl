# verify() and the indexes: damage that takes more than SQL, and no false alarm
# beside whatever else goes on.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventStore::Test;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_store('primary');

plan skip_all => 'pageinspect or pg_surgery is not installed'
  if $node->safe_psql('postgres', q{
SELECT count(*) FROM pg_available_extensions WHERE name IN ('pageinspect', 'pg_surgery')}) < 2;

sub query
{
	my ($sql) = @_;

	return $node->safe_psql('postgres', $sql);
}

sub broken
{
	return query('SELECT detail FROM eventstore.broken_index_entries()');
}

# What is said of each index, in the order in which the server has them
sub missing
{
	my ($event, @indexes) = @_;

	return join "\n", map { "$event is missing from index events_$_" } @indexes;
}

query('CREATE EXTENSION pageinspect; CREATE EXTENSION pg_surgery');

# Superusers can do all this.
my @guards = qw(guard_update guard_delete guard_update_row guard_delete_row);
query('ALTER TABLE eventstore.events ' . join ', ', map { "DISABLE TRIGGER $_" } @guards);

#
# Damage, on a page with room, so that nothing is removed from it in passing
#

query(q{
DO $$
DECLARE
	batch json := json_agg(json_build_object('event_type', 'Happened', 'data', repeat('x', 250)))
		FROM generate_series(1, 100);
BEGIN
	FOR i IN 1 .. 20 LOOP
		PERFORM eventstore.append_events('Account-' || i % 10, batch);
	END LOOP;
	LOOP
		EXIT WHEN (SELECT ctid::text LIKE '%,1)' FROM eventstore.events ORDER BY ctid DESC LIMIT 1);
		PERFORM eventstore.append_event('Account-1', 'Happened', to_json(repeat('x', 250)));
	END LOOP;
END $$});
my ($last, $tid, $version) = split /\|/, query(q{
SELECT global_position, ctid, version FROM eventstore.events ORDER BY global_position DESC LIMIT 1});
cmp_ok(query(q{SELECT pg_relation_size('eventstore.events') / current_setting('block_size')::int}),
	'>', 64, 'the table has several parts, where there are wait points');
is(broken(), '', 'the indexes are sound');

# The entries of an event are killed, although it is there.
query("DELETE FROM eventstore.events WHERE global_position = $last");
my %killed_in = (
	events_pkey => "global_position = $last",
	events_stream_id_version_key => "stream_id = 'Account-1' AND version = $version");

foreach my $index (sort keys %killed_in)
{
	local $ENV{PGOPTIONS} = '-c enable_seqscan=off -c enable_bitmapscan=off';

	$node->poll_query_until('postgres', qq{
SELECT bool_or(dead)
FROM (SELECT count(*) FROM eventstore.events WHERE $killed_in{$index}) AS c (nfound),
	 generate_series(1, pg_relation_size('eventstore.$index') / current_setting('block_size')::int - 1) b,
	 LATERAL bt_page_items('eventstore.$index', b) i
WHERE nfound = 0 AND i.htid = '$tid'}) or die "the entry in $index was not killed";
}
query("SELECT heap_force_freeze('eventstore.events', ARRAY['$tid'::tid])");
is(query("SELECT count(*) FROM eventstore.events WHERE ctid = '$tid'"), 1, 'the event is there again');
is(broken(), missing("the event at position $last", 'pkey', 'stream_id_version_key'),
	'entries that were killed are missing');
is(query(q{SELECT DISTINCT invariant FROM eventstore.verify() WHERE invariant NOT LIKE '%digest%'}),
	join("\n", 'every event is in each index', 'the guard stands, for everyone'), '... says verify()');
query('REINDEX TABLE eventstore.events');
is(broken(), '', '... until they are made anew');

# A version of the event has the entries of the one before, which is lost.
query("UPDATE eventstore.events SET data = '1' WHERE global_position = $last");
my $second = query("SELECT ctid FROM eventstore.events WHERE global_position = $last");
is(broken(), '', 'a row that was rewritten has its entries');
query("SELECT heap_force_kill('eventstore.events', ARRAY['$tid'::tid])");
is(broken(), missing("the event at position $last", 'pkey', 'stream_id_version_key',
		'event_id_key', 'stream_type_global_position_idx'),
	'a row that no entry can lead to is missing');
query("SELECT heap_force_kill('eventstore.events', ARRAY['$second'::tid])");
is(broken(), '', 'entries of a row that is gone are in order');

#
# An index that is newer than the snapshot: its entries have the keys of rows
# that the snapshot does not see.
#

my $reader = session($node);
my $definition = query(q{SELECT pg_get_indexdef('eventstore.events_stream_type_global_position_idx'::regclass)});

$last = append($node, 'Account-11');
$reader->query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT pg_current_snapshot()');
query('DROP INDEX eventstore.events_stream_type_global_position_idx');
query("UPDATE eventstore.events SET stream_type = 'Other' WHERE global_position = $last");
query($definition);
is($reader->query('SELECT detail FROM eventstore.broken_index_entries()'), '',
	'a newer index does not contradict an old snapshot');
$reader->quit;
is(broken(), '', '... nor a new one');

#
# VACUUM can't give back the place of a row while an entry of it is in hand.
#

sub wait_until
{
	my ($condition) = @_;

	$node->poll_query_until('postgres', "SELECT $condition") or die "not so: $condition";
	return;
}

sub wait_until_at
{
	my ($session, $point) = @_;
	my $pid = $session->pid;

	wait_until(qq{EXISTS (
SELECT FROM pg_locks
WHERE pid = $pid AND NOT granted AND objid::bigint = hashtext('$point')::bigint & 4294967295)});
	return;
}

SKIP:
{
	skip 'there are no wait points', 3 if !has_wait_points($node);

	query('CREATE DATABASE small');
	my $keeper = session($node, 'small');
	my $checker = session($node, 'small');
	my $vacuum = session($node, 'small');

	$keeper->query(q{
CREATE EXTENSION eventstore;
SELECT eventstore.append_event('Account-1', 'Happened', '{}');
SELECT pg_advisory_lock(hashtext('events-mapped')), pg_advisory_lock(hashtext('leaf-read'))});
	$checker->query(q{LOAD 'eventstore'; SET eventstore.wait_points = 'events-mapped', 'leaf-read'});
	$checker->send('SELECT detail FROM eventstore.broken_index_entries()');
	wait_until_at($checker, 'events-mapped');
	$keeper->query(q{
BEGIN;
SELECT eventstore.append_event('Account-1', 'Happened', '{}');
ROLLBACK;
SELECT pg_advisory_unlock(hashtext('events-mapped'))});
	wait_until_at($checker, 'leaf-read');

	$vacuum->send('VACUUM (INDEX_CLEANUP ON) eventstore.events');
	my $state = q{(SELECT CASE state WHEN 'active' THEN wait_event ELSE 'at the end' END
FROM pg_stat_activity WHERE pid = } . $vacuum->pid . ')';
	wait_until("$state IN ('BufferPin', 'at the end')");
	is(query("SELECT $state"), 'BufferPin', 'VACUUM waits for who reads an index');
	$keeper->query(q{SELECT pg_advisory_unlock(hashtext('leaf-read'))});
	is($checker->answer, '', '... who finds the places of its entries');
	is($vacuum->answer, '', '... and then does its work');
	$_->quit foreach $keeper, $checker, $vacuum;
}

#
# Beside appenders of all kinds, VACUUM, REINDEX CONCURRENTLY, and somebody who
# rewrites events, nothing is found.
#

query(q{
CREATE FUNCTION load_goes_on() RETURNS boolean LANGUAGE sql AS $$
	SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name LIKE 'appender%')
$$;
CREATE PROCEDURE check_indexes() LANGUAGE plpgsql AS $$
DECLARE
	detail text;
	nchecks integer := 0;
BEGIN
	WHILE load_goes_on() LOOP
		FOR detail IN SELECT b.detail FROM eventstore.broken_index_entries() b LOOP
			RAISE INFO 'broken: %', detail;
		END LOOP;
		COMMIT;
		nchecks := nchecks + 1;
	END LOOP;
	RAISE INFO '% checks', nchecks;
END $$;
CREATE PROCEDURE rewrite_events() LANGUAGE plpgsql AS $$
BEGIN
	WHILE load_goes_on() LOOP
		UPDATE eventstore.events SET metadata = '{}' WHERE global_position % 200 = 0;
		COMMIT;
		UPDATE eventstore.events SET event_id = eventstore.uuid_v7() WHERE global_position % 300 = 0;
		ROLLBACK;
		UPDATE eventstore.events SET event_id = eventstore.uuid_v7() WHERE global_position % 500 = 0;
		COMMIT;
	END LOOP;
END $$});
my (undef, @appenders) = start_appenders($node, 4, 120);
wait_until('load_goes_on()');
my @others = map { start_psql($node, $_, '-c', "CALL $_()") }
  'check_indexes', 'check_indexes', 'rewrite_events';
while (query('SELECT load_goes_on()') eq 't')
{
	query('VACUUM (INDEX_CLEANUP ON) eventstore.events');
	query("REINDEX INDEX CONCURRENTLY eventstore.$_")
	  foreach 'events_pkey', 'events_event_id_key', 'events_stream_type_global_position_idx';
}
finish_appenders(@appenders);
is(scalar(grep { finish_psql($_) } @others), 3, 'the others ended well');
my $said = join '', map { slurp_file($_->{err}) } @others;
unlike($said, qr/broken/, 'nothing was found');
my $nchecks = 0;
$nchecks += $_ foreach $said =~ /(\d+) checks/g;
cmp_ok($nchecks, '>', 10, 'the indexes were compared again and again');
note("$nchecks times");
is(broken(), '', 'nothing is found at the end');

$node->stop;
done_testing();
