/* eventstore 0.1.0 */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION eventstore" to load this file. \quit

CREATE SCHEMA eventstore;
COMMENT ON SCHEMA eventstore IS
	'event store: append, read and follow streams of immutable events';

--
-- Storage
--

CREATE SEQUENCE eventstore.events_global_position_seq AS bigint;
COMMENT ON SEQUENCE eventstore.events_global_position_seq IS
	'the next global position; only the append functions draw from it';

CREATE TABLE eventstore.events (
	global_position	bigint NOT NULL,
	version			bigint NOT NULL,
	created_at		timestamptz NOT NULL,
	event_id		uuid NOT NULL,
	stream_id		text COLLATE "C" NOT NULL,
	stream_type		text COLLATE "C" NOT NULL,
	event_type		text COLLATE "C" NOT NULL,
	schema_version	integer NOT NULL,
	correlation_id	uuid,
	causation_id	uuid,
	data			json,
	binary_data		bytea,
	content_type	text COLLATE "C",
	metadata		json,
	tags			text[] COLLATE "C",
	CONSTRAINT events_pkey PRIMARY KEY (global_position),
	CONSTRAINT events_stream_id_version_key UNIQUE (stream_id, version),
	CONSTRAINT events_event_id_key UNIQUE (event_id),
	CONSTRAINT events_version_positive CHECK (version > 0),
	CONSTRAINT events_names_not_empty
		CHECK (stream_id <> '' AND stream_type <> '' AND event_type <> ''),
	CONSTRAINT events_one_payload CHECK ((data IS NULL) <> (binary_data IS NULL))
) USING heap;
CREATE INDEX events_stream_type_global_position_idx
	ON eventstore.events (stream_type, global_position);

COMMENT ON TABLE eventstore.events IS
	'the events; written by append_events() and append_event() only';
COMMENT ON COLUMN eventstore.events.global_position IS
	'place in the store: strictly increasing, gaps allowed';
COMMENT ON COLUMN eventstore.events.version IS
	'place in the stream: 1, 2, 3 ... without gaps';
COMMENT ON COLUMN eventstore.events.created_at IS
	'wall clock of the append';
COMMENT ON COLUMN eventstore.events.event_id IS
	'identity of the event, given by its producer or made as a UUIDv7';
COMMENT ON COLUMN eventstore.events.stream_id IS
	'name of the stream, e.g. Order-7f3a';
COMMENT ON COLUMN eventstore.events.stream_type IS
	'category of the stream, by default stream_id up to its first "-"';
COMMENT ON COLUMN eventstore.events.event_type IS
	'what happened, e.g. OrderPlaced';
COMMENT ON COLUMN eventstore.events.schema_version IS
	'version of the payload''s schema for this event type';
COMMENT ON COLUMN eventstore.events.correlation_id IS
	'the conversation that the event belongs to';
COMMENT ON COLUMN eventstore.events.causation_id IS
	'the message that caused the event';
COMMENT ON COLUMN eventstore.events.data IS
	'JSON payload, byte for byte as it was given';
COMMENT ON COLUMN eventstore.events.binary_data IS
	'payload that is not JSON';
COMMENT ON COLUMN eventstore.events.content_type IS
	'media type of the payload';
COMMENT ON COLUMN eventstore.events.metadata IS
	'JSON about the event that is not part of what happened';
COMMENT ON COLUMN eventstore.events.tags IS
	'labels, e.g. of further entities that the event concerns';
COMMENT ON CONSTRAINT events_pkey ON eventstore.events IS
	'the global order';
COMMENT ON CONSTRAINT events_stream_id_version_key ON eventstore.events IS
	'the order of each stream';
COMMENT ON CONSTRAINT events_event_id_key ON eventstore.events IS
	'no event is stored twice';
COMMENT ON CONSTRAINT events_version_positive ON eventstore.events IS
	'versions begin at 1';
COMMENT ON CONSTRAINT events_names_not_empty ON eventstore.events IS
	'stream, stream type and event type have names';
COMMENT ON CONSTRAINT events_one_payload ON eventstore.events IS
	'exactly one of data and binary_data is set';
COMMENT ON INDEX eventstore.events_pkey IS
	'the position index, which followers walk';
COMMENT ON INDEX eventstore.events_stream_id_version_key IS
	'reads of one stream, and its current version';
COMMENT ON INDEX eventstore.events_event_id_key IS
	'deduplication, and reads by event id';
