--
-- The options of the output plugin: filters, and mistakes.
--

CREATE EXTENSION eventstore;
\i test/sql/include/decoding.sql
\set peek 'SELECT count(*) FROM pg_logical_slot_peek_changes(''regress_es'', NULL, NULL'

SELECT last_position FROM eventstore.append_events('Order-1', '[
	{"event_type": "Placed", "data": 1}, {"event_type": "Paid", "data": 2}, {"event_type": "PLACED", "data": 3}]');
SELECT last_position FROM eventstore.append_events('Cart-1', '[
	{"event_type": "Placed", "data": 4}, {"event_type": "a,b", "data": 5}, {"event_type": " a\"b ", "data": 6}]');
SELECT last_position FROM eventstore.append_event('Order-2', 'Placed', '7',
	event_id => '00000000-0000-4000-8000-000000000007');
SELECT last_position FROM eventstore.append_event(E'odd\n', E'\\', '8', stream_type => 'Ordnung öffentlich');

-- the data of the events that come through
CREATE FUNCTION chosen(VARIADIC options text[]) RETURNS text
LANGUAGE sql AS $$
	SELECT coalesce(string_agg(data::json->>'data', ' '), 'none')
	FROM pg_logical_slot_peek_changes('regress_es', NULL, NULL, VARIADIC options)
