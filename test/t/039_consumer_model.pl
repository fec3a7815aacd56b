# Consumers that do all that consumers may do, at random and side by side: they
# fail with events, acknowledge a part, are too slow, or never answer, while
# the subscription is changed, parked events are replayed and events arrive.
# In the end each event was handled once, and in the order of its stream, but
# for those that were parked on the way.
#
# ES_TEST_SEED in the environment repeats a run, as far as its timing allows.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventStore::Test;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $seed = $ENV{ES_TEST_SEED} // int rand 1_000_000;
my $node = new_store('main');

note("ES_TEST_SEED=$seed");
$node->safe_psql('postgres', q{
CREATE TABLE handled (n bigserial, position bigint, stream text, consumer text);
CREATE TABLE was_parked (position bigint);
CREATE FUNCTION remember_parked() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.was_parked VALUES (NEW.position);
	RETURN NULL;
END $$;
CREATE TRIGGER remember_parked AFTER INSERT ON eventstore.subscription_parked
	FOR EACH ROW EXECUTE FUNCTION remember_parked();

-- consume(consumer, failures, seconds): with so many failures out of 100
-- events, for this long
CREATE PROCEDURE consume(consumer text, failures int, seconds float) LANGUAGE plpgsql AS $$
DECLARE
	batch handled[];
	event handled;
	part int;
	upto int;
	failed text[];
	end_at timestamptz := clock_timestamp() + make_interval(secs => seconds);
BEGIN
	WHILE clock_timestamp() < end_at LOOP
		SELECT array_agg(ROW(0, f.global_position, f.stream_id, consumer)::handled ORDER BY f.global_position),
			   min(f.partition)
		INTO batch, part
		FROM eventstore.fetch_events('s', consumer, 1 + (random() * 12)::int,
									 CASE WHEN random() < 0.3 THEN interval '5 ms' ELSE '1 minute' END) f;
		IF random() < 0.03 THEN
			ROLLBACK;
			CONTINUE;
		END IF;
		COMMIT;
		IF batch IS NULL THEN
			PERFORM pg_sleep(0.002);
			CONTINUE;
		END IF;
		CONTINUE WHEN failures > 0 AND random() < 0.05;		-- never answers
		IF failures > 0 AND random() < 0.1 THEN
			PERFORM pg_sleep(0.01);							-- is too slow
		END IF;

		failed := '{}';
		upto := 0;
		WHILE upto < cardinality(batch) LOOP
			BEGIN
				FOR j IN upto + 1 .. upto + 1 + (random() * (cardinality(batch) - upto - 1))::int LOOP
					event := batch[j];
					upto := j;
					CONTINUE WHEN event.stream = ANY (failed);
					IF random() * 100 < failures THEN
						IF NOT eventstore.nack_event('s', consumer, part, event.position, 'unlucky',
								CASE WHEN random() < 0.5 THEN interval '0' ELSE '3 ms' END) THEN
							failed := failed || event.stream;
						END IF;
					ELSE
						INSERT INTO handled (position, stream, consumer)
						VALUES (event.position, event.stream, consumer);
					END IF;
				END LOOP;
				PERFORM eventstore.ack_events('s', consumer, part, event.position);
			EXCEPTION WHEN SQLSTATE 'ST006' THEN
				upto := cardinality(batch);					-- has lost it
			END;
			COMMIT;
		END LOOP;
	END LOOP;
END $$;

CREATE PROCEDURE manage(seconds float) LANGUAGE plpgsql AS $$
DECLARE
	end_at timestamptz := clock_timestamp() + make_interval(secs => seconds);
BEGIN
	WHILE clock_timestamp() < end_at LOOP
		IF random() < 0.5 THEN
			PERFORM eventstore.alter_subscription('s', partitions => 1 + (random() * 5)::int,
												  max_attempts => 2 + (random() * 2)::int);
		ELSE
			PERFORM eventstore.replay_parked('s');
		END IF;
		COMMIT;
		PERFORM pg_sleep(0.05);
	END LOOP;
END $$;
SELECT eventstore.create_subscription('s', '{Account,Order}', '{Happened}', partitions => 3)});

sub start
{
	my ($name, $call) = @_;

	srand($seed++);
	return start_psql($node, $name, '-c', 'SELECT setseed(' . rand() . ')', '-c', "CALL $call");
}

my ($expected, @appenders) = start_appenders($node, 2, 150, seed => $seed);
wait_for(sub { acknowledged(@appenders) >= 50 }, 'some events');
my @processes = map { start("consumer_$_", "consume('c$_', 12, 4)") } 1 .. 4;
push @processes, start('manager', 'manage(4)');
ok(finish_psql($_), "$_->{name} ended well") foreach @processes;
finish_appenders(@appenders);

# Nobody fails any more.
for (my $i = 0; $i < 50; $i++)
{
	$node->safe_psql('postgres', q{
UPDATE eventstore.subscription_partitions SET lease_until = now() WHERE consumer IS NOT NULL;
SELECT eventstore.replay_parked('s')});
	$node->safe_psql('postgres', q{CALL consume('last', 0, 0.3)});
	last
	  if $node->safe_psql('postgres', q{
SELECT bool_and(lag = 0 AND oldest_pending IS NULL AND parked = 0) FROM eventstore.subscription_status}) eq 't';
}

is($node->safe_psql('postgres', q{
SELECT count(*) FROM eventstore.events e
WHERE NOT EXISTS (SELECT FROM handled h WHERE h.position = e.global_position)}),
	0, 'no event was missed');
is($node->safe_psql('postgres', q{
SELECT string_agg(position::text, ' ') FROM (
	SELECT position FROM handled GROUP BY position HAVING count(*) > 1) h}),
	'', 'none was handled twice');
is($node->safe_psql('postgres', q{
SELECT string_agg(position::text, ' ') FROM (
	SELECT position, lag(position) OVER (PARTITION BY stream ORDER BY n) AS before
	FROM handled h
	WHERE NOT EXISTS (SELECT FROM was_parked p WHERE p.position = h.position)) h
WHERE position < before}),
	'', 'none that was not parked was handled out of the order of its stream');
is($node->safe_psql('postgres', q{
SELECT concat_ws(' ', s.count, l.count)
FROM (SELECT count(*) FROM eventstore.subscription_streams) s,
	 (SELECT count(*) FROM eventstore.subscription_layouts) l}),
	'0 0', 'nothing is left waiting');
is($node->safe_psql('postgres', 'SELECT * FROM eventstore.verify()'), '', 'verify() finds nothing');
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM was_parked'),
	'>', 0, 'and some were parked on the way');

check_indexes($node);
$node->stop;
done_testing();
