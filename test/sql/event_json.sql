--
-- Events as JSON in SQL: the bytes that the output plugin sends
--

CREATE EXTENSION eventstore;
\i test/sql/include/decoding.sql

CREATE TABLE payloads (id serial, payload text);
INSERT INTO payloads (payload) VALUES ('null'), ('1e400'), ('[1.10,-0,1E+2,123456789012345678901234567890.5]'),
	(E' {\t"a" :\n 1 ,\r\n "b":[ 1 , 2 ] , "c" : { } } '), ('{"a":1,"a":2}'), ('"\u0041\/\u00e9\\"'),
	('"é😀﷽"'), (to_json(E'\x7f\x01' || U&'\0085\2028\FFFE')::text), (to_json(repeat('payload ', 40000))::text);
SELECT count(*) FROM payloads p,
	eventstore.append_event('Payload-' || p.id, 'T', p.payload::json, metadata => p.payload::json);
SELECT count(*) FROM (VALUES ('"'), ('\'), (E'\b\f\n\r\t\x01\x1f\x7f'), ('é😀﷽'), (U&'\2028\FFFE'), ('{"a":1}'), (' ')) n (name),
	eventstore.append_event(name, event_type => name, stream_type => name, tags => ARRAY[name, 'a"b', name],
							data => to_json(name), metadata => to_json(name));
SELECT count(*) FROM generate_series(0, 70) n,
	eventstore.append_event('Bytes-' || n, 'T', binary_data => substr(sha512('1') || sha512('2'), 1, n),
							content_type => 'image/x', tags => '{}');
SELECT last_version FROM eventstore.append_event('All-1', 'T', '{}', metadata => '{}', schema_version => 7,
	correlation_id => gen_random_uuid(), causation_id => gen_random_uuid());
INSERT INTO eventstore.events VALUES
	(9000000000000000001, 9223372036854775807, '2000-02-29 23:59:59.999999+00', gen_random_uuid(),
	 'S-1', 'S', 'T', 2147483647, NULL, NULL, 'false', NULL, '', NULL, '{{a,NULL},{"NULL",""}}'),
	(9000000000000000002, 1, '0044-03-15 12:00:00+00 BC', gen_random_uuid(),
	 'S-2', 'S', 'T', -2147483648, NULL, NULL, '0', NULL, NULL, NULL, NULL);

SET timezone = 'Asia/Kathmandu';
SET datestyle = 'SQL, DMY';
SET bytea_output = 'escape';
CREATE VIEW both_ways AS
	SELECT m.number, m.data AS message, c.data AS cloudevent, d.data AS cloudevent_from, e AS event
	FROM pg_logical_slot_peek_changes('regress_es', NULL, NULL)
			WITH ORDINALITY m (lsn, xid, data, number)
		JOIN pg_logical_slot_peek_changes('regress_es', NULL, NULL, 'format', 'cloudevents')
			WITH ORDINALITY c (lsn, xid, data, number) USING (number)
		JOIN pg_logical_slot_peek_changes('regress_es', NULL, NULL, 'format', 'cloudevents', 'source', 'urn:x')
			WITH ORDINALITY d (lsn, xid, data, number) USING (number)
		JOIN eventstore.events e ON e.global_position = (m.data::json->>'global_position')::bigint;
SELECT count(*) AS events,
	   bool_and(message = eventstore.event_json(event)::text) AS json,
	   bool_and(cloudevent = eventstore.event_cloudevent(event)::text) AS cloudevents,
	   bool_and(cloudevent_from = eventstore.event_cloudevent(event, 'urn:x')::text) AS source,
	   bool_and(json_typeof(message::json) = 'object' AND json_typeof(cloudevent::json) = 'object') AS valid
FROM both_ways;
RESET timezone;
RESET datestyle;
RESET bytea_output;
SELECT pg_drop_replication_slot('regress_es');

-- The events of a read function
SELECT eventstore.event_json(r)::text = eventstore.event_json(e)::text AS same
FROM eventstore.read_stream('Payload-2') r JOIN eventstore.events e USING (event_id);
SELECT eventstore.event_cloudevent(e, source => '/shop') IS NOT NULL FROM eventstore.read_all(max_count => 1) e;

-- Nulls where none should be
SELECT eventstore.event_json(NULL), eventstore.event_cloudevent(NULL), eventstore.event_cloudevent(NULL, 'x');
SELECT eventstore.event_json(ROW(NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)::eventstore.events);
SELECT eventstore.event_cloudevent(ROW(NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)::eventstore.events, 'x');
SELECT eventstore.event_json(ROW(1, NULL, 'infinity', NULL, 'S-1', NULL, NULL, NULL, NULL, NULL, ' [ ] ', NULL, NULL, NULL, '{NULL}')::eventstore.events);

-- Mistakes
SELECT eventstore.event_cloudevent(e, '') FROM eventstore.read_all(max_count => 1) e;
SELECT eventstore.event_cloudevent(e, 'a b') FROM eventstore.read_all(max_count => 1) e;

-- Rows whose columns were altered; further ones behind them do no harm
ALTER TABLE eventstore.events ADD COLUMN further text DEFAULT 'x';
SELECT eventstore.event_json(e)->'version' AS version FROM eventstore.events e WHERE stream_id = 'All-1';
ALTER TABLE eventstore.events RENAME COLUMN tags TO labels;
SELECT eventstore.event_json(e) FROM eventstore.events e WHERE stream_id = 'All-1';
SELECT eventstore.event_cloudevent(e) FROM eventstore.events e WHERE stream_id = 'All-1';
ALTER TABLE eventstore.events RENAME COLUMN labels TO tags;
ALTER EXTENSION eventstore DROP VIEW eventstore.events_jsonb;
DROP VIEW eventstore.events_jsonb;
ALTER TABLE eventstore.events DROP COLUMN content_type;
SELECT eventstore.event_json(e) FROM eventstore.events e WHERE stream_id = 'All-1';
SELECT eventstore.event_cloudevent(e) FROM eventstore.events e WHERE stream_id = 'All-1';

DROP VIEW both_ways;
DROP FUNCTION messages, skip_messages;
DROP TABLE payloads;
DROP EXTENSION eventstore;
