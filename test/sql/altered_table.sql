--
-- The C code relies on the shape of its relations: what it can't work with
-- is refused, and what is undone is forgotten.
--

CREATE EXTENSION eventstore;
SELECT last_version FROM eventstore.append_event('Order-1', 'T', '1');

-- Each change, with what an append and a read say to it; all are rolled back.
CREATE FUNCTION after_change(change text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	statement text;
	message text;
	detail text;
	hint text;
BEGIN
	RETURN NEXT change;
	FOREACH statement IN ARRAY ARRAY[
		'SELECT eventstore.append_event(''Order-1'', ''T'', ''1'')',
		'SELECT count(*) FROM eventstore.read_stream(''Order-1'')'] LOOP
		BEGIN
			-- would hold the columns in place
			ALTER EXTENSION eventstore DROP VIEW eventstore.events_jsonb;
			DROP VIEW eventstore.events_jsonb;
			EXECUTE change;
			EXECUTE statement;
			RETURN NEXT '  is accepted';
			RAISE EXCEPTION USING ERRCODE = 'P9999';
		EXCEPTION WHEN SQLSTATE 'P9999' THEN
		WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
			RETURN NEXT '  ' || SQLSTATE || ': ' || message;
			RETURN NEXT concat('  ', detail, ' ', hint);
		END;
	END LOOP;
END
$$;
\pset format unaligned
\pset tuples_only on

-- columns
SELECT after_change('ALTER TABLE eventstore.events ADD COLUMN note text');
SELECT after_change('ALTER TABLE eventstore.events DROP COLUMN tags');
SELECT after_change('ALTER TABLE eventstore.events RENAME COLUMN tags TO labels');
SELECT after_change('ALTER TABLE eventstore.events ALTER data TYPE jsonb');
SELECT after_change('ALTER TABLE eventstore.events ALTER schema_version TYPE bigint');
-- relations
SELECT after_change('ALTER TABLE eventstore.events RENAME TO facts');
SELECT after_change('ALTER TABLE eventstore.events SET SCHEMA public');
SELECT after_change('ALTER SEQUENCE eventstore.events_global_position_seq RENAME TO s');
SELECT after_change('ALTER TABLE eventstore.watermark RENAME TO w');
-- indexes
SELECT after_change('ALTER TABLE eventstore.events DROP CONSTRAINT events_pkey');
SELECT after_change('ALTER TABLE eventstore.events DROP CONSTRAINT events_stream_id_version_key');
SELECT after_change('ALTER TABLE eventstore.events DROP CONSTRAINT events_event_id_key');
SELECT after_change('DROP INDEX eventstore.events_stream_type_global_position_idx');

-- Others are replaced by indexes with the same columns that can't do their work.
SELECT after_change($$
	ALTER TABLE eventstore.events DROP CONSTRAINT events_event_id_key,
		ADD CONSTRAINT events_event_id_key UNIQUE (event_id) DEFERRABLE$$);
SELECT after_change($$
	ALTER TABLE eventstore.events DROP CONSTRAINT events_event_id_key;
	CREATE UNIQUE INDEX ON eventstore.events (event_id) WHERE version > 1$$);
SELECT after_change($$
	ALTER TABLE eventstore.events DROP CONSTRAINT events_event_id_key;
	CREATE INDEX ON eventstore.events (event_id)$$);
SELECT after_change($$
	ALTER TABLE eventstore.events DROP CONSTRAINT events_stream_id_version_key;
	CREATE UNIQUE INDEX ON eventstore.events (stream_id, version DESC)$$);
SELECT after_change($$
	ALTER TABLE eventstore.events DROP CONSTRAINT events_stream_id_version_key;
	CREATE UNIQUE INDEX ON eventstore.events (stream_id) INCLUDE (version)$$);
-- A collation other than "C" has another order, or so it must be feared.
SELECT after_change($$
	DROP INDEX eventstore.events_stream_type_global_position_idx;
	CREATE INDEX ON eventstore.events (stream_type COLLATE "POSIX", global_position)$$);
SELECT after_change($$
	ALTER TABLE eventstore.events DROP CONSTRAINT events_stream_id_version_key;
	CREATE UNIQUE INDEX ON eventstore.events (stream_id COLLATE "POSIX", version)$$);
-- The right ones may have another name.
SELECT after_change($$
	ALTER TABLE eventstore.events DROP CONSTRAINT events_event_id_key;
	CREATE UNIQUE INDEX my_event_id ON eventstore.events (event_id)$$);
SELECT after_change('ALTER INDEX eventstore.events_stream_id_version_key RENAME TO by_stream');

-- the sequence
SELECT after_change('ALTER SEQUENCE eventstore.events_global_position_seq CACHE 10');
SELECT after_change('ALTER SEQUENCE eventstore.events_global_position_seq INCREMENT 2');
SELECT after_change('ALTER SEQUENCE eventstore.events_global_position_seq CYCLE');

-- What does not matter
SELECT after_change('ALTER TABLE eventstore.events SET (fillfactor = 90)');
SELECT after_change('ALTER TABLE eventstore.events ALTER event_type SET STATISTICS 1000');
SELECT after_change('ALTER TABLE eventstore.events ALTER event_type SET STORAGE MAIN');
SELECT after_change('ALTER TABLE eventstore.events ALTER created_at SET DEFAULT now()');
SELECT after_change('ALTER TABLE eventstore.events REPLICA IDENTITY FULL');
SELECT after_change('ALTER TABLE eventstore.events DROP CONSTRAINT events_one_payload');
SELECT after_change('CREATE INDEX ON eventstore.events (stream_type, global_position)');
\pset tuples_only off
\pset format aligned

-- What the view events_jsonb is made of can't be changed at all.
ALTER TABLE eventstore.events DROP COLUMN tags;
-- (19 ends its DETAIL with a full stop)
\set VERBOSITY terse
ALTER TABLE eventstore.events ALTER data TYPE jsonb;
\set VERBOSITY default

-- All is well again, in this session and in a new one.
SELECT last_version FROM eventstore.append_event('Order-1', 'T', '2', 1);
SELECT version, data FROM eventstore.read_stream('Order-1');

-- Changes that are committed, and undone
ALTER TABLE eventstore.events RENAME COLUMN tags TO labels;
SELECT eventstore.append_event('Order-1', 'T', '1');
SELECT * FROM eventstore.read_stream('Order-1');
ALTER TABLE eventstore.events RENAME COLUMN labels TO tags;
SELECT last_version FROM eventstore.append_event('Order-1', 'T', '3', 2);
ALTER TABLE eventstore.events RENAME TO facts;
SELECT eventstore.append_event('Order-1', 'T', '1');
ALTER TABLE eventstore.facts RENAME TO events;
SELECT last_version FROM eventstore.append_event('Order-1', 'T', '4', 3);
ALTER SEQUENCE eventstore.events_global_position_seq CACHE 10;
SELECT eventstore.append_event('Order-1', 'T', '1');
ALTER SEQUENCE eventstore.events_global_position_seq CACHE 1;

-- The indexes can be rebuilt and replaced under a session that uses them.
REINDEX TABLE eventstore.events;
SELECT last_version FROM eventstore.append_event('Order-1', 'T', '5', 4);
REINDEX TABLE CONCURRENTLY eventstore.events;
SELECT last_version FROM eventstore.append_event('Order-1', 'T', '6', 5);
VACUUM FULL eventstore.events;
SELECT last_version FROM eventstore.append_event('Order-1', 'T', '7', 6);
BEGIN;
ALTER TABLE eventstore.events DROP CONSTRAINT events_event_id_key;
ALTER TABLE eventstore.events ADD CONSTRAINT events_event_id_key UNIQUE (event_id);
SELECT last_version FROM eventstore.append_event('Order-1', 'T', '8', 7);
ROLLBACK;
SELECT last_version FROM eventstore.append_event('Order-1', 'T', '8', 7);
SELECT array_agg(version) FROM eventstore.read_stream('Order-1');
SELECT count(*) FROM eventstore.events e, eventstore.read_event(e.event_id);
SELECT array_agg(version) FROM eventstore.read_category('Order');
SELECT array_agg(version) FROM eventstore.read_all();

-- Between the appends of a transaction, and undone
BEGIN;
SELECT last_version FROM eventstore.append_event('Order-2', 'T', '1');
SAVEPOINT s;
ALTER TABLE eventstore.events ADD CONSTRAINT no_such CHECK (event_type <> 'U');
\set VERBOSITY sqlstate
SELECT eventstore.append_event('Order-2', 'U', '2');
\set VERBOSITY default
ROLLBACK TO SAVEPOINT s;
SELECT last_version FROM eventstore.append_event('Order-2', 'U', '2');
CREATE INDEX regress_es_added ON eventstore.events (event_type);
SELECT last_version FROM eventstore.append_event('Order-2', 'T', '3');
DROP INDEX eventstore.regress_es_added;
SELECT last_version FROM eventstore.append_event('Order-2', 'T', '4');
ROLLBACK TO SAVEPOINT s;
ALTER TABLE eventstore.events ALTER stream_type SET STATISTICS 10;
CLUSTER eventstore.events USING events_event_id_key;
SELECT last_version FROM eventstore.append_event('Order-2', 'T', '2');
ROLLBACK TO SAVEPOINT s;
SELECT last_version FROM eventstore.append_event('Order-2', 'T', '2');
COMMIT;
SELECT array_agg(version) FROM eventstore.read_stream('Order-2');
SELECT * FROM eventstore.verify();

-- Functions are not found by what they are called.
BEGIN;
ALTER FUNCTION eventstore.append_event RENAME TO add;
SELECT (eventstore.add('Order-1', 'T', '9')).last_version;
ROLLBACK;

DROP FUNCTION after_change(text);
DROP EXTENSION eventstore;
