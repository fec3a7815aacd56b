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
SELECT chosen('streams', (SELECT string_agg('Order-' || i, ',') FROM generate_series(2, 50000) i));

-- Transactions are there when some event is.
SELECT * FROM messages('transactions', 'on', 'streams', 'Order-2');
SELECT * FROM messages('transactions', 'on', 'streams', 'Order-3');
SELECT count(*) FROM messages('transactions', 'off', 'streams', 'Order-2');
SELECT count(*) FROM messages('transactions', 'true', 'streams', 'Order-2');

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
SELECT pg_replication_origin_drop('regress_es_elsewhere');

SELECT pg_drop_replication_slot('regress_es');
DROP FUNCTION messages, skip_messages, chosen;
DROP EXTENSION eventstore;
