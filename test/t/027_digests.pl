# Digests go along: to a client in another language, through dump and restore, to
# standbys and logical replicas.  And a change that gets past the guard of one of
# them shows there.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventStore::Test;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $python = '/usr/bin/python3';    # Debian's, which has psycopg2
my $client = "$FindBin::RealBin/../../examples/python/check_digests.py";
my $broken = 'the events of a range are those that its digest was made of';

my $node = new_store('main', streaming => 'logical', by_hand => 1);

sub run_sql
{
	my ($sql, $server, $dbname) = @_;

	return ($server // $node)->safe_psql($dbname // 'postgres', $sql);
}

sub current
{
	my ($server, $dbname) = @_;

	return run_sql(q{SELECT up_to_position, encode(digest, 'hex') FROM eventstore.current_digest()},
		$server, $dbname);
}

sub verified
{
	my ($server, $dbname) = @_;

	return run_sql('SELECT invariant, detail FROM eventstore.verify()', $server, $dbname);
}

# What the client says: its exit status, and what it has printed.
sub client
{
	my ($server, $dbname, @known) = @_;
	my ($out, $err);
	my $succeeded = IPC::Run::run(
		[ $python, $client, $server->connstr($dbname // 'postgres'), @known ],
		'>', \$out, '2>', \$err);

	diag($err) if $err;
	return ($succeeded ? 0 : 1, $out);
}

# Change an event as somebody who knows how to.
sub tamper
{
	my ($command, $server, $dbname) = @_;

	run_sql(qq{
ALTER TABLE eventstore.events DISABLE TRIGGER ALL;
$command;
SELECT eventstore.enable_guard()}, $server, $dbname);
	return;
}

#
# A client that knows nothing but the documented form
#

run_sql(q{
SELECT eventstore.append_events('Order-1', (
	SELECT json_agg(json_build_object('event_type', 'Placed', 'data', i, 'metadata',
									  CASE WHEN i % 2 = 0 THEN json_build_object('by', i) END))
	FROM generate_series(1, 1001) i));
SELECT eventstore.append_event('Kunde-ä€𝄞', 'Ümlaut', '"ß\u00e4"', tags => '{"ä",b,""}',
	correlation_id => '00000000-0000-0000-0000-00000000000c',
	causation_id => '00000000-0000-0000-0000-00000000000d', schema_version => 7, stream_type => 'x');
SELECT eventstore.append_event('Order-2', 'Photo', binary_data => '\x00ff10', content_type => 'image/x', tags => '{}');
SELECT eventstore.append_event('Order-2', 'Large', to_json(repeat('x', 3000000)));
SELECT eventstore.append_event('Order-2', 'Compressed', metadata => to_json(repeat('y', 30000)), binary_data => '');
SELECT eventstore.advance_watermark()});
is(verified(), '', 'verify() finds nothing');
my ($position, $digest) = split /\|/, current();
is($position, 1005, 'the digests go up to the last event');
my ($status, $said) = client($node);
is($said, "3 digests, up to position 1005: $digest\n", 'a client computes the same digests');
is($status, 0, 'and is content');
is((client($node, undef, $position, $digest))[0], 0, 'the store has the digest that it knows');
is((client($node, undef, $position, '00' x 32))[0], 1, 'it does not have another one');

# In a database that is not UTF-8
run_sql(q{CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'});
run_sql(q{
SET client_encoding = 'UTF8';
CREATE EXTENSION eventstore;
SELECT eventstore.append_event('Kunde-ä', 'Ümlaut', '"ßä"', tags => '{"ä"}', metadata => '"é"');
SELECT eventstore.advance_watermark()}, $node, 'latin');
is(verified($node, 'latin'), '', 'in a database of another encoding verify() finds nothing');
is((client($node, 'latin'))[0], 0, 'nor does the client');

# Nothing that can be stored keeps digests from being made.
run_sql(q{CREATE DATABASE bytes TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'});
run_sql(q{
CREATE EXTENSION eventstore;
SELECT eventstore.append_event(E'caf\x81', E'\xff', '1', tags => ARRAY[E'\x81'], metadata => E'"\xfe"');
SELECT eventstore.append_event('A', 'A', '1');
SELECT eventstore.advance_watermark()}, $node, 'bytes');
is((split /\|/, current($node, 'bytes'))[0], 2, 'bytes of no encoding have digests');
is(verified($node, 'bytes'), '', 'and verify() finds nothing');
run_sql(q{CREATE DATABASE windows TEMPLATE template0 ENCODING 'WIN1252' LOCALE 'C'});
run_sql(q{
SET client_encoding = 'WIN1252';
CREATE EXTENSION eventstore;
SELECT eventstore.append_event(E'caf\x81', 'A', '1');
SELECT eventstore.advance_watermark()}, $node, 'windows');
is((split /\|/, current($node, 'windows'))[0], 1, 'so has a character without equivalent');
is(verified($node, 'windows'), '', 'and verify() finds nothing');

#
# Dump and restore
#

my $dump = PostgreSQL::Test::Utils::tempdir . '/dump';
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, $node->connstr('postgres') ], 'pg_dump');
run_sql('CREATE DATABASE restored');
$node->command_ok([ 'pg_restore', '-d', $node->connstr('restored'), $dump ], 'pg_restore');
is(current($node, 'restored'), "$position|$digest", 'the digests are restored');
is(verified($node, 'restored'), '', 'and verify() finds nothing');
run_sql(q{
SELECT eventstore.append_event('Order-1', 'Placed', '1');
SELECT eventstore.advance_watermark()}, $node, 'restored');
is(verified($node, 'restored'), '', 'nor when the store goes on');
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dump.latin", $node->connstr('latin') ], 'pg_dump');
run_sql('CREATE DATABASE translated');
$node->command_ok([ 'pg_restore', '-d', $node->connstr('translated'), "$dump.latin" ], 'pg_restore');
is(verified($node, 'translated'), '', 'events that are translated to UTF-8 have the same digests');

# An old dump in the place of the store has no more than it had.
tamper(q{DELETE FROM eventstore.events WHERE global_position = 500}, $node, 'restored');
like(verified($node, 'restored'), qr/\Q$broken\E\|positions 1 to 1000: 999 events instead of 1000/,
	'a change shows in the restored store');
is((client($node, 'restored'))[0], 1, 'to the client, too');

#
# Standby
#

$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;
run_sql(q{
SELECT eventstore.append_event('Order-3', 'Placed', '1');
SELECT eventstore.advance_watermark()});
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
is(current($standby), current(), 'a standby has the digests');
is(verified($standby), '', 'and checks them');
is((client($standby))[0], 0, 'the client does so, too');
$standby->stop('fast');

#
# Logical replica
#

my $replica = new_store('replica', by_hand => 1, conf => "wal_retrieve_retry_interval = 100ms\n");
run_sql(q{
CREATE TABLE other (i int);
CREATE PUBLICATION p FOR TABLE eventstore.events, eventstore.watermark, eventstore.digests, other});
run_sql(q{
CREATE TABLE other (i int);
CREATE FUNCTION evil(i int, command text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	IF i <> 1 THEN
		EXECUTE command;
	END IF;
	RETURN true;
END $$}, $replica);
my $source = $node->connstr . ' dbname=postgres';
run_sql("CREATE SUBSCRIPTION s CONNECTION '$source' PUBLICATION p", $replica);
$replica->poll_query_until('postgres', q{SELECT bool_and(srsubstate = 'r') FROM pg_subscription_rel})
  or die 'the tables are not ready';
run_sql(q{
SELECT eventstore.append_event('Order-3', 'Placed', '1');
SELECT eventstore.advance_watermark()});
$node->wait_for_catchup('s');
is(current($replica), current(), 'a replica has the digests');
is(verified($replica), '', 'and checks them');
run_sql('SELECT eventstore.advance_watermark()', $replica);
is(current($replica), current(), 'it makes none of its own');

# The guard lets pass what the apply worker applies, and nothing that users have
# hung on other tables.
my $log = -s $replica->logfile;
foreach my $command (
	'TRUNCATE eventstore.events', 'DELETE FROM eventstore.events', 'TRUNCATE eventstore.digests',
	q{UPDATE eventstore.events SET data = '{}'})
{
	foreach my $how (
		[ 'a CHECK', "ADD CONSTRAINT evil CHECK (evil(i, \$c\$$command\$c\$)) NOT VALID", 'DROP CONSTRAINT evil' ],
		[ 'a DEFAULT', "ADD d boolean, ALTER d SET DEFAULT evil(2, \$c\$$command\$c\$)", 'DROP d' ])
	{
		my ($what, $add, $drop) = @$how;

		run_sql("ALTER TABLE other $add", $replica);
		$log = -s $replica->logfile;
		run_sql('INSERT INTO other VALUES (2)');
		ok( wait_for(sub { slurp_file($replica->logfile, $log) =~ /ERROR:  events are immutable/ }, 'the guard'),
			"$command in $what of another table, run by the apply worker, is refused");
		run_sql("ALTER TABLE other $drop", $replica);
		$node->wait_for_catchup('s');
	}
}
# The same while another table is copied for the first time
run_sql('CREATE TABLE later (i int); INSERT INTO later VALUES (2)');
run_sql(q{
CREATE TABLE later (i int);
CREATE FUNCTION remove_all() RETURNS boolean LANGUAGE sql VOLATILE AS 'TRUNCATE eventstore.events; SELECT true';
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER evil BEFORE INSERT ON later FOR EACH STATEMENT WHEN (remove_all()) EXECUTE FUNCTION nothing();
ALTER TABLE later ENABLE ALWAYS TRIGGER evil}, $replica);
$log = -s $replica->logfile;
run_sql('ALTER PUBLICATION p ADD TABLE later');
run_sql('ALTER SUBSCRIPTION s REFRESH PUBLICATION', $replica);
ok( wait_for(sub { slurp_file($replica->logfile, $log) =~ /ERROR:  events are immutable/ }, 'the guard'),
	'TRUNCATE in a function that a worker runs which copies another table is refused');
run_sql('DROP TRIGGER evil ON later', $replica);
$replica->poll_query_until('postgres', q{SELECT bool_and(srsubstate = 'r') FROM pg_subscription_rel})
  or die 'the table is not ready';
is(run_sql('SELECT count(*) FROM eventstore.events', $replica), 1007, 'all events are there');
is(verified($replica), '', 'and unchanged');

# What the publisher permits itself goes through: that is what replication is.
tamper(q{UPDATE eventstore.events SET data = '"forged"' WHERE global_position = 3});
$node->wait_for_catchup('s');
like(verified($replica), qr/\Q$broken\E\|positions 1 to 1000: .* position 3 was updated/,
	'a change at the publisher shows at the replica');

$replica->stop('fast');
$node->stop('fast');
done_testing();
