--
-- verify(): breaks each invariant of the subscriptions' books, sees it
-- reported, and sees nothing else reported.
--
SET client_min_messages = warning;
\getenv srcdir PG_ABS_SRCDIR
\set by_hand :srcdir '/sql/include/by_hand.sql'
\i :by_hand
DROP EXTENSION IF EXISTS eventstore CASCADE;
CREATE EXTENSION eventstore;
CREATE ROLE regress_es_verify;
\set include :srcdir '/sql/include/subscriptions.sql'
\i :include

-- A store in the middle of everything
SELECT pg_temp.appended('A-0', 'A-1', 'A-2', 'A-3', 'A-4', 'A-0', 'A-1', 'A-2', 'A-3', 'A-4');
SELECT eventstore.save_checkpoint('follower', 3);
SELECT eventstore.create_subscription('s', max_attempts => 1);
SELECT pg_temp.fetched('s', 'c', 5);
SELECT eventstore.nack_event('s', 'c', 0, 2, 'no'), eventstore.ack_events('s', 'c', 0, 5);
SELECT eventstore.alter_subscription('s', max_attempts => 3);
SELECT pg_temp.fetched('s', 'c', 3);
SELECT eventstore.nack_event('s', 'c', 0, 6, 'no', '0'), eventstore.ack_events('s', 'c', 0, 8);
SELECT eventstore.alter_subscription('s', partitions => 2);
SELECT pg_temp.fetched('s', 'c'), pg_temp.fetched('s', 'd');
INSERT INTO eventstore.subscription_layouts VALUES ('s', 1, '{9}');
SELECT partition, checkpoint, fetched_to, tried_to, consumer FROM eventstore.subscription_partitions ORDER BY 1;
SELECT stream_id, partition, position, failed_position, delivered_to FROM eventstore.subscription_streams;
SELECT stream_id, partition, position FROM eventstore.subscription_parked;
SELECT revision, checkpoints FROM eventstore.subscription_layouts;
SELECT * FROM eventstore.verify() ORDER BY invariant COLLATE "C", detail COLLATE "C";

-- broken(change): what is reported after it; it is rolled back.
CREATE FUNCTION broken(change text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	reports text[];
BEGIN
	RETURN NEXT change;
	BEGIN
		EXECUTE change;
		reports := array_agg(v.invariant || ': ' || v.detail ORDER BY v.invariant COLLATE "C", v.detail COLLATE "C")
			FROM eventstore.verify() v;
		RAISE EXCEPTION USING ERRCODE = 'P9999';
	EXCEPTION WHEN SQLSTATE 'P9999' THEN
	END;
	RETURN QUERY SELECT '  ' || r FROM unnest(coalesce(reports, '{NOTHING}')) r;
END
$$;
\pset format unaligned
\pset tuples_only on

-- partitions
SELECT broken('DELETE FROM eventstore.subscription_partitions WHERE partition = 1');
SELECT broken('DELETE FROM eventstore.subscription_partitions');
SELECT broken('UPDATE eventstore.subscription_partitions SET partition = 2 WHERE partition = 1');
SELECT broken('UPDATE eventstore.subscription_partitions SET revision = 1 WHERE partition = 1');
SELECT broken('INSERT INTO eventstore.subscription_partitions (subscription_id, partition, revision, checkpoint, scanned_to) VALUES (''s'', 2, 3, 0, 0)');
SELECT broken('UPDATE eventstore.subscriptions SET revision = 9');

-- positions
SELECT broken('UPDATE eventstore.subscription_partitions SET checkpoint = 99 WHERE partition = 1');
SELECT broken('UPDATE eventstore.subscription_partitions SET checkpoint = -1 WHERE partition = 1');
SELECT broken('UPDATE eventstore.subscription_partitions SET fetched_to = scanned_to + 1 WHERE partition = 1');
SELECT broken('UPDATE eventstore.subscription_partitions SET fetched_to = checkpoint WHERE partition = 1');
SELECT broken('UPDATE eventstore.subscription_partitions SET tried_to = 0 WHERE partition = 1');

-- ... ahead of the events
SELECT broken('UPDATE eventstore.checkpoints SET position = 11');
SELECT broken('UPDATE eventstore.subscription_partitions SET scanned_to = 11 WHERE partition = 1');
SELECT broken('UPDATE eventstore.subscription_layouts SET checkpoints = ''{1,12}''');

-- leases
SELECT broken('UPDATE eventstore.subscription_partitions SET consumer = NULL WHERE partition = 1');
SELECT broken('UPDATE eventstore.subscription_partitions SET lease_until = NULL WHERE partition = 1');
SELECT broken('UPDATE eventstore.subscription_partitions SET consumer = NULL, lease_until = NULL WHERE partition = 1');
SELECT broken('UPDATE eventstore.subscription_partitions SET consumer = NULL, lease_until = NULL, fetched_to = NULL WHERE partition = 0');
SELECT broken('UPDATE eventstore.subscription_partitions SET consumer = NULL, lease_until = NULL, fetched_to = NULL;
			   UPDATE eventstore.subscription_streams SET delivered_to = NULL;
			   UPDATE eventstore.subscription_parked SET is_delivered = true');

-- streams that wait, and parked events
SELECT broken('UPDATE eventstore.subscription_streams SET partition = 1 - partition, delivered_to = NULL');
SELECT broken('UPDATE eventstore.subscription_parked SET partition = 1 - partition');
SELECT broken('UPDATE eventstore.subscription_streams SET failed_position = 99');
SELECT broken('UPDATE eventstore.subscription_streams SET failed_position = 7');
SELECT broken('UPDATE eventstore.subscription_streams SET failed_position = 1');
SELECT broken('UPDATE eventstore.subscription_streams SET version = 3');
SELECT broken('UPDATE eventstore.subscription_parked SET position = 99');
SELECT broken('UPDATE eventstore.subscription_parked SET position = 3');

-- former layouts
SELECT broken('UPDATE eventstore.subscription_layouts SET revision = 3');
SELECT broken('ALTER TABLE eventstore.subscription_layouts DROP CONSTRAINT subscription_layouts_are_of_partitions;
	UPDATE eventstore.subscription_layouts SET checkpoints = ''{}''');
SELECT broken('ALTER TABLE eventstore.subscription_layouts DROP CONSTRAINT subscription_layouts_are_of_partitions;
	UPDATE eventstore.subscription_layouts SET checkpoints = ''{NULL}''');

-- names
SELECT broken('INSERT INTO eventstore.checkpoints VALUES (''s'', 1)');

-- rows of no subscription
SELECT broken('DELETE FROM eventstore.subscriptions');

-- relations and rights
SELECT broken('ALTER TABLE eventstore.checkpoints SET UNLOGGED');
SELECT broken('GRANT SELECT, UPDATE ON eventstore.subscription_partitions TO regress_es_verify');
SELECT broken('GRANT INSERT (position) ON eventstore.checkpoints TO regress_es_verify');
SELECT broken('GRANT SELECT ON eventstore.subscription_status TO PUBLIC');
SELECT broken('GRANT EXECUTE ON FUNCTION eventstore.ack_events TO PUBLIC');
-- ... as they should be
SELECT broken('SELECT eventstore.grant_subscriber(''regress_es_verify'')');

-- After all of this, the books are sound.
SELECT * FROM eventstore.verify();
DROP FUNCTION broken;
DROP ROLE regress_es_verify;
DROP EXTENSION eventstore;