COMMENT ON INDEX eventstore.events_stream_type_global_position_idx IS
	'reads of one category in the global order';

CREATE TABLE eventstore.watermark (
	only_row			boolean NOT NULL DEFAULT true,
	settled_position	bigint NOT NULL,
	CONSTRAINT watermark_pkey PRIMARY KEY (only_row),
	CONSTRAINT watermark_only_row CHECK (only_row)
) USING heap;
COMMENT ON TABLE eventstore.watermark IS
	'at most one row: all events at or below settled_position are settled';
COMMENT ON COLUMN eventstore.watermark.only_row IS
	'true, so that there is one row';
COMMENT ON COLUMN eventstore.watermark.settled_position IS
	'whoever sees this row, on a replica too, has every event up to here';
COMMENT ON CONSTRAINT watermark_pkey ON eventstore.watermark IS
	'one row at most';
COMMENT ON CONSTRAINT watermark_only_row ON eventstore.watermark IS
	'one row at most';
COMMENT ON INDEX eventstore.watermark_pkey IS
	'one row at most';

-- pg_dump keeps every event, the watermark and the next position.
SELECT pg_catalog.pg_extension_config_dump('eventstore.events', '');
SELECT pg_catalog.pg_extension_config_dump('eventstore.events_global_position_seq', '');
SELECT pg_catalog.pg_extension_config_dump('eventstore.watermark', '');

--
-- Guard
--

CREATE FUNCTION eventstore.guard()
RETURNS trigger
LANGUAGE c
AS 'MODULE_PATHNAME', 'eventstore_guard';
COMMENT ON FUNCTION eventstore.guard() IS
	'trigger function that refuses to change or remove events (ST004)';

CREATE TRIGGER guard_update BEFORE UPDATE ON eventstore.events
	FOR EACH STATEMENT EXECUTE FUNCTION eventstore.guard();
CREATE TRIGGER guard_delete BEFORE DELETE ON eventstore.events
	FOR EACH STATEMENT EXECUTE FUNCTION eventstore.guard();
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON eventstore.events
	FOR EACH STATEMENT EXECUTE FUNCTION eventstore.guard();
CREATE TRIGGER guard_update_row BEFORE UPDATE ON eventstore.events
	FOR EACH ROW EXECUTE FUNCTION eventstore.guard();
CREATE TRIGGER guard_delete_row BEFORE DELETE ON eventstore.events
	FOR EACH ROW EXECUTE FUNCTION eventstore.guard();
ALTER TABLE eventstore.events ENABLE ALWAYS TRIGGER guard_update;
ALTER TABLE eventstore.events ENABLE ALWAYS TRIGGER guard_delete;
ALTER TABLE eventstore.events ENABLE ALWAYS TRIGGER guard_truncate;
ALTER TABLE eventstore.events ENABLE ALWAYS TRIGGER guard_update_row;
ALTER TABLE eventstore.events ENABLE ALWAYS TRIGGER guard_delete_row;
COMMENT ON TRIGGER guard_update ON eventstore.events IS 'events are immutable';
COMMENT ON TRIGGER guard_delete ON eventstore.events IS 'events are immutable';
COMMENT ON TRIGGER guard_truncate ON eventstore.events IS 'events are immutable';
COMMENT ON TRIGGER guard_update_row ON eventstore.events IS
	'events are immutable, through a parent table, too';
COMMENT ON TRIGGER guard_delete_row ON eventstore.events IS
	'events are immutable, through a parent table, too';

--
-- Append
--

CREATE FUNCTION eventstore.append_events(
	stream_id text,
	events json,
	expected_version bigint DEFAULT NULL,
	stream_type text DEFAULT NULL,
	OUT first_version bigint,
	OUT last_version bigint,
	OUT first_position bigint,
	OUT last_position bigint,
	OUT deduplicated boolean)
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'eventstore_append_events';
COMMENT ON FUNCTION eventstore.append_events(text, json, bigint, text) IS
	'append a JSON array of event objects to a stream, all or none';

