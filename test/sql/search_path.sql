--
-- Nothing that another user puts in the way is ever called: not operators,
-- functions, types, casts or tables, in a schema that comes first in the
-- search path or in the temporary one.
--

CREATE ROLE regress_es_attacker;
CREATE SCHEMA attack AUTHORIZATION regress_es_attacker;
SET ROLE regress_es_attacker;
CREATE FUNCTION attack.alarm(what text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION 'called attack.%', what;
END
$$;

-- all functions that the extension's own SQL mentions
CREATE FUNCTION attack.format(text, name) RETURNS text LANGUAGE plpgsql AS
	$$BEGIN PERFORM attack.alarm('format'); END$$;
CREATE FUNCTION attack.format(text, text) RETURNS text LANGUAGE plpgsql AS
	$$BEGIN PERFORM attack.alarm('format'); END$$;
CREATE FUNCTION attack.settled_position(bigint) RETURNS bigint LANGUAGE plpgsql AS
	$$BEGIN PERFORM attack.alarm('settled_position'); END$$;
CREATE FUNCTION attack.json_array_element_text(json, int) RETURNS text LANGUAGE plpgsql AS
	$$BEGIN PERFORM attack.alarm('json_array_element_text'); END$$;
CREATE FUNCTION attack.nextval(regclass) RETURNS bigint LANGUAGE plpgsql AS
	$$BEGIN PERFORM attack.alarm('nextval'); END$$;

-- operators, for the very types that are compared
CREATE FUNCTION attack.bool_op(bigint, bigint) RETURNS boolean LANGUAGE sql AS $$SELECT attack.alarm('bigint operator')$$;
CREATE FUNCTION attack.bool_op(text, text) RETURNS boolean LANGUAGE sql AS $$SELECT attack.alarm('text operator')$$;
CREATE FUNCTION attack.bool_op(boolean, boolean) RETURNS boolean LANGUAGE sql AS $$SELECT attack.alarm('boolean operator')$$;
CREATE FUNCTION attack.bool_op(uuid, uuid) RETURNS boolean LANGUAGE sql AS $$SELECT attack.alarm('uuid operator')$$;
DO $$
DECLARE
	op text;
	type text;
BEGIN
	FOREACH type IN ARRAY '{bigint,text,boolean,uuid}'::text[] LOOP
		FOREACH op IN ARRAY '{<,<=,=,>=,>,<>}'::text[] LOOP
			EXECUTE format('CREATE OPERATOR attack.%s (LEFTARG = %s, RIGHTARG = %2$s, FUNCTION = attack.bool_op)', op, type);
		END LOOP;
	END LOOP;
END
$$;

-- types and tables
CREATE DOMAIN attack.bigint AS text CHECK (attack.alarm('domain bigint'));
CREATE DOMAIN attack.text AS varchar CHECK (attack.alarm('domain text'));
CREATE TABLE attack.events (global_position int);
CREATE TABLE attack.watermark (only_row boolean, settled_position int);
CREATE SEQUENCE attack.events_global_position_seq START 1000000;
RESET ROLE;

-- The extension is even created with all this in front.
SET search_path = attack, pg_catalog;
CREATE EXTENSION eventstore;
-- No worker is to advance the watermark meanwhile.
SET eventstore.notify = off;
RESET search_path;

CREATE ROLE regress_es_user;

-- in the path before pg_catalog
SET search_path = attack, pg_catalog, eventstore;
SELECT eventstore.grant_reader('regress_es_user'::name), eventstore.grant_writer('regress_es_user'::name);
SELECT last_version, last_position
FROM eventstore.append_event('Order-1'::pg_catalog.text, 'T'::pg_catalog.text, '{"a": 1}');
SELECT last_version, last_position
FROM eventstore.append_events('Order-1'::pg_catalog.text,
	'[{"event_type":"\u0054","data":1,"tags":["\u0061"]},{"event_type":"T","binary_data":"AAH\/"}]', 1);
SELECT version, tags FROM eventstore.read_stream('Order-1'::pg_catalog.text);
SELECT version FROM eventstore.read_all();
SELECT version FROM eventstore.read_category('Order'::pg_catalog.text);
SELECT eventstore.stream_version('Order-1'::pg_catalog.text), eventstore.settled_position();
SELECT eventstore.advance_watermark();
SELECT eventstore.advance_watermark();
DELETE FROM eventstore.events;
-- The attack is real: it hits whoever does not name what he means.
SELECT 1::pg_catalog.int8 < 2::pg_catalog.int8;
SELECT format('%I', 'x'::name);
RESET search_path;

-- in the temporary schema, which no search path has to name for relations and types
CREATE TEMP TABLE watermark (only_row boolean, settled_position bigint);
CREATE TEMP TABLE events (global_position bigint);
CREATE TEMP SEQUENCE events_global_position_seq START 1000000;
CREATE DOMAIN pg_temp.int8 AS pg_catalog.text CHECK (attack.alarm('domain int8'));
SET search_path = pg_temp, attack, pg_catalog, eventstore;
SELECT last_version, last_position
FROM eventstore.append_event('Order-1'::pg_catalog.text, 'T'::pg_catalog.text, '{"a": 1}');
SELECT eventstore.advance_watermark();
SELECT version FROM eventstore.read_category('Order'::pg_catalog.text);
SELECT eventstore.grant_reader('regress_es_user'::name);
SELECT pg_catalog.count(*) FROM watermark;
RESET search_path;
SELECT settled_position, events, is_replica FROM eventstore.watermark;
DROP TABLE pg_temp.watermark, pg_temp.events;
DROP SEQUENCE pg_temp.events_global_position_seq;
DROP DOMAIN pg_temp.int8;

-- with no path at all
SET search_path = '';
SELECT last_version FROM eventstore.append_event('Order-1', 'T', '1');
SELECT version FROM eventstore.read_all_backwards(NULL, 1);
SELECT eventstore.advance_watermark();
SELECT eventstore.grant_writer('regress_es_user');
RESET search_path;

-- The user that it was all granted to can use it, and only that.
SET ROLE regress_es_user;
SET search_path = attack, pg_catalog;
SELECT last_version FROM eventstore.append_event('Order-1'::pg_catalog.text, 'T'::pg_catalog.text, '1');
SELECT pg_catalog.count(*) FROM eventstore.read_all();
RESET search_path;
RESET ROLE;

DROP EXTENSION eventstore;
SET client_min_messages = warning;
DROP SCHEMA attack CASCADE;
DROP ROLE regress_es_attacker, regress_es_user;
