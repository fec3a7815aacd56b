--
-- JSON that PostgreSQL could store, but not read, is refused.
--

CREATE EXTENSION eventstore;
\getenv srcdir PG_ABS_SRCDIR
\set outcome :srcdir '/sql/include/outcome.sql'
\set ECHO none
\i :outcome
\set ECHO all
\set random_json :srcdir '/sql/include/random_json.sql'
\set original :DBNAME

-- What an append says: without the message and the innermost context, which
-- are PostgreSQL's.
CREATE FUNCTION pg_temp.refusal(append text) RETURNS text
LANGUAGE sql AS $$
	SELECT regexp_replace(regexp_replace(pg_temp.outcome(append), '^([0-9A-Z]{5}): [^\n]*', '\1'),
						  'JSON data, line 1: [^\n]*\n', '')
$$;
CREATE FUNCTION pg_temp.try_payload(payload text) RETURNS text
LANGUAGE sql AS $$
	SELECT payload || E'\n' ||
		   pg_temp.refusal(format('SELECT eventstore.append_event(''Bad-1'', ''T'', %L)', payload))
$$;

\pset format unaligned
\pset tuples_only on

--
-- What it is, and where
--
SELECT pg_temp.try_payload(payload) FROM (VALUES
	('{"a":"\u0000"}'), ('{"\u0000":1}'), ('"é\u00e9\\\u0000"'),
	-- what JavaScript makes of an emoji that it cuts in two
	('{"text":"hi \ud83d"}'), ('"\ude00"'), ('["\ud83d","\ude00"]'),
	('"\ud83d\ud83d\ude00"'), ('"\ud83d \ude00"'), ('"\ud83d\n"'), ('"\ud83d\\ude00"'), ('"\ud83d\u0041"'),
	('[1, 1e131072]'), ('-1E+400000'), ('{"e":[{"e":-0.1e-16383}]}'), ('0e-99999'), ('1e99999999999999999999')) AS v (payload);

-- Digits without end
SELECT pg_temp.refusal(format('SELECT eventstore.append_event(''Bad-1'', ''T'', %s)', payload))
FROM (VALUES ($$repeat('9', 131073)::json$$), ($$('-0.' || repeat('9', 16384))::json$$),
			 ($$('[' || repeat('9', 131000) || '.5e0099]')::json$$)) AS v (payload);

-- jsonb writes exponents out: 80 kB would be more than a row can have.
SELECT pg_temp.outcome(format('SELECT eventstore.append_event(''Bad-1'', ''T'', json_build_array(%s))', payload))
FROM (VALUES ($$array_fill('1e131071'::json, '{4100}')$$), ($$array_fill('1e-9999'::json, '{60000}')$$)) AS v (payload);

-- Nesting without end
SELECT pg_temp.outcome(format('SELECT eventstore.append_event(''Bad-1'', ''T'', %s)', payload))
FROM (VALUES ($$(repeat('[', 4001) || repeat(']', 4001))::json$$),
			 ($$(repeat('{"a":', 4001) || '"[[["' || repeat('}', 4001))::json$$),
			 ($$('[[],' || repeat('[{"":', 2000) || '1' || repeat('}]', 2000) || ']')::json$$)) AS v (payload);

