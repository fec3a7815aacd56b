--
-- Changing events unseen: what the guard refuses, and what the digests show of
-- what gets past it.
--
SET client_min_messages = warning;
\getenv srcdir PG_ABS_SRCDIR
\set by_hand :srcdir '/sql/include/by_hand.sql'
\i :by_hand
DROP EXTENSION IF EXISTS eventstore CASCADE;
CREATE EXTENSION eventstore;
CREATE ROLE regress_es_other;
CREATE ROLE regress_es_writer;
CREATE ROLE regress_es_all;
GRANT USAGE ON SCHEMA eventstore TO regress_es_all, regress_es_other;

--
-- Digests
--
SELECT * FROM eventstore.current_digest();
SELECT eventstore.advance_watermark();
SELECT count(*) FROM eventstore.digests;
SELECT last_position FROM eventstore.append_events('Order-1', (
	SELECT json_agg(json_build_object('event_type', 'A', 'data', i)) FROM generate_series(1, 1500) i));
SELECT last_position FROM eventstore.append_event('Order-2', 'B', binary_data => 'hi',
	content_type => 'text/plain', metadata => '{"by": "me"}', tags => '{a,b}',
	correlation_id => '00000000-0000-0000-0000-000000000001');
SELECT eventstore.advance_watermark();
SELECT up_to_position, events, octet_length(digest) FROM eventstore.digests ORDER BY 1;
SELECT up_to_position, digest = (SELECT digest FROM eventstore.digests WHERE up_to_position = 1501) AS is_last
FROM eventstore.current_digest();
-- The same by hand
SELECT sha256(d.digest || (SELECT string_agg(eventstore.event_digest(e), '' ORDER BY e.global_position)
						   FROM eventstore.events e WHERE e.global_position > 1000)) = c.digest AS is_equal
FROM eventstore.digests d, eventstore.current_digest() c
WHERE d.up_to_position = 1000;
SELECT sha256(decode(repeat('00', 32), 'hex')
			  || (SELECT string_agg(eventstore.event_digest(e), '' ORDER BY e.global_position)
				  FROM eventstore.events e WHERE e.global_position <= 1000)) = d.digest AS is_equal
FROM eventstore.digests d WHERE d.up_to_position = 1000;
-- Nothing new, nothing made
SELECT eventstore.write_digests(10);
SELECT * FROM eventstore.verify();
SELECT * FROM eventstore.verify_events(1200, 1300);
SELECT digest AS known FROM eventstore.current_digest() \gset
SELECT * FROM eventstore.verify_digest(1501, :'known');
SELECT * FROM eventstore.verify_digest(1500, :'known');
SELECT * FROM eventstore.verify_digest(1501, '\x00');
SELECT * FROM eventstore.verify_digest(1501, sha256(''));
SELECT * FROM eventstore.verify_digest(1501, NULL);
SELECT * FROM eventstore.verify_digest(NULL, NULL);
SELECT * FROM eventstore.verify_digest(-1, :'known');
SELECT * FROM eventstore.verify_digest(9223372036854775807, :'known');

