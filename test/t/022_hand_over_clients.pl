# The clients in examples/ that take over all of history and then follow the
# slot: each event once, across crashes of the client and of the server.

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
-d "$examples/node/node_modules"
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

	local $ENV{PGUSER} = 'follower';
	$running{$client} = IPC::Run::start([ @{ $clients{$client} }, "hand_over_$client", $file{$client} ],
		'<', '/dev/null', '>>', $log{$client}, '2>>', $log{$client});
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

# The file in the form in which followers report events; the JSON of both ways
# has the same keys.
sub handled
{
	my ($client) = @_;

	return map
	{
		my $line = $_;
		join '|', map { $line =~ /"$_": ?"?([^",}]+)/ } qw(global_position event_id stream_id version)
	} grep { !/^\{"history"/ } lines($client);
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

# Under load, cut off within history: the first lines are there, half of a
# line, and a slot of no use.
my ($expected, @appenders) = start_appenders($node, 8, 40);
start_client($_) foreach keys %clients;
foreach my $client (sort keys %clients)
{
	wait_for_lines($client, '"history"');
	kill_client($client);
	truncate($file{$client}, 100_000) or die "truncate: $!";
	start_client($client);
}
wait_for_lines($_, '"history"') foreach keys %clients;
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

foreach my $client (sort keys %clients)
{
	wait_for_lines($client, '"LoadEnded"');
	$running{$client}->signal('TERM');
	ok($running{$client}->finish, "$client: ends well when told to stop");

	my @handled = handled($client);
	is_deeply([ sort @handled ], [ sort @stored ], "$client: each of " . @stored . ' events once');
	is(count_disorder(@handled), 0, "$client: each stream is in order");
	is($node->safe_psql('postgres', qq{
SELECT count(*) FROM pg_logical_slot_peek_changes('hand_over_$client', NULL, NULL)}),
		0, "$client: all is confirmed");
}
is($running{python}, $before, 'python: still the same process');
like(slurp_file($log{python}), qr/^trying again in/m, 'python: had waited for the server');
check_events($node, { %$expected, %$live, %$last });

$node->stop;
done_testing();