$$;
SELECT o AS options, chosen(VARIADIC o) FROM (VALUES
	('{stream_types,Order}'::text[]), ('{stream_types,order}'), ('{stream_types,"Cart,Order"}'),
	('{stream_types," Cart , Order "}'), (ARRAY['stream_types', '"Cart"," Order"']),
	('{stream_types,"Ordnung öffentlich"}'), (ARRAY['stream_types', E'\t"Ordnung öffentlich"\n']),
	('{event_types,Placed}'), ('{event_types,"Placed,Placed,Placed"}'), ('{event_types,PLACED}'),
	(ARRAY['event_types', '"a,b"']), ('{event_types,"a,b"}'), (ARRAY['event_types', '" a""b "']),
	(ARRAY['event_types', '\']), ('{streams,Order-1}'), ('{streams,Order}'), ('{streams,"Order-2,Cart-1"}'),
	(ARRAY['streams', E'"odd\n"']), (ARRAY['streams', E'odd\n']),
	('{streams,"Order-1,Cart-1",event_types,Placed}'), ('{stream_types,Order,event_types,"Paid,Placed",streams,Order-1}'),
	('{stream_types,Cart,streams,Order-1}')) AS v (o);
-- Prefixes: one of them, or one of the names
SELECT o AS options, chosen(VARIADIC o) FROM (VALUES
	('{stream_prefixes,Order-}'::text[]), ('{stream_prefixes,order-}'), ('{stream_prefixes,Order-10}'),
	('{stream_prefixes,"Cart,Order-2"}'), ('{stream_prefixes,"O,Order-1,Order-,odd"}'), ('{stream_prefixes,"Order-1,Order-2"}'),
	('{stream_prefixes,"A,B,Z,z"}'), (ARRAY['stream_prefixes', E'"odd\n"']), (ARRAY['stream_prefixes', E'"odd\n "']),
	('{stream_prefixes,Cart,streams,Order-2}'), ('{stream_prefixes,Order-2,streams,"Order,Order-2"}'),
	('{stream_type_prefixes,Or}'), ('{stream_type_prefixes,"Ordnung ö"}'), ('{stream_type_prefixes,"Ordnung,Order"}'),
	('{stream_type_prefixes,C,stream_types,Order}'), ('{event_type_prefixes,P}'), ('{event_type_prefixes,"Pa,PL"}'),
	(ARRAY['event_type_prefixes', '" a""", \']), ('{event_type_prefixes,PL,event_types,Paid}'),
	('{event_type_prefixes,P,stream_prefixes,Cart}'), ('{event_type_prefixes,P,stream_prefixes,Cart,streams,Order-2}')) AS v (o);
SELECT chosen('stream_prefixes', (SELECT string_agg('Order-' || i, ',') FROM generate_series(2, 50000) i));
-- The set finds what comparing with each prefix finds.
CREATE TABLE prefixes AS
	SELECT array_agg(DISTINCT left(md5(i::text), 1 + i % 3) ORDER BY left(md5(i::text), 1 + i % 3)) AS prefixes
	FROM generate_series(1, 60) i GROUP BY i % 12;
SELECT count(eventstore.append_event('x' || md5(i::text), 'md5', to_json(i), stream_type => md5(i::text))) FROM generate_series(100, 400) i;
SELECT bool_and(chosen('stream_type_prefixes', array_to_string(prefixes, ','), 'event_types', 'md5')
				= (SELECT coalesce(string_agg(i::text, ' ' ORDER BY i), 'none') FROM generate_series(100, 400) i
				   WHERE EXISTS (SELECT FROM unnest(prefixes) p WHERE starts_with(md5(i::text), p)))) AS same
FROM prefixes;
DROP TABLE prefixes;
SELECT chosen('streams', (SELECT string_agg('Order-' || i, ',') FROM generate_series(2, 50000) i));

-- Transactions are there when some event is.
SELECT * FROM messages('transactions', 'on', 'streams', 'Order-2');
SELECT * FROM messages('transactions', 'on', 'streams', 'Order-3');
SELECT count(*) FROM messages('transactions', 'off', 'streams', 'Order-2');
SELECT count(*) FROM messages('transactions', 'true', 'streams', 'Order-2');

-- Which transaction an event is from
SELECT * FROM messages('transaction_details', 'on', 'streams', 'Order-2');
SELECT regexp_replace(message, '"xid":"\d+","commitlsn":"[0-9A-F]+/[0-9A-F]+","committime":"[^"]+"',
					  '"xid":"N","commitlsn":"L","committime":"now"') AS message
FROM messages('transaction_details', 'on', 'streams', 'Order-2', 'format', 'cloudevents');
SELECT count(*) FROM messages('transaction_details', 'off', 'streams', 'Order-2') WHERE message LIKE '%xid%';
SELECT json_typeof(e->'xid') AS json, json_typeof(c->'xid') AS cloudevent, e->>'xid' = m.xid::text AND c->>'xid' = m.xid::text AS xid,
	   e->>'commit_lsn' = b->>'commit_lsn' AND c->>'commitlsn' = b->>'commit_lsn' AS lsn,
	   e->>'commit_time' = b->>'commit_time' AND c->>'committime' = b->>'commit_time' AS time
FROM pg_logical_slot_peek_changes('regress_es', NULL, NULL, 'streams', 'Order-2', 'transaction_details', 'on') m, CAST(m.data AS json) e,
	 pg_logical_slot_peek_changes('regress_es', NULL, NULL, 'streams', 'Order-2', 'transaction_details', 'on', 'format', 'cloudevents') m2, CAST(m2.data AS json) c,
	 pg_logical_slot_peek_changes('regress_es', NULL, NULL, 'streams', 'Order-2', 'transactions', 'on') m3, CAST(m3.data AS json) b
WHERE b->>'transaction' = 'commit';

SELECT message::json->>'source' AS source FROM messages('format', 'cloudevents', 'source', 'urn:x:%41/?#[](~)', 'streams', 'Order-2');

-- Mistakes
:peek, 'fromat', 'json');
:peek, 'Format', 'json');
:peek, '', '');
:peek, 'format', '');
:peek, 'format', 'JSON');
:peek, 'format', 'json', 'format', 'json');
:peek, 'format', NULL);
:peek, 'format');
:peek, 'transactions', 'perhaps');
:peek, 'transactions', '');
:peek, 'origin', 'local');
:peek, 'transaction_details', '2');
:peek, 'message_prefixes', '');
:peek, 'message_prefixes', '*, ');
:peek, 'stream_prefixes', '');
:peek, 'stream_type_prefixes', 'a,,b');
:peek, 'event_type_prefixes', '""');
:peek, 'event_type_prefixes', U&'Order, \FFFDrger');
:peek, 'source', '');
:peek, 'source', 'http://a b');
:peek, 'source', 'a"b');
:peek, 'source', '%4');
:peek, 'source', '%zz');
:peek, 'source', 'ö');
:peek, 'stream_types', '');
:peek, 'stream_types', '  ');
:peek, 'event_types', 'a,');
:peek, 'event_types', ',a');
:peek, 'event_types', 'a,,b');
:peek, 'event_types', '""');
:peek, 'streams', '"a');
:peek, 'streams', '"a""');
:peek, 'streams', '"a" "b"');
:peek, 'streams', 'a"b"');
:peek, 'stream_types', U&'Order, \FFFDrger');
-- The slot is none the worse for them, and nothing of them is left.
SELECT count(*) FROM messages();
SELECT count(*) FROM pg_backend_memory_contexts
WHERE name IN ('Logical decoding context', 'ReorderBuffer', 'event being decoded');
--
-- Messages that were emitted: only those that are asked for
--
SELECT skip_messages();
BEGIN;
SELECT FROM pg_logical_emit_message(true, 'marker', 'first');
SELECT last_position FROM eventstore.append_event('Marked-1', 'T', '1', event_id => '00000000-0000-4000-8000-000000000031');
SELECT FROM pg_logical_emit_message(false, 'heartbeat', 'at once');
SELECT FROM pg_logical_emit_message(true, 'marker', E'"\\\n\u00e9');
SAVEPOINT s;
SELECT FROM pg_logical_emit_message(true, 'marker', 'undone');
ROLLBACK TO s;
SELECT FROM pg_logical_emit_message(true, 'other', 'not asked for');
SELECT FROM pg_logical_emit_message(true, 'marker', '\xc3'::bytea);
SELECT FROM pg_logical_emit_message(true, 'marker', '\x6100'::bytea);
SELECT FROM pg_logical_emit_message(true, '', '');
COMMIT;
BEGIN;
SELECT FROM pg_logical_emit_message(true, 'marker', 'rolled back');
SELECT FROM pg_logical_emit_message(false, 'heartbeat', 'not rolled back');
ROLLBACK;
SELECT FROM pg_logical_emit_message(true, 'a, "b"', 'alone');
-- What is in the WAL can't be told from its LSN here.
CREATE FUNCTION emitted(VARIADIC options text[]) RETURNS TABLE (message text)
LANGUAGE sql AS $$
	SELECT regexp_replace(m, '"lsn":"[0-9A-F]+/[0-9A-F]+"', '"lsn":"L"') FROM messages(VARIADIC options) m
