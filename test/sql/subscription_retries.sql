--
-- What happens to events that fail: their streams wait while others go on,
-- they are handed out again, and parked in the end.
--

CREATE EXTENSION eventstore;
\pset null (null)
\set SHOW_CONTEXT never
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/sql/include/subscriptions.sql'
\i :include

CREATE TEMP VIEW waiting AS
	SELECT stream_id, position, failed_position, attempts, reason, retry_at > clock_timestamp() AS is_early
	FROM eventstore.subscription_streams ORDER BY stream_id;
CREATE TEMP VIEW parked AS
	SELECT global_position, stream_id, version, event_type, reason, attempts,
		   first_failed_at <= last_failed_at AND (last_failed_at <= parked_at OR replaying) AS in_order, replaying
	FROM eventstore.parked_events ORDER BY 1;
CREATE TEMP VIEW status AS
	SELECT partition, checkpoint, consumer, waiting_streams, oldest_pending IS NOT NULL AS is_pending, parked
	FROM eventstore.subscription_status;

--
-- A stream waits, and the others go on.
--
SELECT eventstore.create_subscription('s', max_attempts => 3);
SELECT pg_temp.appended('A-1', 'B-1', 'A-1', 'C-1', 'A-1');
SELECT pg_temp.fetched('s', 'c');
SELECT eventstore.nack_event('s', 'c', 0, 1, 'no stock', '1 hour');
-- a second time, and the events behind it: no news
SELECT eventstore.nack_event('s', 'c', 0, 1, 'again', '0');
SELECT eventstore.nack_event('s', 'c', 0, 3, 'no stock', '0');
SELECT eventstore.ack_events('s', 'c', 0, 5);
TABLE waiting;
TABLE status;
SELECT eventstore.get_checkpoint('s');
SELECT pg_temp.fetched('s', 'c');
SELECT pg_temp.appended('A-1', 'B-1');
SELECT pg_temp.fetched('s', 'c');
SELECT eventstore.ack_events('s', 'c', 0, 7);

-- It is due: first it alone, then the stream catches up, then it goes on.
SELECT pg_temp.due('s');
SELECT pg_temp.appended('A-1', 'C-1');
SELECT pg_temp.fetched('s', 'c');
SELECT eventstore.ack_events('s', 'c', 0, 1);
TABLE status;
SELECT eventstore.get_checkpoint('s');
SELECT eventstore.ack_events('s', 'c', 0, 9);
SELECT pg_temp.fetched('s', 'c');
SELECT eventstore.ack_events('s', 'c', 0, 5);
SELECT pg_temp.fetched('s', 'd');
SELECT eventstore.ack_events('s', 'c', 0, 8);
SELECT pg_temp.fetched('s', 'd');
TABLE waiting;
TABLE status;
SELECT pg_temp.appended('A-1', 'B-1');
SELECT pg_temp.fetched('s', 'd');
SELECT eventstore.ack_events('s', 'd', 0, 11);

--
-- Parked after max_attempts: the stream goes on without the event.
--
SELECT pg_temp.appended('A-1', 'A-1', 'B-1');
SELECT pg_temp.fetched('s', 'c');
SELECT eventstore.nack_event('s', 'c', 0, 12, 'one', '0'), eventstore.ack_events('s', 'c', 0, 14);
SELECT pg_temp.fetched('s', 'c');
SELECT eventstore.nack_event('s', 'c', 0, 12, 'two', '0'), eventstore.ack_events('s', 'c', 0, 12);
SELECT pg_temp.fetched('s', 'c');
SELECT eventstore.nack_event('s', 'c', 0, 12, NULL, '0'), eventstore.ack_events('s', 'c', 0, 12);
TABLE parked;
SELECT pg_temp.fetched('s', 'c');
SELECT eventstore.ack_events('s', 'c', 0, 13);
SELECT pg_temp.fetched('s', 'c');
TABLE waiting;
TABLE status;

-- Replayed: it counts anew, and is there until it is acknowledged.
SELECT eventstore.replay_parked('s');
SELECT eventstore.replay_parked('s');
TABLE parked;
SELECT pg_temp.fetched('s', 'c');
SELECT eventstore.nack_event('s', 'c', 0, 12, 'four', '1 hour'), eventstore.ack_events('s', 'c', 0, 12);
TABLE parked;
SELECT pg_temp.fetched('s', 'c');
UPDATE eventstore.subscription_parked SET retry_at = clock_timestamp();
SELECT pg_temp.fetched('s', 'c');
SELECT eventstore.nack_event('s', 'c', 0, 12, 'five', '0'), eventstore.ack_events('s', 'c', 0, 12);
SELECT pg_temp.fetched('s', 'c');
SELECT eventstore.nack_event('s', 'c', 0, 12, 'six', '0'), eventstore.ack_events('s', 'c', 0, 12);
TABLE parked;
SELECT pg_temp.fetched('s', 'c');
SELECT eventstore.replay_parked('s', '{12}');
SELECT pg_temp.fetched('s', 'c');
SELECT eventstore.ack_events('s', 'c', 0, 12);
TABLE parked;
TABLE status;
SELECT eventstore.replay_parked('s');

