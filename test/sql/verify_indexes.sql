--
-- verify(): the events and the extension's indexes disagree.  Indexes are
-- broken by way of the catalogs: one that is "not ready" is not maintained,
-- and one can be given the file of another.
--
SET client_min_messages = warning;
\getenv srcdir PG_ABS_SRCDIR
\set by_hand :srcdir '/sql/include/by_hand.sql'
\i :by_hand
DROP EXTENSION IF EXISTS eventstore CASCADE;
CREATE EXTENSION eventstore;
SELECT last_position FROM eventstore.append_events('Order-1',
	'[{"event_type": "A", "data": 1}, {"event_type": "B", "data": 2}, {"event_type": "C", "data": 3}]');
SELECT last_position FROM eventstore.append_events('User-1',
	'[{"event_type": "A", "data": 1}, {"event_type": "B", "binary_data": "aGk="}]');
-- A name that is compressed in the index
SELECT last_position FROM eventstore.append_events('Order-' || repeat('long', 500),
	'[{"event_type": "A", "data": 1}, {"event_type": "B", "data": 2}]');

-- What breaks indexes
CREATE FUNCTION maintain(index name, yes boolean) RETURNS void LANGUAGE sql AS $$
	UPDATE pg_index SET indisready = yes WHERE indexrelid = ('eventstore.' || quote_ident(index))::regclass
$$;
CREATE FUNCTION swap_files(a regclass, b regclass) RETURNS void LANGUAGE sql AS $$
	UPDATE pg_class c SET relfilenode = d.relfilenode
	FROM pg_class d WHERE (c.oid, d.oid) IN ((a, b), (b, a))
$$;

-- An event that is like what append_events() stores
CREATE FUNCTION store(stream_id text, version bigint) RETURNS void LANGUAGE sql AS $$
	INSERT INTO eventstore.events (global_position, version, created_at, event_id, stream_id,
								   stream_type, event_type, schema_version, data)
	VALUES (nextval('eventstore.events_global_position_seq'), version, now(), eventstore.uuid_v7(),
			stream_id, 'Order', 'A', 1, '1')
$$;