CREATE FUNCTION eventstore.append_event(
	stream_id text,
	event_type text,
	data json DEFAULT NULL,
	expected_version bigint DEFAULT NULL,
	event_id uuid DEFAULT NULL,
	metadata json DEFAULT NULL,
	correlation_id uuid DEFAULT NULL,
	causation_id uuid DEFAULT NULL,
	schema_version integer DEFAULT 1,
	tags text[] DEFAULT NULL,
	stream_type text DEFAULT NULL,
	binary_data bytea DEFAULT NULL,
	content_type text DEFAULT NULL,
	OUT first_version bigint,
	OUT last_version bigint,
	OUT first_position bigint,
	OUT last_position bigint,
	OUT deduplicated boolean)
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'eventstore_append_event';
COMMENT ON FUNCTION eventstore.append_event(text, text, json, bigint, uuid, json, uuid, uuid, integer, text[], text, bytea, text) IS
	'append one event, given by typed arguments, to a stream';

CREATE FUNCTION eventstore.uuid_v7()
RETURNS uuid
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'eventstore_uuid_v7';
COMMENT ON FUNCTION eventstore.uuid_v7() IS
	'make a time-ordered UUID (RFC 9562, version 7)';

--
-- Read
--

CREATE FUNCTION eventstore.read_stream(
	stream_id text,
	from_version bigint DEFAULT 1,
	max_count bigint DEFAULT NULL)
RETURNS SETOF eventstore.events
LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 100
AS 'MODULE_PATHNAME', 'eventstore_read_stream';
COMMENT ON FUNCTION eventstore.read_stream(text, bigint, bigint) IS
	'the events of a stream in order, from a version on';

CREATE FUNCTION eventstore.read_stream_backwards(
	stream_id text,
	from_version bigint DEFAULT NULL,
	max_count bigint DEFAULT NULL)
RETURNS SETOF eventstore.events
LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 100
AS 'MODULE_PATHNAME', 'eventstore_read_stream_backwards';
COMMENT ON FUNCTION eventstore.read_stream_backwards(text, bigint, bigint) IS
	'the events of a stream newest first, from a version on or from the end';

CREATE FUNCTION eventstore.read_all(
	after_position bigint DEFAULT 0,
	max_count bigint DEFAULT 1000)
RETURNS SETOF eventstore.events
LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 1000
AS 'MODULE_PATHNAME', 'eventstore_read_all';
COMMENT ON FUNCTION eventstore.read_all(bigint, bigint) IS
	'the settled events of the whole store in order, behind a position';

CREATE FUNCTION eventstore.read_all_backwards(
	before_position bigint DEFAULT NULL,
	max_count bigint DEFAULT 1000)
RETURNS SETOF eventstore.events
LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 1000
AS 'MODULE_PATHNAME', 'eventstore_read_all_backwards';
COMMENT ON FUNCTION eventstore.read_all_backwards(bigint, bigint) IS
	'the settled events of the whole store newest first, before a position or from the end';

CREATE FUNCTION eventstore.read_category(
	stream_type text,
	after_position bigint DEFAULT 0,
	max_count bigint DEFAULT 1000)
RETURNS SETOF eventstore.events
LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 1000
AS 'MODULE_PATHNAME', 'eventstore_read_category';
COMMENT ON FUNCTION eventstore.read_category(text, bigint, bigint) IS
	'the settled events of all streams of one type in order, behind a position';

CREATE FUNCTION eventstore.read_event(event_id uuid)
RETURNS SETOF eventstore.events
LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 1
AS 'MODULE_PATHNAME', 'eventstore_read_event';
COMMENT ON FUNCTION eventstore.read_event(uuid) IS
	'the event with this id, if it is stored';

CREATE FUNCTION eventstore.stream_version(stream_id text)
RETURNS bigint
LANGUAGE c STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'eventstore_stream_version';
COMMENT ON FUNCTION eventstore.stream_version(text) IS
	'the version of the last event of a stream, 0 when there is no such stream';

CREATE FUNCTION eventstore.settled_position(after_position bigint DEFAULT 0)
RETURNS bigint
LANGUAGE c STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'eventstore_settled_position';
COMMENT ON FUNCTION eventstore.settled_position(bigint) IS
	'the position up to which a follower can read now without missing an event';

CREATE FUNCTION eventstore.advance_watermark()
RETURNS bigint
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
	INSERT INTO eventstore.watermark AS w (settled_position)
	VALUES (eventstore.settled_position(
		coalesce((SELECT m.settled_position FROM eventstore.watermark m), 0)))
	ON CONFLICT (only_row) DO UPDATE
		SET settled_position = excluded.settled_position
		WHERE w.settled_position < excluded.settled_position;

	SELECT w.settled_position FROM eventstore.watermark w;
