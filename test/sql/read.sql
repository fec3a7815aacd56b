--
-- The read functions, as one session sees them
--

CREATE EXTENSION eventstore;
-- No worker is to advance the watermark meanwhile.
SET eventstore.notify = off;

SELECT last_position FROM eventstore.append_events('A-1',
	(SELECT json_agg(json_build_object('event_type', 'T' || i, 'data', i)) FROM generate_series(1, 4) i));
SELECT last_position FROM eventstore.append_events('B-1',
	(SELECT json_agg(json_build_object('event_type', 'T' || i, 'data', i)) FROM generate_series(1, 2) i));
SELECT last_position FROM eventstore.append_event('A-2', 'T1', '1',
												  event_id => '00000000-0000-4000-8000-000000000001');
SELECT last_position FROM eventstore.append_event('A-1', 'T5', '5');
-- a gap in the positions
BEGIN;
SELECT last_position FROM eventstore.append_event('Gone-1', 'T', '1');
ROLLBACK;
SELECT last_position FROM eventstore.append_event('A-2', 'T2', '2');

--
-- One stream
--
SELECT array_agg(version) FROM eventstore.read_stream('A-1');
SELECT array_agg(version) FROM eventstore.read_stream('A-1', 3);
SELECT array_agg(version) FROM eventstore.read_stream('A-1', 2, 2);
SELECT array_agg(version) FROM eventstore.read_stream('A-1', max_count => 1);
SELECT array_agg(version) FROM eventstore.read_stream('A-1', max_count => 0);
SELECT array_agg(version) FROM eventstore.read_stream('A-1', 5, NULL);
SELECT array_agg(version) FROM eventstore.read_stream('A-1', 6);
SELECT array_agg(version) FROM eventstore.read_stream('A-1', 9223372036854775807, 9223372036854775807);
SELECT array_agg(version) FROM eventstore.read_stream('A-9');
SELECT array_agg(version) FROM eventstore.read_stream('Gone-1');
SELECT array_agg(version) FROM eventstore.read_stream('a-1');
SELECT array_agg(version) FROM eventstore.read_stream('');
SELECT array_agg(version) FROM eventstore.read_stream(repeat('x', 100000));

SELECT array_agg(version) FROM eventstore.read_stream_backwards('A-1');
SELECT array_agg(version) FROM eventstore.read_stream_backwards('A-1', 3);
SELECT array_agg(version) FROM eventstore.read_stream_backwards('A-1', 4, 2);
SELECT array_agg(version) FROM eventstore.read_stream_backwards('A-1', NULL, 1);
SELECT array_agg(version) FROM eventstore.read_stream_backwards('A-1', NULL, 0);
SELECT array_agg(version) FROM eventstore.read_stream_backwards('A-1', 1, NULL);
SELECT array_agg(version) FROM eventstore.read_stream_backwards('A-1', 9223372036854775807);
SELECT array_agg(version) FROM eventstore.read_stream_backwards('A-9');

SELECT s, eventstore.stream_version(s) FROM unnest('{A-1,A-2,B-1,A-9,Gone-1,a-1,""}'::text[]) s;

--
-- One event
--
SELECT stream_id, version, data FROM eventstore.read_event('00000000-0000-4000-8000-000000000001');
SELECT count(*) FROM eventstore.read_event('00000000-0000-4000-8000-000000000002');

--
-- The whole store
--
SELECT global_position, stream_id, version FROM eventstore.read_all();
SELECT array_agg(global_position) FROM eventstore.read_all(3);
SELECT array_agg(global_position) FROM eventstore.read_all(3, 2);
SELECT array_agg(global_position) FROM eventstore.read_all(3, 0);
SELECT array_agg(global_position) FROM eventstore.read_all(8);
SELECT array_agg(global_position) FROM eventstore.read_all(9);
SELECT array_agg(global_position) FROM eventstore.read_all(10);
SELECT array_agg(global_position) FROM eventstore.read_all(0, NULL);
SELECT array_agg(global_position) FROM eventstore.read_all(9223372036854775807, NULL);

