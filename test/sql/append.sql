--
-- append_events: results, expected versions, stream types, sizes
--

CREATE EXTENSION eventstore;

-- Versions count up from 1 within the stream, positions within the store.
SELECT * FROM eventstore.append_events('Order-1', '[{"event_type":"Placed","data":{"n":1}}]');
SELECT * FROM eventstore.append_events('Order-1',
	'[{"event_type":"Paid","data":{"n":2}},
	  {"event_type":"Packed","data":{"n":3}},
	  {"event_type":"Shipped","data":{"n":4}}]');
SELECT * FROM eventstore.append_events('Order-2', '[{"event_type":"Placed","data":{"n":5}}]');
SELECT global_position, stream_id, version, event_type, data
FROM eventstore.read_all();

-- Every column has its value.
SELECT * FROM eventstore.append_events('Full-1', '[
	{"event_type": "Everything",
	 "data": {"a": [1, 2]},
	 "event_id": "11111111-1111-4111-8111-111111111111",
	 "metadata": {"user": "ann"},
	 "correlation_id": "22222222-2222-4222-8222-222222222222",
	 "causation_id": "33333333-3333-4333-8333-333333333333",
	 "schema_version": 7,
	 "content_type": "application/cloudevents+json",
	 "tags": ["customer:1", "with space", "", "with \"quotes\", commas and {braces}"]},
	{"event_type": "Binary", "binary_data": "AAH/", "content_type": "image/png"},
	{"event_type": "Nulls", "data": [], "event_id": null, "metadata": null,
	 "correlation_id": null, "causation_id": null, "schema_version": null,
	 "content_type": null, "tags": null, "binary_data": null},
	{"event_type": "No tags", "data": 0, "tags": []}]');
\x on
SELECT global_position, version, stream_id, stream_type, event_type, schema_version,
	   CASE WHEN event_id::text ~ '^1' THEN event_id END AS given_event_id,
	   correlation_id, causation_id, data, binary_data, content_type, metadata, tags
FROM eventstore.read_stream('Full-1');
\x off

-- created_at is the wall clock of the call, not the transaction's beginning.
BEGIN;
SELECT now() < clock_timestamp() AS time_passes;
SELECT last_version FROM eventstore.append_events('Clock-1',
	'[{"event_type":"T","data":1},{"event_type":"T","data":2}]');
SELECT count(DISTINCT created_at), bool_and(created_at > now()) AS after_begin,
	   bool_and(created_at <= clock_timestamp()) AS before_now
FROM eventstore.read_stream('Clock-1');
COMMIT;

--
-- Expected versions
--

-- null: any
SELECT first_version FROM eventstore.append_events('Any-1', '[{"event_type":"T","data":1}]', NULL);
SELECT first_version FROM eventstore.append_events('Any-1', '[{"event_type":"T","data":1}]', NULL);
-- 0: the stream must not exist
SELECT first_version FROM eventstore.append_events('New-1', '[{"event_type":"T","data":1}]', 0);
SELECT first_version FROM eventstore.append_events('New-1', '[{"event_type":"T","data":1}]', 0);
\echo :SQLSTATE
-- n: exactly n
SELECT first_version FROM eventstore.append_events('New-1', '[{"event_type":"T","data":1}]', 1);
SELECT first_version FROM eventstore.append_events('New-1', '[{"event_type":"T","data":1}]', 1);
\echo :SQLSTATE
SELECT first_version FROM eventstore.append_events('New-1', '[{"event_type":"T","data":1}]', 3);
\echo :SQLSTATE
SELECT first_version FROM eventstore.append_events('None-1', '[{"event_type":"T","data":1}]', 1);
\echo :SQLSTATE
SELECT first_version FROM eventstore.append_events('New-1', '[{"event_type":"T","data":1}]',
	9223372036854775807);
-- -1: the stream must exist
SELECT first_version FROM eventstore.append_events('New-1', '[{"event_type":"T","data":1}]', -1);
SELECT first_version FROM eventstore.append_events('None-1', '[{"event_type":"T","data":1}]', -1);
\echo :SQLSTATE
-- The version before a batch counts, not those within it.
SELECT * FROM eventstore.append_events('New-1',
	'[{"event_type":"T","data":1},{"event_type":"T","data":1}]', 3);
SELECT first_version FROM eventstore.append_events('New-1', '[{"event_type":"T","data":1}]', 4);
SELECT s, eventstore.stream_version(s) FROM unnest('{Any-1,New-1,None-1}'::text[]) s;

