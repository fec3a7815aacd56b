--
-- Partitions: what falls into which, and what happens when their number is
-- changed.
--

CREATE EXTENSION eventstore;
\pset null (null)
\set SHOW_CONTEXT never
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/sql/include/subscriptions.sql'
\i :include

-- This table never changes: the checkpoints of all subscriptions depend on it.
-- (FNV-1a of 64 bits and the finalizer of MurmurHash3, modulo the number)
SELECT s.name AS stream, octet_length(s.stream_id) AS bytes,
	   (SELECT string_agg(eventstore.stream_partition(s.stream_id, n)::text, ' ' ORDER BY n)
		FROM unnest('{1,2,3,7,16,1000,1024,2147483647}'::int[]) n) AS partitions
FROM (VALUES ('empty', ''), ('A', 'A'), ('blank', ' '), ('Order-1', 'Order-1'), ('Order-2', 'Order-2'),
			 ('uuid', 'Order-550e8400-e29b-41d4-a716-446655440000'),
			 ('umlaut', U&'Bestellung-\00FC'), ('kanji', U&'\6CE8\6587-1'),
			 ('long', repeat('x', 2048))) AS s (name, stream_id);
-- They are spread evenly: no partition of 16 has less than half of its share
-- of 10,000 streams, or more than one and a half.
SELECT count(*) AS partitions, min(n) > 312 AND max(n) < 938 AS even
FROM (SELECT count(*) AS n FROM generate_series(1, 10000) i
	  GROUP BY eventstore.stream_partition('Order-' || i, 16)) p;

--
-- Each partition has its streams, and one consumer at a time.
--
SELECT pg_temp.appended(VARIADIC (SELECT array_agg('A-' || i % 5 ORDER BY i) FROM generate_series(1, 20) i));
SELECT i AS stream, eventstore.stream_partition('A-' || i, 3) AS of_three,
	   eventstore.stream_partition('A-' || i, 2) AS of_two, eventstore.stream_partition('A-' || i, 4) AS of_four
FROM generate_series(0, 4) i;
SELECT eventstore.create_subscription('s', partitions => 3);
SELECT pg_temp.fetched('s', 'c');
SELECT pg_temp.fetched('s', 'd');
SELECT pg_temp.fetched('s', 'e');
SELECT pg_temp.fetched('s', 'f');
-- who has one gets on with it
SELECT pg_temp.fetched('s', 'd', 1);
SELECT partition, checkpoint, consumer FROM eventstore.subscription_status ORDER BY 1;

--
-- The number is changed in the middle of the work: nothing is lost, nothing
-- comes twice that was acknowledged, and streams keep their order.
--
CREATE TEMP TABLE handled (n serial, position bigint, stream_id text, partition int);
-- drain(consumer, batches): handle and acknowledge batches of three
CREATE FUNCTION drain(consumer text, batches int DEFAULT 1000) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	last handled;
	number int := 0;
BEGIN
	FOR i IN 1 .. batches LOOP
		INSERT INTO handled (position, stream_id, partition)
		SELECT f.global_position, f.stream_id, f.partition
		FROM eventstore.fetch_events('s', drain.consumer, 3) f;
		EXIT WHEN NOT FOUND;
		SELECT * INTO last FROM handled ORDER BY n DESC LIMIT 1;
		PERFORM eventstore.ack_events('s', drain.consumer, last.partition, last.position);
		number := number + 1;
	END LOOP;
	RETURN number;
END
$$;
CREATE TEMP VIEW result AS
	SELECT count(*) AS handled, count(DISTINCT position) AS events,
		   (SELECT count(*) FROM (SELECT position, lag(position) OVER (PARTITION BY stream_id ORDER BY n) AS before
								  FROM handled) h
			WHERE before > position) AS disordered,
		   (SELECT count(*) FROM eventstore.events e
			WHERE NOT EXISTS (SELECT FROM handled h WHERE h.position = e.global_position)) AS missing
	FROM handled;
CREATE TEMP VIEW layouts AS
	SELECT revision, checkpoints FROM eventstore.subscription_layouts ORDER BY 1;

SELECT eventstore.alter_subscription('s', partitions => 3);
SELECT drain('c', 2);
SELECT partition, checkpoint FROM eventstore.subscription_status ORDER BY 1;
SELECT eventstore.alter_subscription('s', partitions => 2);
TABLE layouts;
SELECT partition, checkpoint, revision FROM eventstore.subscription_partitions ORDER BY 1;
SELECT eventstore.get_checkpoint('s');
SELECT drain('c', 2);
TABLE result;
-- again, before that is done
SELECT eventstore.alter_subscription('s', partitions => 4);
TABLE layouts;
SELECT pg_temp.appended('A-1', 'A-3', 'A-7');
SELECT drain('d', 2);
SELECT eventstore.alter_subscription('s', partitions => 1);
SELECT eventstore.alter_subscription('s', max_attempts => 3);
TABLE layouts;
SELECT drain('c');
TABLE result;
-- what is not needed any more goes
TABLE layouts;
SELECT partition, checkpoint, lag, oldest_pending FROM eventstore.subscription_status ORDER BY 1;

