# The clients in examples/ that take over all of history and then follow the
# slot: each event once and byte for byte, across crashes of the client and of the
# server; and slots that are not theirs, which they leave alone.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventStore::Test;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $examples = "$FindBin::RealBin/../../examples";
my %clients = (
	python => [ $ENV{PYTHON} // '/usr/bin/python3', "$examples/python/hand_over.py" ],
	node => [ 'node', "$examples/node/hand_over.mjs" ]);

# What the clients need is no part of PostgreSQL; without it there is no test.
system("$clients{python}[0] -c 'import psycopg2'") == 0
  or die 'psycopg2 is missing: install python3-psycopg2';
delete $clients{node} if $ENV{WITHOUT_NODE};
!$clients{node} || -d "$examples/node/node_modules"
  or die "packages are missing: call npm ci in $examples/node";

my $node = new_store('main', streaming => 'logical');
my $directory = PostgreSQL::Test::Utils::tempdir;

$ENV{PGHOST} = $node->host;
$ENV{PGPORT} = $node->port;
$ENV{PGDATABASE} = 'postgres';
$node->safe_psql('postgres', q{
CREATE ROLE follower LOGIN REPLICATION;
SELECT eventstore.grant_reader('follower')});

my %file = map { $_ => "$directory/$_.jsonl" } keys %clients;
my %log = map { $_ => "$directory/$_.log" } keys %clients;
my %running;

sub start_client
{
	my ($client) = @_;

	$running{$client} = start_program($client, "hand_over_$client", $file{$client}, $log{$client});
	return;
}

sub start_program
{
	my ($client, $slot, $file, $log) = @_;

	local $ENV{PGUSER} = 'follower';
	return IPC::Run::start([ @{ $clients{$client} }, $slot, $file ],
		'<', '/dev/null', '>>', $log, '2>>', $log);
}

# A client that has to end of itself, and to leave the slot as it is.
sub refuses_slot
{
	my ($client, $slot, $file, $message, $what) = @_;
	my $log = "$directory/$client.$slot.log";
	my $state = q{SELECT slot_name, plugin, slot_type, database, confirmed_flush_lsn, restart_lsn
FROM pg_replication_slots WHERE slot_name = '} . "$slot'";
	my $before = $node->safe_psql('postgres', $state);

	ok(!start_program($client, $slot, $file, $log)->finish, "$client: ends when its slot is $what");
	like(slurp_file($log), $message, "$client: says why");
	is($node->safe_psql('postgres', $state), $before, "$client: leaves the slot alone");
	unlink($log);
	return;
}

sub kill_client
{
	my ($client) = @_;

	$running{$client}->signal('KILL');
	$running{$client}->finish;
	return;
}

# A client that finds its slot still in use by its former self gives up: what
# supervises it starts it again.
sub keep_running
{
	my ($client) = @_;

	return if $running{$client}->pumpable;
	$running{$client}->finish;
	start_client($client);
	return;
}

sub lines
{
	my ($client) = @_;

	return -e $file{$client} ? split(/\n/, slurp_file($file{$client})) : ();
}

sub wait_for_lines
{
	my ($client, $what) = @_;

	wait_for(
		sub {
			keep_running($client);
			return grep { /$what/ } lines($client);
		},
		"$client: $what");
	return;
}

# Events with all that is easily lost on the way: binary data, nulls, numbers, line
# breaks, escapes.
sub append_odd_events
{
	my ($stream) = @_;

	$node->safe_psql('postgres', qq{
SELECT eventstore.append_event('$stream', 'Odd', binary_data => sha512('1'), content_type => 'image/x');
SELECT eventstore.append_event('$stream', 'Odd', 'null', tags => '{}');
SELECT eventstore.append_event('$stream', 'Odd', '[1e400, 1.10, -0, 12345678901234567890123]');
SELECT eventstore.append_event('$stream', 'Odd', E'{\\n\\t"a": 1,\\r\\n\\r\\n  "a": "\\\\n\\\\u2028\\\\/"\\n}\\n',
	metadata => E'{\\n  "user": "ann"\\n}', tags => ARRAY[E'\\n', '"', U&'\\2028\\0085\\00FC']);
SELECT eventstore.append_event('$stream', 'Odd', (repeat('[', 2000) || repeat(']', 2000))::json)});
	return;
}

# What has to be in the files: line breaks are spaces there.
sub stored_json
{
	return split /\n/, $node->safe_psql('postgres', q{
SELECT translate(eventstore.event_json(e)::text, E'\r\n', '  ') FROM eventstore.events e});
}

sub event_lines
{
	return grep { !/^\{"history"/ } lines(@_);
}

# The file in the form in which followers report events.
sub handled
{
	my ($client) = @_;

	return map
	{
		my $line = $_;
		join '|', map { $line =~ /"$_": ?"?([^",}]+)/ } qw(global_position event_id stream_id version)
	} event_lines($client);
}

