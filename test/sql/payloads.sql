--
-- A payload comes out as it went in, byte for byte.  (What does not go in is in
-- unreadable_payloads.)
--

CREATE EXTENSION eventstore;

CREATE TABLE payloads (id serial, what text, payload text);
INSERT INTO payloads (what, payload) VALUES
	('white space', E' {\t"a" :\n 1 ,\r\n "b":[ 1 , 2 ] , "c" : { } } '),
	('duplicate keys', '{"a":1,"a":2,"a":1}'),
	('key order', '{"b":1,"a":{"d":1,"c":2}}'),
	('keys of an event', '{"event_type":1,"data":{"data":[]},"events":"x"}'),
	('number formats', '[1.0,1e2,1E+2,-0,-0.0e-0,0.10,1e400,123456789012345678901234567890.5]'),
	('escapes', '"\u0041\/\b\f\n\r\t\"\\"'),
	('escaped keys', '{"\u0061":1,"\"":2,"\\":3,"\\\"}":4}'),
	('no nul', '{"a\\u0000":"\\u0000"}'),
	('surrogates', '["\ud83d\ude00","\uD83D\uDE00"]'),
	('emoji', '{"😀":"👩‍👩‍👧 é ﷽"}'),
	('punctuation in strings', '{"a":"]}\"[{,:","}":["]",{"[":"\\"}],"\\\\":"\\\\\""}'),
	('empty object', '{}'), ('empty array', '[]'), ('empty string', '""'),
	('number', '0'), ('negative number', '-1.5e-3'), ('true', 'true'), ('false', 'false'),
	('string', '"null"'), ('padded number', ' 42 '), ('array of nulls', '[null,null]'),
	('deep nesting', repeat('[', 1000) || repeat(']', 1000)),
	('deep objects', repeat('{"a":', 1000) || '1' || repeat('}', 1000)),
	('just below 2 kB', to_json(repeat('x', 1990))::text),
	('large, compressible', to_json(repeat('payload ', 400000))::text),
	('large, incompressible', (SELECT to_json(string_agg(md5(i::text), ''))::text FROM generate_series(1, 98304) i)),
	('many keys', (SELECT json_object_agg('key ' || i, i)::text FROM generate_series(1, 10000) i));

SELECT what, octet_length(payload) AS bytes,
	   CASE WHEN octet_length(payload) < 100 AND what <> 'emoji' THEN payload END AS payload
FROM payloads ORDER BY id;

-- By append_event, as data and as metadata: all of the value is kept.
SELECT count(*) FROM payloads p,
	 eventstore.append_event('Typed-' || p.id, 'T', p.payload::json, metadata => p.payload::json);
SELECT p.what, e.data::text = p.payload AS data, e.metadata::text = p.payload AS metadata
FROM payloads p LEFT JOIN eventstore.read_stream('Typed-' || p.id) e ON true
ORDER BY p.id;

-- By append_events, where the value ends before the white space that follows:
-- at every place of a batch and of an event object, with and without space
-- around it.
SELECT a.last_version
FROM (SELECT format(E'[%s , \n %s]',
					string_agg(format('{"data":%s,"event_type":"T","metadata":%s}', payload, payload),
							   ',' ORDER BY id),
					string_agg(format(E' { "metadata" : %s , "event_type" : "T" , "data" :%s\t}', payload, payload),
							   E' ,\n' ORDER BY id)) AS events
	  FROM payloads) p,
	 eventstore.append_events('Batch-1', p.events::json) a;
SELECT what, count(*), bool_and(e.data::text = trim(E' \t\r\n' FROM p.payload)) AS data,
	   bool_and(e.metadata::text = trim(E' \t\r\n' FROM p.payload)) AS metadata
FROM eventstore.read_stream('Batch-1') e
	 JOIN payloads p ON p.id = (e.version - 1) % (SELECT count(*) FROM payloads) + 1
GROUP BY p.id, what ORDER BY p.id;

-- The read functions hand them out unchanged, from wherever they are stored.
SELECT count(*), bool_and(a.data::text = e.data::text) AS data, bool_and(a.metadata::text = e.metadata::text) AS metadata
FROM eventstore.read_all(0, NULL) a JOIN eventstore.events e USING (global_position);

--
-- Binary payloads
--
CREATE TABLE binaries (id serial, what text, payload bytea);
INSERT INTO binaries (what, payload) VALUES
	('empty', ''),
	('one zero byte', '\x00'),
	('every byte', (SELECT string_agg(set_byte('\x00', 0, i), '') FROM generate_series(0, 255) i)),
	('large, compressible', decode(repeat('00', 3000000), 'hex')),
	('large, incompressible', (SELECT string_agg(decode(md5(i::text), 'hex'), '') FROM generate_series(1, 196608) i));
SELECT count(*) FROM binaries b,
	 eventstore.append_event('Typed bytes-' || b.id, 'T', binary_data => b.payload);
-- base64 with its line breaks, escaped slashes and all
SELECT a.last_version
FROM (SELECT json_agg(json_build_object('event_type', 'T', 'binary_data', encode(payload, 'base64')) ORDER BY id)
	  FROM binaries) b (events),
	 eventstore.append_events('Bytes-1', b.events) a;
SELECT b.what, length(b.payload), e.binary_data = b.payload AS typed, f.binary_data = b.payload AS json,
	   e.data IS NULL AND f.data IS NULL AS no_data
FROM binaries b
	 LEFT JOIN eventstore.read_stream('Typed bytes-' || b.id) e ON true
	 LEFT JOIN eventstore.read_stream('Bytes-1') f ON f.version = b.id
ORDER BY b.id;
SELECT last_version FROM eventstore.append_events('Bytes-2',
	'[{"event_type":"T","binary_data":"\u0041AH\/"}]');
SELECT binary_data FROM eventstore.read_stream('Bytes-2');

-- Names and tags are text: escapes are resolved.
SELECT last_version FROM eventstore.append_events('Text-1',
	'[{"event_type":"a\u0041\"\\\/\n","content_type":"\u0061/b","data":1,"tags":["\u0061","\\","\"","a b"]}]');
SELECT event_type, content_type, tags FROM eventstore.read_stream('Text-1');

-- A column's storage and compression settings are followed.
SELECT pg_column_size(data) < 50000 AS compressed FROM eventstore.events
WHERE stream_id = (SELECT 'Typed-' || id FROM payloads WHERE what = 'large, compressible');
ALTER TABLE eventstore.events ALTER data SET STORAGE EXTERNAL;
SELECT count(*) FROM payloads p, eventstore.append_event('External-1', 'T', p.payload::json)
WHERE p.what = 'large, compressible';
SELECT pg_column_size(data) < 50000 AS compressed, data::text = (SELECT payload FROM payloads WHERE what = 'large, compressible') AS data
FROM eventstore.read_stream('External-1');
ALTER TABLE eventstore.events ALTER data SET STORAGE EXTENDED;

DROP TABLE payloads, binaries;
DROP EXTENSION eventstore;
