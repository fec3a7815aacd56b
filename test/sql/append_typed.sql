--
-- append_event: one event from typed arguments
--

CREATE EXTENSION eventstore;
\getenv srcdir PG_ABS_SRCDIR
\set outcome :srcdir '/sql/include/outcome.sql'
\i :outcome

-- By place and by name; what is left out has its default.
SELECT * FROM eventstore.append_event('Order-1', 'Placed', '{"n": 1}');
SELECT * FROM eventstore.append_event('Order-1', 'Paid', '{"n": 2}', 1);
SELECT * FROM eventstore.append_event('Order-1', 'Signed', binary_data => '\x00ff',
									  content_type => 'application/pgp-signature');
SELECT * FROM eventstore.append_event(
	stream_id => 'Order-1', event_type => 'Shipped', data => '{"n": 4}', expected_version => 3,
	event_id => '11111111-1111-4111-8111-111111111111', metadata => '{"user": "ann"}',
	correlation_id => '22222222-2222-4222-8222-222222222222',
	causation_id => '33333333-3333-4333-8333-333333333333',
	schema_version => 7, tags => '{customer:1,"with space",""}', stream_type => 'Order',
	content_type => 'application/json');
-- Nulls mean the same as leaving arguments out.
SELECT * FROM eventstore.append_event('Order-1', 'Nulls', '[]', NULL, NULL, NULL, NULL, NULL,
									  NULL, NULL, NULL, NULL, NULL);
-- A jsonb value goes through a cast.
SELECT last_version FROM eventstore.append_event('Order-1', 'Cast', '{"b":1,"a":2}'::jsonb::json);
-- Tags keep to one dimension, but may be empty.
SELECT last_version FROM eventstore.append_event('Order-1', 'Tags', '1', tags => '{}');
SELECT last_version FROM eventstore.append_event('Order-1', 'Tags', '1', tags => ARRAY['a', 'b']);
\x on
SELECT version, stream_type, event_type, schema_version,
	   CASE WHEN event_id::text ~ '^1' THEN event_id END AS given_event_id,
	   correlation_id, causation_id, data, binary_data, content_type, metadata, tags
FROM eventstore.read_stream('Order-1');
\x off

-- The stream type is given, derived or inherited.
SELECT last_version FROM eventstore.append_event('Typed-1', 'T', '1', stream_type => 'Given');
SELECT last_version FROM eventstore.append_event('Typed-1', 'T', '1');
SELECT stream_type, count(*) FROM eventstore.read_stream('Typed-1') GROUP BY 1;

-- Values of every storage form go in: short, compressed, out of line.
CREATE TABLE source (name text, tags text[], small json, large json, bytes bytea);
INSERT INTO source VALUES ('Source-1', ARRAY[repeat('tag', 1000)], '{"small": 1}',
	json_build_object('large', repeat('x', 100000)), decode(repeat('00', 100000), 'hex'));
INSERT INTO source SELECT 'Source-2', array_agg(md5(i::text)), '{"small": 2}', json_agg(md5(i::text)),
						  string_agg(decode(md5(i::text), 'hex'), '')
FROM generate_series(1, 1000) i;
SELECT last_version FROM source s, eventstore.append_event(s.name, 'Small', s.small, metadata => s.large);
SELECT last_version FROM source s, eventstore.append_event(s.name, 'Large', s.large, tags => s.tags);
SELECT last_version FROM source s, eventstore.append_event(s.name, 'Bytes', binary_data => s.bytes);
SELECT s.name, e.version, e.event_type,
	   e.data::text = CASE e.event_type WHEN 'Small' THEN s.small WHEN 'Large' THEN s.large END::text AS data,
	   e.metadata::text = s.large::text AS metadata, e.tags = s.tags AS tags,
	   e.binary_data = s.bytes AS binary_data
FROM source s, eventstore.read_stream(s.name) e;
DROP TABLE source;

-- The four kinds of expected version
SELECT first_version FROM eventstore.append_event('New-1', 'T', '1', 0);
SELECT first_version FROM eventstore.append_event('New-1', 'T', '1', 1);
SELECT first_version FROM eventstore.append_event('New-1', 'T', '1', -1);
SELECT first_version FROM eventstore.append_event('New-1', 'T', '1', NULL);
SELECT first_version FROM eventstore.append_event('New-1', 'T', '1', 0);
SELECT first_version FROM eventstore.append_event('New-1', 'T', '1', 3);
SELECT first_version FROM eventstore.append_event('None-1', 'T', '1', -1);

-- JSON null is a payload here: it is a value, unlike SQL's null.
SELECT last_version FROM eventstore.append_event('Null-1', 'T', 'null', metadata => 'null');
SELECT data, metadata FROM eventstore.read_stream('Null-1');

-- One call for each event, whichever way its columns are asked for.  (*
-- expands to one call for each column, as for every function in a target list.)
SELECT (eventstore.append_event('Once-1', 'T', '1')).last_version;
SELECT a.* FROM eventstore.append_event('Once-1', 'T', '1') a;
SELECT eventstore.stream_version('Once-1');

--
-- What is refused
--
SELECT count(*) AS before FROM eventstore.events \gset
\pset format unaligned
\pset tuples_only on

SELECT format('append_event(%s)', arguments) || E'\n' ||
	   pg_temp.outcome(format('SELECT eventstore.append_event(%s)', arguments))
FROM (VALUES
	-- nulls
	('NULL, ''T'', ''1'''),
	('''Bad-1'', NULL, ''1'''),
	-- payloads: one, and only one
	('''Bad-1'', ''T'''),
	('''Bad-1'', ''T'', metadata => ''1'''),
	('''Bad-1'', ''T'', ''{}'', binary_data => '''''),
	-- names
	(''''', ''T'', ''1'''),
	('''Bad-1'', '''', ''1'''),
	('''-'', ''T'', ''1'''),
	('''Bad-1'', ''T'', ''1'', stream_type => '''''),
	('''Bad-1'', ''T'', ''1'', content_type => '''''),
	('''Bad-1'', repeat(''x'', 2049), ''1'''),
	('''Bad-1'', ''T'', ''1'', stream_type => repeat(''x'', 2049)'),
	('''Bad-1'', ''T'', ''1'', content_type => repeat(''x'', 2049)'),
	-- numbers
	('''Bad-1'', ''T'', ''1'', -2'),
	('''Bad-1'', ''T'', ''1'', schema_version => 0'),
	('''Bad-1'', ''T'', ''1'', schema_version => -2147483648'),
	-- tags
	('''Bad-1'', ''T'', ''1'', tags => ''{a,NULL}'''),
	('''Bad-1'', ''T'', ''1'', tags => ''{{a},{b}}''')) AS v (arguments);

SELECT count(*) - :before FROM eventstore.events;

DROP EXTENSION eventstore;
