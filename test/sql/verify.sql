--
-- verify(): breaks each invariant that a superuser can break, sees it
-- reported, and sees nothing else reported.
--
\set VERBOSITY terse
SET client_min_messages = warning;
\getenv srcdir PG_ABS_SRCDIR
\set by_hand :srcdir '/sql/include/by_hand.sql'
\i :by_hand
DROP EXTENSION IF EXISTS eventstore CASCADE;
CREATE EXTENSION eventstore;
CREATE ROLE regress_es_verify;

SELECT last_version FROM eventstore.append_events('Order-1',
	'[{"event_type": "A", "data": 1}, {"event_type": "B", "data": 2}, {"event_type": "C", "data": 3}]');
SELECT last_version FROM eventstore.append_events('Order-2',
	'[{"event_type": "A", "data": 1}, {"event_type": "B", "binary_data": "aGk="}]');
SELECT eventstore.advance_watermark();
SELECT * FROM eventstore.verify() ORDER BY invariant COLLATE "C", detail COLLATE "C";

-- A broken event is repaired by a rollback.
BEGIN;
ALTER TABLE eventstore.events DISABLE TRIGGER guard_update, DISABLE TRIGGER guard_delete,
	DISABLE TRIGGER guard_update_row, DISABLE TRIGGER guard_delete_row;
SELECT * FROM eventstore.verify() ORDER BY invariant COLLATE "C", detail COLLATE "C";
SAVEPOINT s;
DELETE FROM eventstore.events WHERE stream_id = 'Order-1' AND version = 2;
SELECT * FROM eventstore.verify() WHERE invariant LIKE 'versions%' ORDER BY invariant COLLATE "C", detail COLLATE "C";
ROLLBACK TO s;
UPDATE eventstore.events SET version = 9 WHERE global_position = 1;
SELECT * FROM eventstore.verify() WHERE invariant NOT LIKE 'the guard%' ORDER BY invariant COLLATE "C", detail COLLATE "C";
ROLLBACK TO s;
UPDATE eventstore.events SET data = '4' WHERE global_position = 1;
SELECT * FROM eventstore.verify() WHERE invariant NOT LIKE 'the guard%' ORDER BY invariant COLLATE "C", detail COLLATE "C";
ROLLBACK TO s;
UPDATE eventstore.events SET stream_type = 'Other' WHERE global_position = 1;
SELECT * FROM eventstore.verify() WHERE invariant LIKE '%stream type' ORDER BY invariant COLLATE "C", detail COLLATE "C";
ROLLBACK TO s;
ALTER TABLE eventstore.events DROP CONSTRAINT events_one_payload;
UPDATE eventstore.events SET data = NULL WHERE global_position = 1;
SELECT * FROM eventstore.verify() WHERE invariant NOT LIKE 'the guard%' ORDER BY invariant COLLATE "C", detail COLLATE "C";
ROLLBACK;

-- Rows that no append wrote.
BEGIN;
INSERT INTO eventstore.events (global_position, version, created_at, event_id, stream_id,
							   stream_type, event_type, schema_version, data)
VALUES (99, 1, now(), eventstore.uuid_v7(), 'Order-3', 'Order', 'A', 1, '1');
SELECT * FROM eventstore.verify() ORDER BY invariant COLLATE "C", detail COLLATE "C";
ROLLBACK;
BEGIN;
ALTER TABLE eventstore.events DROP CONSTRAINT events_pkey, DROP CONSTRAINT events_event_id_key;
INSERT INTO eventstore.events (global_position, version, created_at, event_id, stream_id,
							   stream_type, event_type, schema_version, data)
SELECT global_position, 1, now(), '00000000-0000-0000-0000-000000000001', 'Order-' || global_position + 10,
	   'Order', 'A', 1, '1'
FROM eventstore.events WHERE global_position < 3;
SELECT * FROM eventstore.verify() ORDER BY invariant COLLATE "C", detail COLLATE "C";
ROLLBACK;

