--
-- Events are immutable: for the owner and superusers, under every setting and
-- by every kind of command.
--

\getenv srcdir PG_ABS_SRCDIR
\set by_hand :srcdir '/sql/include/by_hand.sql'
\i :by_hand
CREATE EXTENSION eventstore;
SELECT last_version FROM eventstore.append_events('Order-1',
	'[{"event_type":"A","data":1},{"event_type":"B","data":2}]');

UPDATE eventstore.events SET data = '9';
\echo :SQLSTATE
DELETE FROM eventstore.events;
\echo :SQLSTATE
TRUNCATE eventstore.events;
\echo :SQLSTATE

-- also where no row matches, by whatever way the command is written
UPDATE eventstore.events SET data = '9' WHERE false;
UPDATE ONLY eventstore.events SET tags = '{}' WHERE version = 99;
DELETE FROM eventstore.events WHERE stream_id = 'None-1';
DELETE FROM eventstore.events USING generate_series(1, 2) i WHERE version = i RETURNING *;
WITH gone AS (DELETE FROM eventstore.events RETURNING *) SELECT count(*) FROM gone;
TRUNCATE eventstore.watermark, eventstore.events RESTART IDENTITY CASCADE;

-- INSERT ... ON CONFLICT DO UPDATE
INSERT INTO eventstore.events SELECT * FROM eventstore.events
ON CONFLICT (global_position) DO UPDATE SET data = '9';
-- MERGE
MERGE INTO eventstore.events e USING (VALUES (1)) AS v (version) ON e.version = v.version
WHEN MATCHED THEN UPDATE SET data = '9';
MERGE INTO eventstore.events e USING (VALUES (1)) AS v (version) ON e.version = v.version
WHEN MATCHED THEN DELETE;

-- through a view, a rule or a function
CREATE VIEW order_events AS SELECT * FROM eventstore.events WHERE stream_type = 'Order';
UPDATE order_events SET data = '9';
DELETE FROM order_events;
DROP VIEW order_events;
CREATE FUNCTION erase() RETURNS void LANGUAGE sql SECURITY DEFINER AS 'DELETE FROM eventstore.events';
SELECT erase();
DROP FUNCTION erase();
DO $$
BEGIN
	DELETE FROM eventstore.events;
EXCEPTION WHEN SQLSTATE 'ST004' THEN
	RAISE NOTICE 'refused: %', SQLERRM;
END
$$;

-- by way of a foreign key
CREATE TABLE orders (id uuid PRIMARY KEY);
INSERT INTO orders VALUES ('00000000-0000-4000-8000-000000000001');
SELECT last_version FROM eventstore.append_event('Order-2', 'A', '1',
	correlation_id => '00000000-0000-4000-8000-000000000001');
ALTER TABLE eventstore.events ADD CONSTRAINT cascading FOREIGN KEY (correlation_id) REFERENCES orders
	ON DELETE CASCADE ON UPDATE CASCADE;
DELETE FROM orders;
UPDATE orders SET id = '00000000-0000-4000-8000-000000000002';
TRUNCATE orders CASCADE;
ALTER TABLE eventstore.events DROP CONSTRAINT cascading;
ALTER TABLE eventstore.events ADD CONSTRAINT nulling FOREIGN KEY (correlation_id) REFERENCES orders
	ON DELETE SET NULL;
DELETE FROM orders;
ALTER TABLE eventstore.events DROP CONSTRAINT nulling;
DROP TABLE orders;

-- with triggers switched off for the session
SET session_replication_role = replica;
UPDATE eventstore.events SET data = '9';
DELETE FROM eventstore.events;
TRUNCATE eventstore.events;
SET session_replication_role = local;
DELETE FROM eventstore.events;
RESET session_replication_role;

-- as the owner, who is not a superuser
CREATE ROLE regress_es_owner;
GRANT USAGE ON SCHEMA eventstore TO regress_es_owner;
BEGIN;
ALTER TABLE eventstore.events OWNER TO regress_es_owner;
SET ROLE regress_es_owner;
SAVEPOINT s;
UPDATE eventstore.events SET data = '9';
ROLLBACK TO s;
DELETE FROM eventstore.events;
ROLLBACK TO s;
TRUNCATE eventstore.events;
ROLLBACK;
-- ... and as one with all rights on the table
GRANT ALL ON eventstore.events TO regress_es_owner;
SET ROLE regress_es_owner;
UPDATE eventstore.events SET data = '9';
DELETE FROM eventstore.events;
TRUNCATE eventstore.events;
RESET ROLE;
REVOKE ALL ON eventstore.events FROM regress_es_owner;
REVOKE ALL ON SCHEMA eventstore FROM regress_es_owner;
DROP ROLE regress_es_owner;

-- The statement that is refused takes the whole transaction with it, not the
-- events that were there.
BEGIN;
SELECT last_version FROM eventstore.append_event('Order-3', 'A', '1');
DELETE FROM eventstore.events WHERE stream_id = 'Order-3';
COMMIT;
SELECT stream_id, version, event_type, data FROM eventstore.read_all();

-- What changes nothing is permitted.
SELECT count(*) FROM (SELECT FROM eventstore.events FOR UPDATE) e;
VACUUM eventstore.events;
REINDEX TABLE eventstore.events;
REINDEX TABLE CONCURRENTLY eventstore.events;
VACUUM FULL eventstore.events;
CLUSTER eventstore.events USING events_pkey;
ANALYZE eventstore.events;
SELECT first_version FROM eventstore.append_event('Order-1', 'C', '3', 2);
SELECT stream_id, version, event_type, data FROM eventstore.read_all();

-- What pg_restore --disable-triggers does leaves the guard to be passed by.
BEGIN;
ALTER TABLE eventstore.events DISABLE TRIGGER ALL;
ALTER TABLE eventstore.events ENABLE TRIGGER ALL;
SELECT * FROM eventstore.verify() ORDER BY detail COLLATE "C";
SELECT eventstore.enable_guard();
SELECT * FROM eventstore.verify();
SET LOCAL session_replication_role = replica;
DELETE FROM eventstore.events;
ROLLBACK;

-- The function by itself, and on another table
SELECT eventstore.guard();
\echo :SQLSTATE
CREATE TABLE notes (note text);
INSERT INTO notes VALUES ('x');
CREATE TRIGGER guard BEFORE DELETE ON notes FOR EACH ROW EXECUTE FUNCTION eventstore.guard();
DELETE FROM notes;
\echo :SQLSTATE
DROP TABLE notes;

DROP EXTENSION eventstore;