sub count_disorder
{
	my %last;
	my $count = 0;

	foreach my $event (@_)
	{
		my (undef, undef, $stream, $version) = split /\|/, $event;

		$count++ if $version != ($last{$stream} // 0) + 1;
		$last{$stream} = $version;
	}
	return $count;
}

$node->safe_psql('postgres', q{
SELECT count(eventstore.append_events('Account-' || i, '[{"event_type": "Happened", "data": 1}]'))
FROM generate_series(100, 6000) i});

append_odd_events('Account-odd-history');

# Under load, cut off within history: the first lines are there, half of a
# line, and a slot of no use.
my ($expected, @appenders) = start_appenders($node, 8, 40);
start_client($_) foreach keys %clients;
foreach my $client (sort keys %clients)
{
	wait_for_lines($client, '"history":"ends"');
	kill_client($client);
	truncate($file{$client}, 100_000) or die "truncate: $!";
	start_client($client);
}
wait_for_lines($_, '"history":"ends"') foreach keys %clients;
append_odd_events('Account-odd-tail');
finish_appenders(@appenders);

# Cut off within the live tail.
my ($live, @live_appenders) = start_appenders($node, 8, 40, seed => 2, round => 2);
foreach my $client (sort keys %clients)
{
	my $count = lines($client);

	wait_for(sub { keep_running($client); return lines($client) > $count + 50 }, "$client gets on");
	kill_client($client);
	start_client($client);
}
finish_appenders(@live_appenders);

# The server crashes.  The client in Python waits for it, once it is at work.
append($node, 'Account-working');
wait_for_lines('python', 'Account-working');
my $before = $running{python};
$node->restart('immediate');
my ($last, @last_appenders) = start_appenders($node, 4, 40, seed => 3, round => 3);
finish_appenders(@last_appenders);
end_load($node);
my @stored = stored($node);
my @json = stored_json();

foreach my $client (sort keys %clients)
{
	wait_for_lines($client, '"LoadEnded"');
	$running{$client}->signal('TERM');
	ok($running{$client}->finish, "$client: ends well when told to stop");

	my @handled = handled($client);
	is_deeply([ sort @handled ], [ sort @stored ], "$client: each of " . @stored . ' events once');
	is_deeply([ sort(event_lines($client)) ], [ sort @json ], "$client: byte for byte");
	is(count_disorder(@handled), 0, "$client: each stream is in order");
	is($node->safe_psql('postgres', qq{
SELECT count(*) FROM pg_logical_slot_peek_changes('hand_over_$client', NULL, NULL)}),
		0, "$client: all is confirmed");
}
is($running{python}, $before, 'python: still the same process');
like(slurp_file($log{python}), qr/^trying again in/m, 'python: had waited for the server');
check_events($node, { %$expected, %$live, %$last });

#
# Slots that are not the client's own
#

$node->safe_psql('postgres', q{
CREATE DATABASE other;
SELECT pg_create_logical_replication_slot('victim', 'pgoutput');
SELECT pg_create_logical_replication_slot('stranger', 'eventstore');
SELECT pg_create_physical_replication_slot('physical')});
$node->safe_psql('other', q{SELECT pg_create_logical_replication_slot('elsewhere', 'eventstore')});

foreach my $client (sort keys %clients)
{
	my $begins = sub { "$directory/$client.$_[0].jsonl" };
	my $not_own = qr/^\S*\s?slot "\w+" is there already, and was not created by this program/m;

	foreach my $slot ('victim', 'stranger', 'physical', 'elsewhere')
	{
		refuses_slot($client, $slot, $begins->($slot), $not_own, "a $slot");
		is(slurp_file($begins->($slot)), '', "$client: has written nothing");
	}

	# A note of its own does not make others' slots its own.
	foreach my $slot ('victim', 'physical', 'elsewhere')
	{
		append_to_file($begins->($slot), qq({"history":"begins","slot":"$slot"}\n));
		refuses_slot($client, $slot, $begins->($slot), $not_own, "a $slot, with a note");
	}
	refuses_slot($client, 'stranger', $begins->('victim'), qr/is not of this program and slot/,
		'another than the one of the file');

	# A slot that was refused by the server was not made, by whatever cause.
	my $file = $begins->('Wrong');
	refuses_slot($client, 'Wrong', $file, qr/contains invalid character/, 'no valid name');
	is(slurp_file($file), qq({"history":"begins","slot":"Wrong"}\n{"history":"has no slot"}\n),
		"$client: notes that it has no slot");
}

# One that is in use is not dropped, though it was made and history is not complete.
my $user = IPC::Run::start(
	[ 'pg_recvlogical', '-d', $node->connstr('postgres'), '-S', 'stranger', '--start', '-f', "$directory/used" ],
	'<', '/dev/null', '2>', "$directory/used.log");
wait_for(
	sub { $node->safe_psql('postgres', q{SELECT active FROM pg_replication_slots WHERE slot_name = 'stranger'}) eq 't' },
	'the slot to be in use');
foreach my $client (sort keys %clients)
{
	append_to_file("$directory/$client.stranger.jsonl", qq({"history":"begins","slot":"stranger"}\n));
	my $log = "$directory/$client.stranger.log";
	ok(!start_program($client, 'stranger', "$directory/$client.stranger.jsonl", $log)->finish,
		"$client: ends when its slot is in use");
	like(slurp_file($log), qr/slot "stranger" is in use by process \d+/, "$client: says why");
}
$user->signal('TERM');
$user->finish;

#
# Filters beyond ASCII: the two calls of psycopg2, of which one can't encode them
#

$node->safe_psql('postgres', qq{
SELECT pg_create_logical_replication_slot('filter', 'eventstore');
SELECT eventstore.append_event('\xc3\x84rger-1', 'Happened', '"wanted"');
SELECT eventstore.append_event('Boss''s-1', 'Happened', '"wanted"')});
my $call_psycopg2 = q{# -*- coding: utf-8 -*-
import select, sys, psycopg2
from psycopg2.extras import LogicalReplicationConnection
connection = psycopg2.connect("", connection_factory=LogicalReplicationConnection)
cursor = connection.cursor()
if sys.argv[1] == "options":
    cursor.start_replication(slot_name="filter", decode=True, options={"stream_types": "\u00c4rger"})
else:
    cursor.start_replication_expert(
        """START_REPLICATION SLOT "filter" LOGICAL 0/0 ("stream_types" '\u00c4rger, Boss''s')""", decode=True)
count = 0
while count < 2:
    message = cursor.read_message()
    if message:
        count += "wanted" in message.payload
    else:
        select.select([cursor], [], [], 10)
};
my ($script, $call_out) = ("$directory/filter.py", '');
append_to_file($script, $call_psycopg2);
ok(!IPC::Run::run([ $clients{python}[0], $script, 'options' ], '2>', \my $refusal, IPC::Run::timeout(30)),
	'psycopg2: a filter that it failed to encode is refused');
like($refusal, qr/^DETAIL:  It has the replacement character, U\+FFFD.*^HINT:  .*start_replication_expert/ms,
	'... and what to call is said');
ok(IPC::Run::run([ $clients{python}[0], $script, 'expert' ], '2>', \$call_out, IPC::Run::timeout(30)),
	'psycopg2: a command as a whole has the filter') or diag($call_out);

$node->stop;
done_testing();
