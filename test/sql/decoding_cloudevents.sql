--
-- CloudEvents: what their specification keeps out of attributes
--

CREATE EXTENSION eventstore;
\i test/sql/include/decoding.sql

-- Whatever white space metadata has, and whatever characters
SELECT last_version FROM eventstore.append_event('Odd-1', 'T', E' {\n "a" : 1\n}',
	event_id => '00000000-0000-4000-8000-000000000001',
	metadata => E' {\n\t"a b" : [ 1 , -1.50e+1,\r\n"\\"\\\\\\n \\u0041/ " ], "\\"": {\t} , "c":null }\n');
SELECT last_version FROM eventstore.append_event('Odd-1', 'T', '1', event_id => '00000000-0000-4000-8000-000000000002',
	metadata => (U&'"\007F\0080\009F\00A0\FDCF\FDD0\FDEF\FDF0\FFFD\FFFE\FFFF\+01FFFD\+01FFFE\+10FFFF"')::json,
	tags => ARRAY[E'\n\x7f', '\"', U&' \0085\+01FFFE']);
SELECT last_version FROM eventstore.append_event('Odd-1', 'T', '1', event_id => '00000000-0000-4000-8000-000000000003',
	metadata => ' "" ', tags => '{""}');
SELECT last_version FROM eventstore.append_event(E'Line\nbreak', U&'Delete\007F\0080\FFFE!', '1', stream_type => E'\x01\\"',
	event_id => '00000000-0000-4000-8000-000000000004');
-- Past the append functions
INSERT INTO eventstore.events
	SELECT global_position + 1000, 5, created_at, '00000000-0000-4000-8000-000000000005', stream_id, stream_type, event_type,
		   schema_version, NULL, NULL, data, NULL, E'text/plain\r\nX: y', NULL, NULL
	FROM eventstore.events WHERE event_id = '00000000-0000-4000-8000-000000000003';
SELECT * FROM messages('format', 'cloudevents');
SELECT * FROM messages();

-- Every character that could be taken for a forbidden one, in every attribute
SELECT skip_messages();
SELECT eventstore.continue_positions();
CREATE TABLE characters AS
	SELECT c / 500 AS part, string_agg(chr(c), '' ORDER BY c) AS part_of_all
	FROM generate_series(1, 1114111) c
	WHERE c < 4096 OR c BETWEEN 64768 AND 65792 OR c & 65535 NOT BETWEEN 32 AND 65503 GROUP BY 1;
SELECT sum(length(part_of_all)) FROM characters;
SELECT count(*) FROM characters,
	eventstore.append_event(part_of_all, part_of_all, to_json(part_of_all), stream_type => part_of_all,
							metadata => to_json(ARRAY[part_of_all]), tags => ARRAY[part_of_all]);
CREATE FUNCTION is_allowed(string text) RETURNS boolean
LANGUAGE sql AS $$
	SELECT bool_and(ascii(c) NOT BETWEEN 0 AND 31 AND ascii(c) NOT BETWEEN 127 AND 159
					AND ascii(c) NOT BETWEEN 64976 AND 65007 AND ascii(c) & 65534 <> 65534)
	FROM regexp_split_to_table(string, '') c
$$;
CREATE FUNCTION has_replacements(string text, original text) RETURNS boolean
LANGUAGE sql AS $$
	SELECT bool_and(s.c = CASE WHEN is_allowed(o.c) THEN o.c ELSE U&'\FFFD' END)
	FROM regexp_split_to_table(string, '') WITH ORDINALITY s (c, n)
		FULL JOIN regexp_split_to_table(original, '') WITH ORDINALITY o (c, n) USING (n)
$$;
SELECT count(*) AS events,
	   bool_and(m->>'type' = m->>'subject' AND m->>'type' = m->>'streamtype') AS alike,
	   bool_and(is_allowed(m->>'type') AND is_allowed(m->>'metadata') AND is_allowed(m->>'tags')) AS allowed,
	   bool_and(has_replacements(m->>'type', e.event_type)) AS replaced,
	   bool_and((m->>'metadata')::jsonb = e.metadata::jsonb) AS metadata,
	   bool_and((m->>'tags')::jsonb = to_jsonb(e.tags)) AS tags
FROM pg_logical_slot_peek_changes('regress_es', NULL, NULL, 'format', 'cloudevents') d (lsn, xid, message),
	CAST(message AS json) m
	JOIN eventstore.events e ON e.global_position = (m->>'globalposition')::bigint;

SELECT pg_drop_replication_slot('regress_es');
DROP FUNCTION messages, skip_messages, is_allowed, has_replacements;
DROP TABLE characters;
DROP EXTENSION eventstore;
