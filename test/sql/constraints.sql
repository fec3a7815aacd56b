--
-- Constraints and indexes that users have added to eventstore.events are
-- honoured, and those that refer to it.
--

CREATE EXTENSION eventstore;
SELECT last_version FROM eventstore.append_event('Order-1', 'T', '{"n": 1}',
	event_id => '00000000-0000-4000-8000-000000000001',
	correlation_id => '00000000-0000-4000-8000-00000000000a');

--
-- CHECK
--
ALTER TABLE eventstore.events ADD CONSTRAINT known_types
	CHECK (event_type = ANY ('{T,Placed,Paid}'));
ALTER TABLE eventstore.events ADD CONSTRAINT data_is_object
	CHECK (data IS NULL OR json_typeof(data) = 'object') NOT VALID;
SELECT last_version FROM eventstore.append_event('Order-1', 'Placed', '{"n": 2}');
\set VERBOSITY terse
SELECT eventstore.append_event('Order-1', 'Other', '{}');
\echo :SQLSTATE
SELECT eventstore.append_event('Order-1', 'Placed', '[]');
\set VERBOSITY default
-- The error says which of the batch's events it was.
DO $$
DECLARE
	context text;
BEGIN
	PERFORM eventstore.append_events('Order-1',
		'[{"event_type":"Paid","data":{}},{"event_type":"Paid","data":{}},{"event_type":"Paid","data":3}]');
EXCEPTION WHEN check_violation THEN
	GET STACKED DIAGNOSTICS context = PG_EXCEPTION_CONTEXT;
	RAISE NOTICE '%: %', SQLERRM, split_part(context, E'\n', 1);
END
$$;
DO $$
DECLARE
	context text;
BEGIN
	PERFORM eventstore.append_events('Order-1',
		(SELECT json_agg(json_build_object('event_type', CASE i WHEN 2345 THEN 'Other' ELSE 'T' END,
										   'data', json_build_object('i', i)))
		 FROM generate_series(1, 2500) i));
EXCEPTION WHEN check_violation THEN
	GET STACKED DIAGNOSTICS context = PG_EXCEPTION_CONTEXT;
	RAISE NOTICE '%: %', SQLERRM, split_part(context, E'\n', 1);
END
$$;
ALTER TABLE eventstore.events DROP CONSTRAINT known_types, DROP CONSTRAINT data_is_object;
SELECT last_version FROM eventstore.append_event('Order-1', 'Other', '[]');

--
-- NOT NULL (in a new store: the events of this one have no metadata)
--
DROP EXTENSION eventstore;
CREATE EXTENSION eventstore;
ALTER TABLE eventstore.events ALTER metadata SET NOT NULL;
\set VERBOSITY terse
SELECT eventstore.append_event('Order-1', 'T', '1');
\echo :SQLSTATE
SELECT eventstore.append_events('Order-1',
	'[{"event_type":"T","data":1,"metadata":{}},{"event_type":"T","data":1}]');
\set VERBOSITY default
SELECT last_version FROM eventstore.append_event('Order-1', 'T', '1', metadata => '{}');
ALTER TABLE eventstore.events ALTER metadata DROP NOT NULL;
SELECT last_version FROM eventstore.append_event('Order-1', 'T', '1');
SELECT last_version FROM eventstore.append_event('Order-1', 'T', '{"n": 1}',
	event_id => '00000000-0000-4000-8000-000000000001',
	correlation_id => '00000000-0000-4000-8000-00000000000a');

--
-- UNIQUE, plain, partial, on an expression, deferred
--
CREATE UNIQUE INDEX one_genesis ON eventstore.events (stream_type) WHERE event_type = 'Genesis';
CREATE UNIQUE INDEX invoice_number ON eventstore.events ((data->>'invoice'));
SELECT last_version FROM eventstore.append_event('Order-1', 'Genesis', '{"invoice": "A-1"}');
SELECT last_version FROM eventstore.append_event('Order-2', 'T', '{"invoice": "A-2"}');
SELECT eventstore.append_event('Order-2', 'Genesis', '{"invoice": "A-3"}');
\echo :SQLSTATE
SELECT eventstore.append_event('Order-2', 'T', '{"invoice": "A-1"}');
SELECT eventstore.append_events('Order-2',
	'[{"event_type":"T","data":{"invoice":"A-4"}},{"event_type":"T","data":{"invoice":"A-4"}}]');
SELECT last_version FROM eventstore.append_event('Order-2', 'T', '{"no invoice": null}');
SELECT stream_id, version FROM eventstore.events WHERE data->>'invoice' = 'A-2';
-- An expression that fails on a payload refuses it.
CREATE INDEX amounts ON eventstore.events (((data->>'amount')::int));
SELECT eventstore.append_event('Order-2', 'T', '{"amount": "much"}');
SELECT last_version FROM eventstore.append_event('Order-2', 'T', '{"amount": "5"}');
SET enable_seqscan = off;
SELECT stream_id, version FROM eventstore.events WHERE (data->>'amount')::int = 5;
RESET enable_seqscan;
DROP INDEX eventstore.one_genesis, eventstore.invoice_number, eventstore.amounts;

