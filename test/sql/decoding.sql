--
-- The output plugin: what it says of events.
--

CREATE EXTENSION eventstore;
\i test/sql/include/decoding.sql

SELECT * FROM eventstore.append_events('Order-1', '[
	{"event_type": "OrderPlaced", "data": {"customer":  42, "total": 1.50e1},
	 "event_id": "00000000-0000-4000-8000-000000000001"},
	{"event_type": "OrderPaid", "data": [ null ], "metadata": {"user" : "ann"}, "tags": ["a", "b c"],
	 "event_id": "00000000-0000-4000-8000-00000000000A", "schema_version": 3,
	 "correlation_id": "abcdefab-cdef-abcd-efab-cdefabcdef00",
	 "causation_id": "01234567-89ab-cdef-0123-456789abcdef"}]');
SELECT * FROM eventstore.append_event('odd', 'Scanned', event_id => '00000000-0000-4000-8000-000000000003',
	stream_type => 'Paper', binary_data => '\x00ff10', content_type => 'image/x');
SELECT * FROM eventstore.append_event('odd', 'Scanned', event_id => '00000000-0000-4000-8000-000000000004',
	binary_data => '', tags => '{}');
SELECT * FROM eventstore.append_event('odd', 'Scanned', '"\u0041\/\\u0000\ud83d\ude00"', event_id => '00000000-0000-4000-8000-000000000005');

SELECT * FROM messages();
SELECT * FROM messages('format', 'json', 'transactions', 'on');
SELECT * FROM messages('format', 'cloudevents');
SELECT * FROM messages('format', 'cloudevents', 'transactions', 'on', 'event_types', 'OrderPaid');

-- Settings of the session are of no consequence.
CREATE TABLE before AS SELECT md5(string_agg(data, '')) AS md5
	FROM pg_logical_slot_peek_changes('regress_es', NULL, NULL, 'transactions', 'on', 'format', 'cloudevents');
SET datestyle = 'SQL, DMY';
SET timezone = 'Asia/Kathmandu';
SET bytea_output = 'escape';
SELECT md5 = (SELECT md5 FROM before) AS same
FROM (SELECT md5(string_agg(data, '')) AS md5
	  FROM pg_logical_slot_peek_changes('regress_es', NULL, NULL, 'transactions', 'on', 'format', 'cloudevents')) now;
RESET datestyle;
RESET timezone;
RESET bytea_output;

--
-- Transactions: in the order of their commits, without what was rolled back
--
SELECT skip_messages();
BEGIN;
SELECT last_position FROM eventstore.append_event('A-1', 'T', '1', event_id => '00000000-0000-4000-8000-000000000011');
SELECT last_position FROM eventstore.append_event('B-1', 'T', '2', event_id => '00000000-0000-4000-8000-000000000012');
SAVEPOINT s;
SELECT last_position FROM eventstore.append_event('A-1', 'Undone', '3');
ROLLBACK TO s;
SELECT last_position FROM eventstore.append_event('A-1', 'T', '4', event_id => '00000000-0000-4000-8000-000000000014');
SAVEPOINT t;
SELECT last_position FROM eventstore.append_event('B-1', 'T', '5', event_id => '00000000-0000-4000-8000-000000000015');
RELEASE t;
COMMIT;
BEGIN;
SELECT last_position FROM eventstore.append_event('A-1', 'Undone', '6');
ROLLBACK;
SELECT last_position FROM eventstore.append_event('A-1', 'T', '7', event_id => '00000000-0000-4000-8000-000000000017');
-- nothing is stored
SELECT last_position, deduplicated
FROM eventstore.append_event('A-1', 'T', '7', event_id => '00000000-0000-4000-8000-000000000017');
SELECT * FROM messages('transactions', 'on');

