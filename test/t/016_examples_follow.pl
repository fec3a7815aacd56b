# The example clients follow the store live under load, through a restart of
# the server: each event once, and in order.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventStore::Test;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# Debian's, which has psycopg2.
my $python = '/usr/bin/python3';
my $examples = "$FindBin::RealBin/../../examples";

# The examples are tested wherever the other tests are.
sub need
{
	my ($what, @command) = @_;
	my $out;

	IPC::Run::run([@command], '>', \$out, '2>&1')
	  or die "this test needs $what: $out";
	return;
}

need('python3-psycopg2', $python, '-c', 'import psycopg2');
my $with_node = !$ENV{WITHOUT_NODE};
need('node', 'node', '--version') if $with_node;
need("\"npm ci\" in $examples/node", 'node', '-e', "require('$examples/node/node_modules/pg')") if $with_node;
my @feeds = $with_node ? qw(python_feed node_feed) : qw(python_feed);

my $node = new_store('main');
my @clients;

sub start_client
{
	my ($name, @command) = @_;
	my %client = (name => $name, err => '');

	$client{run} = IPC::Run::start([@command], '<', '/dev/null', '>', \$client{out},
		'2>', \$client{err});
	push @clients, \%client;
	return;
}

sub sql
{
	return $node->safe_psql('postgres', shift);
}

# What a client has put into its table, in the order in which it came.
sub feed
{
	my ($table) = @_;

	return sql("SELECT string_agg(global_position::text, ' ' ORDER BY n) FROM $table") || '';
}

sub run_load
{
	my ($round, $enough) = @_;
	my ($expected, @appenders) =
	  start_appenders($node, 3, $enough ? 1000 : 40, seed => $round, round => $round);

	return finish_appenders(@appenders) if !$enough;
	wait_for(sub { acknowledged(@appenders) >= $enough }, 'some appends');
	return @appenders;
}

# Three attempts are enough here.
sql(q{SELECT eventstore.create_subscription('consume.py', partitions => 4, max_attempts => 3)});
sql(q{CREATE TABLE consumer_feed (
		n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
		consumer text NOT NULL, global_position bigint NOT NULL, summary text NOT NULL)});

$ENV{PGHOST} = $node->host;
$ENV{PGPORT} = $node->port;
$ENV{PGDATABASE} = 'postgres';
$ENV{PGUSER} = sql('SELECT current_user');

# Two of each, to share the work or to take turns.
foreach my $number (1 .. 2)
{
	start_client("follow.py $number", $python, "$examples/python/follow.py");
	start_client("follow.js $number", 'node', "$examples/node/follow.js") if $with_node;
	start_client("consume.py $number",
		$python, "$examples/python/consume.py", $node->connstr('postgres'));
}

# In the middle of the load, when all of them are at work, the server goes down.
my @appenders = run_load(1, 100);
foreach my $table (@feeds, 'consumer_feed')
{
	$node->poll_query_until('postgres', "SELECT to_regclass('$table') IS NOT NULL")
	  or die "$table was not created";
	$node->poll_query_until('postgres', "SELECT count(*) >= 50 FROM $table")
	  or die "nothing came into $table";
}
$node->stop('immediate');
foreach my $appender (@appenders)
{
	$appender->{may_fail} = 1;
	finish_psql($appender);
}
$node->start;
sql("ROLLBACK PREPARED '$_'")
  foreach split /\n/, sql('SELECT gid FROM pg_prepared_xacts');
cmp_ok(sql('SELECT count(*) FROM eventstore.events'), '>', 0, 'there are events');

# An event that can't be handled, and one behind it.
my $bad = sql(q{SELECT last_position FROM eventstore.append_event('Order-bad', 'Happened', '"bad"')});
my $behind = append($node, 'Order-bad');
run_load(2);

# Each event once, and in order.
my $stored = join ' ', map { /^(\d+)/ } stored($node);
foreach my $table (@feeds)
{
	wait_for(sub { length feed($table) >= length $stored }, "$table to be complete");
	is(feed($table), $stored, "$table has each event once, in order");
}

# What each consumer handled of a stream comes in order; streams take turns.
$node->poll_query_until('postgres', qq{
SELECT (SELECT count(DISTINCT global_position) FROM consumer_feed)
	   + (SELECT count(*) FROM eventstore.parked_events)
	   = (SELECT count(*) FROM eventstore.events)})
  or die 'the consumers have not handled all events';
is(sql(q{SELECT count(*) - count(DISTINCT global_position) FROM consumer_feed}),
	0, 'the consumers have handled no event twice');
is( sql(q{
SELECT global_position FROM (
	SELECT f.global_position,
		   lag(f.global_position) OVER (PARTITION BY e.stream_id ORDER BY f.n) AS previous
	FROM consumer_feed f JOIN eventstore.events e USING (global_position)) f
WHERE global_position < previous}),
	'', 'the consumers have handled each stream in order');
is( sql(q{SELECT global_position, reason, attempts FROM eventstore.parked_events}),
	"$bad|data is not a JSON object|3",
	'the event that cannot be handled is parked');
is(sql("SELECT count(*) FROM consumer_feed WHERE global_position = $behind"),
	1, 'the one behind it is handled');

# They were there all the time, and end when they are told to.
$_->{run}->signal('TERM') foreach @clients;
foreach my $client (@clients)
{
	ok($client->{run}->finish, "$client->{name} ended well") or diag($client->{err});
	like($client->{err}, qr/trying again in/, "$client->{name} had waited for the server");
}

check_indexes($node);
$node->stop;
done_testing();