-- What gets past the guard, each undone afterwards
CREATE FUNCTION tamper(command text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	found text[];
BEGIN
	BEGIN
		ALTER TABLE eventstore.events DISABLE TRIGGER ALL;
		ALTER TABLE eventstore.digests DISABLE TRIGGER ALL;
		EXECUTE command;
		SET CONSTRAINTS ALL IMMEDIATE;
		PERFORM eventstore.enable_guard();
		found := ARRAY(SELECT invariant || ': ' || detail FROM eventstore.verify());
		RAISE EXCEPTION USING ERRCODE = 'U0001';
	EXCEPTION WHEN SQLSTATE 'U0001' THEN
		NULL;
	END;
	RETURN QUERY SELECT unnest(found) ORDER BY 1;
END $$;
-- a stream's end, a whole stream, something in the middle
SELECT tamper('DELETE FROM eventstore.events WHERE global_position = 1500');
SELECT tamper('DELETE FROM eventstore.events WHERE stream_id = ''Order-2''');
SELECT tamper('DELETE FROM eventstore.events WHERE global_position <= 1000');
-- values
SELECT tamper('UPDATE eventstore.events SET data = ''{}'' WHERE global_position = 7');
SELECT tamper('UPDATE eventstore.events SET created_at = created_at - interval ''1 us'' WHERE global_position = 7');
SELECT tamper('UPDATE eventstore.events SET tags = ''{a,c}'' WHERE global_position = 1501');
SELECT tamper('UPDATE eventstore.events SET metadata = NULL WHERE global_position = 1501');
SELECT tamper('UPDATE eventstore.events SET correlation_id = NULL, causation_id = correlation_id WHERE global_position = 1501');
SELECT tamper('UPDATE eventstore.events SET content_type = '''' WHERE global_position = 1501');
-- out and in again, as it was, shows nothing: nothing was changed
SELECT tamper('CREATE TEMP TABLE kept ON COMMIT DROP AS SELECT * FROM eventstore.events WHERE global_position = 7;
	DELETE FROM eventstore.events WHERE global_position = 7; INSERT INTO eventstore.events TABLE kept');
-- ... but changed, it does
SELECT tamper('CREATE TEMP TABLE kept ON COMMIT DROP AS SELECT * FROM eventstore.events WHERE global_position = 7;
	DELETE FROM eventstore.events WHERE global_position = 7; UPDATE kept SET event_type = ''C'';
	INSERT INTO eventstore.events TABLE kept');
-- a position that was left out
SELECT tamper('UPDATE eventstore.events SET global_position = -global_position WHERE global_position = 7');
-- the digests
SELECT tamper('DELETE FROM eventstore.digests WHERE up_to_position = 1000');
SELECT tamper('UPDATE eventstore.digests SET digest = sha256('''') WHERE up_to_position = 1000');
SELECT tamper('UPDATE eventstore.digests SET events = 2 WHERE up_to_position = 1501');
SELECT tamper('INSERT INTO eventstore.digests VALUES (1400, 400, sha256(''''))');
-- a chain that does not begin at the beginning
SELECT tamper('ALTER TABLE eventstore.digests DROP CONSTRAINT digests_not_empty;
	DELETE FROM eventstore.events WHERE global_position <= 1000;
	UPDATE eventstore.digests SET up_to_position = 0 WHERE up_to_position = 1000');
-- arrays of another shape
SELECT tamper('CREATE TEMP TABLE kept ON COMMIT DROP AS SELECT * FROM eventstore.events WHERE global_position = 1501;
	DELETE FROM eventstore.events WHERE global_position = 1501; UPDATE kept SET tags = ''{{a},{b}}'';
	INSERT INTO eventstore.events TABLE kept');
SELECT tamper('CREATE TEMP TABLE kept ON COMMIT DROP AS SELECT * FROM eventstore.events WHERE global_position = 1501;
	DELETE FROM eventstore.events WHERE global_position = 1501; UPDATE kept SET tags = ''[0:1]={a,b}'';
	INSERT INTO eventstore.events TABLE kept');
-- Who keeps a digest knows more than the store.
BEGIN;
ALTER TABLE eventstore.events DISABLE TRIGGER ALL;
ALTER TABLE eventstore.digests DISABLE TRIGGER ALL;
DELETE FROM eventstore.events WHERE global_position > 1200;
DELETE FROM eventstore.digests WHERE up_to_position > 1000;
ALTER TABLE eventstore.watermark DISABLE TRIGGER ALL;
UPDATE eventstore.watermark SET settled_position = 1200, events = NULL;
SELECT eventstore.enable_guard();
SELECT eventstore.write_digests(10);
SELECT * FROM eventstore.verify();
SELECT * FROM eventstore.verify_digest(1501, :'known');
ROLLBACK;
-- A digest that only the table's children have is not the store's.
BEGIN;
ALTER TABLE eventstore.events DISABLE TRIGGER ALL;
ALTER TABLE eventstore.digests DISABLE TRIGGER ALL;
UPDATE eventstore.events SET data = '{}' WHERE global_position = 1500;
DELETE FROM eventstore.digests WHERE up_to_position = 1501;
SELECT eventstore.write_digests(10);
CREATE TABLE child () INHERITS (eventstore.digests);
INSERT INTO child VALUES (1501, 501, :'known');
SELECT eventstore.enable_guard();
SELECT * FROM eventstore.verify_digest(1501, :'known');
ROLLBACK;
-- Digests that nobody makes
BEGIN;
CREATE FUNCTION pg_temp.nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER silence BEFORE INSERT ON eventstore.digests FOR EACH ROW EXECUTE FUNCTION pg_temp.nothing();
INSERT INTO eventstore.events
	SELECT 1502, 1, now() - interval '1 hour', gen_random_uuid(), 'Late', 'Late', 'A', 1, NULL, NULL, '1', NULL, NULL, NULL, NULL;
UPDATE eventstore.watermark SET settled_position = 1502;
SELECT eventstore.write_digests(10);
SELECT * FROM eventstore.verify() WHERE invariant NOT LIKE 'the next position%' AND invariant NOT LIKE 'the watermark%';
ROLLBACK;

--
-- ALTER TABLE that computes values
--
ALTER EXTENSION eventstore DROP VIEW eventstore.events_jsonb;
DROP VIEW eventstore.events_jsonb;
ALTER TABLE eventstore.events ALTER data TYPE json USING '{"forged": true}';
\echo :SQLSTATE
ALTER TABLE eventstore.events ALTER data TYPE json USING data;
ALTER TABLE eventstore.digests ALTER events TYPE numeric;
SET session_replication_role = replica;
ALTER TABLE eventstore.events ALTER data TYPE json USING '{"forged": true}';
RESET session_replication_role;
SELECT eventstore.guard_rewrite();
-- What moves rows as they are may pass.
CREATE TABLE others (n int);
INSERT INTO others VALUES (1);
ALTER TABLE others ALTER n TYPE text;
VACUUM FULL eventstore.events;
CLUSTER eventstore.events USING events_pkey;
SELECT * FROM eventstore.verify();
ALTER EVENT TRIGGER eventstore_guard_rewrite DISABLE;
SELECT * FROM eventstore.verify();
ALTER EVENT TRIGGER eventstore_guard_rewrite ENABLE ALWAYS;

--
-- Who may write
--
GRANT pg_write_all_data TO regress_es_all;
SET ROLE regress_es_all;
INSERT INTO eventstore.events
	SELECT 1200000, 1, now(), gen_random_uuid(), 'X', 'X', 'X', 1, NULL, NULL, '1', NULL, NULL, NULL, NULL;
\echo :SQLSTATE
INSERT INTO eventstore.events SELECT e.* FROM eventstore.events e WHERE false;
UPDATE eventstore.watermark SET settled_position = 1200000;
DELETE FROM eventstore.watermark;
INSERT INTO eventstore.digests VALUES (1200000, 1, sha256(''));
RESET ROLE;
SELECT * FROM eventstore.verify();
REVOKE pg_write_all_data FROM regress_es_all;
-- An append passes, whatever triggers there are.
SELECT eventstore.grant_writer('regress_es_writer');
SET ROLE regress_es_writer;
SELECT last_version FROM eventstore.append_event('Order-3', 'A', '1');
RESET ROLE;
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER before_all BEFORE INSERT ON eventstore.events EXECUTE FUNCTION nothing();
CREATE TRIGGER after_each AFTER INSERT ON eventstore.events FOR EACH ROW EXECUTE FUNCTION nothing();
SET ROLE regress_es_writer;
SELECT last_version FROM eventstore.append_event('Order-3', 'A', '1', event_id => '00000000-0000-0000-0000-00000000000a');
-- A writer is not told where an event is.
SELECT last_version FROM eventstore.append_event('Order-4', 'A', '1', event_id => '00000000-0000-0000-0000-00000000000a');
RESET ROLE;
SELECT last_version FROM eventstore.append_event('Order-4', 'A', '1', event_id => '00000000-0000-0000-0000-00000000000a');
DROP TRIGGER before_all ON eventstore.events;
DROP TRIGGER after_each ON eventstore.events;

--
-- What runs as the owner
--
SELECT eventstore.save_checkpoint('follower', 1);
ALTER TABLE eventstore.checkpoints OWNER TO regress_es_other;
SELECT eventstore.save_checkpoint('follower', 2);
\echo :SQLSTATE
SELECT * FROM eventstore.verify();
ALTER TABLE eventstore.checkpoints OWNER TO CURRENT_USER;
CREATE FUNCTION spy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'here'; RETURN NULL; END $$;
ALTER FUNCTION spy() OWNER TO regress_es_other;
CREATE TRIGGER spy AFTER UPDATE ON eventstore.subscription_partitions FOR EACH ROW EXECUTE FUNCTION spy();
SELECT eventstore.create_subscription('s', partitions => 2);
SELECT * FROM eventstore.fetch_events('s', 'c');
SELECT * FROM eventstore.verify();
DROP TRIGGER spy ON eventstore.subscription_partitions;
-- What a former owner has left behind
CREATE FUNCTION evil() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'here'; RETURN true; END $$;
ALTER FUNCTION evil() OWNER TO regress_es_other;
ALTER TABLE eventstore.checkpoints ADD CONSTRAINT evil CHECK (evil()) NOT VALID;
SELECT eventstore.save_checkpoint('follower', 3);
SELECT * FROM eventstore.verify();
ALTER TABLE eventstore.checkpoints DROP CONSTRAINT evil;
ALTER TABLE eventstore.subscription_layouts ADD evil boolean DEFAULT evil();
SELECT eventstore.save_checkpoint('follower', 3);
ALTER TABLE eventstore.subscription_layouts DROP evil;
CREATE TRIGGER evil BEFORE UPDATE ON eventstore.checkpoints FOR EACH ROW WHEN (evil())
	EXECUTE FUNCTION suppress_redundant_updates_trigger();
SELECT eventstore.save_checkpoint('follower', 3);
DROP TRIGGER evil ON eventstore.checkpoints;
SELECT eventstore.save_checkpoint('follower', 3);
ALTER FUNCTION evil() OWNER TO CURRENT_USER;
CREATE TRIGGER evil BEFORE UPDATE ON eventstore.checkpoints FOR EACH ROW WHEN (evil())
	EXECUTE FUNCTION suppress_redundant_updates_trigger();
SELECT eventstore.save_checkpoint('follower', 4);
ALTER FUNCTION evil() OWNER TO regress_es_other;
SELECT eventstore.save_checkpoint('follower', 5);
DROP TRIGGER evil ON eventstore.checkpoints;
DROP FUNCTION evil();

--
-- Rows that others have put into tables
--
SELECT eventstore.create_subscription('s', partitions => 2);
SELECT eventstore.alter_subscription('s', partitions => 3);
INSERT INTO eventstore.subscription_layouts VALUES ('s', 2, '{}');
ALTER TABLE eventstore.subscription_layouts DROP CONSTRAINT subscription_layouts_are_of_partitions;
UPDATE eventstore.subscription_layouts SET checkpoints = '{}';
SELECT * FROM eventstore.fetch_events('s', 'c');
\echo :SQLSTATE
UPDATE eventstore.subscription_layouts SET checkpoints = '{1,NULL}';
SELECT * FROM eventstore.fetch_events('s', 'c');
UPDATE eventstore.subscription_layouts SET checkpoints = '{{1},{1}}';
SELECT * FROM eventstore.fetch_events('s', 'c');
\set VERBOSITY terse
UPDATE eventstore.subscriptions SET stream_types = '{{a},{b}}';
UPDATE eventstore.subscriptions SET event_types = '{NULL}';
UPDATE eventstore.subscriptions SET partitions = 0;
\set VERBOSITY default

--
-- Lengths of time with parts of both signs
--
SELECT eventstore.create_subscription('t');
SELECT * FROM eventstore.fetch_events('t', 'c', 1, '15 years -5400 days');
SELECT count(*) FROM eventstore.fetch_events('t', 'c', 1, '1 day');
SELECT eventstore.nack_event('t', 'c', 0, 1, 'no', '10000 years -3599990 days');
SELECT eventstore.nack_event('t', 'c', 0, 1, 'no', '1 month 1 day');

--
-- Columns of the store's types
--
CREATE SCHEMA regress_es_own AUTHORIZATION regress_es_other;
SET ROLE regress_es_other;
CREATE TABLE regress_es_own.blocks (e eventstore.events);
RESET ROLE;

--
-- Functions that were replaced
--
BEGIN;
CREATE OR REPLACE FUNCTION eventstore.guard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
ALTER FUNCTION eventstore.append_event SECURITY DEFINER;
ALTER FUNCTION eventstore.save_checkpoint SECURITY INVOKER;
ALTER FUNCTION eventstore.advance_watermark SET search_path = public;
ALTER FUNCTION eventstore.uuid_v7 OWNER TO regress_es_other;
CREATE FUNCTION eventstore.verify_events(bigint) RETURNS text LANGUAGE sql AS 'SELECT NULL::text';
GRANT CREATE ON SCHEMA eventstore TO regress_es_other;
ALTER TABLE eventstore.events ENABLE ROW LEVEL SECURITY;
UPDATE pg_class SET relhastriggers = false WHERE oid = 'eventstore.digests'::regclass;
ALTER TABLE eventstore.events DROP CONSTRAINT events_version_positive,
	ADD CONSTRAINT events_version_positive CHECK (true);
SELECT * FROM eventstore.verify() ORDER BY invariant COLLATE "C", detail COLLATE "C";
ROLLBACK;

DROP EXTENSION eventstore CASCADE;
DROP TABLE others;
DROP SCHEMA regress_es_own;
DROP FUNCTION tamper, nothing, spy;
DROP OWNED BY regress_es_other, regress_es_writer, regress_es_all;
DROP ROLE regress_es_other, regress_es_writer, regress_es_all;