$$;
COMMENT ON FUNCTION eventstore.advance_watermark() IS
	'record how far the store is settled, for followers on replicas';

--
-- Verification
--

CREATE FUNCTION eventstore.rewritten_positions()
RETURNS SETOF bigint
LANGUAGE c STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'eventstore_rewritten_positions';
COMMENT ON FUNCTION eventstore.rewritten_positions() IS
	'the positions of events whose row was updated since it was stored';

CREATE FUNCTION eventstore.verify()
RETURNS TABLE (invariant text, detail text)
LANGUAGE sql STABLE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS $$
	-- the events

	SELECT 'versions of a stream are 1, 2, 3 ... without gaps',
		   format('stream "%s" has %s events with versions from %s to %s',
				  stream_id, count(*), min(version), max(version))
	FROM eventstore.events
	GROUP BY stream_id
	HAVING min(version) <> 1 OR max(version) <> count(DISTINCT version)
		OR count(*) <> count(DISTINCT version)

	UNION ALL
	SELECT 'a stream''s order is the same by version and by position',
		   format('stream "%s": version %s is at position %s, the version before it at %s',
				  stream_id, version, global_position, previous_position)
	FROM (SELECT stream_id, version, global_position,
				 lag(global_position) OVER (PARTITION BY stream_id ORDER BY version)
					AS previous_position
		  FROM eventstore.events) e
	WHERE previous_position >= global_position

	UNION ALL
	SELECT 'a stream has one stream type',
		   format('stream "%s" has the types "%s" and "%s"',
				  stream_id, min(stream_type), max(stream_type))
	FROM eventstore.events
	GROUP BY stream_id
	HAVING min(stream_type) <> max(stream_type)

	UNION ALL
	SELECT 'a position is taken once',
		   format('%s events have position %s', count(*), global_position)
	FROM eventstore.events
	GROUP BY global_position
	HAVING count(*) > 1

	UNION ALL
	SELECT 'an event is stored once',
		   format('%s events have the id %s', count(*), event_id)
	FROM eventstore.events
	GROUP BY event_id
	HAVING count(*) > 1

	UNION ALL
	SELECT 'an event is complete',
		   format('the event at position %s lacks a name, an id, a time or a version, or has not exactly one payload',
				  coalesce(global_position::text, 'null'))
	FROM eventstore.events
	WHERE ((global_position > 0) AND (version > 0) AND (schema_version > 0)
		   AND created_at IS NOT NULL AND event_id IS NOT NULL
		   AND stream_id <> '' AND stream_type <> '' AND event_type <> ''
		   AND (data IS NULL) <> (binary_data IS NULL)) IS NOT TRUE

	UNION ALL
	SELECT 'events are immutable',
		   format('the event at position %s was updated', position)
	FROM eventstore.rewritten_positions() AS position

	-- the positions

	UNION ALL
	SELECT 'the next position is above all that are taken',
		   format('the sequence is at %s, the last event at %s', s.last_value, e.last_position)
	FROM eventstore.events_global_position_seq s,
		 (SELECT max(global_position) AS last_position FROM eventstore.events) e
	WHERE e.last_position > s.last_value
		OR (e.last_position = s.last_value AND NOT s.is_called)

	UNION ALL
	SELECT 'positions are handed out one by one, upwards, for ever',
		   format('the sequence has increment %s, cache %s, cycle %s, maximum %s',
				  s.seqincrement, s.seqcache, s.seqcycle, s.seqmax)
	FROM pg_sequence s
	WHERE s.seqrelid = 'eventstore.events_global_position_seq'::regclass
		AND (s.seqincrement <> 1 OR s.seqcache <> 1 OR s.seqcycle
			 OR s.seqmax <> 9223372036854775807)

	UNION ALL
	SELECT 'the watermark is one row and not above the last position',
		   format('%s rows, the highest at %s', w.nrows, w.highest)
	FROM eventstore.events_global_position_seq s,
		 (SELECT count(*) AS nrows, max(settled_position) AS highest
		  FROM eventstore.watermark) w
	WHERE w.nrows > 1 OR w.highest > s.last_value

	-- the table

	UNION ALL
	SELECT 'the relations are permanent, and heaps without children',
		   format('relation %s', c.oid::regclass)
	FROM pg_class c
	WHERE c.oid IN ('eventstore.events'::regclass, 'eventstore.watermark'::regclass,
					'eventstore.events_global_position_seq'::regclass)
		AND (c.relpersistence <> 'p'
			 OR (c.relkind = 'r' AND c.relam <> (SELECT a.oid FROM pg_am a WHERE a.amname = 'heap'))
			 OR EXISTS (SELECT FROM pg_inherits i WHERE c.oid IN (i.inhparent, i.inhrelid)))

	UNION ALL
	SELECT 'the events table has its columns',
		   format('column %s is missing or altered', e.attname)
	FROM (VALUES
			(1, 'global_position', 'int8', true), (2, 'version', 'int8', true),
			(3, 'created_at', 'timestamptz', true), (4, 'event_id', 'uuid', true),
			(5, 'stream_id', 'text', true), (6, 'stream_type', 'text', true),
			(7, 'event_type', 'text', true), (8, 'schema_version', 'int4', true),
			(9, 'correlation_id', 'uuid', false), (10, 'causation_id', 'uuid', false),
			(11, 'data', 'json', false), (12, 'binary_data', 'bytea', false),
			(13, 'content_type', 'text', false), (14, 'metadata', 'json', false),
			(15, 'tags', '_text', false)) AS e (attnum, attname, typname, attnotnull)
	WHERE NOT EXISTS (
		SELECT FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
		WHERE a.attrelid = 'eventstore.events'::regclass AND a.attnum = e.attnum
			AND a.attname = e.attname AND t.typname = e.typname
			AND a.attnotnull = e.attnotnull AND NOT a.attisdropped
			AND (a.attcollation = 0
				 OR a.attcollation = (SELECT c.oid FROM pg_collation c
									  WHERE c.collname = 'C' AND c.collnamespace = 'pg_catalog'::regnamespace)))

	UNION ALL
	SELECT 'the events table has no further columns',
		   format('column %s', a.attname)
	FROM pg_attribute a
	WHERE a.attrelid = 'eventstore.events'::regclass AND a.attnum > 15
		AND NOT a.attisdropped

	UNION ALL
	SELECT 'the events table has its constraints',
		   format('constraint %s is missing or not validated', e.conname)
	FROM (VALUES ('events_pkey'), ('events_stream_id_version_key'), ('events_event_id_key'),
				 ('events_version_positive'), ('events_names_not_empty'), ('events_one_payload'))
			AS e (conname)
	WHERE NOT EXISTS (
		SELECT FROM pg_constraint c
		WHERE c.conrelid = 'eventstore.events'::regclass AND c.conname = e.conname
			AND c.convalidated AND NOT c.condeferrable)

	UNION ALL
	SELECT 'the events table has its indexes',
		   format('there is no valid %s index on (%s)',
				  CASE WHEN e.isunique THEN 'unique' ELSE 'plain' END, e.columns)
	FROM (VALUES ('global_position', '1', '0', true), ('stream_id, version', '5 2', '950 0', true),
				 ('event_id', '4', '0', true), ('stream_type, global_position', '6 1', '950 0', false))
			AS e (columns, indkey, indcollation, isunique)
	WHERE NOT EXISTS (
		SELECT FROM pg_index i
		WHERE i.indrelid = 'eventstore.events'::regclass AND i.indkey::text = e.indkey
			AND i.indcollation::text = e.indcollation AND i.indoption::text IN ('0', '0 0')
			AND i.indisunique = e.isunique AND i.indisvalid AND i.indisready
			AND i.indimmediate AND i.indpred IS NULL)

	-- the guard

	UNION ALL
	SELECT 'the guard stands, for everyone',
		   format('trigger %s is missing, altered or not enabled ALWAYS', e.tgname)
	FROM (VALUES ('guard_update', 16 + 2), ('guard_delete', 8 + 2), ('guard_truncate', 32 + 2),
				 ('guard_update_row', 16 + 2 + 1), ('guard_delete_row', 8 + 2 + 1))
			AS e (tgname, tgtype)
	WHERE NOT EXISTS (
		SELECT FROM pg_trigger t
		WHERE t.tgrelid = 'eventstore.events'::regclass AND t.tgname = e.tgname
			AND t.tgtype = e.tgtype AND t.tgenabled = 'A' AND t.tgqual IS NULL
			AND t.tgattr = '' AND t.tgfoid = 'eventstore.guard()'::regprocedure)

	UNION ALL
	SELECT 'nothing comes between an append and the table',
		   format('row trigger %s fires before INSERT', t.tgname)
	FROM pg_trigger t
	WHERE t.tgrelid = 'eventstore.events'::regclass AND t.tgtype & (1 + 2 + 4) = 1 + 2 + 4

	UNION ALL
	SELECT 'nothing comes between an append and the table',
		   format('rule %s', r.rulename)
	FROM pg_rewrite r
	WHERE r.ev_class = 'eventstore.events'::regclass

	-- the rights

	UNION ALL
	SELECT 'only the owner has rights on the tables and the sequence, but for SELECT',
		   format('%s has %s on %s',
				  CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END,
				  a.privilege_type, c.oid::regclass)
	FROM pg_class c, aclexplode(c.relacl) a
	WHERE c.oid IN ('eventstore.events'::regclass, 'eventstore.watermark'::regclass,
					'eventstore.events_global_position_seq'::regclass)
		AND a.grantee <> c.relowner
		AND (a.privilege_type <> 'SELECT' OR a.grantee = 0)

	UNION ALL
	SELECT 'only the owner has rights on the tables and the sequence, but for SELECT',
		   format('%s has %s on column %s of %s',
				  CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END,
				  a.privilege_type, t.attname, c.oid::regclass)
	FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid, aclexplode(t.attacl) a
	WHERE c.oid IN ('eventstore.events'::regclass, 'eventstore.watermark'::regclass)
		AND a.grantee <> c.relowner
		AND (a.privilege_type <> 'SELECT' OR a.grantee = 0)

	UNION ALL
	SELECT 'PUBLIC has no rights', format('EXECUTE on function %s', p.oid::regprocedure)
	FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
	WHERE p.pronamespace = 'eventstore'::regnamespace AND a.grantee = 0
		AND EXISTS (SELECT FROM pg_depend d JOIN pg_extension x ON x.oid = d.refobjid
					WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid
						AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
						AND x.extname = 'eventstore')

	UNION ALL
	SELECT 'PUBLIC has no rights', format('%s on schema eventstore', a.privilege_type)
	FROM pg_namespace n, aclexplode(n.nspacl) a
	WHERE n.oid = 'eventstore'::regnamespace AND a.grantee = 0;