ALTER TABLE eventstore.events ADD CONSTRAINT one_per_correlation UNIQUE (correlation_id)
	DEFERRABLE INITIALLY DEFERRED;
BEGIN;
SELECT last_version FROM eventstore.append_event('Order-2', 'T', '1',
	correlation_id => '00000000-0000-4000-8000-00000000000a');
COMMIT;
BEGIN;
SAVEPOINT s;
SELECT last_version FROM eventstore.append_event('Order-2', 'T', '1',
	correlation_id => '00000000-0000-4000-8000-00000000000a');
ROLLBACK TO s;
SELECT last_version FROM eventstore.append_event('Order-2', 'T', '1',
	correlation_id => '00000000-0000-4000-8000-00000000000b');
COMMIT;
ALTER TABLE eventstore.events DROP CONSTRAINT one_per_correlation;

--
-- EXCLUDE, and index types other than btree
--
ALTER TABLE eventstore.events ADD CONSTRAINT no_second EXCLUDE USING hash (causation_id WITH =);
CREATE INDEX tags_idx ON eventstore.events USING gin (tags);
CREATE INDEX created_idx ON eventstore.events USING brin (created_at);
CREATE INDEX type_idx ON eventstore.events USING hash (event_type);
SELECT last_version FROM eventstore.append_event('Order-3', 'Unusual', '1', tags => '{red,green}',
	causation_id => '00000000-0000-4000-8000-00000000000c');
SELECT eventstore.append_events('Order-3', '[{"event_type":"T","data":1},
	{"event_type":"T","data":1,"causation_id":"00000000-0000-4000-8000-00000000000c"}]');
\echo :SQLSTATE
SELECT last_version FROM eventstore.append_events('Order-3',
	(SELECT json_agg(json_build_object('event_type', 'T' || i, 'data', i, 'tags', ARRAY['tag' || i % 7]))
	 FROM generate_series(1, 1500) i));
SET enable_seqscan = off;
SELECT version, tags FROM eventstore.events WHERE tags @> '{green}';
SELECT count(*) FROM eventstore.events WHERE tags @> '{tag3}';
SELECT version FROM eventstore.events WHERE event_type = 'T1234';
SELECT count(*) FROM eventstore.events WHERE created_at BETWEEN '2000-01-01' AND '9999-01-01';
RESET enable_seqscan;
ALTER TABLE eventstore.events DROP CONSTRAINT no_second;
DROP INDEX eventstore.tags_idx, eventstore.created_idx, eventstore.type_idx;

--
-- Foreign keys: from a user's table to the events, and from the events
--
CREATE TABLE mails (event_id uuid REFERENCES eventstore.events (event_id),
					stream_id text, version bigint,
					FOREIGN KEY (stream_id, version) REFERENCES eventstore.events (stream_id, version));
INSERT INTO mails VALUES ('00000000-0000-4000-8000-000000000001', 'Order-1', 1);
INSERT INTO mails VALUES ('00000000-0000-4000-8000-000000000002', 'Order-1', 1);
INSERT INTO mails VALUES (NULL, 'Order-1', 99);
BEGIN;
SELECT last_version FROM eventstore.append_event('Order-4', 'T', '1',
	event_id => '00000000-0000-4000-8000-000000000002');
INSERT INTO mails VALUES ('00000000-0000-4000-8000-000000000002', 'Order-4', 1);
COMMIT;
TABLE mails;
DROP TABLE mails;

CREATE TABLE commands (id uuid PRIMARY KEY);
INSERT INTO commands VALUES ('00000000-0000-4000-8000-00000000000a');
ALTER TABLE eventstore.events ADD CONSTRAINT from_command FOREIGN KEY (correlation_id) REFERENCES commands NOT VALID;
SELECT last_version FROM eventstore.append_event('Order-4', 'T', '1',
	correlation_id => '00000000-0000-4000-8000-00000000000a');
SELECT eventstore.append_event('Order-4', 'T', '1',
	correlation_id => '00000000-0000-4000-8000-00000000000e');
\echo :SQLSTATE
ALTER TABLE eventstore.events ALTER CONSTRAINT from_command DEFERRABLE INITIALLY DEFERRED;
BEGIN;
SELECT last_version FROM eventstore.append_event('Order-4', 'T', '1',
	correlation_id => '00000000-0000-4000-8000-00000000000e');
INSERT INTO commands VALUES ('00000000-0000-4000-8000-00000000000e');
COMMIT;
BEGIN;
SELECT last_version FROM eventstore.append_event('Order-4', 'T', '1',
	correlation_id => '00000000-0000-4000-8000-00000000000f');
COMMIT;
SELECT eventstore.stream_version('Order-4');
ALTER TABLE eventstore.events DROP CONSTRAINT from_command;
DROP TABLE commands;

DROP EXTENSION eventstore;
