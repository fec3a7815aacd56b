--
-- An append that is repeated is answered, not stored again.
--

CREATE EXTENSION eventstore;

SELECT * FROM eventstore.append_events('Order-1', '[
	{"event_type":"A","data":1,"event_id":"00000000-0000-4000-8000-000000000001"},
	{"event_type":"B","data":2,"event_id":"00000000-0000-4000-8000-000000000002"},
	{"event_type":"C","data":3,"event_id":"00000000-0000-4000-8000-000000000003"}]', 0);
SELECT * FROM eventstore.append_event('Order-2', 'A', '1', 0, '00000000-0000-4000-8000-000000000004');
SELECT * FROM eventstore.append_event('Order-1', 'Later', '1');

-- The same again, whatever the expected version
SELECT * FROM eventstore.append_events('Order-1', '[
	{"event_type":"A","data":1,"event_id":"00000000-0000-4000-8000-000000000001"},
	{"event_type":"B","data":2,"event_id":"00000000-0000-4000-8000-000000000002"},
	{"event_type":"C","data":3,"event_id":"00000000-0000-4000-8000-000000000003"}]', 0);
SELECT * FROM eventstore.append_events('Order-1', '[
	{"event_type":"A","data":1,"event_id":"00000000-0000-4000-8000-000000000001"},
	{"event_type":"B","data":2,"event_id":"00000000-0000-4000-8000-000000000002"},
	{"event_type":"C","data":3,"event_id":"00000000-0000-4000-8000-000000000003"}]', 77);
SELECT * FROM eventstore.append_event('Order-2', 'A', '1', 0, '00000000-0000-4000-8000-000000000004');
SELECT * FROM eventstore.append_event('Order-2', 'A', '1', -1, '00000000-0000-4000-8000-000000000004');
-- A part that is a repetition by itself is one.
SELECT * FROM eventstore.append_events('Order-1', '[
	{"event_type":"B","data":2,"event_id":"00000000-0000-4000-8000-000000000002"},
	{"event_type":"C","data":3,"event_id":"00000000-0000-4000-8000-000000000003"}]');
SELECT * FROM eventstore.append_event('Order-1', 'A', '1', NULL, '00000000-0000-4000-8000-000000000001');
-- Nothing was stored again, and no position was taken.
SELECT * FROM eventstore.append_event('Order-3', 'A', '1');
SELECT stream_id, count(*), max(version) FROM eventstore.events GROUP BY 1 ORDER BY 1;

--
-- Anything else is refused.
--

-- another stream
SELECT * FROM eventstore.append_event('Order-3', 'A', '1', NULL, '00000000-0000-4000-8000-000000000001');
\echo :SQLSTATE
-- another event type
SELECT * FROM eventstore.append_event('Order-1', 'Z', '1', NULL, '00000000-0000-4000-8000-000000000001');
\echo :SQLSTATE
-- another order
SELECT * FROM eventstore.append_events('Order-1', '[
	{"event_type":"B","data":2,"event_id":"00000000-0000-4000-8000-000000000002"},
	{"event_type":"A","data":1,"event_id":"00000000-0000-4000-8000-000000000001"}]');
-- with a hole
SELECT * FROM eventstore.append_events('Order-1', '[
	{"event_type":"A","data":1,"event_id":"00000000-0000-4000-8000-000000000001"},
	{"event_type":"C","data":3,"event_id":"00000000-0000-4000-8000-000000000003"}]');
-- stored ones, then new ones: with another id, or with none
SELECT * FROM eventstore.append_events('Order-1', '[
	{"event_type":"A","data":1,"event_id":"00000000-0000-4000-8000-000000000001"},
	{"event_type":"B","data":2,"event_id":"00000000-0000-4000-8000-000000000002"},
	{"event_type":"N","data":9,"event_id":"00000000-0000-4000-8000-000000000009"}]');
SELECT * FROM eventstore.append_events('Order-1', '[
	{"event_type":"C","data":3,"event_id":"00000000-0000-4000-8000-000000000003"},
	{"event_type":"Later","data":9}]');
-- new ones, then stored ones
SELECT * FROM eventstore.append_events('Order-1', '[
	{"event_type":"N","data":9,"event_id":"00000000-0000-4000-8000-000000000009"},
	{"event_type":"A","data":1,"event_id":"00000000-0000-4000-8000-000000000001"}]');
SELECT * FROM eventstore.append_events('Order-1', '[
	{"event_type":"N","data":9},
	{"event_type":"A","data":1,"event_id":"00000000-0000-4000-8000-000000000001"}]');
-- events of two streams
SELECT * FROM eventstore.append_events('Order-1', '[
	{"event_type":"C","data":3,"event_id":"00000000-0000-4000-8000-000000000003"},
	{"event_type":"A","data":1,"event_id":"00000000-0000-4000-8000-000000000004"}]');
\echo :SQLSTATE
-- The id counts, not how it is written.
SELECT deduplicated FROM eventstore.append_events('Order-1', '[
	{"event_type":"A","data":1,"event_id":"{00000000000040008000000000000001}"}]');
-- The payload does not count: the id is the event's identity.
SELECT deduplicated FROM eventstore.append_event('Order-1', 'A', '"other"', NULL,
												 '00000000-0000-4000-8000-000000000001');
SELECT data FROM eventstore.read_event('00000000-0000-4000-8000-000000000001');

--
-- Within a transaction and a statement
--
BEGIN;
SELECT * FROM eventstore.append_event('Own-1', 'A', '1', 0, '00000000-0000-4000-8000-000000000011');
SELECT deduplicated, first_version
FROM eventstore.append_event('Own-1', 'A', '1', 0, '00000000-0000-4000-8000-000000000011');
SAVEPOINT s;
SELECT deduplicated FROM eventstore.append_event('Own-1', 'B', '1', 1, '00000000-0000-4000-8000-000000000012');
ROLLBACK TO s;
-- What was rolled back is new.
SELECT deduplicated, first_version
FROM eventstore.append_event('Own-2', 'B', '1', 0, '00000000-0000-4000-8000-000000000012');
ROLLBACK;
SELECT deduplicated, first_version
FROM eventstore.append_event('Own-3', 'A', '1', 0, '00000000-0000-4000-8000-000000000011');
SELECT a.first_version, a.deduplicated
FROM generate_series(1, 3) i,
	 LATERAL eventstore.append_event('Own-4', 'A', to_json(i), 0, '00000000-0000-4000-8000-000000000013') a;
SELECT version, data FROM eventstore.read_stream('Own-4');

--
-- A large batch
--
CREATE TEMP TABLE batch AS
	SELECT json_agg(json_build_object('event_type', 'T' || i % 3, 'data', i, 'event_id', md5(i::text)::uuid)
					ORDER BY i) AS events
	FROM generate_series(1, 3000) i;
SELECT first_version, last_version, last_position - first_position AS span, deduplicated
FROM batch, eventstore.append_events('Large-1', events, 0);
SELECT first_version, last_version, last_position - first_position AS span, deduplicated
FROM batch, eventstore.append_events('Large-1', events, 0);
SELECT eventstore.append_events('Large-2', events) FROM batch;
SELECT eventstore.stream_version('Large-1'), eventstore.stream_version('Large-2');

DROP EXTENSION eventstore;