$$;
COMMENT ON FUNCTION eventstore.verify() IS
	'every broken invariant of the store as a row; none when the store is sound';

--
-- Rights: nothing for PUBLIC
--

CREATE FUNCTION eventstore.grant_writer(role_name name)
RETURNS void
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF role_name = 'public' THEN
		RAISE EXCEPTION 'rights on the event store are not granted to PUBLIC'
			USING ERRCODE = 'invalid_parameter_value',
				  DETAIL = 'Every role of the database would have them.',
				  HINT = 'Name a role.';
	END IF;
	EXECUTE format('GRANT USAGE ON SCHEMA eventstore TO %I', role_name);
	EXECUTE format('GRANT EXECUTE ON FUNCTION
		eventstore.append_events(text, json, bigint, text),
		eventstore.append_event(text, text, json, bigint, uuid, json, uuid, uuid,
								integer, text[], text, bytea, text),
		eventstore.uuid_v7()
		TO %I', role_name);
END
$$;
COMMENT ON FUNCTION eventstore.grant_writer(name) IS
	'let a role append events; it can''t read them by that';

CREATE FUNCTION eventstore.grant_reader(role_name name)
RETURNS void
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF role_name = 'public' THEN
		RAISE EXCEPTION 'rights on the event store are not granted to PUBLIC'
			USING ERRCODE = 'invalid_parameter_value',
				  DETAIL = 'Every role of the database would have them.',
				  HINT = 'Name a role.';
	END IF;
	EXECUTE format('GRANT USAGE ON SCHEMA eventstore TO %I', role_name);
	EXECUTE format('GRANT SELECT ON eventstore.events TO %I', role_name);
	EXECUTE format('GRANT EXECUTE ON FUNCTION
		eventstore.read_stream(text, bigint, bigint),
		eventstore.read_stream_backwards(text, bigint, bigint),
		eventstore.read_all(bigint, bigint),
		eventstore.read_all_backwards(bigint, bigint),
		eventstore.read_category(text, bigint, bigint),
		eventstore.read_event(uuid),
		eventstore.stream_version(text),
		eventstore.settled_position(bigint)
		TO %I', role_name);
END
$$;
COMMENT ON FUNCTION eventstore.grant_reader(name) IS
	'let a role read events; it can''t append any by that';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA eventstore FROM PUBLIC;
