--
-- Who may do what, and what the others are told
--

CREATE EXTENSION eventstore;
-- No worker is to advance the watermark meanwhile.
SET eventstore.notify = off;
CREATE ROLE regress_es_reader;
CREATE ROLE regress_es_writer;
CREATE ROLE regress_es_both;
CREATE ROLE regress_es_nobody;
CREATE ROLE "regress es ""odd"" name; DROP ROLE x";

SELECT eventstore.grant_reader('regress_es_reader');
SELECT eventstore.grant_writer('regress_es_writer');
SELECT eventstore.grant_reader('regress_es_both');
SELECT eventstore.grant_writer('regress_es_both');
SELECT eventstore.grant_reader('regress es "odd" name; DROP ROLE x');
SELECT eventstore.grant_writer('regress es "odd" name; DROP ROLE x');
-- granting twice does no harm, a role that is not there does
SELECT eventstore.grant_reader('regress_es_reader');
SELECT eventstore.grant_writer('regress_es_writer');
SELECT eventstore.grant_reader('regress_es_none');
SELECT eventstore.grant_writer('regress_es_none');
SELECT eventstore.grant_reader(NULL), eventstore.grant_writer(NULL);

SELECT last_version FROM eventstore.append_event('Order-1', 'Placed', '1',
	event_id => '00000000-0000-4000-8000-000000000001');

--
-- The writer appends, and does nothing else.
--
SET ROLE regress_es_writer;
SELECT * FROM eventstore.append_event('Order-1', 'Paid', '2', 1);
SELECT * FROM eventstore.append_events('Order-1', '[{"event_type":"Shipped","data":3}]', 2);
SELECT eventstore.uuid_v7() IS NOT NULL;
-- reading
SELECT * FROM eventstore.read_stream('Order-1');
SELECT * FROM eventstore.read_stream_backwards('Order-1');
SELECT * FROM eventstore.read_all();
SELECT * FROM eventstore.read_all_backwards();
SELECT * FROM eventstore.read_category('Order');
SELECT * FROM eventstore.read_event('00000000-0000-4000-8000-000000000001');
SELECT eventstore.stream_version('Order-1');
SELECT eventstore.settled_position();
SELECT count(*) FROM eventstore.events;
TABLE eventstore.watermark;
-- writing past the functions
INSERT INTO eventstore.events (global_position) VALUES (99);
\copy eventstore.events from '/dev/null'
UPDATE eventstore.events SET data = '9';
DELETE FROM eventstore.events;
TRUNCATE eventstore.events;
INSERT INTO eventstore.watermark VALUES (true, 99);
SELECT nextval('eventstore.events_global_position_seq');
SELECT setval('eventstore.events_global_position_seq', 1);
SELECT last_value FROM eventstore.events_global_position_seq;
ALTER TABLE eventstore.events DISABLE TRIGGER guard_update;
DROP TRIGGER guard_update ON eventstore.events;
CREATE TRIGGER mine BEFORE DELETE ON eventstore.events EXECUTE FUNCTION eventstore.guard();
-- managing
SELECT eventstore.advance_watermark();
SELECT eventstore.grant_reader('regress_es_writer');
SELECT eventstore.grant_writer('regress_es_nobody');
SET eventstore.serialize_appends = on;

--
-- The reader reads, and does nothing else.
--
SET ROLE regress_es_reader;
SELECT version, data FROM eventstore.read_stream('Order-1');
SELECT version FROM eventstore.read_stream_backwards('Order-1');
SELECT version FROM eventstore.read_all();
SELECT version FROM eventstore.read_all_backwards();
SELECT version FROM eventstore.read_category('Order');
SELECT version FROM eventstore.read_event('00000000-0000-4000-8000-000000000001');
SELECT eventstore.stream_version('Order-1'), eventstore.settled_position();
SELECT count(*) FROM eventstore.events;
SELECT count(*) FROM eventstore.events_jsonb;
-- appending
SELECT eventstore.append_event('Order-1', 'T', '1');
SELECT eventstore.append_events('Order-1', '[{"event_type":"T","data":1}]');
SELECT eventstore.uuid_v7();
-- writing past the functions
INSERT INTO eventstore.events (global_position) VALUES (99);
\copy eventstore.events from '/dev/null'
UPDATE eventstore.events SET data = '9';
DELETE FROM eventstore.events;
TRUNCATE eventstore.events;
SELECT FROM eventstore.events FOR UPDATE;
UPDATE eventstore.events_jsonb SET tags = '{}';
TABLE eventstore.watermark;
SELECT nextval('eventstore.events_global_position_seq');
SELECT currval('eventstore.events_global_position_seq');
SELECT eventstore.advance_watermark();
SELECT eventstore.grant_writer('regress_es_reader');

