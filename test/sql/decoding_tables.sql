--
-- The output plugin decodes rows inserted into eventstore.events, and nothing
-- else, whatever happens to that table.
--

CREATE EXTENSION eventstore;
\i test/sql/include/decoding.sql

CREATE FUNCTION append(data json) RETURNS bigint
LANGUAGE sql AS $$
	SELECT last_version FROM eventstore.append_event('Order-1', 'T', data)
$$;
CREATE FUNCTION decoded() RETURNS text
LANGUAGE sql AS $$
	SELECT coalesce(string_agg(data::json->>'data', ' '), 'none') FROM pg_logical_slot_get_changes('regress_es', NULL, NULL)
$$;

-- Other tables, of the same name, too
CREATE SCHEMA elsewhere;
CREATE TABLE elsewhere.events (LIKE eventstore.events INCLUDING ALL);
CREATE TABLE events (id int PRIMARY KEY, t text);
CREATE TABLE other (id int PRIMARY KEY, t text);
CREATE TEMP TABLE events (id int);
BEGIN;
INSERT INTO pg_temp.events VALUES (1);
INSERT INTO public.events SELECT i, 'events' FROM generate_series(1, 10) i;
INSERT INTO other SELECT i, repeat('other', i * 1000) FROM generate_series(1, 10) i;
SELECT append('1');
INSERT INTO elsewhere.events SELECT * FROM eventstore.events;
SELECT append('2');
INSERT INTO public.events SELECT i, 'events' FROM generate_series(11, 20) i;
SELECT append('3');
UPDATE other SET t = 'x';
DELETE FROM public.events;
INSERT INTO elsewhere.events SELECT * FROM eventstore.events ON CONFLICT DO NOTHING;
COMMIT;
TRUNCATE elsewhere.events;
SELECT eventstore.advance_watermark() > 0;
SELECT FROM pg_logical_emit_message(true, 'eventstore', '{"global_position":1}');
SELECT FROM pg_logical_emit_message(false, 'eventstore', '{"global_position":1}');
CREATE TABLE elsewhere.copy AS SELECT * FROM eventstore.events;
SELECT count(*) FROM messages();
SELECT decoded();

-- A transaction without an event has no messages.
INSERT INTO other VALUES (11);
SELECT * FROM messages('transactions', 'on');

-- Changes of events, which only happen with the guard down
ALTER TABLE eventstore.events DISABLE TRIGGER USER;
UPDATE eventstore.events SET data = '"updated"' WHERE version = 1;
DELETE FROM eventstore.events WHERE version = 1;
SELECT decoded();
TRUNCATE eventstore.events;
SELECT decoded();
SELECT append('4');
VACUUM FULL eventstore.events;
CLUSTER eventstore.events USING events_pkey;
SELECT decoded();

-- COPY writes many rows in one record.
COPY eventstore.events (global_position, version, created_at, event_id, stream_id, stream_type,
						event_type, schema_version, data) FROM stdin (DELIMITER ' ');
1001 1 2025-01-01 00000000-0000-4000-8000-000000000001 C-1 C T 1 5
1002 2 2025-01-01 00000000-0000-4000-8000-000000000002 C-1 C T 1 6
1003 3 2025-01-01 00000000-0000-4000-8000-000000000003 C-1 C T 1 7
\.
SELECT decoded();

-- Positions that were not handed out here
SELECT eventstore.continue_positions();

-- The extension goes and comes back, between events and between decodings.
SELECT append('8');
DROP EXTENSION eventstore;
CREATE EXTENSION eventstore;
SELECT append('9');
BEGIN;
SELECT append('10');
DROP EXTENSION eventstore;
CREATE EXTENSION eventstore;
SELECT append('11');
ROLLBACK;
SELECT append('12');
BEGIN;
SELECT append('13');
DROP EXTENSION eventstore;
CREATE EXTENSION eventstore;
SELECT append('14');
COMMIT;
SELECT decoded();