-- What is in hand is lost by the consumer, and comes to another one.
SELECT pg_temp.appended('A-1', 'A-2', 'A-3', 'A-4');
SELECT pg_temp.fetched('s', 'c');
SELECT eventstore.alter_subscription('s', partitions => 2);
SELECT eventstore.ack_events('s', 'c', 0, 27);
SELECT drain('d');
TABLE result;
TABLE layouts;

--
-- Streams that wait and events that are parked move with their streams.
--
SELECT pg_temp.appended('A-0', 'A-0', 'A-1', 'A-1', 'A-2', 'A-2', 'A-3', 'A-3', 'A-4', 'A-4');
SELECT eventstore.alter_subscription('s', partitions => 1, max_attempts => 1);
SELECT pg_temp.fetched('s', 'c');
SELECT eventstore.nack_event('s', 'c', 0, 28, 'no'), eventstore.nack_event('s', 'c', 0, 34, 'no');
SELECT eventstore.ack_events('s', 'c', 0, 27);
SELECT eventstore.alter_subscription('s', max_attempts => 2);
SELECT pg_temp.fetched('s', 'c');
SELECT eventstore.nack_event('s', 'c', 0, 30, 'no', '1 hour'), eventstore.nack_event('s', 'c', 0, 36, 'no', '1 hour');
SELECT eventstore.ack_events('s', 'c', 0, 33);
SELECT eventstore.alter_subscription('s', partitions => 4);
SELECT stream_id, partition = eventstore.stream_partition(stream_id, 4) AS moved, position, failed_position
FROM eventstore.subscription_streams ORDER BY 1;
SELECT global_position, partition = eventstore.stream_partition(stream_id, 4) AS moved
FROM eventstore.parked_events ORDER BY 1;
INSERT INTO handled (position, stream_id) VALUES (29, 'A-0'), (32, 'A-2'), (33, 'A-2');
SELECT drain('c');
TABLE result;
SELECT pg_temp.due('s');
SELECT eventstore.alter_subscription('s', partitions => 2);
SELECT drain('c');
TABLE result;
SELECT eventstore.replay_parked('s');
SELECT drain('c');
SELECT handled, events, missing FROM result;
TABLE layouts;
SELECT * FROM eventstore.subscription_streams;

--
-- after_position begins anew, with whatever number.
--
SELECT pg_temp.appended('A-0', 'A-1');
SELECT pg_temp.fetched('s', 'c');
SELECT eventstore.alter_subscription('s', partitions => 3);
SELECT eventstore.alter_subscription('s', after_position => 30, partitions => 2);
TABLE layouts;
DELETE FROM handled WHERE position > 30;
SELECT drain('c');
SELECT handled, events, missing FROM result;
-- ... with what waits and is parked on both sides of it
SELECT eventstore.alter_subscription('s', after_position => 30, partitions => 1, max_attempts => 1);
SELECT pg_temp.fetched('s', 'c');
SELECT eventstore.nack_event('s', 'c', 0, 31, 'no'), eventstore.nack_event('s', 'c', 0, 37, 'no');
SELECT eventstore.ack_events('s', 'c', 0, 37);
SELECT eventstore.alter_subscription('s', max_attempts => 5);
SELECT pg_temp.fetched('s', 'c');
SELECT eventstore.nack_event('s', 'c', 0, 38, 'no', '1 hour'), eventstore.nack_event('s', 'c', 0, 39, 'no', '1 hour');
SELECT eventstore.ack_events('s', 'c', 0, 39);
SELECT eventstore.alter_subscription('s', after_position => 38, partitions => 3);
SELECT global_position FROM eventstore.parked_events ORDER BY 1;
SELECT stream_id, position FROM eventstore.subscription_streams ORDER BY 1;
DELETE FROM handled WHERE position >= 38;
SELECT drain('c');
SELECT pg_temp.due('s');
SELECT drain('c');
SELECT handled, events, missing FROM result;
SELECT eventstore.alter_subscription('s', after_position => 0, partitions => 7);
SELECT global_position FROM eventstore.parked_events ORDER BY 1;
TRUNCATE handled;
SELECT drain('c') > 7;
TABLE result;

SELECT * FROM eventstore.verify();
DROP VIEW result, layouts;
DROP FUNCTION drain;
DROP EXTENSION eventstore;