-- broken(change): what is reported after it; it is rolled back.
CREATE FUNCTION broken(change text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	reports text[];
BEGIN
	RETURN NEXT change;
	BEGIN
		EXECUTE change;
		reports := array_agg(v.invariant || ': ' || v.detail) FROM eventstore.verify() v;
		RAISE EXCEPTION USING ERRCODE = 'P9999';
	EXCEPTION WHEN SQLSTATE 'P9999' THEN
	END;
	RETURN QUERY SELECT '  ' || r FROM unnest(coalesce(reports, '{NOTHING}')) r;
END
$$;
\pset format unaligned
\pset tuples_only on
SELECT * FROM eventstore.verify();

-- A table with the same events at the same places, and the same indexes
CREATE TABLE twin (LIKE eventstore.events);
ALTER TABLE twin ALTER data SET STORAGE PLAIN;
CREATE INDEX twin_category ON twin (stream_type, global_position);
CREATE UNIQUE INDEX twin_stream ON twin (stream_id, version);
CREATE UNIQUE INDEX twin_event_id ON twin (event_id);
CREATE UNIQUE INDEX twin_position ON twin (global_position);
-- All entries are missing.
SELECT broken('SELECT swap_files(''eventstore.events_stream_type_global_position_idx'', ''twin_category'')');
INSERT INTO twin SELECT * FROM eventstore.events ORDER BY global_position;
SELECT bool_and(e.ctid = t.ctid) FROM eventstore.events e JOIN twin t USING (global_position);
SELECT broken('SELECT swap_files(''eventstore.events_pkey'', ''twin_position'');
			   SELECT swap_files(''eventstore.events_event_id_key'', ''twin_event_id'');
			   SELECT swap_files(''eventstore.events_stream_id_version_key'', ''twin_stream'');
			   SELECT swap_files(''eventstore.events_stream_type_global_position_idx'', ''twin_category'')');

-- An entry is that of another event.
TRUNCATE twin;
INSERT INTO twin (global_position, version, created_at, event_id, stream_id, stream_type,
				  event_type, schema_version, data, binary_data)
SELECT CASE global_position WHEN 2 THEN 20 ELSE global_position END, version, created_at,
	   CASE global_position WHEN 4 THEN '00000000-0000-0000-0000-000000000001' ELSE event_id END,
	   CASE global_position WHEN 3 THEN 'Order-x' ELSE stream_id END,
	   CASE global_position WHEN 5 THEN 'Other' ELSE stream_type END,
	   event_type, schema_version, data, binary_data
FROM eventstore.events ORDER BY events.global_position;
SELECT broken('SELECT swap_files(''eventstore.events_pkey'', ''twin_position'')');
SELECT broken('SELECT swap_files(''eventstore.events_event_id_key'', ''twin_event_id'')');
SELECT broken('SELECT swap_files(''eventstore.events_stream_id_version_key'', ''twin_stream'')');
SELECT broken('SELECT swap_files(''eventstore.events_stream_type_global_position_idx'', ''twin_category'')');

-- Entries lead to where no row is, on the last page and behind it.
TRUNCATE twin;
INSERT INTO twin SELECT * FROM eventstore.events ORDER BY global_position;
INSERT INTO twin (global_position, version, created_at, event_id, stream_id, stream_type,
				  event_type, schema_version, data)
SELECT 20 + n, n, now(), eventstore.uuid_v7(), 'Order-4', 'Order', 'A', 1, to_json(repeat('x', 3000))
FROM generate_series(1, 4) n;
SELECT broken('SELECT swap_files(''eventstore.events_event_id_key'', ''twin_event_id'')');
SELECT broken('ALTER TABLE eventstore.events DISABLE TRIGGER guard_truncate;
			   TRUNCATE eventstore.events;
			   ALTER TABLE eventstore.events ENABLE ALWAYS TRIGGER guard_truncate;
			   SELECT swap_files(''eventstore.events_event_id_key'', ''twin_event_id'')');

-- An index has the file of something else: the rest of verify() may fail, this does not.
BEGIN;
SELECT swap_files('eventstore.events_pkey', 'eventstore.events_event_id_key');
SELECT * FROM eventstore.broken_index_entries();
ROLLBACK;
BEGIN;
SELECT swap_files('eventstore.events_pkey', 'eventstore.events_stream_id_version_key');
SELECT * FROM eventstore.broken_index_entries();
ROLLBACK;
BEGIN;
SELECT swap_files('eventstore.events_stream_id_version_key', 'eventstore.events_event_id_key');
SELECT * FROM eventstore.broken_index_entries();
ROLLBACK;
BEGIN;
SELECT swap_files('eventstore.events_pkey', 'twin');
SELECT * FROM eventstore.broken_index_entries();
ROLLBACK;

-- Rolled-back events are vacuumed away, but not out of an index.
BEGIN;
SELECT store('Order-9', 1), store('Order-9', 2);
ROLLBACK;
SELECT * FROM eventstore.verify();
VACUUM (FREEZE, INDEX_CLEANUP ON) eventstore.events;
SELECT * FROM eventstore.verify();
BEGIN;
SELECT store('Order-9', 1), store('Order-9', 2);
ROLLBACK;
SELECT maintain('events_stream_type_global_position_idx', false);
VACUUM (FREEZE, INDEX_CLEANUP ON) eventstore.events;
SELECT maintain('events_stream_type_global_position_idx', true);
SELECT * FROM eventstore.verify();
-- An entry gets the next event that comes to its place.
SELECT broken('SELECT store(''Order-9'', 1)');
-- If it is the same event, it has two entries then.
SELECT setval('eventstore.events_global_position_seq', last_value - 2) > 0 FROM eventstore.events_global_position_seq;
SELECT broken('SELECT store(''Order-9'', 1)');

-- An entry is lost.
SELECT broken(format('SELECT maintain(%L, false); SELECT store(''Order-1'', 4); SELECT maintain(%1$L, true)', i))
FROM unnest('{events_pkey,events_stream_id_version_key,events_event_id_key,events_stream_type_global_position_idx}'::name[]) i;

-- Many are: some are named, by position, and the others counted.
SELECT regexp_replace(r, '\d+', 'N'), count(*), min(substring(r, '\d+')::int), max(substring(r, '\d+')::int)
FROM broken('SELECT maintain(''events_event_id_key'', false);
			 SELECT store(''Order-2'', n) FROM generate_series(1, 250) n;
			 SELECT maintain(''events_event_id_key'', true)') AS r
WHERE r LIKE '  %' GROUP BY 1 ORDER BY 2 DESC;

DROP TABLE twin;
DROP FUNCTION maintain, swap_files, store, broken;
DROP EXTENSION eventstore;
