--
-- Every mistake in a call that has to do with subscriptions ends in an error,
-- and changes nothing.
--

CREATE EXTENSION eventstore;
\pset null (null)
\set SHOW_CONTEXT never
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/sql/include/subscriptions.sql'
\i :include

\set outcome :srcdir '/sql/include/outcome.sql'
\i :outcome

-- A subscription in the middle of its work
SELECT pg_temp.appended('A-1', 'B-1', 'A-1', 'C-1', 'D-1', 'A-1');
SELECT eventstore.create_subscription('s', max_attempts => 2);
SELECT pg_temp.fetched('s', 'c', 4);
SELECT eventstore.nack_event('s', 'c', 0, 1, 'no', '0'), eventstore.nack_event('s', 'c', 0, 4, 'no', '1 hour'),
	   eventstore.ack_events('s', 'c', 0, 4);
SELECT pg_temp.fetched('s', 'c');
SELECT eventstore.nack_event('s', 'c', 0, 1, 'no', '0'), eventstore.ack_events('s', 'c', 0, 1);
SELECT eventstore.save_checkpoint('mine', 3);

-- All that is kept, as one text
CREATE TEMP VIEW books AS
	SELECT (SELECT string_agg(c::text, ' ' ORDER BY c) FROM eventstore.checkpoints c)
		|| (SELECT string_agg(s::text, ' ' ORDER BY s) FROM eventstore.subscriptions s)
		|| (SELECT string_agg(p::text, ' ' ORDER BY p) FROM eventstore.subscription_partitions p)
		|| (SELECT string_agg(w::text, ' ' ORDER BY w) FROM eventstore.subscription_streams w)
		|| (SELECT string_agg(d::text, ' ' ORDER BY d) FROM eventstore.subscription_parked d)
		|| (SELECT count(*) FROM eventstore.subscription_layouts) AS books;
CREATE TEMP TABLE before AS SELECT * FROM books;
SELECT length(books) > 100 AS has_something FROM before;

