--
-- append_events: all that it refuses, and what it says
--

CREATE EXTENSION eventstore;
\getenv srcdir PG_ABS_SRCDIR
\set outcome :srcdir '/sql/include/outcome.sql'
\i :outcome

-- One event, and all there is to learn from an attempt to append it.
CREATE FUNCTION pg_temp.try_event(event text) RETURNS text
LANGUAGE sql AS $$
	SELECT event || E'\n' || pg_temp.outcome(
		format('SELECT eventstore.append_events(''Bad-1'', %L)', '[' || event || ']'))
$$;

\pset format unaligned
\pset tuples_only on

--
-- Not an array of objects
--
SELECT events || E'\n' ||
	   pg_temp.outcome(format('SELECT eventstore.append_events(''Bad-1'', %L)', events))
FROM (VALUES
	('{"event_type":"T","data":1}'),
	('1'), ('"x"'), ('true'), ('null'),
	('[]'), (E' [ \n ] '),
	('[1]'), ('["T"]'), ('[null]'), ('[false]'), ('[[]]'),
	('[{"event_type":"T","data":1},[{"event_type":"T","data":1}]]')) AS v (events);

--
-- The place in a batch
--
SELECT pg_temp.outcome($$SELECT eventstore.append_events('Bad-1', '[
	{"event_type":"T","data":1},
	{"event_type":"T","data":{"event_type":"T","datum":[1]}},
	{"event_type":"T","datum":1},
	{"event_type":"T","data":1}]')$$);
SELECT pg_temp.outcome($$SELECT eventstore.append_events('Bad-1',
	(SELECT json_agg(json_build_object('event_type', 'T', 'data', nullif(i, 9999)))
	 FROM generate_series(1, 10000) i))$$);

--
-- Keys
--
SELECT pg_temp.try_event(event) FROM (VALUES
	-- missing
	('{}'),
	('{"data":1}'),
	('{"event_type":null,"data":1}'),
	-- unknown
	('{"event_type":"T","data":1,"type":"T"}'),
	('{"event_type":"T","data":1,"Data":1}'),
	('{"event_type":"T","data":1,"":1}'),
	('{"event_type":"T","data":1,"event_type ":"T"}'),
	('{"event_type":"T","data":1,"event_typ":"T"}'),
	('{"event_type":"T","data":1,"a\"b\u0041":null}'),
	-- twice, also where the second one is null or written in another way
	('{"event_type":"T","data":1,"data":1}'),
	('{"event_type":"T","data":null,"data":1}'),
	('{"event_type":"T","event_type":"U","data":1}'),
	('{"event_type":"T","data":1,"event\u005ftype":"T"}'),
	('{"event_type":"T","data":1,"\u0064ata":null}'),
	('{"event_type":"T","data":1,"metadata":{},"metadata":{}}'),
	('{"event_type":"T","data":1,"tags":[],"tags":[]}')) AS v (event);
-- A long key is cut.
SELECT pg_temp.outcome($$SELECT eventstore.append_events('Bad-1',
	json_build_array(json_build_object(repeat('key ', 100000), 1)))$$);
-- A key that no text can hold; the message itself is PostgreSQL's.
SELECT split_part(answer, E'\n', 2), substring(answer, 'HINT: [^\n]*')
FROM (VALUES ('{"event_type":"T","data":1,"a\u0000":1}'), ('{"event_type":"T","data":1,"a\ud83d":1}')) AS v (event),
	 pg_temp.try_event(event) AS answer;

--
-- Values of the wrong JSON type
--
SELECT pg_temp.try_event(format('{"event_type":"T","data":1,"%s":%s}', key, value))
FROM (VALUES
	('event_id', '1'), ('event_id', '["11111111-1111-4111-8111-111111111111"]'),
	('correlation_id', 'true'), ('causation_id', '{}'),
	('content_type', '1'),
	('schema_version', '"1"'), ('schema_version', '[1]'), ('schema_version', 'true'),
	('tags', '"a"'), ('tags', '{"a":1}'), ('tags', '1'),
	('tags', '[1]'), ('tags', '["a",null]'), ('tags', '["a",["b"]]'), ('tags', '[{"a":"b"}]'),
	('binary_data', '1'), ('binary_data', '["AAH/"]')) AS v (key, value);
SELECT pg_temp.try_event(format('{"event_type":%s,"data":1}', value))
FROM (VALUES ('1'), ('["T"]'), ('{"T":1}'), ('true')) AS v (value);

--
-- Values that mean nothing
--
SELECT pg_temp.try_event(format('{"event_type":"T","data":1,"%s":%s}', key, value))
FROM (VALUES
	('event_id', '""'), ('event_id', '"11111111-1111-4111-8111-11111111111"'),
	('correlation_id', '"x"'), ('causation_id', '"11111111-1111-4111-8111-1111111111111"'),
	('content_type', '""'),
	('schema_version', '0'), ('schema_version', '-0'), ('schema_version', '-1'),
	('schema_version', '1.0'), ('schema_version', '1e2'),
	('schema_version', '2147483648')) AS v (key, value);
SELECT pg_temp.try_event('{"event_type":"","data":1}');

-- A media type goes into headers.
SELECT pg_temp.try_event(format('{"event_type":"T","data":1,"content_type":%s}', value))
FROM (VALUES ('"a/b\n"'), ('"\ta/b"'), ('"a/b\u007f"'), ('"a/\u00e9"'), ('"a/é"')) AS v (value);
SELECT pg_temp.try_event('{"event_type":"T","data":1},{"event_type":"T","data":1,"content_type":"a\r"}');
SELECT pg_temp.outcome($$SELECT eventstore.append_event('Bad-1', 'T', '1', content_type => E'a/b\nX: y')$$);

-- base64
SELECT pg_temp.try_event(format('{"event_type":"T","binary_data":%s}', value))
FROM (VALUES ('"!"'), ('"AAH"'), ('"AAH/A"'), ('"AA-_"')) AS v (value);

-- payloads: one, and only one
SELECT pg_temp.try_event(event) FROM (VALUES
	('{"event_type":"T"}'),
	('{"event_type":"T","data":null}'),
	('{"event_type":"T","binary_data":null,"data":null}'),
	('{"event_type":"T","metadata":{}}'),
	('{"event_type":"T","data":{},"binary_data":""}')) AS v (event);

-- text that PostgreSQL can't hold
SELECT split_part(pg_temp.try_event(event), E'\n', 2) FROM (VALUES
	('{"event_type":"a\u0000","data":1}'),
	('{"event_type":"T","data":1,"tags":["a\u0000"]}'),
	('{"event_type":"T","data":1,"content_type":"a\u0000"}')) AS v (event);

--
-- Names
--
SELECT pg_temp.outcome($$SELECT eventstore.append_events('', '[{"event_type":"T","data":1}]')$$);
SELECT pg_temp.outcome($$SELECT eventstore.append_events('-x', '[{"event_type":"T","data":1}]')$$);
SELECT pg_temp.outcome($$SELECT eventstore.append_events('-', '[{"event_type":"T","data":1}]')$$);
SELECT pg_temp.outcome($$SELECT eventstore.append_events('Bad-1', '[{"event_type":"T","data":1}]', NULL, '')$$);

-- Lengths are counted in bytes.  The error does not repeat the name.
SELECT pg_temp.outcome($$SELECT eventstore.append_events(repeat('x', 2049), '[{"event_type":"T","data":1}]')$$);
SELECT pg_temp.outcome($$SELECT eventstore.append_events(repeat('-', 3000000), '[{"event_type":"T","data":1}]')$$);
SELECT pg_temp.outcome($$SELECT eventstore.append_events('Bad-1', '[{"event_type":"T","data":1}]', NULL, repeat('x', 2049))$$);
SELECT pg_temp.outcome($$SELECT eventstore.append_events('Bad-1',
	json_build_array(json_build_object('event_type', repeat('x', 2049), 'data', 1)))$$);
SELECT pg_temp.outcome($$SELECT eventstore.append_events('Bad-1',
	json_build_array(json_build_object('event_type', 'T', 'data', 1, 'content_type', repeat('x', 3000000))))$$);

--
-- Nulls and numbers out of range
--
SELECT pg_temp.outcome($$SELECT eventstore.append_events(NULL, '[{"event_type":"T","data":1}]')$$);
SELECT pg_temp.outcome($$SELECT eventstore.append_events('Bad-1', NULL)$$);
SELECT pg_temp.outcome($$SELECT eventstore.append_events(NULL, NULL, NULL, NULL)$$);
SELECT pg_temp.outcome($$SELECT eventstore.append_events('Bad-1', '[{"event_type":"T","data":1}]', -2)$$);
SELECT pg_temp.outcome($$SELECT eventstore.append_events('Bad-1', '[{"event_type":"T","data":1}]', -9223372036854775808)$$);

--
-- An id twice in one batch
--
SELECT pg_temp.outcome($$SELECT eventstore.append_events('Bad-1', '[
	{"event_type":"T","data":1},
	{"event_type":"T","data":1,"event_id":"aaaaaaaa-1111-4111-8111-111111111111"},
	{"event_type":"T","data":1,"event_id":"11111111-1111-4111-8111-111111111111"},
	{"event_type":"T","data":1,"event_id":"AAAAAAAA-1111-4111-8111-111111111111"}]')$$);

-- Input is judged before the expected version is.
SELECT pg_temp.outcome($$SELECT eventstore.append_events('Bad-1', '[{"event_type":"T"}]', 99)$$);

-- None of all this was stored.
SELECT count(*) FROM eventstore.events;

DROP EXTENSION eventstore;