SELECT array_agg(global_position) FROM eventstore.read_all_backwards();
SELECT array_agg(global_position) FROM eventstore.read_all_backwards(NULL, 2);
SELECT array_agg(global_position) FROM eventstore.read_all_backwards(NULL, 0);
SELECT array_agg(global_position) FROM eventstore.read_all_backwards(10);
SELECT array_agg(global_position) FROM eventstore.read_all_backwards(4, 2);
SELECT array_agg(global_position) FROM eventstore.read_all_backwards(4, NULL);
SELECT array_agg(global_position) FROM eventstore.read_all_backwards(1);
SELECT array_agg(global_position) FROM eventstore.read_all_backwards(0);
SELECT array_agg(global_position) FROM eventstore.read_all_backwards(9223372036854775807);

--
-- One category
--
SELECT global_position, stream_id, version FROM eventstore.read_category('A');
SELECT array_agg(global_position) FROM eventstore.read_category('A', 4);
SELECT array_agg(global_position) FROM eventstore.read_category('A', 2, 3);
SELECT array_agg(global_position) FROM eventstore.read_category('A', 0, 0);
SELECT array_agg(global_position) FROM eventstore.read_category('A', 0, NULL);
SELECT array_agg(global_position) FROM eventstore.read_category('A', 10);
SELECT array_agg(global_position) FROM eventstore.read_category('B');
SELECT array_agg(global_position) FROM eventstore.read_category('a');
SELECT array_agg(global_position) FROM eventstore.read_category('Gone');
SELECT array_agg(global_position) FROM eventstore.read_category('');

-- The defaults bound reads of the store, and only those.
SELECT last_version FROM eventstore.append_events('Many-1',
	(SELECT json_agg(json_build_object('event_type', 'T', 'data', i)) FROM generate_series(1, 1200) i));
SELECT count(*) FROM eventstore.read_stream('Many-1');
SELECT count(*) FROM eventstore.read_stream_backwards('Many-1');
SELECT count(*) FROM eventstore.read_all();
SELECT count(*) FROM eventstore.read_all_backwards();
SELECT count(*) FROM eventstore.read_category('Many');

--
-- Settled positions and the watermark: with nobody else about, all is settled.
--
SELECT eventstore.settled_position(), eventstore.settled_position(5),
	   eventstore.settled_position(1210), eventstore.settled_position(5000);
SELECT settled_position, events, is_replica FROM eventstore.watermark;
SELECT eventstore.advance_watermark();
SELECT eventstore.advance_watermark();
SELECT settled_position, events, is_replica FROM eventstore.watermark;
SELECT last_position FROM eventstore.append_event('A-1', 'T6', '6');
SELECT eventstore.advance_watermark(), eventstore.settled_position();
SELECT settled_position, events, is_replica FROM eventstore.watermark;
INSERT INTO eventstore.watermark (only_row, settled_position) VALUES (false, 1);
INSERT INTO eventstore.watermark (settled_position) VALUES (1);

--
-- A statement does not see what it appends itself; the next one does.
--
SELECT (eventstore.append_event('Self-1', 'T', '1')).last_version,
	   eventstore.stream_version('Self-1') AS seen_version,
	   (SELECT count(*) FROM eventstore.read_stream('Self-1')) AS seen_events,
	   (SELECT count(*) FROM eventstore.read_all(1211)) AS seen_in_store;
SELECT eventstore.stream_version('Self-1') AS seen_version,
	   (SELECT count(*) FROM eventstore.read_stream('Self-1')) AS seen_events,
	   (SELECT count(*) FROM eventstore.read_all(1211)) AS seen_in_store;

--
-- Everywhere that SQL has room for a set
--
SELECT (eventstore.read_stream('A-2')).event_type;
SELECT (eventstore.read_stream('A-2')).event_type, generate_series(1, 3) AS i;
SELECT s.id, e.version, e.data
FROM unnest('{A-2,None-1,B-1}'::text[]) s (id) LEFT JOIN eventstore.read_stream(s.id) e ON true;
SELECT i, e.version FROM generate_series(4, 6) i, eventstore.read_stream('A-1', i, 1) e;
SELECT i, (SELECT sum(version) FROM eventstore.read_stream('A-1', i)) FROM generate_series(1, 6) i;
SELECT version, ordinality, i
FROM ROWS FROM (eventstore.read_stream('A-2'), generate_series(1, 3)) WITH ORDINALITY AS r
	(a, version, c, d, e, f, g, h, j, k, l, m, n, o, p, i);
