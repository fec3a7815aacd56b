# The extension is upgraded, and dropped and created again, and its tables and
# indexes are rebuilt, under the eyes of sessions that go on working.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventStore::Test;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my ($install_path, $extension_directory) = private_installation();
my $node = new_store('main', install_path => $install_path, by_hand => 1, conf => q{
deadlock_timeout = 100ms
});

sub query
{
	my ($sql) = @_;

	return $node->safe_psql('postgres', $sql);
}

sub fingerprint
{
	return query(q{
SELECT md5(string_agg(e::text, E'\n' ORDER BY global_position)) FROM eventstore.events e;
SELECT * FROM eventstore.events_global_position_seq;
SELECT * FROM eventstore.watermark;
SELECT proname, proacl FROM pg_proc WHERE pronamespace = 'eventstore'::regnamespace
ORDER BY proname;
SELECT relname, relacl FROM pg_class WHERE relnamespace = 'eventstore'::regnamespace
ORDER BY relname});
}

my $session = session($node);
my $prepared_append = q{EXECUTE append('Account-1')};
my $prepared_read = q{EXECUTE read};
$session->query(q{
PREPARE append AS
SELECT first_version FROM eventstore.append_event($1, 'Happened', '{}');
PREPARE read AS
SELECT count(*) FROM eventstore.read_all(0, NULL)});

# often enough for a plan that is kept
$session->query($prepared_append) foreach 1 .. 7;
$session->query($prepared_read) foreach 1 .. 6;
is($session->query($prepared_read), 7, 'a session appends and reads');

#
# ALTER EXTENSION UPDATE
#

query(q{
CREATE ROLE es_reader;
CREATE ROLE es_writer;
SELECT eventstore.grant_reader('es_reader');
SELECT eventstore.grant_writer('es_writer');
SELECT eventstore.advance_watermark()});

my $version = query(q{SELECT extversion FROM pg_extension WHERE extname = 'eventstore'});
my $before = fingerprint();

append_to_file("$extension_directory/eventstore--$version--next.sql", "-- nothing is new\n");
query(q{ALTER EXTENSION eventstore UPDATE TO 'next'});
is(query(q{SELECT extversion FROM pg_extension WHERE extname = 'eventstore'}),
	'next', 'the extension is upgraded');
is(fingerprint(), $before, 'an upgrade keeps events, positions, watermark and rights');
is($session->query($prepared_append), 8, 'a session goes on appending after an upgrade');
is($session->query($prepared_read), 8, 'a session goes on reading after an upgrade');

#
# DROP EXTENSION
#

$session->query('BEGIN; DROP EXTENSION eventstore');
like($session->query(q{SELECT * FROM eventstore.read_all()}), qr/does not exist/, 'dropped');
$session->query('ROLLBACK');
is($session->query($prepared_append), 9, 'append after a DROP EXTENSION that was rolled back');
is($session->query($prepared_read), 9, 'read after a DROP EXTENSION that was rolled back');
is($session->query('SELECT eventstore.settled_position()'), 9, 'all is settled');

foreach my $who ('another session', 'the session itself', 'the session itself, in one transaction')
{
	my $recreate = 'DROP EXTENSION eventstore; CREATE EXTENSION eventstore';

	if ($who eq 'another session') { query($recreate) }
	elsif ($who eq 'the session itself') { $session->query($recreate) }
	else { $session->query("BEGIN; $recreate; COMMIT") }

	is($session->query($prepared_read), 0, "re-created by $who: the store is empty");

	# What the session knew of the old store's positions is void.
	my $open = session($node);
	$open->query(q{BEGIN; SELECT eventstore.append_event('Account-2', 'Happened', '{}')});
	is($session->query($prepared_append), 1, "re-created by $who: versions begin at 1");
	is($session->query('SELECT eventstore.settled_position()'),
		0, "re-created by $who: nothing is settled yet");
	is($session->query(q{SELECT * FROM eventstore.read_category('Account')}),
		'', "re-created by $who: nothing is read yet");
	$open->query('COMMIT');
	$open->quit;
	is($session->query('SELECT eventstore.settled_position()'), 2, "re-created by $who: all is settled");
	$session->query($prepared_append) foreach 2 .. 7;
	is($session->query($prepared_read), 8, "re-created by $who: all is read");
}

#
# Rebuild everything, while appenders and followers are at work
#

my %followers = map { $_ => start_follower($node, $_, 50) } 'all', 'category', 'settled';
my $sampler = start_sampler($node);
my %expected;
my $round = 0;

