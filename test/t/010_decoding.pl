# A client of the output plugin gets every event, each stream in order and
# transactions in the order of their commits, across crashes of the server.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventStore::Test;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_store('main', streaming => 'logical');
my $directory = PostgreSQL::Test::Utils::tempdir;

sub query
{
	my ($sql, $dbname) = @_;

	return $node->safe_psql($dbname // 'postgres', $sql);
}

sub create_slot
{
	my ($slot, $dbname) = @_;

	query("SELECT FROM pg_create_logical_replication_slot('$slot', 'eventstore')", $dbname);
	return;
}

sub start_client
{
	my ($name, @arguments) = @_;
	my %client = (name => $name, out => "$directory/$name.out", err => "$directory/$name.err");

	append_to_file($client{out}, '');
	$client{run} = IPC::Run::start(
		[
			'pg_recvlogical', '-d', $node->connstr('postgres'), '-S', 'client', '--start', '--no-loop',
			'--status-interval=1', '--fsync-interval=1', '-f', $client{out}, @arguments
		],
		'<', '/dev/null', '>', \my $stdout, '2>', $client{err},
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	return \%client;
}

# All there is now, to the end.
sub receive_all
{
	my ($name, @arguments) = @_;
	my $end = query('SELECT pg_current_wal_insert_lsn()');

	# what comes behind tells the client that it is there
	query(q{SELECT FROM pg_logical_emit_message(false, 'test', 'end')});

	my $client = start_client($name, "--endpos=$end", @arguments);
	ok($client->{run}->finish, "client \"$name\" received all") or diag(slurp_file($client->{err}));
	return $client;
}

sub lsn
{
	my ($high, $low) = map { hex } split '/', shift;

	return $high * 2**32 + $low;
}

# What a client received, in the form of stored(), and the places of commits.
my $event = qr/^\{"global_position":(\d+),"version":(\d+),.*?"event_id":"([^"]+)","stream_id":"([^"]+)"/;

sub received
{
	my ($client) = @_;

	return map { /$event/ ? "$1|$3|$4|$2" : () } split /\n/, slurp_file($client->{out});
}

sub commits
{
	my ($client) = @_;

	return map { lsn($_) } slurp_file($client->{out}) =~ /^\{"transaction":"commit".*"end_lsn":"([^"]+)"/mg;
}

sub without_repetition
{
	my %seen;

	return grep { !$seen{$_}++ } @_;
}

#
# Crashes of the server while appenders are at work
#

create_slot('client');
my @clients;
foreach my $round (1 .. 2)
{
	my $confirmed = lsn(query('SELECT confirmed_flush_lsn FROM eventstore.replication_status'));
	my $client = start_client("round_$round", '-o', 'transactions');
	my ($expected, @appenders) = start_appenders($node, 4, 1000, seed => $round, round => $round);

	push @clients, $client;
	wait_for(
		sub {
			received($client) >= 200
			  && lsn(query('SELECT confirmed_flush_lsn FROM eventstore.replication_status')) > $confirmed;
		},
		'the client to receive and to confirm');
	is(query('SELECT count(*) FROM eventstore.replication_status WHERE active AND active_pid > 0'),
		1, "round $round: the slot is active");
	kill_server($node);

	foreach my $process (@appenders, $client)
	{
		$process->{run}->finish;
	}
	isnt(slurp_file($client->{err}), '', "round $round: the client lost its server");
	cmp_ok((sort { $a <=> $b } commits($client))[0],
		'>', $confirmed, "round $round: nothing came again that was confirmed");

	start_killed_server($node);
	query("COMMIT PREPARED '$_'")
	  foreach split /\n/, query('SELECT gid FROM pg_prepared_xacts');
}

my ($expected, @appenders) = start_appenders($node, 4, 60, seed => 3, round => 3);
finish_appenders(@appenders);
push @clients, receive_all('last', '-o', 'transactions');

my @all = map { received($_) } @clients;
my @once = without_repetition(@all);
is_deeply([ sort @once ], [ sort(stored($node)) ], 'every event was received, and no other');
note(@all - @once . ' of ' . @once . ' events came twice');

my %version;
my @disordered = grep { my (undef, undef, $stream, $version) = split /\|/; $version != ++$version{$stream} } @once;
is("@disordered", '', 'each stream came in order');

foreach my $client (@clients)
{
	my @commits = commits($client);

	is_deeply(\@commits, [ sort { $a <=> $b } @commits ],
		"client \"$client->{name}\" saw transactions in the order of their commits");
}
unlike(slurp_file($clients[-1]{out}), qr/^\{"transaction":"(\w+)".*\n\{"transaction":"\1"/m,
	'no transaction is in another one, or empty');

is_deeply([ received(receive_all('again')) ], [], 'nothing comes again after a client has ended well');

# The other order of two transactions: first come, last committed.
query(q{
BEGIN; SELECT eventstore.append_event('Late-1', 'Happened', '1'); PREPARE TRANSACTION 'late';
SELECT eventstore.append_event('Early-1', 'Happened', '2');
COMMIT PREPARED 'late'});
is(join(' ', map { (split /\|/)[2] } received(receive_all('order'))),
	'Early-1 Late-1', 'events come in commit order, not in the order of positions');
query(q{SELECT pg_drop_replication_slot('client')});

#
# A client whose encoding lacks characters, in events, names and messages outside
# of transactions: an escape says the same.
#

create_slot('client');
query(qq{
SET client_encoding = 'UTF8';
SELECT pg_logical_emit_message(false, 'beat', '\xe2\x82\xac');
SELECT eventstore.append_event('\xe2\x82\xac-1', '\xc3\xa9\xe2\x82\xac', '{"\xf0\x9f\x98\x80": "\xc3\xa9\xef\xbf\xbf\xf0\x90\x80\x80"}',
	metadata => '"\xe2\x82\xac"')});
{
	local $ENV{PGCLIENTENCODING} = 'LATIN1';
	query(q{SELECT FROM pg_copy_logical_replication_slot('client', 'keep')});
	my $json = slurp_file(receive_all('json', '-o', 'message_prefixes=beat')->{out});
	like($json, qr/^\{"message":"beat",.*"content":"\\u20ac"\}$/m, 'a message outside of transactions has escapes');
	like($json, qr/"stream_type":"\\u20ac","event_type":"\xe9\\u20ac".*"data":\{"\\ud83d\\ude00": "\xe9\\uffff\\ud800\\udc00"\},"metadata":"\\u20ac"/,
		'so has an event, and what can be converted is converted');
}
query(q{SELECT pg_drop_replication_slot('client')});
query(q{SELECT FROM pg_copy_logical_replication_slot('keep', 'client')});
{
	local $ENV{PGCLIENTENCODING} = 'WIN1252';
	my $cloudevent = slurp_file(receive_all('cloudevent', '-o', 'format=cloudevents')->{out});
	like($cloudevent, qr/"type":"\xe9\x80","subject":"\x80-1".*"metadata":"\\"\x80\\"","datacontenttype".*"data":\{"\\ud83d\\ude00": "\xe9\\uffff\\ud800\\udc00"\}/,
		'so has a CloudEvent, and the server goes on');
}
query(q{SELECT pg_drop_replication_slot('client'), pg_drop_replication_slot('keep')});

# One that has a yen sign where ASCII has a backslash; and very many at once.
create_slot('client');
query(qq{
SET client_encoding = 'UTF8';
SELECT eventstore.append_event('Yen-1', 'Happened', '{"a": "100\xc2\xa5", "b": "\xe2\x80\xbe\xe3\x81\x82"}');
SELECT eventstore.append_event('Yen-1', 'Happened', to_json(repeat('\xf0\x9f\x98\x80', 300000)))});
{
	local $ENV{PGCLIENTENCODING} = 'SJIS';
	my $json = slurp_file(receive_all('sjis')->{out});
	like($json, qr/"data":\{"a": "100\\u00a5", "b": "\\u203e\x82\xa0"\}/, 'what would be another character in JSON is escaped');
	is(() = $json =~ /\\ud83d\\ude00/g, 300000, 'so are very many');
}
query(q{SELECT pg_drop_replication_slot('client')});

#
# A database with a name that a URI can't have, and another encoding
#

my $dbname = 'a b/%';
query(qq{CREATE DATABASE "$dbname" ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0});
query('CREATE EXTENSION eventstore', $dbname);
create_slot('latin1', $dbname);
query(qq{
SET client_encoding = 'UTF8';
SELECT eventstore.append_event('Umlaut-\xc3\xbc', 'Happened\xc2\x85\xc2\x9f', '"\xc3\xa9"',
	metadata => '"\xc2\x80\xc2\xa0"')}, $dbname);
query(q{SELECT FROM pg_logical_emit_message(true, 'bytes', '\x8190ff'::bytea)}, $dbname);
query(q{SELECT FROM pg_logical_emit_message(false, 'test', 'end')}, $dbname);
my $end = query('SELECT pg_current_wal_insert_lsn()');

foreach my $encoding ('UTF8', 'LATIN1')
{
	local $ENV{PGCLIENTENCODING} = $encoding;
	my $out = "$directory/$encoding.out";

	query("SELECT FROM pg_copy_logical_replication_slot('latin1', 'copy')", $dbname);
	$node->command_ok(
		[
			'pg_recvlogical', '-d', $node->connstr('postgres') =~ s/dbname=\S+/dbname='$dbname'/r,
			'-S', 'copy', '--start', '--no-loop', "--endpos=$end",
			'-o', 'message_prefixes=bytes', '-o', 'format=cloudevents', '-o', "streams=Umlaut-" . ($encoding eq 'UTF8' ? "\xc3\xbc" : "\xfc"),
			'-f', $out
		],
		"a client received $encoding");
	my $message = slurp_file($out);
	like($message, qr{"source":"/eventstore/a%20b%2F%25"}, "$encoding: the source names the database");
	like($message, qr/"type":"Happened\\ufffd\\ufffd"/, "$encoding: control characters are replaced");
	like($message, qr/"metadata":"\\"\\\\u0080\xc2?\xa0\\""/, "$encoding: ... or escaped in JSON");
	like($message, $encoding eq 'UTF8'
		? qr/"subject":"Umlaut-\xc3\xbc".*"data":"\xc3\xa9"\}$/m
		: qr/"subject":"Umlaut-\xfc".*"data":"\xe9"\}$/m, "$encoding: so is the message");
	like($message, qr/"content_base64":"gZD\/"/, "$encoding: bytes are not taken for text");
	query(q{SELECT pg_drop_replication_slot('copy')});
}
query(q{SELECT pg_drop_replication_slot('latin1')}, $dbname);

check_indexes($node);
$node->stop;
done_testing();