$$;
SELECT * FROM messages();
SELECT * FROM emitted('message_prefixes', 'marker');
SELECT * FROM emitted('message_prefixes', 'marker, heartbeat', 'transactions', 'on');
SELECT * FROM emitted('message_prefixes', '"a, ""b""", mark', 'streams', 'none', 'transactions', 'on');
SELECT * FROM emitted('message_prefixes', 'heartbeat', 'streams', 'none', 'transactions', 'on');
SELECT * FROM emitted('message_prefixes', 'marker, heartbeat', 'streams', 'none', 'format', 'cloudevents');
SELECT count(DISTINCT data::json->>'id') = count(*) AS distinct,
	   bool_and(data::json->>'id' = data::json->'data'->>'lsn' || '-message') AS ids,
	   bool_and(lsn = (data::json->'data'->>'lsn')::pg_lsn) AS lsns
FROM pg_logical_slot_peek_changes('regress_es', NULL, NULL, 'message_prefixes', 'marker', 'streams', 'none', 'format', 'cloudevents');
DROP FUNCTION emitted;

-- In binary, though it is text
SELECT data FROM pg_logical_slot_peek_binary_changes('regress_es', NULL, NULL, 'streams', 'Order-3');

--
-- Events that came from elsewhere
--
SELECT skip_messages();
SELECT pg_replication_origin_create('regress_es_elsewhere') > 0;
SELECT pg_replication_origin_session_setup('regress_es_elsewhere');
SELECT last_position FROM eventstore.append_event('Order-1', 'Placed', '9');
SELECT pg_replication_origin_session_reset();
SELECT last_position FROM eventstore.append_event('Order-1', 'Placed', '10');
SELECT chosen('origin', 'any'), chosen('origin', 'none'), chosen('format', 'json');
SELECT pg_replication_origin_session_setup('regress_es_elsewhere');
SELECT FROM pg_logical_emit_message(true, 'marker', 'from elsewhere');
SELECT FROM pg_logical_emit_message(false, 'marker', 'from elsewhere, at once');
SELECT pg_replication_origin_session_reset();
SELECT FROM pg_logical_emit_message(true, 'marker', 'from here');
SELECT data::json->>'content' AS content
FROM pg_logical_slot_peek_changes('regress_es', NULL, NULL, 'origin', 'any', 'message_prefixes', 'marker', 'streams', 'none');
SELECT data::json->>'content' AS content
FROM pg_logical_slot_peek_changes('regress_es', NULL, NULL, 'origin', 'none', 'message_prefixes', 'marker', 'streams', 'none');
SELECT pg_replication_origin_drop('regress_es_elsewhere');

SELECT pg_drop_replication_slot('regress_es');
DROP FUNCTION messages, skip_messages, chosen;
DROP EXTENSION eventstore;