CREATE FUNCTION mistake(statement text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	outcome text := pg_temp.outcome(statement);
BEGIN
	IF (SELECT b.books FROM pg_temp.before b) IS DISTINCT FROM (SELECT b.books FROM pg_temp.books b) THEN
		outcome := concat(outcome, 'CHANGED SOMETHING');
	END IF;
	RETURN regexp_replace(outcome, E'CONTEXT:.*', '');
END
$$;
\pset format unaligned
\pset tuples_only on

-- create_subscription
SELECT mistake('SELECT eventstore.create_subscription(NULL)');
SELECT mistake('SELECT eventstore.create_subscription('''')');
SELECT mistake(format('SELECT eventstore.create_subscription(%L)', repeat('x', 513)));
SELECT mistake('SELECT eventstore.create_subscription(''s'')');
SELECT mistake('SELECT eventstore.create_subscription(''mine'')');
SELECT mistake('SELECT eventstore.create_subscription(''t'', ''{A,NULL}'')');
SELECT mistake('SELECT eventstore.create_subscription(''t'', ''{A,""}'')');
SELECT mistake('SELECT eventstore.create_subscription(''t'', ''{{A,B},{C,D}}'')');
SELECT mistake('SELECT eventstore.create_subscription(''t'', event_types => ''{NULL}'')');
SELECT mistake('SELECT eventstore.create_subscription(''t'', event_types => ''{{A}}'')');
SELECT mistake('SELECT eventstore.create_subscription(''t'', after_position => NULL)');
SELECT mistake('SELECT eventstore.create_subscription(''t'', after_position => -1)');
SELECT mistake('SELECT eventstore.create_subscription(''t'', partitions => NULL)');
SELECT mistake('SELECT eventstore.create_subscription(''t'', partitions => 0)');
SELECT mistake('SELECT eventstore.create_subscription(''t'', partitions => 1025)');
SELECT mistake('SELECT eventstore.create_subscription(''t'', max_attempts => NULL)');
SELECT mistake('SELECT eventstore.create_subscription(''t'', max_attempts => 0)');
SELECT mistake('SELECT eventstore.create_subscription(''t'', max_attempts => 1000001)');

-- alter_subscription
SELECT mistake('SELECT eventstore.alter_subscription(NULL)');
SELECT mistake('SELECT eventstore.alter_subscription('''')');
SELECT mistake('SELECT eventstore.alter_subscription(''t'')');
SELECT mistake('SELECT eventstore.alter_subscription(''mine'')');
SELECT mistake('SELECT eventstore.alter_subscription(''s'', ''{NULL}'')');
SELECT mistake('SELECT eventstore.alter_subscription(''s'', event_types => ''{""}'')');
SELECT mistake('SELECT eventstore.alter_subscription(''s'', partitions => 0)');
SELECT mistake('SELECT eventstore.alter_subscription(''s'', partitions => 1025)');
SELECT mistake('SELECT eventstore.alter_subscription(''s'', max_attempts => 0)');
SELECT mistake('SELECT eventstore.alter_subscription(''s'', after_position => -1)');

-- drop_subscription
SELECT mistake('SELECT eventstore.drop_subscription(NULL)');
SELECT mistake('SELECT eventstore.drop_subscription('''')');
SELECT mistake('SELECT eventstore.drop_subscription(''t'')');

-- fetch_events
SELECT mistake('SELECT count(*) FROM eventstore.fetch_events(NULL, ''c'')');
SELECT mistake('SELECT count(*) FROM eventstore.fetch_events('''', ''c'')');
SELECT mistake('SELECT count(*) FROM eventstore.fetch_events(''t'', ''c'')');
SELECT mistake('SELECT count(*) FROM eventstore.fetch_events(''mine'', ''c'')');
SELECT mistake('SELECT count(*) FROM eventstore.fetch_events(''s'', NULL)');
SELECT mistake('SELECT count(*) FROM eventstore.fetch_events(''s'', '''')');
SELECT mistake('SELECT count(*) FROM eventstore.fetch_events(''s'', ''c'', NULL)');
SELECT mistake('SELECT count(*) FROM eventstore.fetch_events(''s'', ''c'', 0)');
SELECT mistake('SELECT count(*) FROM eventstore.fetch_events(''s'', ''c'', -1)');
SELECT mistake('SELECT count(*) FROM eventstore.fetch_events(''s'', ''c'', 1, NULL)');
SELECT mistake('SELECT count(*) FROM eventstore.fetch_events(''s'', ''c'', 1, ''0'')');
SELECT mistake('SELECT count(*) FROM eventstore.fetch_events(''s'', ''c'', 1, ''-1 second'')');
SELECT mistake('SELECT count(*) FROM eventstore.fetch_events(''s'', ''c'', 1, ''1 day 1 second'')');
SELECT mistake('SELECT count(*) FROM eventstore.fetch_events(''s'', ''c'', 1, ''300000 years'')');

-- ack_events
SELECT mistake('SELECT eventstore.ack_events(NULL, ''c'', 0, 1)');
SELECT mistake('SELECT eventstore.ack_events('''', ''c'', 0, 1)');
SELECT mistake('SELECT eventstore.ack_events(''t'', ''c'', 0, 1)');
SELECT mistake('SELECT eventstore.ack_events(''mine'', ''c'', 0, 1)');
SELECT mistake('SELECT eventstore.ack_events(''s'', NULL, 0, 1)');
SELECT mistake('SELECT eventstore.ack_events(''s'', '''', 0, 1)');
SELECT mistake('SELECT eventstore.ack_events(''s'', ''d'', 0, 1)');
SELECT mistake('SELECT eventstore.ack_events(''s'', ''c'', NULL, 1)');
SELECT mistake('SELECT eventstore.ack_events(''s'', ''c'', 1, 1)');
SELECT mistake('SELECT eventstore.ack_events(''s'', ''c'', -1, 1)');
SELECT mistake('SELECT eventstore.ack_events(''s'', ''c'', 0, NULL)');
SELECT mistake('SELECT eventstore.ack_events(''s'', ''c'', 0, -1)');
SELECT mistake('SELECT eventstore.ack_events(''s'', ''c'', 0, 6)');
SELECT mistake('SELECT eventstore.ack_events(''s'', ''c'', 0, 9223372036854775807)');

-- nack_event
SELECT mistake('SELECT eventstore.nack_event(NULL, ''c'', 0, 5, ''no'')');
SELECT mistake('SELECT eventstore.nack_event('''', ''c'', 0, 5, ''no'')');
SELECT mistake('SELECT eventstore.nack_event(''t'', ''c'', 0, 5, ''no'')');
SELECT mistake('SELECT eventstore.nack_event(''s'', NULL, 0, 5, ''no'')');
SELECT mistake('SELECT eventstore.nack_event(''s'', '''', 0, 5, ''no'')');
SELECT mistake('SELECT eventstore.nack_event(''s'', ''d'', 0, 5, ''no'')');
SELECT mistake('SELECT eventstore.nack_event(''s'', ''c'', NULL, 5, ''no'')');
SELECT mistake('SELECT eventstore.nack_event(''s'', ''c'', 1, 5, ''no'')');
SELECT mistake('SELECT eventstore.nack_event(''s'', ''c'', 0, NULL, ''no'')');
SELECT mistake('SELECT eventstore.nack_event(''s'', ''c'', 0, 0, ''no'')');
SELECT mistake('SELECT eventstore.nack_event(''s'', ''c'', 0, 2, ''no'')');
SELECT mistake('SELECT eventstore.nack_event(''s'', ''c'', 0, 1, ''no'')');
SELECT mistake('SELECT eventstore.nack_event(''s'', ''c'', 0, 99, ''no'')');
SELECT mistake('SELECT eventstore.nack_event(''s'', ''c'', 0, 5, ''no'', NULL)');
SELECT mistake('SELECT eventstore.nack_event(''s'', ''c'', 0, 5, ''no'', ''-1 second'')');
SELECT mistake('SELECT eventstore.nack_event(''s'', ''c'', 0, 5, ''no'', ''300000 years'')');

-- replay_parked
SELECT mistake('SELECT eventstore.replay_parked(NULL)');
SELECT mistake('SELECT eventstore.replay_parked('''')');
SELECT mistake('SELECT eventstore.replay_parked(''t'')');
SELECT mistake('SELECT eventstore.replay_parked(''mine'')');
SELECT mistake('SELECT eventstore.replay_parked(''s'', ''{2}'')');
SELECT mistake('SELECT eventstore.replay_parked(''s'', ''{1,4}'')');
SELECT mistake('SELECT eventstore.replay_parked(''s'', ''{NULL}'')');

-- stream_partition
SELECT mistake('SELECT eventstore.stream_partition(''A-1'', 0)');
SELECT mistake('SELECT eventstore.stream_partition(''A-1'', -1)');
SELECT pg_temp.outcome('SELECT eventstore.stream_partition(NULL, 1)');
SELECT pg_temp.outcome('SELECT eventstore.stream_partition(''A-1'', NULL)');

-- grant_subscriber
SELECT mistake('SELECT eventstore.grant_subscriber(''public'')');
SELECT mistake('SELECT eventstore.grant_subscriber(''regress_es_none'')');

-- No positions is none of them.
SELECT pg_temp.outcome('SELECT eventstore.replay_parked(''s'', ''{}'')');

-- In a transaction that only reads
BEGIN READ ONLY;
SELECT mistake('SELECT count(*) FROM eventstore.fetch_events(''s'', ''c'')');
SELECT mistake('SELECT eventstore.ack_events(''s'', ''c'', 0, 1)');
SELECT mistake('SELECT eventstore.nack_event(''s'', ''c'', 0, 5, ''no'')');
SELECT mistake('SELECT eventstore.replay_parked(''s'')');
SELECT mistake('SELECT eventstore.create_subscription(''t'')');
SELECT mistake('SELECT eventstore.alter_subscription(''s'', max_attempts => 3)');
SELECT mistake('SELECT eventstore.drop_subscription(''s'')');
SELECT pg_temp.outcome('SELECT eventstore.get_checkpoint(''s'')');
COMMIT;

-- The books are missing.
BEGIN;
ALTER TABLE eventstore.subscription_partitions RENAME TO elsewhere;
SELECT pg_temp.outcome('SELECT count(*) FROM eventstore.fetch_events(''s'', ''c'')');
ROLLBACK;

-- Nothing has happened to the consumer's work.
SELECT eventstore.ack_events('s', 'c', 0, 5);
SELECT pg_temp.fetched('s', 'c');
SELECT * FROM eventstore.verify();
DROP FUNCTION mistake;
DROP VIEW books;
DROP EXTENSION eventstore;
