# Consumers are killed at every step of their work, under load, and the server
# with them.  Who writes his own table and acknowledges in one transaction has
# handled each event once; who handles first and acknowledges later has lost
# none; and both see each stream in order.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventStore::Test;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $node = new_store('main');

$node->safe_psql('postgres', q{
CREATE TABLE handled (n bigserial, subscription text, position bigint, stream text, consumer text);

-- consume(how, consumer): handle events for ever, in one transaction with the
-- acknowledgement ("once"), also with the fetch ("alone"), or before ("least").
CREATE PROCEDURE consume(how text, consumer text) LANGUAGE plpgsql AS $$
DECLARE
	batch handled[];
	part int;
	reached bigint;
BEGIN
	LOOP
		SELECT array_agg(ROW(0, how, f.global_position, f.stream_id, consumer)::handled ORDER BY f.global_position),
			   min(f.partition), max(f.global_position)
		INTO batch, part, reached
		FROM eventstore.fetch_events(how, consumer, 20, '100 ms') f;
		IF how <> 'alone' THEN
			COMMIT;
		END IF;
		IF batch IS NULL THEN
			COMMIT;
			PERFORM pg_sleep(0.01);
			CONTINUE;
		END IF;

		IF random() < 0.1 THEN
			PERFORM pg_sleep(0.15);		-- too slow
		END IF;
		BEGIN
			INSERT INTO handled (subscription, position, stream, consumer)
			SELECT b.subscription, b.position, b.stream, b.consumer FROM unnest(batch) b ORDER BY b.position;
			IF how <> 'least' THEN
				PERFORM eventstore.ack_events(how, consumer, part, reached);
			END IF;
		EXCEPTION WHEN SQLSTATE 'ST006' THEN
			batch := NULL;
		END;
		COMMIT;
		CONTINUE WHEN how <> 'least' OR batch IS NULL;

		BEGIN
			PERFORM eventstore.ack_events(how, consumer, part, reached);
		EXCEPTION WHEN SQLSTATE 'ST006' THEN
		END;
		COMMIT;
	END LOOP;
END
$$});

my @hows = ('once', 'alone', 'least');

#
# At every step, one by one
#

my $fetch = q{SELECT count(*) FROM eventstore.fetch_events('steps', '%s')};
my $handle = q{INSERT INTO handled (subscription, position, stream, consumer)
	SELECT 'steps', global_position, stream_id, '%s' FROM eventstore.events WHERE stream_id = 'Step-1'};
my $ack = q{SELECT eventstore.ack_events('steps', '%s', 0, (SELECT max(global_position) FROM eventstore.events))};
my %ways = (
	'two transactions' => [ $fetch, 'BEGIN', $handle, $ack, 'COMMIT' ],
	'one transaction' => [ 'BEGIN', $fetch, $handle, $ack, 'COMMIT' ]);

append($node, ('Step-1') x 3);
foreach my $way (sort keys %ways)
{
	foreach my $kill ('terminated', 'killed')
	{
		foreach my $nsteps (1 .. @{ $ways{$way} })
		{
			my $session = session($node);
			my $pid = $session->pid;

			$node->safe_psql('postgres',
				q{SELECT eventstore.create_subscription('steps', '{Step}'); TRUNCATE handled});
			$session->query(sprintf $_, 'first') foreach @{ $ways{$way} }[ 0 .. $nsteps - 1 ];
			if ($kill eq 'terminated')
			{
				$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
			}
			else
			{
				$session->{run}->signal('KILL');
			}
			$node->poll_query_until('postgres',
				"SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $pid)")
			  or die 'the session is still there';
			eval { $session->{run}->finish };

			# Somebody else takes what is left, one by one or all at once.
			$node->safe_psql('postgres', q{
UPDATE eventstore.subscription_partitions SET lease_until = now();
DO $$
DECLARE
	event record;
BEGIN
	LOOP
		FOR event IN SELECT * FROM eventstore.fetch_events('steps', 'second') LOOP
			INSERT INTO handled (subscription, position, stream, consumer)
			VALUES ('steps', event.global_position, event.stream_id, 'second');
			PERFORM eventstore.ack_events('steps', 'second', 0, event.global_position);
		END LOOP;
		EXIT WHEN event IS NULL;
		event := NULL;
	END LOOP;
END $$});
			is( $node->safe_psql('postgres', q{
SELECT string_agg(version::text, ' ' ORDER BY h.n), min(consumer), max(consumer)
FROM handled h JOIN eventstore.events ON global_position = h.position}),
				$nsteps == @{ $ways{$way} } ? '1 2 3|first|first' : '1 2 3|second|second',
				"$way, $kill after $nsteps steps: handled once, by one of the two");
			$node->safe_psql('postgres', q{SELECT eventstore.drop_subscription('steps')});
		}
	}
}

