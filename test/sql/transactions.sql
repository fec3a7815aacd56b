--
-- Appends in transactions, savepoints, statements and loops
--

CREATE EXTENSION eventstore;

--
-- Several appends in one statement see one another.
--
SELECT i, a.first_version, a.last_position
FROM generate_series(1, 3) i, LATERAL eventstore.append_event('Many-1', 'T', to_json(i), i - 1) a;
SELECT (eventstore.append_event('Many-1', 'T', '4', 3)).last_version AS a,
	   (eventstore.append_event('Many-1', 'T', '5', 4)).last_version AS b,
	   (eventstore.append_event('Many-2', 'T', '1', 0)).last_version AS c;
WITH a AS MATERIALIZED (SELECT * FROM eventstore.append_event('Many-1', 'T', '6', 5)),
	 b AS MATERIALIZED (SELECT n.* FROM a, eventstore.append_event('Many-1', 'T', '7', a.last_version) n)
SELECT a.last_version AS a, b.last_version AS b FROM a, b;
CREATE TABLE appended AS
	SELECT * FROM eventstore.append_events('Many-1', '[{"event_type":"T","data":8},{"event_type":"T","data":9}]');
INSERT INTO appended SELECT * FROM eventstore.append_event('Many-1', 'T', '10');
TABLE appended;
DROP TABLE appended;
-- One that fails takes the others along.
SELECT i, a.first_version
FROM generate_series(1, 3) i, LATERAL eventstore.append_event('Many-1', 'T', to_json(i), 11 - i) a;
SELECT version, data FROM eventstore.read_stream('Many-1');

--
-- A transaction sees its own events; a rollback leaves neither events nor
-- gaps in the versions, only gaps in the positions.
--
BEGIN;
SELECT last_version, last_position FROM eventstore.append_event('Tx-1', 'T', '1');
SELECT last_version, last_position FROM eventstore.append_event('Tx-1', 'T', '2', 1);
SELECT version FROM eventstore.read_stream('Tx-1');
SELECT eventstore.stream_version('Tx-1'), eventstore.settled_position();
ROLLBACK;
SELECT eventstore.stream_version('Tx-1');
SELECT * FROM eventstore.append_event('Tx-1', 'T', '1', 0);

BEGIN;
SAVEPOINT a;
SELECT last_version FROM eventstore.append_event('Tx-1', 'gone', '1');
ROLLBACK TO a;
SELECT last_version FROM eventstore.append_event('Tx-1', 'kept', '2', 1);
SAVEPOINT b;
SELECT last_version FROM eventstore.append_event('Tx-1', 'kept', '3', 2);
RELEASE b;
SAVEPOINT c;
SELECT last_version FROM eventstore.append_event('Tx-1', 'gone', '4', 3);
SAVEPOINT d;
SELECT last_version FROM eventstore.append_event('Tx-1', 'gone', '5', 4);
RELEASE d;
SELECT eventstore.stream_version('Tx-1');
-- a wrong guess, and on after it
SAVEPOINT e;
SELECT eventstore.append_event('Tx-1', 'T', '6', 4);
ROLLBACK TO c;
SELECT array_agg(event_type ORDER BY version) FROM eventstore.read_stream('Tx-1');
SELECT array_agg(stream_id || ' ' || version) FROM eventstore.read_all(11, NULL);
COMMIT;
SELECT version, event_type FROM eventstore.read_stream('Tx-1');

-- exception blocks
DO $$
BEGIN
	FOR i IN 1..5 LOOP
		BEGIN
			PERFORM eventstore.append_event('Block-1', 'T', to_json(i), 0);
			RAISE NOTICE '% appended', i;
			IF i = 1 THEN
				RAISE EXCEPTION 'no, not this one';
			END IF;
		EXCEPTION
			WHEN SQLSTATE 'ST001' THEN
				RAISE NOTICE '% in conflict: %', i, SQLERRM;
			WHEN raise_exception THEN
				RAISE NOTICE '% taken back', i;
		END;
	END LOOP;
END
$$;
SELECT version, data FROM eventstore.read_stream('Block-1');