--
-- Whoever was granted both can do both, and whoever was granted nothing, nothing.
--
SET ROLE regress_es_both;
SELECT last_version FROM eventstore.append_event('Order-1', 'T', '4', 3);
SELECT count(*) FROM eventstore.read_stream('Order-1');
SET ROLE "regress es ""odd"" name; DROP ROLE x";
SELECT last_version FROM eventstore.append_event('Order-1', 'T', '5', 4);
SELECT count(*) FROM eventstore.read_stream('Order-1');
SET ROLE regress_es_nobody;
SELECT eventstore.append_event('Order-1', 'T', '1');
SELECT * FROM eventstore.read_all();
SELECT * FROM eventstore.events;
-- ... which the schema alone does not change
RESET ROLE;
GRANT USAGE ON SCHEMA eventstore TO regress_es_nobody;
SET ROLE regress_es_nobody;
SELECT eventstore.append_event('Order-1', 'T', '1');
SELECT eventstore.append_events('Order-1', '[{"event_type":"T","data":1}]');
SELECT * FROM eventstore.read_all();
SELECT eventstore.stream_version('Order-1');
SELECT eventstore.guard();
SELECT * FROM eventstore.events;

--
-- The read functions ask for the right to the table, not only to themselves.
--
RESET ROLE;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA eventstore TO regress_es_nobody;
SET ROLE regress_es_nobody;
SELECT * FROM eventstore.read_stream('Order-1');
\echo :SQLSTATE
SELECT * FROM eventstore.read_stream_backwards('Order-1');
SELECT * FROM eventstore.read_all();
SELECT * FROM eventstore.read_all_backwards();
SELECT * FROM eventstore.read_category('Order');
SELECT * FROM eventstore.read_event('00000000-0000-4000-8000-000000000001');
SELECT eventstore.stream_version('Order-1');
SELECT eventstore.settled_position();
SELECT eventstore.advance_watermark();
-- A part of the columns is not enough.
RESET ROLE;
GRANT SELECT (version, data) ON eventstore.events TO regress_es_nobody;
SET ROLE regress_es_nobody;
SELECT version, data FROM eventstore.events WHERE version = 1;
SELECT version FROM eventstore.read_stream('Order-1');
RESET ROLE;

-- A function of the owner's can pass its own rights on.
CREATE SCHEMA regress_es_api;
GRANT USAGE ON SCHEMA regress_es_api TO regress_es_nobody;
CREATE FUNCTION regress_es_api.order_total(id text) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'SELECT sum((data::text)::int) FROM eventstore.read_stream(id)';
SET ROLE regress_es_nobody;
SELECT regress_es_api.order_total('Order-1');
RESET ROLE;
DROP SCHEMA regress_es_api CASCADE;

-- A constraint's message tells a writer nothing of the row.
ALTER TABLE eventstore.events ADD CONSTRAINT no_secrets CHECK (event_type <> 'Secret');
SET ROLE regress_es_writer;
SELECT eventstore.append_event('Order-1', 'Secret', '"hush"');
RESET ROLE;
SELECT count(*) FROM eventstore.read_category('Order');
ALTER TABLE eventstore.events DROP CONSTRAINT no_secrets;

--
-- Row-level security is refused where it applies, not bypassed.
--
ALTER TABLE eventstore.events ENABLE ROW LEVEL SECURITY;
CREATE POLICY placed_only ON eventstore.events USING (event_type = 'Placed');
SET ROLE regress_es_both;
SELECT event_type FROM eventstore.events;
SELECT event_type FROM eventstore.read_stream('Order-1');
\echo :SQLSTATE
SELECT event_type FROM eventstore.read_stream_backwards('Order-1');
SELECT event_type FROM eventstore.read_all();
SELECT event_type FROM eventstore.read_all_backwards();
SELECT event_type FROM eventstore.read_category('Order');
SELECT event_type FROM eventstore.read_event('00000000-0000-4000-8000-000000000001');
SELECT eventstore.stream_version('Order-1');
SELECT eventstore.settled_position();
SELECT eventstore.append_event('Order-1', 'Placed', '1');
\echo :SQLSTATE
SELECT eventstore.append_events('Order-1', '[{"event_type":"Placed","data":1}]');
SET row_security = off;
SELECT event_type FROM eventstore.read_stream('Order-1');
SELECT eventstore.append_event('Order-1', 'Placed', '1');
RESET row_security;
RESET ROLE;
-- It does not apply to superusers, to the owner, and to those who bypass it ...
SELECT last_version FROM eventstore.append_event('Order-1', 'T', '6', 5);
SELECT count(*) FROM eventstore.read_stream('Order-1');
ALTER ROLE regress_es_both BYPASSRLS;
SET ROLE regress_es_both;
SELECT last_version FROM eventstore.append_event('Order-1', 'T', '7', 6);
SELECT count(*) FROM eventstore.read_stream('Order-1');
RESET ROLE;
ALTER TABLE eventstore.events OWNER TO regress_es_reader;
SET ROLE regress_es_reader;
SELECT count(*) FROM eventstore.read_stream('Order-1');
-- ... unless it is forced on the owner.
ALTER TABLE eventstore.events FORCE ROW LEVEL SECURITY;
SELECT count(*) FROM eventstore.read_stream('Order-1');
RESET ROLE;
DROP EXTENSION eventstore CASCADE;

DROP ROLE regress_es_reader, regress_es_writer, regress_es_both, regress_es_nobody,
	"regress es ""odd"" name; DROP ROLE x";
