# What logical replicas did not bear once: old snapshots, other events, stores
# that are altered, copied or none of a subscription's.

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
my $appending = q{eventstore.append_event('Account-1', 'Happened', '{}')};

$publisher->safe_psql('postgres', q{
CREATE TABLE other (i int PRIMARY KEY);
CREATE PUBLICATION other FOR TABLE other;
CREATE PUBLICATION store FOR TABLE eventstore.events, eventstore.watermark;
CREATE PUBLICATION part FOR TABLE eventstore.events WHERE (stream_type = 'Cart'),
	eventstore.watermark (only_row, settled_position)});

sub new_replica
{
	my ($dbname) = @_;

	$replica->safe_psql('postgres', "CREATE DATABASE $dbname");
	$replica->safe_psql($dbname, 'CREATE EXTENSION eventstore');
	return;
}

sub subscribe
{
	my ($dbname, $publication, $options) = @_;

	$replica->safe_psql($dbname,
		"CREATE SUBSCRIPTION $dbname CONNECTION '$source' PUBLICATION $publication" . ($options // ''));
	return;
}

sub catch_up
{
	my ($dbname) = @_;

	$replica->poll_query_until($dbname, q{SELECT bool_and(srsubstate = 'r') FROM pg_subscription_rel}) or die;
	$publisher->wait_for_catchup($dbname);
	return;
}

sub advance
{
	return $publisher->safe_psql('postgres', 'SELECT eventstore.advance_watermark()');
}

# psql's output and errors
sub answer
{
	my ($dbname, $sql) = @_;
	my ($status, $stdout, $stderr) = $replica->psql($dbname, $sql, timeout => 20);

	return $stderr ? "$stdout $stderr" : $stdout;
}

sub seed
{
	my ($dbname) = @_;
	my $file = PostgreSQL::Test::Utils::tempdir . "/$dbname.copy";

	$publisher->safe_psql('postgres', "SELECT pg_create_logical_replication_slot('$dbname', 'pgoutput')");
	$publisher->safe_psql('postgres', "COPY eventstore.events TO '$file'");
	$replica->safe_psql($dbname, "COPY eventstore.events FROM '$file'");
	return;
}

append($publisher, 'Cart-1', 'Order-1', 'Cart-2');
advance();

#
# 1. A session that reads under a snapshot from before the subscription
#

new_replica('old');
$replica->safe_psql('old', 'SELECT eventstore.continue_positions(1000)');
seed('old');
my $session = session($replica, 'old');
$session->query('BEGIN; DECLARE c CURSOR FOR SELECT * FROM eventstore.read_all()');
subscribe('old', 'store', ' WITH (create_slot = off, copy_data = off)');
append($publisher, 'Cart-1');
my $settled = advance();
catch_up('old');
$session->query('FETCH c; COMMIT');
my $early = session($publisher);
$early->query("BEGIN; SELECT $appending");
append($publisher, 'Order-2');
catch_up('old');
is($session->query('SELECT eventstore.settled_position()'), $settled,
	'a session that read under an old snapshot goes by the watermark');
is(answer('old', 'SELECT eventstore.settled_position()'), $settled, '... as others do');
$early->query('COMMIT');
$early->quit;
$session->quit;
$replica->safe_psql('old', 'DROP SUBSCRIPTION old');

#
# 2. Another event in the place of one: the count is the same
#

new_replica('other_event');
subscribe('other_event', 'store', ' WITH (disable_on_error = on)');
advance();
catch_up('other_event');
my $log = -s $replica->logfile;
my $next = 1 + $publisher->safe_psql('postgres', 'SELECT max(global_position) FROM eventstore.events');
$replica->safe_psql('other_event', qq{
INSERT INTO eventstore.events SELECT (jsonb_populate_record(e, jsonb_build_object(
	'global_position', $next, 'event_id', eventstore.uuid_v7(), 'stream_id', 'Lost-1'))).*
FROM eventstore.events e LIMIT 1});
append($publisher, 'Order-3');
$replica->poll_query_until('other_event', 'SELECT NOT subenabled FROM pg_subscription WHERE subname = \'other_event\'') or die;
my ($lsn) = slurp_file($replica->logfile, $log) =~ /finished at ([0-9A-F]+\/[0-9A-F]+)/;
$replica->safe_psql('other_event', "ALTER SUBSCRIPTION other_event SKIP (lsn = '$lsn'); ALTER SUBSCRIPTION other_event ENABLE");
advance();
catch_up('other_event');
like(answer('other_event', 'SELECT eventstore.settled_position()'), qr/not those of its publisher/,
	'an event that the publisher has not, in the place of one that it has');
$replica->safe_psql('other_event', 'DROP SUBSCRIPTION other_event');

#
# 3. A sound part of the store, whose row of the watermark was made here
#

new_replica('part');
subscribe('part', 'part');
catch_up('part');
$replica->safe_psql('part', 'DELETE FROM eventstore.watermark; SELECT eventstore.advance_watermark()');
append($publisher, 'Cart-1');
$settled = advance();
catch_up('part');
is(answer('part', 'SELECT eventstore.settled_position()'), $settled, 'a part, after its watermark was made anew as the HINT says');
$replica->safe_psql('part', 'DROP SUBSCRIPTION part');

# One that had all events before, and counted them.
new_replica('smaller');
subscribe('smaller', 'store');
catch_up('smaller');
$replica->safe_psql('smaller', 'ALTER SUBSCRIPTION smaller SET PUBLICATION part WITH (copy_data = off)');
append($publisher, 'Order-4', 'Cart-1');
$settled = advance();
catch_up('smaller');
is(answer('smaller', 'SELECT eventstore.settled_position()'), $settled, 'the whole store, of which a part goes on');
$replica->safe_psql('smaller', 'DROP SUBSCRIPTION smaller');

# A publication that is mended as the HINT says.
$publisher->safe_psql('postgres', q{
CREATE PUBLICATION carts FOR TABLE eventstore.events WHERE (stream_type = 'Cart'), eventstore.watermark});
new_replica('mended');
subscribe('mended', 'carts');
catch_up('mended');
like(answer('mended', 'SELECT eventstore.settled_position()'), qr/not those of its publisher/, 'a part with the tally of the whole');
$publisher->safe_psql('postgres', q{
ALTER PUBLICATION carts SET TABLE eventstore.events WHERE (stream_type = 'Cart'), eventstore.watermark (only_row, settled_position)});
append($publisher, 'Cart-1');
$settled = advance();
catch_up('mended');
is(answer('mended', 'SELECT eventstore.settled_position()'), $settled, '... which is published no more');
$replica->safe_psql('mended', 'DROP SUBSCRIPTION mended');

# An event that was left out, and is put in by hand.
new_replica('repaired');
subscribe('repaired', 'store');
catch_up('repaired');
$publisher->safe_psql('postgres', 'ALTER PUBLICATION store DROP TABLE eventstore.events');
my $left_out = append($publisher, 'Cart-1');
$publisher->safe_psql('postgres', 'ALTER PUBLICATION store ADD TABLE eventstore.events');
append($publisher, 'Cart-1');
advance();
catch_up('repaired');
my $row_file = PostgreSQL::Test::Utils::tempdir . '/left_out.copy';
$publisher->safe_psql('postgres', "COPY (SELECT * FROM eventstore.events WHERE global_position = $left_out) TO '$row_file'");
$replica->safe_psql('repaired', "COPY eventstore.events FROM '$row_file'");
$publisher->safe_psql('postgres', 'SELECT pg_sleep(10.5)');
append($publisher, 'Cart-1');
$settled = advance();
catch_up('repaired');
is($replica->safe_psql('repaired', 'SELECT settled_position FROM eventstore.watermark'), $settled,
	'the watermark is raised when an event was put in that was missing');
$replica->safe_psql('repaired', 'DROP SUBSCRIPTION repaired');

#
# 4. A primary with an apply worker for something else, whose trigger advances the watermark
#

new_replica('primary_store');
$replica->safe_psql('primary_store', qq{
CREATE TABLE other (i int PRIMARY KEY);
CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS \$\$
BEGIN
	PERFORM $appending;
	PERFORM eventstore.advance_watermark();
	RETURN NULL;
END \$\$;
CREATE TRIGGER f AFTER INSERT ON other FOR EACH ROW EXECUTE FUNCTION f();
ALTER TABLE other ENABLE ALWAYS TRIGGER f});
subscribe('primary_store', 'other');
catch_up('primary_store');
$publisher->safe_psql('postgres', 'INSERT INTO other VALUES (1)');
catch_up('primary_store');
is(answer('primary_store', 'SELECT eventstore.settled_position()'), 1, 'a primary stays a primary');
$replica->safe_psql('primary_store', 'DROP SUBSCRIPTION primary_store');

#
# 5. A database made with a replica as its template
#

new_replica('original');
subscribe('original', 'store');
catch_up('original');
$replica->safe_psql('original', 'ALTER SUBSCRIPTION original DISABLE');
$replica->poll_query_until('original', 'SELECT count(pid) = 0 FROM pg_stat_subscription') or die;
$replica->safe_psql('postgres', 'CREATE DATABASE clone TEMPLATE original');
like(answer('clone', 'SELECT eventstore.continue_positions()'), qr/^\d+$/,
	'a clone of a replica, which has no subscription, can be continued');
$replica->safe_psql('original', 'DROP SUBSCRIPTION original');

#
# 6. A store that was altered
#

new_replica('altered');
$replica->safe_psql('altered', 'CREATE TABLE other (i int PRIMARY KEY)');
subscribe('altered', 'store');
catch_up('altered');
$replica->safe_psql('altered', 'DROP INDEX eventstore.events_stream_type_global_position_idx');
is(answer('altered', 'ALTER SUBSCRIPTION altered DISABLE'), '', 'a subscription to an altered store can be disabled');
is(answer('altered', "CREATE SUBSCRIPTION unrelated CONNECTION '$source' PUBLICATION other") =~ /ERROR/ ? 'refused' : '',
	'', '... and another one created');
$replica->safe_psql('altered', $_) foreach 'DROP SUBSCRIPTION unrelated',
  'ALTER TABLE eventstore.watermark DROP COLUMN is_replica';
like(answer('altered', 'ALTER SUBSCRIPTION altered REFRESH PUBLICATION'),
	qr/is not allowed for disabled subscriptions/, 'what the server says comes through');
is(answer('altered', "CREATE SUBSCRIPTION unrelated CONNECTION '$source' PUBLICATION other") =~ /ERROR/ ? 'refused' : '',
	'', 'also where the watermark was altered');
$replica->safe_psql('altered', 'DROP SUBSCRIPTION unrelated');
$replica->safe_psql('altered', 'DROP SUBSCRIPTION altered');

$_->stop('immediate') foreach $replica, $publisher;
done_testing();