-- commits in between
DO $$
BEGIN
	FOR i IN 1..4 LOOP
		PERFORM eventstore.append_event('Procedure-1', 'T', to_json(i));
		IF i % 2 = 0 THEN
			ROLLBACK;
		ELSE
			COMMIT;
		END IF;
	END LOOP;
END
$$;
SELECT version, data FROM eventstore.read_stream('Procedure-1');

--
-- Isolation levels: alone in the database, all are the same.
--
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT eventstore.stream_version('Block-1');
SELECT last_version FROM eventstore.append_event('Block-1', 'T', '6', 1);
SELECT last_version FROM eventstore.append_event('Block-1', 'T', '7', 2);
SELECT count(*) FROM eventstore.read_stream('Block-1');
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT count(*) FROM eventstore.read_all(0, NULL);
SELECT count(*) FROM eventstore.read_category('Block');
SELECT last_version FROM eventstore.append_event('Block-1', 'T', '8', 3);
SELECT count(*) FROM eventstore.read_stream('Block-1');
COMMIT;

--
-- Read-only transactions read.
--
BEGIN READ ONLY;
SELECT count(*) FROM eventstore.read_stream('Block-1');
SELECT eventstore.stream_version('Block-1');
SELECT count(*) FROM eventstore.read_category('Block');
SELECT eventstore.append_event('Block-1', 'T', '9');
\echo :SQLSTATE
ROLLBACK;
BEGIN;
SELECT last_version FROM eventstore.append_event('Block-1', 'T', '9');
SET TRANSACTION READ ONLY;
SELECT eventstore.append_events('Block-1', '[{"event_type":"T","data":10}]');
COMMIT;
SET default_transaction_read_only = on;
SELECT eventstore.append_event('Block-1', 'T', '9');
SELECT eventstore.advance_watermark();
SELECT eventstore.settled_position() > 0 AS settled;
RESET default_transaction_read_only;
BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE;
SELECT count(*) FROM eventstore.read_stream('Block-1');
ROLLBACK;

--
-- Very many streams in one transaction do not fill the lock table: from some
-- point on one lock on the table stands for them all.
--
SELECT last_position AS before FROM eventstore.append_event('Mark-1', 'T', '0') \gset
BEGIN;
SELECT count(*), min(last_version), max(last_version)
FROM generate_series(1, 2000) i, eventstore.append_event('Stream-' || i, 'T', to_json(i), 0);
SELECT count(*) > 100 AS many_locks,
	   count(*) < current_setting('max_locks_per_transaction')::int *
				  (current_setting('max_connections')::int + current_setting('max_worker_processes')::int)
				  / 2 AS not_too_many,
	   (count(*) < 2000) =
	   EXISTS (SELECT FROM pg_locks
			   WHERE pid = pg_backend_pid() AND relation = 'eventstore.events'::regclass AND
					 mode = 'ShareRowExclusiveLock') AS table_for_the_rest
FROM pg_locks
WHERE pid = pg_backend_pid() AND locktype = 'advisory';
-- and the transaction goes on as before
SELECT count(*), min(last_version), max(last_version)
FROM generate_series(1, 2000) i, eventstore.append_event('Stream-' || i, 'T', to_json(i), 1);
SAVEPOINT s;
SELECT last_version FROM eventstore.append_event('Stream-5000', 'T', '1');
ROLLBACK TO s;
COMMIT;
SELECT count(*), count(DISTINCT stream_id), min(global_position) - :before AS first,
	   max(global_position) - :before AS last
FROM eventstore.read_category('Stream', 0, NULL);
-- The next transaction begins with stream locks again.
BEGIN;
SELECT last_version FROM eventstore.append_event('Stream-1', 'T', '3');
SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory';
SELECT count(*) FROM pg_locks
WHERE pid = pg_backend_pid() AND relation = 'eventstore.events'::regclass AND
	  mode = 'ShareRowExclusiveLock';
COMMIT;

-- Savepoints that were rolled back have let go of their streams, and count no
-- more: neither one stream again and again, nor others each time.
BEGIN;
DO $$ BEGIN
	FOR i IN 1 .. 3000 LOOP
		BEGIN
			PERFORM eventstore.append_event('Undone-' || i % 2 * i, 'T', '1');
			RAISE EXCEPTION 'no';
		EXCEPTION WHEN raise_exception THEN NULL;
		END;
	END LOOP;
	PERFORM eventstore.append_event('Undone-1', 'T', '1');
