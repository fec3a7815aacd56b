# The example clients tell a lost connection from a mistake.  Psycopg2 has several
# errors for the former, among them a plain DatabaseError for a connection that
# it takes for open.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventStore::Test;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $python = '/usr/bin/python3';    # Debian's, which has psycopg2
my $examples = "$FindBin::RealBin/../../examples";
my @losing = ($python, "$FindBin::RealBin/../python/lose_connection.py");

# The server goes on when a process of it has crashed.
my $node = new_store('main', streaming => 'logical', conf => 'restart_after_crash = on');
my $file = PostgreSQL::Test::Utils::tempdir . '/events.jsonl';

$ENV{PGHOST} = $node->host;
$ENV{PGPORT} = $node->port;
$ENV{PGDATABASE} = 'postgres';
$ENV{PGUSER} = $node->safe_psql('postgres', 'SELECT current_user');
append($node, map { "Order-$_" } 1 .. 20);

sub start_client
{
	my %client = (out => '', err => '');

	$client{run} = IPC::Run::start([@_], '<', '/dev/null', '>', \$client{out}, '2>', \$client{err},
		IPC::Run::timeout($EventStore::Test::patience));
	return \%client;
}

sub end_client
{
	my ($client) = @_;

	$client->{run}->signal('TERM');
	return $client->{run}->finish;
}

# How often each event has come, and how many there are: 20 once each
sub handled
{
	my ($table) = @_;
	my ($status, $out) = $node->psql('postgres', "SELECT count(DISTINCT global_position), count(*) FROM $table");

	return $out // '';
}

sub lines
{
	return -e $file ? scalar grep { /"event_id"/ } split /\n/, slurp_file($file) : 0;
}

#
# Lost right before the COMMIT of a batch
#
foreach my $case (
	[ 'follow.py', 'save_checkpoint(%s, %s)', 1, sub { handled('python_feed') eq '20|20' } ],
	[ 'consume.py', 'ack_events', 1, sub { handled('consumer_feed') eq '20|20' } ],
	[ 'hand_over.py', 'read_visible', 2, sub { lines() == 20 }, 'hand_over', $file ])
{
	my ($name, $pattern, $count, $is_done, @arguments) = @$case;
	my $client = start_client(@losing, $pattern, $count, "$examples/python/$name", @arguments);

	wait_for(sub { $client->{run}->pump_nb; $client->{err} =~ /the server has gone/ },
		"$name to lose its server");
	wait_for(sub { $client->{run}->pumpable or die "$name: $client->{err}"; $client->{run}->pump_nb; $is_done->() },
		"$name to handle all events");
	ok(end_client($client), "$name has gone on");
	like($client->{err}, qr/^trying again in .*: server closed the connection/m, '... when the server was back');
	ok($is_done->(), '... and has handled each event once');
}

# In the live tail
my $client = start_client($python, "$examples/python/hand_over.py", 'hand_over', $file);
my $walsender = q{SELECT active_pid FROM pg_replication_slots WHERE slot_name = 'hand_over' AND active_pid IS NOT NULL};

append($node, 'Order-1');
wait_for(sub { lines() == 21 }, 'the live tail');
is($node->safe_psql('postgres', "SELECT pg_terminate_backend(($walsender))"), 't',
	'the server process of hand_over.py is terminated');
append($node, 'Order-1');
wait_for(sub { lines() == 22 }, 'hand_over.py to go on');
ok(end_client($client), 'hand_over.py has gone on');
like($client->{err}, qr/^trying again in .*: terminating connection/m, '... with another one');

#
# A mistake, however it is called
#
$node->safe_psql('postgres', q{
CREATE TABLE node_feed (n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, global_position bigint, summary text);
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION 'a mistake' USING ERRCODE = 'admin_shutdown';
END $$;
CREATE TRIGGER refuse BEFORE INSERT ON python_feed FOR EACH ROW EXECUTE FUNCTION refuse();
CREATE TRIGGER refuse BEFORE INSERT ON consumer_feed FOR EACH ROW EXECUTE FUNCTION refuse();
CREATE TRIGGER refuse BEFORE INSERT ON node_feed FOR EACH ROW EXECUTE FUNCTION refuse();
});
append($node, 'Order-2');
foreach my $case (
	[ 'follow.py', $python, "$examples/python/follow.py" ],
	[ 'consume.py', $python, "$examples/python/consume.py" ],
	$ENV{WITHOUT_NODE} ? () : [ 'follow.js', 'node', "$examples/node/follow.js" ])
{
	my ($name, @command) = @$case;
	my $client = start_client(@command);

	ok(!$client->{run}->finish, "$name ends of a mistake");
	like($client->{err}, qr/a mistake/, '... and says which');
	unlike($client->{err}, qr/trying again/, '... at once');
}

# The slot is in use by another.
my $other = start_client('pg_recvlogical', '-S', 'hand_over', '--start', '-f', '-', '-d', 'postgres');
$node->poll_query_until('postgres', "SELECT EXISTS ($walsender)") or die 'the slot is not in use';
$client = start_client($python, "$examples/python/hand_over.py", 'hand_over', $file);
ok(!$client->{run}->finish, 'hand_over.py ends of a mistake');
like($client->{err}, qr/ObjectInUse/, '... and says which');
unlike($client->{err}, qr/trying again/, '... at once');
end_client($other);

$node->stop;
done_testing();