-- The extension is gone when its events are decoded, and the schema is somebody
-- else's, with a table of that name: neither sent nor in the way.
SELECT append('15');
DROP EXTENSION eventstore;
SELECT decoded();
CREATE SCHEMA eventstore;
CREATE TABLE eventstore.events (id int, t text);
INSERT INTO eventstore.events VALUES (1, 'somebody else''s'), (2, 'once more');
SELECT * FROM messages();
SELECT * FROM messages('transactions', 'on', 'format', 'cloudevents');
DROP TABLE eventstore.events;
CREATE TABLE eventstore.events (LIKE elsewhere.events);
INSERT INTO eventstore.events SELECT * FROM elsewhere.copy;
DROP SCHEMA eventstore CASCADE;
CREATE EXTENSION eventstore;
SELECT append('16');
SELECT decoded();
-- A table that becomes a part of the extension, between events
ALTER EXTENSION eventstore DROP TABLE eventstore.events;
INSERT INTO eventstore.events SELECT global_position - 100, 1, created_at, gen_random_uuid(), 'S-1', 'S', 'T', 1, NULL, NULL, '"no member"'
	FROM eventstore.events LIMIT 1;
ALTER EXTENSION eventstore ADD TABLE eventstore.events;
SELECT append('17');
SELECT decoded();
DROP EXTENSION eventstore;
CREATE EXTENSION eventstore;

-- The table counts as what it was at the time.
BEGIN;
SELECT append('18');
ALTER SCHEMA eventstore RENAME TO not_eventstore;
INSERT INTO not_eventstore.events
	SELECT nextval('not_eventstore.events_global_position_seq'), 1, created_at, gen_random_uuid(), 'S-1', 'S', 'T', 1, NULL, NULL, '"renamed schema"'
	FROM not_eventstore.events LIMIT 1;
ALTER SCHEMA not_eventstore RENAME TO eventstore;
SELECT append('19');
ALTER TABLE eventstore.events RENAME TO not_events;
INSERT INTO eventstore.not_events
	SELECT nextval('eventstore.events_global_position_seq'), 2, created_at, gen_random_uuid(), 'S-1', 'S', 'T', 1, NULL, NULL, '"renamed table"'
	FROM eventstore.not_events LIMIT 1;
ALTER TABLE eventstore.not_events RENAME TO events;
SELECT append('20');
COMMIT;
ALTER TABLE eventstore.events RENAME TO not_events;
SELECT decoded();
ALTER TABLE eventstore.not_events RENAME TO events;

-- Further columns are of no account, dropped or not.
ALTER TABLE eventstore.events ADD COLUMN further text DEFAULT 'x';
INSERT INTO eventstore.events
	SELECT 3001, 3, created_at, '00000000-0000-4000-8000-000000000004', 'S-1', 'S', 'T', 1, NULL, NULL, '21'
	FROM eventstore.events LIMIT 1;
SELECT * FROM messages();
SELECT decoded();
ALTER TABLE eventstore.events DROP COLUMN further;
SELECT eventstore.continue_positions();
SELECT append('22');
SELECT decoded();

-- A column that is missing is an error, until the slot is moved past it.
SELECT append('23');
SELECT decoded();
ALTER EXTENSION eventstore DROP VIEW eventstore.events_jsonb;
DROP VIEW eventstore.events_jsonb;
ALTER TABLE eventstore.events DROP COLUMN tags;
INSERT INTO eventstore.events
	SELECT 3999, 4, created_at, gen_random_uuid(), 'S-1', 'S', 'T', 1, NULL, NULL, '"no tags"'
	FROM eventstore.events LIMIT 1;
\set VERBOSITY terse
SELECT count(*) FROM messages();
SELECT count(*) FROM messages();
SELECT count(*) FROM messages();
\set VERBOSITY default
SELECT count(*) FROM pg_backend_memory_contexts
WHERE name IN ('Logical decoding context', 'ReorderBuffer', 'event being decoded');
SELECT skip_messages();
DROP EXTENSION eventstore;
CREATE EXTENSION eventstore;
SELECT append('24');
SELECT decoded();

-- A null where none should be is left out, and matches no filter.
ALTER TABLE eventstore.events ALTER stream_id DROP NOT NULL, ALTER event_id DROP NOT NULL;
INSERT INTO eventstore.events (global_position, version, created_at, stream_type, event_type, schema_version, data)
	VALUES (4001, 1, '2025-01-01 00:00:00+00', 'S', 'T', 1, '25');
SELECT * FROM messages();
SELECT * FROM messages('format', 'cloudevents');
SELECT * FROM messages('streams', 'Order-1');

SELECT pg_drop_replication_slot('regress_es');
DROP FUNCTION messages, skip_messages, append, decoded;
DROP TABLE public.events, pg_temp.events, other;
DROP SCHEMA elsewhere CASCADE;
DROP EXTENSION eventstore;