SELECT e IS NULL AS is_null, (e).version FROM eventstore.read_stream('A-2') e;
SELECT count(*) FROM eventstore.read_stream('A-1') a JOIN eventstore.read_stream_backwards('A-1') b USING (version);
CREATE TABLE copied AS SELECT * FROM eventstore.read_stream('A-1');
SELECT count(*) FROM copied c JOIN eventstore.events e USING (event_id) WHERE c.data::text = e.data::text;
DROP TABLE copied;
DO $$
DECLARE
	event eventstore.events;
	total bigint := 0;
BEGIN
	FOR event IN SELECT * FROM eventstore.read_stream('A-1') LOOP
		total := total + event.version;
	END LOOP;
	RAISE NOTICE 'sum of versions: %', total;
END
$$;

--
-- All that one snapshot sees
--
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT array_agg(global_position) = (SELECT array_agg(global_position) FROM eventstore.read_all(0, NULL)) AS same
FROM eventstore.read_visible(0, NULL);
SELECT global_position, stream_id, version FROM eventstore.read_visible(2, 3);
SELECT count(*) FROM eventstore.read_visible(2, 0);
SELECT count(*) FROM eventstore.read_visible(9223372036854775807);
COMMIT;

--
-- Cursors
--
BEGIN;
DECLARE forward_only CURSOR FOR SELECT version FROM eventstore.read_stream('A-1');
DECLARE scrolling SCROLL CURSOR FOR SELECT version FROM eventstore.read_all(0, 6);
DECLARE kept CURSOR WITH HOLD FOR SELECT version, data FROM eventstore.read_stream_backwards('A-1', NULL, 3);
FETCH 2 FROM forward_only;
FETCH LAST FROM scrolling;
FETCH FIRST FROM scrolling;
-- A cursor does not see what was appended after it was opened.
SELECT last_version FROM eventstore.append_event('A-1', 'T7', '7');
FETCH ALL FROM forward_only;
COMMIT;
FETCH ALL FROM kept;
CLOSE kept;

-- A procedure can commit between the events that it reads.
DO $$
DECLARE
	event record;
BEGIN
	FOR event IN SELECT * FROM eventstore.read_stream('B-1') LOOP
		PERFORM eventstore.append_event('Copy-1', event.event_type, event.data, event.version - 1);
		COMMIT;
	END LOOP;
END
$$;
SELECT version, event_type, data FROM eventstore.read_stream('Copy-1');

--
-- More rows than work_mem holds go to disk.
--
SET work_mem = '64kB';
SELECT last_version FROM eventstore.append_events('Wide-1',
	(SELECT json_agg(json_build_object('event_type', 'T', 'data', repeat(md5(i::text), 20)))
	 FROM generate_series(1, 500) i));
SELECT count(*), count(DISTINCT data::text), sum(length(data::text)) FROM eventstore.read_stream('Wide-1');
SELECT count(*), count(DISTINCT data::text), sum(length(data::text)) FROM eventstore.read_category('Wide');
SELECT count(*), count(DISTINCT data::text), sum(length(data::text)) FROM eventstore.read_all(1210, NULL)
WHERE stream_id = 'Wide-1';
RESET work_mem;

--
-- Under a parallel plan, and where a view or SQL function is in between
--
SELECT count(set_config(name, 'on', false)) FROM pg_settings
WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
SELECT count(*) FROM eventstore.read_category('A', 0, NULL);
SELECT array_agg(version) FROM eventstore.read_stream('A-2');
SELECT eventstore.stream_version('A-2');
SELECT count(*) FROM eventstore.events e WHERE e.version = eventstore.stream_version(e.stream_id);
SELECT last_version FROM eventstore.append_event('A-2', 'T3', '3');
SELECT count(set_config(name, 'off', false)) FROM pg_settings
WHERE name IN ('force_parallel_mode', 'debug_parallel_query');

DROP EXTENSION eventstore;
