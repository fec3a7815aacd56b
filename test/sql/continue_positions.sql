--
-- continue_positions() where the store was never a replica, what it refuses,
-- and events that were not appended here.
--
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS eventstore;
CREATE EXTENSION eventstore;
-- No worker is to advance the watermark meanwhile.
SET eventstore.notify = off;
RESET client_min_messages;
CREATE ROLE regress_es_nobody;

-- It never goes back.
SELECT eventstore.continue_positions();
SELECT last_position FROM eventstore.append_event('A-1', 'T', '1');
SELECT eventstore.continue_positions(), eventstore.continue_positions(0), eventstore.continue_positions(1);
SELECT eventstore.continue_positions(10);
SELECT last_position FROM eventstore.append_event('A-1', 'T', '2');
SELECT eventstore.continue_positions(5);
SELECT global_position FROM eventstore.read_all();

-- What it refuses
SELECT eventstore.continue_positions(-1);
SELECT eventstore.continue_positions(9223372036854775807);
BEGIN READ ONLY;
SELECT eventstore.continue_positions();
ROLLBACK;
GRANT USAGE ON SCHEMA eventstore TO regress_es_nobody;
SET ROLE regress_es_nobody;
SELECT eventstore.continue_positions();
RESET ROLE;
GRANT EXECUTE ON FUNCTION eventstore.continue_positions(bigint) TO regress_es_nobody;
SET ROLE regress_es_nobody;
SELECT eventstore.continue_positions();
RESET ROLE;

-- Events that came otherwise, as by a subscription that is gone: nobody knows
-- whether more are to come below them.
INSERT INTO eventstore.events (global_position, version, created_at, event_id, stream_id,
							   stream_type, event_type, schema_version, data)
VALUES (20, 1, now(), '00000000-0000-4000-8000-000000000001', 'B-1', 'B', 'T', 1, '3');
SELECT global_position FROM eventstore.read_all();
SELECT global_position FROM eventstore.read_all(0, 2);
SELECT global_position FROM eventstore.read_all_backwards();
SELECT global_position FROM eventstore.read_category('B');
SELECT eventstore.settled_position();
SELECT eventstore.advance_watermark();
SELECT global_position FROM eventstore.read_stream('B-1');
SELECT global_position FROM eventstore.read_event('00000000-0000-4000-8000-000000000001');
-- A session that has appended before has looked already; a new one refuses.
\c -
SELECT last_position FROM eventstore.append_event('B-1', 'T', '4');
SELECT * FROM eventstore.verify();
SELECT eventstore.continue_positions();
SELECT last_version, last_position FROM eventstore.append_event('B-1', 'T', '4');
SELECT global_position FROM eventstore.read_all();
SELECT eventstore.advance_watermark();
SELECT * FROM eventstore.verify();

-- A watermark that came otherwise
UPDATE eventstore.watermark SET settled_position = 30;
\c -
SELECT eventstore.settled_position();
SELECT eventstore.continue_positions();
SELECT eventstore.settled_position();
SELECT last_position FROM eventstore.append_event('B-1', 'T', '5');
SELECT * FROM eventstore.verify();

DROP EXTENSION eventstore;
DROP ROLE regress_es_nobody;