#
# Under load
#

$node->safe_psql('postgres', q{
TRUNCATE handled;
SELECT eventstore.create_subscription('once', partitions => 3, max_attempts => 100000);
SELECT eventstore.create_subscription('alone', partitions => 3, max_attempts => 100000);
SELECT eventstore.create_subscription('least', partitions => 3, max_attempts => 100000)});
my %consumers;
my $nconsumers = 0;

sub start_consumer
{
	my ($how) = @_;
	my $name = "consumer_" . ++$nconsumers;
	my $consumer = start_psql($node, $name, '-c', "CALL consume('$how', '$name')");

	$consumer->{may_fail} = 1;
	$consumer->{how} = $how;
	$consumers{$name} = $consumer;
	return;
}

# Kill one, its server process or its client, and start another one.
sub replace_consumer
{
	my ($name) = (sort keys %consumers)[ rand keys %consumers ];
	my $consumer = delete $consumers{$name};

	$consumer->{run}->signal('KILL') if rand() < 0.3;
	$node->safe_psql('postgres', qq{
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '$name'});
	finish_psql($consumer);
	start_consumer($consumer->{how});
	return;
}

srand(7);
foreach my $round (1 .. 3)
{
	start_consumer($_) foreach (@hows) x 2;
	my ($expected, @appenders) =
	  start_appenders($node, 3, 2000, seed => $round, round => $round);

	foreach my $enough (1 .. 4)
	{
		wait_for(sub { acknowledged(@appenders) >= 20 * $enough }, 'some appends');
		replace_consumer();
	}
	kill_server($node);
	$_->{may_fail} = 1 foreach @appenders;
	finish_psql($_) foreach @appenders, values %consumers;
	%consumers = ();
	start_after_crash($node);
}

# The last consumers go on to the end.
start_consumer($_) foreach @hows;
$node->poll_query_until('postgres', q{
SELECT bool_and(lag = 0 AND oldest_pending IS NULL AND consumer IS NULL)
FROM eventstore.subscription_status})
  or die 'the consumers do not come to an end';
$node->safe_psql('postgres', q{
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'consumer%'});
finish_psql($_) foreach values %consumers;

my $nevents = $node->safe_psql('postgres', 'SELECT count(*) FROM eventstore.events');
foreach my $how (@hows)
{
	is( $node->safe_psql('postgres', qq{
SELECT count(DISTINCT e.global_position)
FROM handled h JOIN eventstore.events e ON e.global_position = h.position AND e.stream_id = h.stream
WHERE subscription = '$how'}),
		$nevents, "$how: all $nevents events were handled");
	is( $node->safe_psql('postgres', qq{
SELECT count(*)
FROM (SELECT position, lag(position) OVER (PARTITION BY stream ORDER BY n) AS before
	  FROM (SELECT stream, position, min(n) AS n FROM handled
			WHERE subscription = '$how' GROUP BY stream, position) h) h
WHERE position <= before}),
		0, "$how: each stream in order");
	my $ntimes = $node->safe_psql('postgres', "SELECT count(*) FROM handled WHERE subscription = '$how'");
	note("$how: $ntimes times");
	is($ntimes, $nevents, "$how: each event once") if $how ne 'least';
}
is($node->safe_psql('postgres', 'SELECT count(*) FROM eventstore.parked_events'), 0, 'nothing was parked');
is($node->safe_psql('postgres', 'SELECT * FROM eventstore.verify()'), '', 'verify() finds nothing');

check_indexes($node);
$node->stop;
done_testing();
