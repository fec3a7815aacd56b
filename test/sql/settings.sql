--
-- Settings
--

CREATE EXTENSION eventstore;
SELECT eventstore.uuid_v7() IS NOT NULL AS library_is_loaded;

SELECT name, setting, unit, category, short_desc, extra_desc, context, vartype, boot_val
FROM pg_settings WHERE name ~ '^eventstore\.' AND name NOT IN ('eventstore.wait_points', 'eventstore.worker_idle_limit') \gx

-- There are no others.
SET eventstore.no_such_setting = 1;
\echo :SQLSTATE
SHOW eventstore.no_such_setting;
SET eventstore.serialize_appends = 'perhaps';

--
-- serialize_appends: the gate stays closed behind an appender until its
-- transaction ends; nothing else changes.
--
CREATE VIEW gate AS
SELECT mode, granted FROM pg_locks
WHERE pid = pg_backend_pid() AND locktype = 'advisory' AND classid = 0 AND objid = 0 AND objsubid = x'4553'::int;

SHOW eventstore.serialize_appends;
BEGIN;
SELECT last_version FROM eventstore.append_event('Order-1', 'T', '1');
TABLE gate;
COMMIT;
SET eventstore.serialize_appends = on;
BEGIN;
SELECT last_version FROM eventstore.append_event('Order-1', 'T', '2');
TABLE gate;
SELECT last_version FROM eventstore.append_events('Order-1', '[{"event_type":"T","data":3},{"event_type":"T","data":4}]');
SELECT version FROM eventstore.read_all();
SELECT eventstore.settled_position();
SAVEPOINT s;
SELECT last_version FROM eventstore.append_event('Order-1', 'T', '5');
ROLLBACK TO s;
TABLE gate;
COMMIT;
TABLE gate;
-- for one transaction
SET eventstore.serialize_appends = off;
BEGIN;
SET LOCAL eventstore.serialize_appends = on;
SELECT last_version FROM eventstore.append_event('Order-1', 'T', '5');
TABLE gate;
COMMIT;
SHOW eventstore.serialize_appends;
SELECT version, data FROM eventstore.read_stream('Order-1');

-- Only superusers set it, for a role or a database too.
CREATE ROLE regress_es_user;
GRANT SELECT ON gate TO regress_es_user;
SELECT eventstore.grant_writer('regress_es_user');
SET ROLE regress_es_user;
SET eventstore.serialize_appends = on;
\echo :SQLSTATE
SELECT set_config('eventstore.serialize_appends', 'on', false);
ALTER ROLE regress_es_user SET eventstore.serialize_appends = on;
SHOW eventstore.serialize_appends;
RESET ROLE;
-- A superuser's function can carry it.
CREATE FUNCTION append_in_order() RETURNS bigint LANGUAGE sql SECURITY DEFINER
SET eventstore.serialize_appends = on
AS $$ SELECT last_version FROM eventstore.append_event('Order-1', 'T', '6') $$;
SET ROLE regress_es_user;
BEGIN;
SELECT append_in_order();
TABLE gate;
COMMIT;
RESET ROLE;
DROP FUNCTION append_in_order();

-- A value that was set before the library was loaded counts no more than a
-- later one.
\c -
SET client_min_messages = error;
SET ROLE regress_es_user;
DO $$
BEGIN
	PERFORM set_config('eventstore.serialize_appends', 'on', false),
			set_config('eventstore.no_such_setting', '1', false);
EXCEPTION WHEN insufficient_privilege OR invalid_name THEN	-- it is loaded already
END
$$;
SELECT last_version FROM eventstore.append_event('Order-1', 'T', '7');
RESET ROLE;
SHOW eventstore.serialize_appends;
SHOW eventstore.no_such_setting;

DROP VIEW gate;
DROP EXTENSION eventstore;
DROP ROLE regress_es_user;