END $$;
SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory';
SELECT count(*) FROM pg_locks
WHERE pid = pg_backend_pid() AND relation = 'eventstore.events'::regclass AND
	  mode = 'ShareRowExclusiveLock';
ROLLBACK;

-- Those that were released count as before.
BEGIN;
DO $$ BEGIN
	FOR i IN 1 .. 3000 LOOP
		BEGIN
			PERFORM eventstore.append_event('Done-' || i, 'T', '1');
		EXCEPTION WHEN raise_exception THEN NULL;
		END;
	END LOOP;
END $$;
SELECT count(*) FROM pg_locks
WHERE pid = pg_backend_pid() AND relation = 'eventstore.events'::regclass AND
	  mode = 'ShareRowExclusiveLock';
ROLLBACK;

-- In one statement as well.  Users' own advisory locks are something else.
BEGIN;
SELECT count(pg_advisory_xact_lock(i)) FROM generate_series(1, 10) i;
SELECT count(*) FROM generate_series(1, 10) i, eventstore.append_event('Own-' || i % 3, 'T', '1');
SELECT objsubid IN (1, 2) AS users, count(*) FROM pg_locks
WHERE pid = pg_backend_pid() AND locktype = 'advisory' GROUP BY 1 ORDER BY 1;
COMMIT;

--
-- A long loop does not keep memory: not for the appends, not for the reads.
--
CREATE FUNCTION used_memory() RETURNS bigint
LANGUAGE sql AS 'SELECT sum(used_bytes)::bigint FROM pg_backend_memory_contexts';
CREATE FUNCTION work(rounds int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1..rounds LOOP
		PERFORM eventstore.append_event('Loop-' || i % 10, 'T', '{"a": 1}', tags => '{a}');
		PERFORM eventstore.append_events('Loop-' || i % 10,
			'[{"event_type":"T","data":{"a":[1,2]}},{"event_type":"T","binary_data":"AAH/"}]');
		PERFORM count(*) FROM eventstore.read_stream('Loop-1', i, 3);
		PERFORM count(*) FROM eventstore.read_all(i, 3);
		PERFORM count(*) FROM eventstore.read_all_backwards(i, 3);
		PERFORM count(*) FROM eventstore.read_category('Loop', i, 3);
		PERFORM count(*) FROM eventstore.read_event(eventstore.uuid_v7());
		PERFORM eventstore.stream_version('Loop-1'), eventstore.settled_position(i);
	END LOOP;
END
$$;
SELECT work(500), used_memory() > 0 AS warm;
SELECT used_memory() AS before \gset
SELECT work(2000);
-- 16 bytes that one of them loses in each round would show
SELECT used_memory() - :before < 32000 AS steady;
-- ... nor in the savepoints of one transaction
BEGIN;
DO $$ BEGIN
	FOR i IN 1 .. 3000 LOOP
		BEGIN
			PERFORM eventstore.append_event('Loop-1', 'T', '1');
			IF i % 2 = 0 THEN RAISE EXCEPTION 'no'; END IF;
		EXCEPTION WHEN raise_exception THEN NULL;
		END;
	END LOOP;
END $$;
SELECT sum(used_bytes) < 32000 AS steady FROM pg_backend_memory_contexts
WHERE name = 'TopTransactionContext';
COMMIT;
-- ... nor within one statement
SELECT max(m) - min(m) < 32000 AS steady
FROM (SELECT CASE WHEN i % 500 = 0 THEN used_memory() END AS m,
			 (eventstore.append_event('Loop-' || i % 10, 'T', '1')).last_version,
			 (SELECT count(*) FROM eventstore.read_stream('Loop-1', i, 3)),
			 eventstore.stream_version('Loop-' || i % 10), eventstore.settled_position(i)
	  FROM generate_series(1, 3000) i) s
WHERE m IS NOT NULL;

DROP FUNCTION used_memory(), work(int);
DROP EXTENSION eventstore;