-- As metadata, and in a batch; the first one counts.
SELECT pg_temp.refusal($$SELECT eventstore.append_event('Bad-1', 'T', '1', metadata => '{"a":"\u0000"}')$$);
SELECT pg_temp.refusal($$SELECT eventstore.append_events('Bad-1', '[
	{"event_type":"T","data":1}, {"event_type":"T","data": {"a":"b\ud83d"} }]')$$);
SELECT pg_temp.refusal($$SELECT eventstore.append_events('Bad-1', '[
	{"event_type":"T","data":1}, {"metadata":[1e-99999],"event_type":"T","data":1}]')$$);
SELECT pg_temp.refusal($$SELECT eventstore.append_events('Bad-1',
	(SELECT json_agg(json_build_object('event_type', 'T', 'data', i, 'metadata', '"\u0000"'::json)) FROM generate_series(1, 9) i))$$);

-- Nothing was stored; and an append that would be a repeated one is refused as
-- well.
SELECT count(*) FROM eventstore.events;
SELECT last_version FROM eventstore.append_event('Good-1', 'T', '1', event_id => '00000000-0000-4000-8000-000000000001');
SELECT pg_temp.refusal($$SELECT eventstore.append_event('Good-1', 'T', '"\u0000"',
	event_id => '00000000-0000-4000-8000-000000000001')$$);

-- What binary_data is for
SELECT last_version FROM eventstore.append_event('Good-1', 'T', binary_data => '{"a":"\\u0000"}', content_type => 'application/json');

--
-- What only looks like it
--
CREATE TEMP TABLE good (payload text);
INSERT INTO good VALUES
	('"\\u0000"'), ('{"\\ud83d":"\\\\ud83d"}'), ('"\ud83d\ude00\uD83D\uDE00"'), ('"\u0001\uffff\uFDD0"'),
	('"1e400000"'), ('{"1e99999":"c0ffee99999e99999"}'),
	('[1e131071, -9.99E+131071, 1e-16383, 0e99999, 0.00001e131072, 1e0000000001]'),
	(repeat('9', 131072)), ('-0.' || repeat('9', 16383)), (to_json(repeat('9', 200000))::text),
	(repeat('[', 4000) || repeat(']', 4000)), (repeat('{"a":', 4000) || '1' || repeat('}', 4000)),
	('[' || repeat('[],', 5000) || repeat('{"a":[]},', 5000) || '1]'), (to_json(repeat('[', 5000))::text),
	(json_build_array(array_fill('1e131071'::json, '{100}'), array_fill('-2E9999'::json, '{50000}'))::text);
SELECT count(*), count(eventstore.append_event('Good-2', 'T', payload::json, metadata => payload::json)),
	   count(eventstore.append_events('Good-2', format('[{"data":%s,"event_type":"T","metadata":%s}]', payload, payload)::json))
FROM good;
SELECT count(DISTINCT payload) FROM good JOIN eventstore.read_stream('Good-2') e
	ON payload IN (e.data::text, e.metadata::text);

--
-- An append takes what jsonb takes, and nothing else, whatever the encoding.
--
SELECT getdatabaseencoding();
\set ECHO none
\i :random_json
\set ECHO all
SELECT setseed(0.125);
CREATE TEMP TABLE verdicts AS SELECT * FROM pg_temp.verdicts(5000);
SELECT * FROM verdicts WHERE (append = 'accepted') <> (jsonb = 'accepted') LIMIT 3;
SELECT append, count(*) > 20 FROM verdicts GROUP BY 1 ORDER BY 1;

CREATE DATABASE regress_es_latin1 ENCODING 'LATIN1' LOCALE 'C' LOCALE_PROVIDER libc TEMPLATE template0;
\c regress_es_latin1
CREATE EXTENSION eventstore;
\set ECHO none
\i :outcome
\i :random_json
\set ECHO all
SELECT pg_temp.outcome($$SELECT eventstore.append_event('Bad-1', 'T', '{"\u00e9":"\u00e9\u20ac"}')$$);
SELECT pg_temp.outcome($$SELECT eventstore.append_event('Bad-1', 'T', '"\ud83d\ude00"')$$);
SELECT setseed(0.25);
CREATE TEMP TABLE verdicts AS SELECT * FROM pg_temp.verdicts(2000);
SELECT * FROM verdicts WHERE (append = 'accepted') <> (jsonb = 'accepted') LIMIT 3;
SELECT append, count(*) > 20 FROM verdicts GROUP BY 1 ORDER BY 1;

CREATE DATABASE regress_es_ascii ENCODING 'SQL_ASCII' LOCALE 'C' LOCALE_PROVIDER libc TEMPLATE template0;
\c regress_es_ascii
CREATE EXTENSION eventstore;
\set ECHO none
\i :outcome
\i :random_json
\set ECHO all
SELECT pg_temp.outcome($$SELECT eventstore.append_event('Bad-1', 'T', '"\u007f\u00e9"')$$);
SELECT setseed(0.375);
CREATE TEMP TABLE verdicts AS SELECT * FROM pg_temp.verdicts(2000);
SELECT * FROM verdicts WHERE (append = 'accepted') <> (jsonb = 'accepted') LIMIT 3;
SELECT append, count(*) > 20 FROM verdicts GROUP BY 1 ORDER BY 1;

\c :original
DROP DATABASE regress_es_latin1;
DROP DATABASE regress_es_ascii;
DROP EXTENSION eventstore;