-- One attempt only: parked at once.  Of several replays each is judged by
-- itself, one for each stream, and others are not handed out with them.
SELECT eventstore.alter_subscription('s', max_attempts => 1);
SELECT pg_temp.appended('A-1', 'B-1', 'A-1', 'C-1');
SELECT pg_temp.fetched('s', 'c');
SELECT eventstore.nack_event('s', 'c', 0, p, 'all bad', '1 hour') FROM generate_series(15, 18) p;
TABLE parked;
-- ... again: it is parked already
SELECT eventstore.nack_event('s', 'c', 0, 16, 'again', '0');
SELECT eventstore.ack_events('s', 'c', 0, 18);
SELECT eventstore.replay_parked('s', '{17,15,16}');
SELECT pg_temp.appended('D-1');
SELECT pg_temp.fetched('s', 'c');
SELECT eventstore.nack_event('s', 'c', 0, 15, 'still bad', '0'), eventstore.ack_events('s', 'c', 0, 16);
SELECT pg_temp.fetched('s', 'c');
SELECT eventstore.ack_events('s', 'c', 0, 17);
TABLE parked;
SELECT pg_temp.fetched('s', 'c');
SELECT eventstore.ack_events('s', 'c', 0, 19);
SELECT eventstore.drop_subscription('s');

--
-- An event that fails while its stream catches up
--
SELECT eventstore.create_subscription('s', '{A,T}', max_attempts => 2, after_position => 19);
SELECT pg_temp.appended('A-2', 'T-2', 'A-2', 'A-2', 'A-2');
SELECT pg_temp.fetched('s', 'c');
SELECT eventstore.nack_event('s', 'c', 0, 20, 'first', '0'), eventstore.ack_events('s', 'c', 0, 24);
SELECT pg_temp.fetched('s', 'c');
SELECT eventstore.ack_events('s', 'c', 0, 20);
SELECT pg_temp.fetched('s', 'c');
-- the second one of three
SELECT eventstore.nack_event('s', 'c', 0, 23, 'second', '1 hour');
TABLE waiting;
SELECT eventstore.ack_events('s', 'c', 0, 22);
TABLE waiting;
SELECT pg_temp.fetched('s', 'c');
SELECT pg_temp.due('s');
SELECT pg_temp.fetched('s', 'c');
SELECT eventstore.nack_event('s', 'c', 0, 23, 'third', '1 hour'), eventstore.ack_events('s', 'c', 0, 23);
TABLE parked;
-- The first one, and no acknowledgement: it waits for the time that was asked
-- for, and is parked at the second time.
SELECT pg_temp.fetched('s', 'c');
SELECT eventstore.nack_event('s', 'c', 0, 24, 'fourth', '1 hour');
TABLE waiting;
SELECT pg_temp.fetched('s', 'c');
SELECT pg_temp.due('s');
SELECT pg_temp.fetched('s', 'c');
SELECT eventstore.nack_event('s', 'c', 0, 24, 'fifth', '1 hour');
TABLE parked;
SELECT pg_temp.fetched('s', 'c');
TABLE waiting;
TABLE status;
SELECT eventstore.drop_subscription('s');

-- A consumer fails with one of three, and does not answer for the one before:
-- that is found out about first, and the other one does not have to wait for
-- the time that it was to.
SELECT eventstore.create_subscription('s', after_position => 24, max_attempts => 2);
SELECT pg_temp.appended('A-3', 'A-3', 'A-3', 'A-3');
SELECT pg_temp.fetched('s', 'c');
SELECT eventstore.nack_event('s', 'c', 0, 25, 'no', '0'), eventstore.ack_events('s', 'c', 0, 28);
SELECT pg_temp.fetched('s', 'c');
SELECT eventstore.ack_events('s', 'c', 0, 25);
SELECT pg_temp.fetched('s', 'c');
SELECT eventstore.nack_event('s', 'c', 0, 27, 'no', '1 hour');
SELECT pg_temp.fetched('s', 'c');
SELECT eventstore.ack_events('s', 'c', 0, 26);
SELECT pg_temp.fetched('s', 'c');
SELECT eventstore.ack_events('s', 'c', 0, 27);
-- nobody has an answer for the last: the reason is not that of another one
SELECT pg_temp.fetched('s', 'c');
SELECT pg_temp.fetched('s', 'c');
SELECT pg_temp.fetched('s', 'c');
TABLE parked;
TABLE waiting;
SELECT eventstore.drop_subscription('s');