--
-- Stream types
--

SELECT last_version FROM eventstore.append_events('Cart-1-2', '[{"event_type":"T","data":1}]');
SELECT last_version FROM eventstore.append_events('Cart-', '[{"event_type":"T","data":1}]');
SELECT last_version FROM eventstore.append_events('Cart', '[{"event_type":"T","data":1}]');
SELECT last_version FROM eventstore.append_events('-1', '[{"event_type":"T","data":1}]',
	stream_type => 'Minus');
SELECT last_version FROM eventstore.append_events('Odd-1', '[{"event_type":"T","data":1}]',
	stream_type => '-');
SELECT last_version FROM eventstore.append_events('Typed-1', '[{"event_type":"T","data":1}]',
	stream_type => 'Given');
-- A stream keeps the type it was begun with ...
SELECT last_version FROM eventstore.append_events('Typed-1', '[{"event_type":"T","data":1}]');
SELECT last_version FROM eventstore.append_events('Typed-1', '[{"event_type":"T","data":1}]',
	stream_type => 'Given');
SELECT stream_id, stream_type, count(*) FROM eventstore.events
WHERE event_type = 'T' AND stream_id ~ '^(Cart|-|Odd|Typed)'
GROUP BY 1, 2 ORDER BY 1;
-- ... also against the type that its name suggests.
SELECT last_version FROM eventstore.append_events('Typed-1', '[{"event_type":"T","data":1}]',
	stream_type => 'Typed');
SELECT last_version FROM eventstore.append_events('Typed-1', '[{"event_type":"T","data":1}]',
	stream_type => 'given');
SELECT last_version FROM eventstore.append_events('-1', '[{"event_type":"T","data":1}]');
-- The expected version is checked first.
SELECT last_version FROM eventstore.append_events('Typed-1', '[{"event_type":"T","data":1}]', 1, 'Typed');

-- Streams are told apart byte by byte.
SELECT first_version FROM eventstore.append_events('Same', '[{"event_type":"T","data":1}]');
SELECT first_version FROM eventstore.append_events('same', '[{"event_type":"T","data":1}]');
SELECT first_version FROM eventstore.append_events('same ', '[{"event_type":"T","data":1}]');
SELECT first_version FROM eventstore.append_events('Same', '[{"event_type":"T","data":1}]');

--
-- Sizes
--

-- The longest names, which nothing can compress.
SELECT string_agg(md5(i::text), '') AS long_name FROM generate_series(1, 64) i \gset
SELECT octet_length(:'long_name');
SELECT last_version
FROM generate_series(1, 3) i,
	 eventstore.append_events(:'long_name',
		json_build_array(json_build_object('event_type', reverse(:'long_name'), 'data', i,
										   'content_type', :'long_name')),
		i - 1, 'x' || right(:'long_name', 2047));
SELECT version, stream_id = :'long_name' AS stream_id, event_type = reverse(:'long_name') AS event_type,
	   stream_type = 'x' || right(:'long_name', 2047) AS stream_type, content_type = :'long_name' AS content_type
FROM eventstore.read_stream(:'long_name');
SELECT count(*) FROM eventstore.read_category('x' || right(:'long_name', 2047));

-- 10,000 events in one call are one append.
SELECT last_position AS before FROM eventstore.append_event('Big-1', 'T', '0') \gset
SELECT first_version, last_version, first_position - :before AS first, last_position - :before AS last,
	   deduplicated
FROM eventstore.append_events('Big-1',
	(SELECT json_agg(json_build_object('event_type', 'T' || i % 10, 'data', json_build_object('i', i)))
	 FROM generate_series(1, 10000) i), 1);
SELECT count(*), min(version), max(version), count(DISTINCT event_id) AS ids,
	   bool_and((data->>'i')::int = version - 1) AS data,
	   bool_and(event_type = 'T' || (version - 1) % 10) AS types,
	   bool_and(global_position - :before = version - 1) AS positions
FROM eventstore.read_stream('Big-1', 2);
SELECT count(*) FROM eventstore.read_all(:before, NULL);

-- Each index knows all of them.
SELECT count(*) FROM eventstore.read_category('Big', 0, NULL);
SELECT count(*) FROM eventstore.read_stream('Big-1') s, eventstore.read_event(s.event_id) e
WHERE e.version = s.version;

DROP EXTENSION eventstore;