-- The sequence and the watermark.
BEGIN;
SELECT setval('eventstore.events_global_position_seq', 3);
SELECT * FROM eventstore.verify() ORDER BY invariant COLLATE "C", detail COLLATE "C";
ROLLBACK;
SELECT setval('eventstore.events_global_position_seq', 5);
-- The next position is one that is taken.
BEGIN;
SELECT setval('eventstore.events_global_position_seq', 5, false);
SELECT * FROM eventstore.verify() ORDER BY invariant COLLATE "C", detail COLLATE "C";
ROLLBACK;
SELECT setval('eventstore.events_global_position_seq', 5);
BEGIN;
ALTER SEQUENCE eventstore.events_global_position_seq RESTART;
SELECT * FROM eventstore.verify() ORDER BY invariant COLLATE "C", detail COLLATE "C";
ROLLBACK;
-- Without the events, it is known which positions were taken all the same.
BEGIN;
SELECT eventstore.save_checkpoint('follower', 5);
ALTER TABLE eventstore.events DISABLE TRIGGER guard_truncate;
TRUNCATE eventstore.events;
ALTER TABLE eventstore.events ENABLE ALWAYS TRIGGER guard_truncate;
SELECT * FROM eventstore.verify();
ALTER SEQUENCE eventstore.events_global_position_seq RESTART WITH 6;
SELECT * FROM eventstore.verify();
ALTER SEQUENCE eventstore.events_global_position_seq RESTART WITH 5;
SELECT * FROM eventstore.verify() ORDER BY invariant COLLATE "C", detail COLLATE "C";
ROLLBACK;
BEGIN;
ALTER SEQUENCE eventstore.events_global_position_seq CACHE 10 INCREMENT 2 MAXVALUE 100 CYCLE;
SELECT * FROM eventstore.verify() ORDER BY invariant COLLATE "C", detail COLLATE "C";
ROLLBACK;
BEGIN;
UPDATE eventstore.watermark SET settled_position = 1000;
SELECT * FROM eventstore.verify() ORDER BY invariant COLLATE "C", detail COLLATE "C";
ROLLBACK;
BEGIN;
ALTER TABLE eventstore.watermark DROP CONSTRAINT watermark_pkey;
INSERT INTO eventstore.watermark VALUES (true, 1);
SELECT * FROM eventstore.verify() ORDER BY invariant COLLATE "C", detail COLLATE "C";
ROLLBACK;

-- The table.
BEGIN;
ALTER TABLE eventstore.events SET UNLOGGED;
SELECT * FROM eventstore.verify() WHERE invariant LIKE 'the relations%' ORDER BY invariant COLLATE "C", detail COLLATE "C";
ROLLBACK;
BEGIN;
CREATE TABLE eventstore_child () INHERITS (eventstore.events);
SELECT * FROM eventstore.verify() ORDER BY invariant COLLATE "C", detail COLLATE "C";
ROLLBACK;
BEGIN;
ALTER TABLE eventstore.events ALTER created_at DROP NOT NULL, ADD COLUMN more int;
SELECT * FROM eventstore.verify() ORDER BY invariant COLLATE "C", detail COLLATE "C";
ROLLBACK;
BEGIN;
DROP INDEX eventstore.events_stream_type_global_position_idx;
SELECT * FROM eventstore.verify() ORDER BY invariant COLLATE "C", detail COLLATE "C";
ROLLBACK;

-- The guard, and what comes before it.
BEGIN;
ALTER TABLE eventstore.events ENABLE TRIGGER guard_truncate;
DROP TRIGGER guard_delete ON eventstore.events;
SELECT * FROM eventstore.verify() ORDER BY invariant COLLATE "C", detail COLLATE "C";
ROLLBACK;
BEGIN;
CREATE FUNCTION pg_temp.nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER before_insert BEFORE INSERT ON eventstore.events
	FOR EACH ROW EXECUTE FUNCTION pg_temp.nothing();
CREATE RULE silence AS ON INSERT TO eventstore.events DO INSTEAD NOTHING;
SELECT * FROM eventstore.verify() ORDER BY invariant COLLATE "C", detail COLLATE "C";
ROLLBACK;

-- Rights.
BEGIN;
GRANT SELECT, INSERT ON eventstore.events TO regress_es_verify;
GRANT SELECT ON eventstore.events TO PUBLIC;
GRANT UPDATE (data) ON eventstore.events TO regress_es_verify;
GRANT USAGE ON SEQUENCE eventstore.events_global_position_seq TO regress_es_verify;
GRANT EXECUTE ON FUNCTION eventstore.advance_watermark() TO PUBLIC;
GRANT USAGE ON SCHEMA eventstore TO PUBLIC;
SELECT * FROM eventstore.verify() ORDER BY invariant COLLATE "C", detail COLLATE "C";
ROLLBACK;
BEGIN;
SELECT eventstore.grant_reader('regress_es_verify'), eventstore.grant_writer('regress_es_verify');
SELECT * FROM eventstore.verify() ORDER BY invariant COLLATE "C", detail COLLATE "C";
ROLLBACK;

-- Not all of it need be looked at.
BEGIN;
ALTER TABLE eventstore.events DISABLE TRIGGER guard_update, DISABLE TRIGGER guard_update_row;
UPDATE eventstore.events SET data = '4' WHERE global_position = 1;
ALTER TABLE eventstore.events ENABLE ALWAYS TRIGGER guard_update, ENABLE ALWAYS TRIGGER guard_update_row;
SELECT * FROM eventstore.verify(check_indexes => false);
SELECT * FROM eventstore.verify(check_events => false);
ROLLBACK;

-- After all of this, the store is sound.
SELECT * FROM eventstore.verify() ORDER BY invariant COLLATE "C", detail COLLATE "C";
DROP ROLE regress_es_verify;
DROP EXTENSION eventstore;