foreach my $sql (
	'REINDEX INDEX CONCURRENTLY eventstore.events_pkey',
	'REINDEX INDEX CONCURRENTLY eventstore.events_stream_id_version_key',
	'REINDEX INDEX CONCURRENTLY eventstore.events_event_id_key',
	'REINDEX INDEX CONCURRENTLY eventstore.events_stream_type_global_position_idx',
	q{CREATE INDEX CONCURRENTLY by_tag ON eventstore.events ((data->>'tag'), event_type)},
	q{CREATE UNIQUE INDEX CONCURRENTLY by_number ON eventstore.events
	  ((data->>'tag'), (data->>'n')) WHERE data->>'tag' IS NOT NULL},
	'REINDEX TABLE CONCURRENTLY eventstore.events',
	'REINDEX TABLE eventstore.events',
	'VACUUM FULL eventstore.events',
	'CLUSTER eventstore.events USING events_pkey',
	'ANALYZE eventstore.events',
	'VACUUM (FREEZE) eventstore.events')
{
	my ($expected, @appenders) =
	  start_appenders($node, 4, 40, seed => $round, round => $round++);

	%expected = (%expected, %$expected);
	wait_for(sub { acknowledged(@appenders) >= 4 }, 'some appends');
	my $nbefore = acknowledged(@appenders);
	query($sql);
	note("$sql: between " . $nbefore . ' and ' . acknowledged(@appenders)
		  . ' of ' . keys(%$expected));
	finish_appenders(@appenders);
}
end_load($node);

check_follower($node, $followers{$_}, "follower \"$_\"") foreach sort keys %followers;
check_samples($node, $sampler);
check_events($node, \%expected);
is($session->query($prepared_read), scalar(stored($node)), 'the old session reads everything');

#
# A rebuild of the position index is done while an appender is between the
# gate and the rest of its work.
#

SKIP:
{
	skip 'built without wait points', 2 if !has_wait_points($node);

	my $start = query('SELECT eventstore.settled_position()');
	my ($keeper, $old, $rebuild, $appender) = map { session($node) } 1 .. 4;

	# REINDEX waits for an old snapshot before it puts the new index in place;
	# the appender comes in then, and knows the old one.
	$old->query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
	$rebuild->send('REINDEX INDEX CONCURRENTLY eventstore.events_pkey');
	wait_until_blocked($node, $rebuild);
	$keeper->query(q{SELECT pg_advisory_lock(hashtext('gate-left'))});
	$appender->query(q{LOAD 'eventstore'; SET eventstore.wait_points = 'gate-left'});
	$appender->send(q{SELECT eventstore.append_event('Account-01', 'Happened', '{}')});
	wait_until_blocked($node, $appender);

	# Now it waits for the appender, with the new index in place.
	$old->query('COMMIT');
	$node->poll_query_until('postgres', q{
SELECT EXISTS (SELECT FROM pg_index
			   WHERE indexrelid::regclass::text ~ 'events_pkey_ccold$' AND NOT indisvalid)})
	  or die 'the new index is not in place';
	wait_until_blocked($node, $rebuild);
	append($node, 'Account-02');
	is(query("SELECT * FROM eventstore.read_all($start)"),
		'', 'a follower waits for an appender that does not know the new index');

	$keeper->query('SELECT pg_advisory_unlock_all()');
	$_->answer foreach $appender, $rebuild;
	is(query("SELECT count(*) FROM eventstore.read_all($start)"),
		2, 'and then sees everything');
	$_->quit foreach $keeper, $old, $rebuild, $appender;
}

#
# An appender that has to wait for the TOAST table does not keep followers.
#

my $toast = query(q{
SELECT reltoastrelid::regclass FROM pg_class WHERE oid = 'eventstore.events'::regclass});
my $rebuild = session($node);
my $appender = session($node);
my $last = query('SELECT max(global_position) FROM eventstore.events');

$rebuild->query("BEGIN; REINDEX TABLE $toast");
$appender->send(q{
SELECT first_position FROM eventstore.append_event('Account-01', 'Happened',
	binary_data => (SELECT string_agg(sha256(i::text::bytea), '') FROM generate_series(1, 1000) i))});
wait_until_blocked($node, $appender);
is(query(q{
SET statement_timeout = '10s';
SELECT max(global_position) FROM eventstore.read_all(0, NULL)}),
	$last, 'followers do not wait for an appender that waits for the TOAST table');
$rebuild->query('COMMIT');
cmp_ok($appender->answer, '>', $last, 'the appender goes on');
$_->quit foreach $rebuild, $appender;

#
# All indexes are complete.
#

SKIP:
{
	skip 'there is no amcheck here', 2
	  if !query(q{SELECT count(*) FROM pg_extension WHERE extname = 'amcheck'});

	is(query(q{
SELECT indexrelid::regclass, indisvalid FROM pg_index,
	   LATERAL bt_index_parent_check(indexrelid, heapallindexed => true)
WHERE indrelid = 'eventstore.events'::regclass
ORDER BY indexrelid::regclass::text COLLATE "C"}),
		join("\n", map { "eventstore.$_|t" } 'by_number', 'by_tag', map { "events_$_" }
			  qw(event_id_key pkey stream_id_version_key stream_type_global_position_idx)),
		'all indexes are valid, and have all rows');
	$node->command_ok(
		[ 'pg_amcheck', '--heapallindexed', '--parent-check', '-d', 'postgres' ],
		'pg_amcheck finds nothing');
}

$session->quit;
$node->stop;
done_testing();