--
-- Partial acknowledgements, with streams that wait among new events
--
SELECT eventstore.create_subscription('s', after_position => 28);
SELECT pg_temp.appended('A-4', 'B-4', 'C-4');
SELECT pg_temp.fetched('s', 'c');
SELECT eventstore.nack_event('s', 'c', 0, p, 'no', '0') FROM generate_series(29, 31) p;
SELECT eventstore.ack_events('s', 'c', 0, 31);
SELECT pg_temp.appended('D-4', 'A-4', 'E-4');
SELECT pg_temp.fetched('s', 'c', 4);
SELECT eventstore.ack_events('s', 'c', 0, 29);
SELECT pg_temp.fetched('s', 'd', 4);
SELECT eventstore.ack_events('s', 'c', 0, 30);
SELECT eventstore.nack_event('s', 'c', 0, 32, 'no', '1 hour');
SELECT eventstore.ack_events('s', 'c', 0, 34);
TABLE waiting;
SELECT pg_temp.fetched('s', 'd');
-- (33 comes now: its stream is catching up)
SELECT eventstore.ack_events('s', 'd', 0, 33);
SELECT pg_temp.due('s');
SELECT pg_temp.fetched('s', 'd');
SELECT eventstore.ack_events('s', 'd', 0, 32);
TABLE status;
SELECT eventstore.drop_subscription('s');

--
-- A consumer that dies with its events: whatever it had comes one by one, and
-- what nobody survives is parked.
--
SELECT eventstore.create_subscription('s', after_position => 34, max_attempts => 3);
SELECT pg_temp.appended('A-5', 'B-5', 'C-5', 'D-5');
SELECT pg_temp.fetched('s', 'c');
SELECT pg_temp.lost('s'), pg_temp.fetched('s', 'd');
SELECT pg_temp.lost('s'), pg_temp.fetched('s', 'e');
SELECT pg_temp.lost('s'), pg_temp.fetched('s', 'f');
TABLE parked;
SELECT eventstore.ack_events('s', 'f', 0, 36);
-- The last attempt fails with a word, and then the consumer dies: what comes
-- next was handed out once.
SELECT pg_temp.fetched('s', 'f');
SELECT pg_temp.lost('s'), pg_temp.fetched('s', 'c');
SELECT eventstore.nack_event('s', 'c', 0, 37, 'no', '1 hour');
SELECT pg_temp.lost('s'), pg_temp.fetched('s', 'd');
SELECT eventstore.ack_events('s', 'd', 0, 38);
TABLE parked;
TABLE status;
-- ... with replays
SELECT eventstore.replay_parked('s');
SELECT pg_temp.fetched('s', 'c');
SELECT pg_temp.lost('s'), pg_temp.fetched('s', 'd');
SELECT pg_temp.lost('s'), pg_temp.fetched('s', 'e');
SELECT pg_temp.lost('s'), pg_temp.fetched('s', 'f');
SELECT eventstore.ack_events('s', 'f', 0, 37);
TABLE parked;
SELECT eventstore.drop_subscription('s');

--
-- An earlier event of a stream fails after a later one did
--
SELECT eventstore.create_subscription('s', after_position => 38, max_attempts => 2);
SELECT pg_temp.appended('A-6', 'A-6', 'A-6');
SELECT pg_temp.fetched('s', 'c');
SELECT eventstore.nack_event('s', 'c', 0, 40, 'later', '0');
SELECT pg_temp.lost('s'), pg_temp.fetched('s', 'd');
SELECT eventstore.nack_event('s', 'd', 0, 39, 'earlier', '0');
TABLE waiting;
SELECT pg_temp.lost('s'), pg_temp.fetched('s', 'd');
TABLE waiting;
TABLE parked;
SELECT eventstore.ack_events('s', 'd', 0, 40);
SELECT pg_temp.fetched('s', 'd');
SELECT eventstore.ack_events('s', 'd', 0, 41);

-- Filters hold for what waits, too.
SELECT pg_temp.appended('A-6', 'B-6');
SELECT pg_temp.fetched('s', 'c');
SELECT eventstore.nack_event('s', 'c', 0, p, 'no', '0') FROM generate_series(42, 43) p;
SELECT eventstore.ack_events('s', 'c', 0, 43);
SELECT eventstore.alter_subscription('s', '{B}');
SELECT pg_temp.fetched('s', 'c');
SELECT eventstore.ack_events('s', 'c', 0, 43);
SELECT pg_temp.fetched('s', 'c');
TABLE waiting;
TABLE status;
-- What was parked can be replayed, whatever the filter.
SELECT eventstore.replay_parked('s');
SELECT pg_temp.fetched('s', 'c');
SELECT eventstore.ack_events('s', 'c', 0, 39);
TABLE status;
SELECT eventstore.drop_subscription('s');

SELECT * FROM eventstore.verify();
DROP VIEW waiting, parked, status;
DROP EXTENSION eventstore;