--
-- Every kind of value arrives as it is stored.
--
SELECT skip_messages();
CREATE TABLE names (id serial, name text);
INSERT INTO names (name) VALUES ('plain'), ('"'), ('\'), ('"\"\\'), (E'\b\f\n\r\t'), (E'\x01\x1f\x7f'), ('/'),
	('a,b'), ('''$1'), ('é😀﷽'), (U&'\2028\FFFE'), ('ü"ü\ü'), ('{"a":1}'), (' '), (repeat('x', 2048)), (repeat('"', 2048));
SELECT count(*) FROM names n,
	eventstore.append_event(name, event_type => name, stream_type => name, tags => ARRAY[name, name],
							content_type => ' "\~/' || n.id, metadata => to_json(name), data => to_json(name));
CREATE TABLE payloads (id serial, payload text);
INSERT INTO payloads (payload) VALUES (E' {\t"a" :\n 1 ,\r\n "b":[ 1 , 2 ] , "c" : { } } '),
	('{"a":1,"a":2,"a":1}'), ('[1.0,1e2,-0,123456789012345678901234567890.5]'), ('"\u0041\/\u00e9"'),
	('null'), ('""'), (to_json(repeat('payload ', 40000))::text),
	((SELECT to_json(string_agg(md5(i::text), ''))::text FROM generate_series(1, 9830) i));
SELECT count(*) FROM payloads p,
	eventstore.append_event('Payload-' || p.id, 'T', p.payload::json, metadata => p.payload::json);
-- lengths around what is encoded at a time, and around multiples of three
SELECT count(*) FROM generate_series(0, 70) n,
	eventstore.append_event('Bytes-' || n, 'T', binary_data => substr(sha512('1') || sha512('2'), 1, n));
SELECT count(*) FROM generate_series(3 * 1024 * 1024 - 1, 3 * 1024 * 1024 + 1) n,
	eventstore.append_event('Bytes-' || n, 'T', binary_data => substr(sha512('1') || decode(repeat('00', n), 'hex'), 1, n));
ALTER TABLE eventstore.events ALTER data SET STORAGE EXTERNAL;
SELECT count(*) FROM payloads p, eventstore.append_event('External-' || p.id, 'T', p.payload::json);
ALTER TABLE eventstore.events ALTER data SET STORAGE EXTENDED;

CREATE TABLE decoded AS
	SELECT data AS message, data::json AS m
	FROM pg_logical_slot_peek_changes('regress_es', NULL, NULL);
SELECT count(*) AS messages,
	   bool_and((m->>'version')::bigint = e.version) AS version,
	   bool_and((m->>'created_at')::timestamptz = e.created_at) AS created_at,
	   bool_and((m->>'event_id')::uuid = e.event_id) AS event_id,
	   bool_and(m->>'stream_id' = e.stream_id) AS stream_id,
	   bool_and(m->>'stream_type' = e.stream_type) AS stream_type,
	   bool_and(m->>'event_type' = e.event_type) AS event_type,
	   bool_and((m->>'schema_version')::int = e.schema_version) AS schema_version,
	   bool_and((m->'data')::text IS NOT DISTINCT FROM trim(E' \t\r\n' FROM e.data::text)) AS data,
	   bool_and(position(',"data":' || e.data::text || ',' IN message) > 0
				OR position(',"data":' || e.data::text || '}' IN message) > 0) AS data_bytes,
	   bool_and(decode(m->>'binary_data', 'base64') IS NOT DISTINCT FROM e.binary_data) AS binary_data,
	   bool_and(position(E'\\n' IN m->>'binary_data') = 0) AS one_line,
	   bool_and(m->>'content_type' IS NOT DISTINCT FROM e.content_type) AS content_type,
	   bool_and((m->'metadata')::text IS NOT DISTINCT FROM trim(E' \t\r\n' FROM e.metadata::text)) AS metadata,
	   bool_and((SELECT array_agg(t) FROM json_array_elements_text(m->'tags') t) IS NOT DISTINCT FROM e.tags) AS tags
FROM decoded JOIN eventstore.events e ON global_position = (m->>'global_position')::bigint;

-- Attributes have U+FFFD where the specification of CloudEvents allows no character.
CREATE FUNCTION allowed(string text) RETURNS text
LANGUAGE sql AS $$
	SELECT regexp_replace(string, U&'[\0001-\001F\007F-\009F\FFFE]', U&'\FFFD', 'g')
$$;
CREATE TABLE cloudevents AS
	SELECT data AS message, data::json AS m
	FROM pg_logical_slot_peek_changes('regress_es', NULL, NULL, 'format', 'cloudevents');
SELECT count(*) AS messages,
	   bool_and(m->>'specversion' = '1.0' AND m->>'source' = '/eventstore/' || current_database()) AS constant,
	   bool_and(m->>'streamversion' = e.version::text) AS streamversion,
	   bool_and(m->>'sequence' = to_char(e.global_position, 'FM0000000000000000000')) AS sequence,
	   bool_and(m->>'partitionkey' = m->>'subject') AS partitionkey,
	   bool_and(m->>'subject' = allowed(e.stream_id) AND m->>'streamtype' = allowed(e.stream_type)
				AND m->>'type' = allowed(e.event_type)) AS names,
	   bool_and((m->>'time')::timestamptz = e.created_at) AS time,
	   bool_and(position(',"data":' || e.data::text || '}' IN message) > 0) AS data,
	   bool_and(decode(m->>'data_base64', 'base64') = e.binary_data) AS data_base64,
	   bool_and(m->>'datacontenttype' = coalesce(e.content_type,
				CASE WHEN e.data IS NULL THEN 'application/octet-stream' ELSE 'application/json' END)) AS datacontenttype,
	   bool_and((m->>'metadata')::jsonb IS NOT DISTINCT FROM e.metadata::jsonb) AS metadata,
	   bool_and((SELECT array_agg(t) FROM json_array_elements_text((m->>'tags')::json) t) IS NOT DISTINCT FROM e.tags) AS tags
FROM cloudevents JOIN eventstore.events e ON global_position = (m->>'globalposition')::bigint;

-- What only the owner can put there, past the append functions.
SELECT skip_messages();
INSERT INTO eventstore.events VALUES
	(9000000000000000001, 9223372036854775807, '2000-02-29 23:59:59.999999+00', '00000000-0000-4000-8000-000000000021',
	 'S-1', 'S', 'T', 2147483647, NULL, NULL, 'false', NULL, '', NULL, '{{a,NULL},{"NULL",""}}'),
	(9000000000000000002, 1, '0044-03-15 12:00:00+00 BC', '00000000-0000-4000-8000-000000000022',
	 'S-2', 'S', 'T', -2147483648, NULL, NULL, '0', NULL, NULL, NULL, NULL),
	(9000000000000000003, 2, '12345-01-01 00:00:00+00', '00000000-0000-4000-8000-000000000023',
	 'S-2', 'S', 'T', 1, NULL, NULL, '0', NULL, NULL, NULL, NULL),
	(9000000000000000004, 3, 'infinity', '00000000-0000-4000-8000-000000000024',
	 'S-2', 'S', 'T', 1, NULL, NULL, '0', NULL, NULL, NULL, NULL),
	(9000000000000000005, 4, '-infinity', '00000000-0000-4000-8000-000000000025',
	 'S-2', 'S', 'T', 1, NULL, NULL, '0', NULL, NULL, NULL, NULL);
SELECT * FROM messages();
SELECT message::json->>'sequence' AS sequence FROM messages('format', 'cloudevents') ORDER BY 1;

SELECT slot_name, temporary, active, active_pid, retained_bytes > 0 AS retains, lag_bytes > 0 AS lags,
	   restart_lsn < confirmed_flush_lsn AS confirmed, wal_status
FROM eventstore.replication_status;
SELECT pg_drop_replication_slot('regress_es');
SELECT * FROM eventstore.replication_status;
DROP FUNCTION messages, skip_messages, allowed;
DROP TABLE before, names, payloads, decoded, cloudevents;
DROP EXTENSION eventstore;
