--
-- Who may do what: the rights as they are granted, and what they permit.  Run
-- with
--
--	pg_prove -d DATABASE test/pgtap/*.sql
--

\set ON_ERROR_STOP on
\set QUIET on
BEGIN;
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
DROP EXTENSION IF EXISTS eventstore;
CREATE EXTENSION eventstore;

SELECT plan(29);

CREATE ROLE regress_es_nobody;
CREATE ROLE regress_es_reader;
CREATE ROLE regress_es_writer;
CREATE ROLE regress_es_subscriber;
CREATE ROLE regress_es_heir IN ROLE regress_es_writer;
SELECT lives_ok('SELECT eventstore.grant_reader(''regress_es_reader'')', 'grant_reader');
SELECT lives_ok('SELECT eventstore.grant_writer(''regress_es_writer'')', 'grant_writer');
SELECT lives_ok('SELECT eventstore.grant_subscriber(''regress_es_subscriber'')', 'grant_subscriber');

--
-- What is granted
--
CREATE TEMP VIEW granted AS
	SELECT g.what, a.grantee, a.privilege_type::text, a.is_grantable, g.owner
	FROM (SELECT 'schema eventstore' AS what, nspowner AS owner,
				 coalesce(nspacl, acldefault('n', nspowner)) AS acl
		  FROM pg_namespace WHERE nspname = 'eventstore'
		  UNION ALL
		  SELECT 'function ' || proname, proowner, coalesce(proacl, acldefault('f', proowner))
		  FROM pg_proc WHERE pronamespace = 'eventstore'::regnamespace
		  UNION ALL
		  SELECT 'relation ' || relname, relowner,
				 coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner))
		  FROM pg_class WHERE relnamespace = 'eventstore'::regnamespace AND relkind IN ('r', 'S', 'v')
		  UNION ALL
		  SELECT 'column ' || attname, relowner, attacl
		  FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
		  WHERE relnamespace = 'eventstore'::regnamespace) g,
		 aclexplode(g.acl) a;
SELECT is_empty(
	'SELECT * FROM granted WHERE grantee = 0',
	'PUBLIC has no rights');
SELECT is_empty(
	'SELECT * FROM granted WHERE grantee <> owner AND is_grantable',
	'nobody may grant on what he was granted');
SELECT set_eq(
	$$SELECT what, privilege_type FROM granted WHERE grantee = 'regress_es_reader'::regrole$$,
	$$VALUES ('schema eventstore', 'USAGE'), ('relation events', 'SELECT'),
			 ('relation events_jsonb', 'SELECT'), ('relation replication_status', 'SELECT'),
			 ('relation digests', 'SELECT'),
			 ('function read_stream', 'EXECUTE'), ('function read_stream_backwards', 'EXECUTE'),
			 ('function read_all', 'EXECUTE'), ('function read_all_backwards', 'EXECUTE'),
			 ('function read_category', 'EXECUTE'), ('function read_visible', 'EXECUTE'),
			 ('function read_event', 'EXECUTE'),
			 ('function event_json', 'EXECUTE'), ('function event_cloudevent', 'EXECUTE'),
			 ('function stream_version', 'EXECUTE'), ('function settled_position', 'EXECUTE'),
			 ('function wait_for_events', 'EXECUTE'), ('function event_digest', 'EXECUTE'),
			 ('function current_digest', 'EXECUTE'), ('function broken_digests', 'EXECUTE'),
			 ('function verify_events', 'EXECUTE'), ('function verify_digest', 'EXECUTE')$$,
	'what a reader has');
SELECT set_eq(
	$$SELECT what, privilege_type FROM granted WHERE grantee = 'regress_es_writer'::regrole$$,
	$$VALUES ('schema eventstore', 'USAGE'), ('function append_events', 'EXECUTE'),
			 ('function append_event', 'EXECUTE'), ('function uuid_v7', 'EXECUTE')$$,
	'what a writer has: no right to any table');
SELECT set_eq(
	$$SELECT what, privilege_type FROM granted WHERE grantee = 'regress_es_subscriber'::regrole
	  EXCEPT SELECT what, privilege_type FROM granted WHERE grantee = 'regress_es_reader'::regrole$$,
	$$VALUES ('relation subscription_status', 'SELECT'), ('relation parked_events', 'SELECT'),
			 ('function save_checkpoint', 'EXECUTE'), ('function get_checkpoint', 'EXECUTE'),
			 ('function create_subscription', 'EXECUTE'), ('function alter_subscription', 'EXECUTE'),
			 ('function drop_subscription', 'EXECUTE'), ('function fetch_events', 'EXECUTE'),
			 ('function ack_events', 'EXECUTE'), ('function nack_event', 'EXECUTE'),
			 ('function replay_parked', 'EXECUTE'), ('function stream_partition', 'EXECUTE')$$,
	'what a subscriber has: no right to any table of the books');
SELECT is_empty(
	$$SELECT what, privilege_type FROM granted WHERE grantee = 'regress_es_reader'::regrole
	  EXCEPT SELECT what, privilege_type FROM granted WHERE grantee = 'regress_es_subscriber'::regrole$$,
	'... and all that a reader has');
SELECT is_empty(
	$$SELECT * FROM granted
	  WHERE grantee NOT IN (owner, 'regress_es_reader'::regrole, 'regress_es_writer'::regrole,
							'regress_es_subscriber'::regrole)$$,
	'nobody else has anything');
SELECT is_empty(
	$$SELECT defaclrole FROM pg_default_acl WHERE defaclnamespace = 'eventstore'::regnamespace$$,
	'objects to come are granted to nobody');

--
-- What it permits
--
CREATE TEMP TABLE statements (kind text, statement text);
INSERT INTO statements VALUES
	('read', 'SELECT FROM eventstore.read_stream(''A-1'')'),
	('read', 'SELECT FROM eventstore.read_stream_backwards(''A-1'')'),
	('read', 'SELECT FROM eventstore.read_all()'),
	('read', 'SELECT FROM eventstore.read_all_backwards()'),
	('read', 'SELECT FROM eventstore.read_category(''A'')'),
	('read', 'SELECT FROM eventstore.read_event(gen_random_uuid())'),
	('read', 'SELECT eventstore.stream_version(''A-1'')'),
	('read', 'SELECT eventstore.settled_position()'),
	('read', 'SELECT FROM eventstore.events'),
	('read', 'SELECT FROM eventstore.events_jsonb'),
	('read', 'SELECT FROM eventstore.replication_status'),
	('append', 'SELECT eventstore.append_event(''A-1'', ''T'', ''1'')'),
	('append', 'SELECT eventstore.append_events(''A-1'', ''[{"event_type":"T","data":1}]'')'),
	('append', 'SELECT eventstore.uuid_v7()'),
	('subscribe', 'SELECT eventstore.save_checkpoint(''f'', 1)'),
	('subscribe', 'SELECT eventstore.get_checkpoint(''f'')'),
	('subscribe', 'SELECT eventstore.create_subscription(''t'')'),
	('subscribe', 'SELECT eventstore.alter_subscription(''s'', partitions => 2)'),
	('subscribe', 'SELECT eventstore.drop_subscription(''s'')'),
	('subscribe', 'SELECT FROM eventstore.fetch_events(''s'', ''d'')'),
	('subscribe', 'SELECT eventstore.ack_events(''s'', ''c'', 0, 0)'),
	('subscribe', 'SELECT eventstore.nack_event(''s'', ''c'', 0, 1, ''no'')'),
	('subscribe', 'SELECT eventstore.replay_parked(''s'')'),
	('subscribe', 'SELECT eventstore.stream_partition(''A-1'', 2)'),
	('subscribe', 'SELECT FROM eventstore.subscription_status'),
	('subscribe', 'SELECT FROM eventstore.parked_events'),
	('neither', 'INSERT INTO eventstore.events (global_position) VALUES (1)'),
	('neither', 'UPDATE eventstore.events SET tags = NULL'),
	('neither', 'DELETE FROM eventstore.events'),
	('neither', 'TRUNCATE eventstore.events'),
	('neither', 'SELECT FROM eventstore.events FOR UPDATE'),
	('neither', 'INSERT INTO eventstore.events_jsonb (global_position) VALUES (1)'),
	('neither', 'UPDATE eventstore.events_jsonb SET tags = NULL'),
	('neither', 'DELETE FROM eventstore.events_jsonb'),
	('neither', 'SELECT FROM eventstore.watermark'),
	('neither', 'INSERT INTO eventstore.watermark VALUES (true, 1)'),
	('neither', 'UPDATE eventstore.watermark SET settled_position = 99'),
	('neither', 'INSERT INTO eventstore.digests VALUES (1, 1, sha256(''''))'),
	('neither', 'SELECT eventstore.write_digests(1)'),
	('neither', 'SELECT eventstore.new_digests(1)'),
	('read', 'SELECT eventstore.verify_events()'),
	('neither', 'SELECT nextval(''eventstore.events_global_position_seq'')'),
	('neither', 'SELECT setval(''eventstore.events_global_position_seq'', 1)'),
	('neither', 'SELECT FROM eventstore.events_global_position_seq'),
	('neither', 'SELECT eventstore.advance_watermark()'),
	('neither', 'SELECT eventstore.continue_positions()'),
	('neither', 'SELECT eventstore.enable_guard()'),
	('neither', 'SELECT FROM eventstore.verify()'),
	('neither', 'SELECT FROM eventstore.broken_events()'),
	('neither', 'SELECT FROM eventstore.broken_index_entries()'),
	('neither', 'SELECT FROM eventstore.rewritten_positions()'),
	('neither', 'SELECT eventstore.guard()'),
	('neither', 'SELECT eventstore.grant_reader(current_user)'),
	('neither', 'SELECT eventstore.grant_writer(current_user)'),
	('neither', 'SELECT eventstore.grant_subscriber(current_user)'),
	('neither', 'SELECT eventstore.check_subscription_id(''s'')'),
	('neither', 'SELECT eventstore.lock_subscription(''s'')'),
	('neither', 'SELECT eventstore.lock_partition(''s'', ''c'', 0)'),
	('neither', 'SELECT eventstore.park_event(''s'', 0, 1, 1, ''no'', now())'),
	('neither', 'ALTER TABLE eventstore.events DISABLE TRIGGER ALL'),
	('neither', 'ALTER SEQUENCE eventstore.events_global_position_seq RESTART'),
	('neither', 'CREATE TABLE eventstore.mine ()'),
	('neither', 'SET eventstore.serialize_appends = on');
INSERT INTO statements
	SELECT 'neither', format(v.command, c.oid::regclass)
	FROM pg_class c, unnest('{SELECT FROM %s,INSERT INTO %s DEFAULT VALUES,DELETE FROM %s,TRUNCATE %s}'::text[]) v (command)
	WHERE c.relnamespace = 'eventstore'::regnamespace AND c.relkind = 'r'
	AND c.relname ~ '^(checkpoints|subscription)';

-- For them: a subscription whose consumer has got an event
SELECT eventstore.append_event('A-1', 'T', '1') IS NOT NULL AS appended \gset
SELECT eventstore.create_subscription('s');
SELECT count(*) AS fetched FROM eventstore.fetch_events('s', 'c') \gset
SELECT eventstore.create_subscription('r');
UPDATE eventstore.subscription_partitions SET lease_until = now() WHERE consumer = 'c';

-- The SQLSTATE of each, as somebody; all are taken back.
CREATE FUNCTION pg_temp.outcomes(role name) RETURNS TABLE (kind text, statement text, state text)
LANGUAGE plpgsql AS $$
DECLARE
	s record;
BEGIN
	FOR s IN SELECT * FROM pg_temp.statements LOOP
		kind := s.kind;
		statement := s.statement;
		BEGIN
			EXECUTE format('SET LOCAL ROLE %I', role);
			EXECUTE s.statement;
			RAISE EXCEPTION USING ERRCODE = 'P9999';
		EXCEPTION
			WHEN SQLSTATE 'P9999' THEN
				state := 'permitted';
			WHEN OTHERS THEN
				state := SQLSTATE;
		END;
		RETURN NEXT;
	END LOOP;
END
$$;
SELECT set_eq(
	format('SELECT statement, state FROM pg_temp.outcomes(%L)', role),
	format('SELECT statement, CASE WHEN kind = ANY (%L) THEN ''permitted'' ELSE ''42501'' END FROM statements', kinds),
	format('%s may do this: %s', role, kinds))
FROM (VALUES ('regress_es_reader', '{read}'), ('regress_es_writer', '{append}'),
			 ('regress_es_subscriber', '{read,subscribe}'),
			 ('regress_es_heir', '{append}'), ('regress_es_nobody', '{}')) AS v (role, kinds);

-- With both, both
SELECT eventstore.grant_reader('regress_es_heir');
SELECT set_eq(
	'SELECT statement, state FROM pg_temp.outcomes(''regress_es_heir'')',
	'SELECT statement, CASE WHEN kind IN (''read'', ''append'') THEN ''permitted'' ELSE ''42501'' END FROM statements',
	'who may read and append may do both, and no more');

-- Taken back
REVOKE SELECT ON eventstore.events, eventstore.replication_status FROM regress_es_reader;
SELECT is_empty(
	'SELECT * FROM pg_temp.outcomes(''regress_es_reader'') WHERE state = ''permitted''',
	'without SELECT on the table its view and the read functions are of no use');
REVOKE SELECT ON eventstore.events FROM regress_es_subscriber;
SELECT set_eq(
	$$SELECT statement FROM pg_temp.outcomes('regress_es_subscriber') WHERE state <> 'permitted' AND kind = 'subscribe'$$,
	$$VALUES ('SELECT FROM eventstore.fetch_events(''s'', ''d'')')$$,
	'... and no events are handed out');
SELECT eventstore.grant_subscriber('regress_es_subscriber');

-- EXECUTE on all functions lets nobody read, nor past the guard.
GRANT USAGE ON SCHEMA eventstore TO regress_es_nobody;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA eventstore TO regress_es_nobody;
-- (GRANT without the right to grant is a warning, if one has some other right.)
DELETE FROM statements WHERE statement ~ 'grant_';
SELECT set_eq(
	$$SELECT statement FROM pg_temp.outcomes('regress_es_nobody') WHERE state = 'permitted'$$,
	$$SELECT statement FROM statements
	  WHERE kind = 'append' OR (kind = 'subscribe' AND statement !~ 'fetch_events|subscription_status|parked_events')
		OR statement ~ 'check_subscription_id'$$,
	'EXECUTE on every function permits to append and to manage subscriptions, and not to read');

-- The guard is for the owner and superusers too.
SELECT throws_ok(statement, 'ST004', 'events are immutable', 'refused to a superuser: ' || statement)
FROM (VALUES ('UPDATE eventstore.events SET tags = NULL'), ('DELETE FROM eventstore.events'),
			 ('TRUNCATE eventstore.events')) AS v (statement);
SET session_replication_role = replica;
SELECT throws_ok(statement, 'ST004', 'events are immutable', 'refused in replica mode: ' || statement)
FROM (VALUES ('UPDATE eventstore.events SET tags = NULL'), ('DELETE FROM eventstore.events'),
			 ('TRUNCATE eventstore.events')) AS v (statement);
RESET session_replication_role;
ALTER TABLE eventstore.events OWNER TO regress_es_reader;
SELECT set_eq(
	$$SELECT statement, state FROM pg_temp.outcomes('regress_es_reader')
	  WHERE statement ~ '^(UPDATE|DELETE FROM|TRUNCATE) eventstore.events\M'$$,
	$$SELECT statement, 'ST004' FROM statements
	  WHERE statement ~ '^(UPDATE|DELETE FROM|TRUNCATE) eventstore.events\M'$$,
	'... and to the owner');

-- Row-level security is refused, not bypassed.
SELECT eventstore.append_event('A-1', 'T', '1') IS NOT NULL AS appended \gset
ALTER TABLE eventstore.events ENABLE ROW LEVEL SECURITY;
SELECT is_empty(
	$$SELECT * FROM pg_temp.outcomes('regress_es_heir')
	  WHERE (state = 'permitted') <> (statement IN ('SELECT FROM eventstore.events', 'SELECT FROM eventstore.events_jsonb',
											   'SELECT FROM eventstore.replication_status',
											   'SELECT eventstore.uuid_v7()'))$$,
	'under row-level security only the table and its view can be read, and nothing appended');
ALTER TABLE eventstore.events FORCE ROW LEVEL SECURITY;
SELECT is_empty(
	$$SELECT * FROM pg_temp.outcomes('regress_es_reader') WHERE kind = 'append' AND state = 'permitted'$$,
	'... also by the owner, if it is forced');

SELECT * FROM finish();
ROLLBACK;
