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
	events				bigint,
	checksum			bigint,
	is_replica			boolean NOT NULL DEFAULT false,
	published_position	bigint,
	published_events	bigint,
	published_checksum	bigint,
	CONSTRAINT watermark_pkey PRIMARY KEY (only_row),
	CONSTRAINT watermark_only_row CHECK (only_row)
) USING heap;
COMMENT ON TABLE eventstore.watermark IS
	'at most one row: all events at or below settled_position are settled';
COMMENT ON COLUMN eventstore.watermark.only_row IS
	'true, so that there is one row';
COMMENT ON COLUMN eventstore.watermark.settled_position IS
	'whoever sees this row, on a replica too, has every event up to here';
COMMENT ON COLUMN eventstore.watermark.events IS
	'how many events there are at or below it; null when they were not counted';
COMMENT ON COLUMN eventstore.watermark.checksum IS
	'sum of the hashes of their positions and ids, modulo 2^64';
COMMENT ON COLUMN eventstore.watermark.is_replica IS
	'do the events come from another store, by a subscription?';
COMMENT ON COLUMN eventstore.watermark.published_position IS
	'on a logical replica: the settled position of the publisher';
COMMENT ON COLUMN eventstore.watermark.published_events IS
	'on a logical replica: how many events the publisher has at or below it';
COMMENT ON COLUMN eventstore.watermark.published_checksum IS
	'on a logical replica: their checksum at the publisher';
COMMENT ON CONSTRAINT watermark_pkey ON eventstore.watermark IS
	'one row at most';
COMMENT ON CONSTRAINT watermark_only_row ON eventstore.watermark IS
	'one row at most';
COMMENT ON INDEX eventstore.watermark_pkey IS
	'one row at most';

CREATE TABLE eventstore.digests (
	up_to_position	bigint NOT NULL,
	events			bigint NOT NULL,
	digest			bytea NOT NULL,
	made_at			timestamptz NOT NULL DEFAULT clock_timestamp(),
	CONSTRAINT digests_pkey PRIMARY KEY (up_to_position),
	CONSTRAINT digests_not_empty CHECK (up_to_position > 0 AND events > 0),
	CONSTRAINT digests_sha256 CHECK (octet_length(digest) = 32)
) USING heap;
COMMENT ON TABLE eventstore.digests IS
	'each covers the events behind the one before it, and that one''s digest: they show whether an event was changed';
COMMENT ON COLUMN eventstore.digests.up_to_position IS
	'position of the last event of the range';
COMMENT ON COLUMN eventstore.digests.events IS
	'how many events the range has';
COMMENT ON COLUMN eventstore.digests.digest IS
	'SHA-256 of the digest before it and the digests of the events; see docs/integrity.md';
COMMENT ON COLUMN eventstore.digests.made_at IS
	'when it was made';
COMMENT ON CONSTRAINT digests_pkey ON eventstore.digests IS
	'a range ends once';
COMMENT ON CONSTRAINT digests_not_empty ON eventstore.digests IS
	'a range has events';
COMMENT ON CONSTRAINT digests_sha256 ON eventstore.digests IS
	'a digest has 32 bytes';
COMMENT ON INDEX eventstore.digests_pkey IS
	'the ranges in order';

-- pg_dump keeps every event, the digests, the watermark and the next position.
SELECT pg_catalog.pg_extension_config_dump('eventstore.events', '');
SELECT pg_catalog.pg_extension_config_dump('eventstore.digests', '');
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
	'trigger function that refuses to change or remove events (ST004), and writes of others than the owner';

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

CREATE TRIGGER guard_insert BEFORE INSERT ON eventstore.events
	FOR EACH STATEMENT EXECUTE FUNCTION eventstore.guard();
CREATE TRIGGER guard_insert BEFORE INSERT ON eventstore.digests
	FOR EACH STATEMENT EXECUTE FUNCTION eventstore.guard();
CREATE TRIGGER guard_update BEFORE UPDATE ON eventstore.digests
	FOR EACH STATEMENT EXECUTE FUNCTION eventstore.guard();
CREATE TRIGGER guard_delete BEFORE DELETE ON eventstore.digests
	FOR EACH STATEMENT EXECUTE FUNCTION eventstore.guard();
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON eventstore.digests
	FOR EACH STATEMENT EXECUTE FUNCTION eventstore.guard();
CREATE TRIGGER guard_update_row BEFORE UPDATE ON eventstore.digests
	FOR EACH ROW EXECUTE FUNCTION eventstore.guard();
CREATE TRIGGER guard_delete_row BEFORE DELETE ON eventstore.digests
	FOR EACH ROW EXECUTE FUNCTION eventstore.guard();
CREATE TRIGGER guard_owner BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON eventstore.watermark
	FOR EACH STATEMENT EXECUTE FUNCTION eventstore.guard('owner');

CREATE FUNCTION eventstore.guard_rewrite()
RETURNS event_trigger
LANGUAGE c
AS 'MODULE_PATHNAME', 'eventstore_guard_rewrite';
COMMENT ON FUNCTION eventstore.guard_rewrite() IS
	'event-trigger function that refuses to compute columns of events anew (ST004)';

CREATE EVENT TRIGGER eventstore_guard_rewrite ON table_rewrite
	EXECUTE FUNCTION eventstore.guard_rewrite();
ALTER EVENT TRIGGER eventstore_guard_rewrite ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER eventstore_guard_rewrite IS 'events are immutable, for ALTER TABLE, too';

CREATE FUNCTION eventstore.receive_watermark()
RETURNS trigger
LANGUAGE c
AS 'MODULE_PATHNAME', 'eventstore_receive_watermark';
COMMENT ON FUNCTION eventstore.receive_watermark() IS
	'hold back a watermark that a subscription brings until all events are there';

CREATE TRIGGER receive BEFORE INSERT OR UPDATE ON eventstore.watermark
	FOR EACH ROW EXECUTE FUNCTION eventstore.receive_watermark();

CREATE FUNCTION eventstore.note_subscription()
RETURNS event_trigger
LANGUAGE c
AS 'MODULE_PATHNAME', 'eventstore_note_subscription';
COMMENT ON FUNCTION eventstore.note_subscription() IS
	'note that a subscription makes a logical replica of the store';

CREATE EVENT TRIGGER eventstore_note_subscription ON ddl_command_end
	WHEN tag IN ('CREATE SUBSCRIPTION', 'ALTER SUBSCRIPTION')
	EXECUTE FUNCTION eventstore.note_subscription();
COMMENT ON EVENT TRIGGER eventstore_note_subscription IS
	'a store with a subscription is a logical replica';
ALTER EVENT TRIGGER eventstore_note_subscription ENABLE ALWAYS;

CREATE FUNCTION eventstore.enable_guard()
RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
	ALTER TABLE eventstore.events ENABLE ALWAYS TRIGGER guard_insert;
	ALTER TABLE eventstore.events ENABLE ALWAYS TRIGGER guard_update;
	ALTER TABLE eventstore.events ENABLE ALWAYS TRIGGER guard_delete;
	ALTER TABLE eventstore.events ENABLE ALWAYS TRIGGER guard_truncate;
	ALTER TABLE eventstore.events ENABLE ALWAYS TRIGGER guard_update_row;
	ALTER TABLE eventstore.events ENABLE ALWAYS TRIGGER guard_delete_row;
	ALTER TABLE eventstore.digests ENABLE ALWAYS TRIGGER guard_insert;
	ALTER TABLE eventstore.digests ENABLE ALWAYS TRIGGER guard_update;
	ALTER TABLE eventstore.digests ENABLE ALWAYS TRIGGER guard_delete;
	ALTER TABLE eventstore.digests ENABLE ALWAYS TRIGGER guard_truncate;
	ALTER TABLE eventstore.digests ENABLE ALWAYS TRIGGER guard_update_row;
	ALTER TABLE eventstore.digests ENABLE ALWAYS TRIGGER guard_delete_row;
	ALTER TABLE eventstore.watermark ENABLE ALWAYS TRIGGER guard_owner;
	ALTER TABLE eventstore.watermark ENABLE ALWAYS TRIGGER receive;
$$;
COMMENT ON FUNCTION eventstore.enable_guard() IS
	'let the guard fire for everyone, as it does from the beginning: for after a restore with --disable-triggers';

SELECT eventstore.enable_guard();
COMMENT ON TRIGGER guard_insert ON eventstore.events IS
	'events are appended; only the owner restores some';
COMMENT ON TRIGGER guard_update ON eventstore.events IS 'events are immutable';
COMMENT ON TRIGGER guard_delete ON eventstore.events IS 'events are immutable';
COMMENT ON TRIGGER guard_truncate ON eventstore.events IS 'events are immutable';
COMMENT ON TRIGGER guard_update_row ON eventstore.events IS
	'events are immutable, through a parent table, too';
COMMENT ON TRIGGER guard_delete_row ON eventstore.events IS
	'events are immutable, through a parent table, too';
COMMENT ON TRIGGER guard_insert ON eventstore.digests IS 'digests are for the owner to write';
COMMENT ON TRIGGER guard_update ON eventstore.digests IS 'digests are immutable';
COMMENT ON TRIGGER guard_delete ON eventstore.digests IS 'digests are immutable';
COMMENT ON TRIGGER guard_truncate ON eventstore.digests IS 'digests are immutable';
COMMENT ON TRIGGER guard_update_row ON eventstore.digests IS
	'digests are immutable, through a parent table, too';
COMMENT ON TRIGGER guard_delete_row ON eventstore.digests IS
	'digests are immutable, through a parent table, too';
COMMENT ON TRIGGER guard_owner ON eventstore.watermark IS 'the watermark is for the owner to write';
COMMENT ON TRIGGER receive ON eventstore.watermark IS 'nothing is settled before it is there';

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

CREATE FUNCTION eventstore.read_visible(
	after_position bigint DEFAULT 0,
	max_count bigint DEFAULT 1000)
RETURNS SETOF eventstore.events
LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 1000
AS 'MODULE_PATHNAME', 'eventstore_read_visible';
COMMENT ON FUNCTION eventstore.read_visible(bigint, bigint) IS
	'all events that the transaction''s snapshot sees in order, settled or not, behind a position';

CREATE FUNCTION eventstore.read_event(event_id uuid)
RETURNS SETOF eventstore.events
LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 1
AS 'MODULE_PATHNAME', 'eventstore_read_event';
COMMENT ON FUNCTION eventstore.read_event(uuid) IS
	'the event with this id, if it is stored';

CREATE FUNCTION eventstore.event_json(event eventstore.events)
RETURNS json
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'eventstore_event_json';
COMMENT ON FUNCTION eventstore.event_json(eventstore.events) IS
	'an event as the output plugin writes it in its format json, byte for byte';

CREATE FUNCTION eventstore.event_cloudevent(event eventstore.events, source text DEFAULT NULL)
RETURNS json
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'eventstore_event_cloudevent';
COMMENT ON FUNCTION eventstore.event_cloudevent(eventstore.events, text) IS
	'an event as the output plugin writes it in its format cloudevents, byte for byte';

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

CREATE PROCEDURE eventstore.wait_for_events(
	after_position bigint,
	timeout interval DEFAULT '30 s',
	INOUT settled_position bigint DEFAULT NULL)
LANGUAGE c
AS 'MODULE_PATHNAME', 'eventstore_wait_for_events';
COMMENT ON PROCEDURE eventstore.wait_for_events(bigint, interval, bigint) IS
	'wait until there are settled events behind a position, and return the settled position';

CREATE FUNCTION eventstore.next_watermark(
	OUT settled_position bigint,
	OUT events bigint,
	OUT checksum bigint,
	OUT is_replica boolean)
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'eventstore_next_watermark';
COMMENT ON FUNCTION eventstore.next_watermark() IS
	'how far the store is settled, and which events there are up to there';

CREATE FUNCTION eventstore.tally(
	up_to_position bigint,
	OUT events bigint,
	OUT checksum bigint)
LANGUAGE c STABLE STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'eventstore_tally';
COMMENT ON FUNCTION eventstore.tally(bigint) IS
	'how many events there are up to a position, and the checksum that the watermark has of them';

CREATE FUNCTION eventstore.write_watermark()
RETURNS bigint
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
	INSERT INTO eventstore.watermark AS w (settled_position, events, checksum, is_replica)
	SELECT n.settled_position, n.events, n.checksum, n.is_replica
	FROM eventstore.next_watermark() n
	ON CONFLICT (only_row) DO UPDATE
		SET settled_position = excluded.settled_position, events = excluded.events,
			checksum = excluded.checksum
		WHERE w.settled_position < excluded.settled_position;

	SELECT w.settled_position FROM eventstore.watermark w;
$$;
COMMENT ON FUNCTION eventstore.write_watermark() IS
	'record how far the store is settled';

CREATE FUNCTION eventstore.new_digests(
	max_digests integer,
	OUT up_to_position bigint,
	OUT events bigint,
	OUT digest bytea)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'eventstore_new_digests';
COMMENT ON FUNCTION eventstore.new_digests(integer) IS
	'the next digests, up to the watermark; nobody else makes any until the transaction ends';

CREATE FUNCTION eventstore.write_digests(max_digests integer)
RETURNS bigint
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
	WITH made AS (
		INSERT INTO eventstore.digests (up_to_position, events, digest)
		SELECT d.up_to_position, d.events, d.digest
		FROM eventstore.new_digests(max_digests) d
		RETURNING up_to_position)
	SELECT count(*) FROM made;
$$;
COMMENT ON FUNCTION eventstore.write_digests(integer) IS
	'make digests of what is settled, and say how many';

CREATE FUNCTION eventstore.advance_watermark()
RETURNS bigint
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT eventstore.write_watermark();
	SELECT eventstore.write_digests(100);
	SELECT w.settled_position FROM eventstore.watermark w;
$$;
COMMENT ON FUNCTION eventstore.advance_watermark() IS
	'record how far the store is settled, for followers on replicas, and make digests of it';

CREATE FUNCTION eventstore.continue_positions(above_position bigint DEFAULT NULL)
RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'eventstore_continue_positions';
COMMENT ON FUNCTION eventstore.continue_positions(bigint) IS
	'let a store that was a logical replica hand out positions, above those that it has';

--
-- Query
--

-- Everything that is appended has a jsonb; see payload_check.c.
CREATE VIEW eventstore.events_jsonb WITH (security_invoker = true) AS
	SELECT e.global_position, e.version, e.created_at, e.event_id,
		   e.stream_id, e.stream_type, e.event_type, e.schema_version,
		   e.correlation_id, e.causation_id,
		   e.data::pg_catalog.jsonb AS data,
		   e.binary_data, e.content_type,
		   e.metadata::pg_catalog.jsonb AS metadata,
		   e.tags
	FROM eventstore.events e;
COMMENT ON VIEW eventstore.events_jsonb IS
	'the events, with data and metadata as jsonb: for @>, ?, jsonpath and ORMs';
COMMENT ON COLUMN eventstore.events_jsonb.global_position IS
	'place in the store: strictly increasing, gaps allowed';
COMMENT ON COLUMN eventstore.events_jsonb.version IS
	'place in the stream: 1, 2, 3 ... without gaps';
COMMENT ON COLUMN eventstore.events_jsonb.created_at IS
	'wall clock of the append';
COMMENT ON COLUMN eventstore.events_jsonb.event_id IS
	'identity of the event, given by its producer or made as a UUIDv7';
COMMENT ON COLUMN eventstore.events_jsonb.stream_id IS
	'name of the stream, e.g. Order-7f3a';
COMMENT ON COLUMN eventstore.events_jsonb.stream_type IS
	'category of the stream, by default stream_id up to its first "-"';
COMMENT ON COLUMN eventstore.events_jsonb.event_type IS
	'what happened, e.g. OrderPlaced';
COMMENT ON COLUMN eventstore.events_jsonb.schema_version IS
	'version of the payload''s schema for this event type';
COMMENT ON COLUMN eventstore.events_jsonb.correlation_id IS
	'the conversation that the event belongs to';
COMMENT ON COLUMN eventstore.events_jsonb.causation_id IS
	'the message that caused the event';
COMMENT ON COLUMN eventstore.events_jsonb.data IS
	'JSON payload; of a key that was given twice, the last value';
COMMENT ON COLUMN eventstore.events_jsonb.binary_data IS
	'payload that is not JSON';
COMMENT ON COLUMN eventstore.events_jsonb.content_type IS
	'media type of the payload';
COMMENT ON COLUMN eventstore.events_jsonb.metadata IS
	'JSON about the event that is not part of what happened; likewise';
COMMENT ON COLUMN eventstore.events_jsonb.tags IS
	'labels, e.g. of further entities that the event concerns';

--
-- Checkpoints and subscriptions
--
-- docs/subscriptions.md tells how they are used; fetch.c, how they work.
-- There are no foreign keys, since a parallel pg_restore loads the tables of
-- an extension in any order: rows come and go under the partitions' locks,
-- and verify() knows what belongs together.
--

CREATE TABLE eventstore.checkpoints (
	subscription_id	text COLLATE "C" NOT NULL,
	position		bigint NOT NULL,
	updated_at		timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT checkpoints_pkey PRIMARY KEY (subscription_id),
	CONSTRAINT checkpoints_position_not_negative CHECK (position >= 0)
) WITH (fillfactor = 50);
COMMENT ON TABLE eventstore.checkpoints IS
	'how far followers that read on their own have come';
COMMENT ON COLUMN eventstore.checkpoints.subscription_id IS
	'name of the follower';
COMMENT ON COLUMN eventstore.checkpoints.position IS
	'all at or below this global position is handled';
COMMENT ON COLUMN eventstore.checkpoints.updated_at IS
	'when the position was saved';
COMMENT ON CONSTRAINT checkpoints_pkey ON eventstore.checkpoints IS
	'one checkpoint for each follower';
COMMENT ON CONSTRAINT checkpoints_position_not_negative ON eventstore.checkpoints IS
	'0 is before the first event';
COMMENT ON INDEX eventstore.checkpoints_pkey IS
	'one checkpoint for each follower';

CREATE TABLE eventstore.subscriptions (
	subscription_id	text COLLATE "C" NOT NULL,
	stream_types	text[] COLLATE "C",
	event_types		text[] COLLATE "C",
	partitions		integer NOT NULL,
	max_attempts	integer NOT NULL,
	revision		bigint NOT NULL DEFAULT 1,
	created_at		timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT subscriptions_pkey PRIMARY KEY (subscription_id),
	CONSTRAINT subscriptions_types_are_names CHECK (
		coalesce(array_ndims(stream_types), 1) = 1 AND array_position(stream_types, NULL) IS NULL
		AND coalesce(array_ndims(event_types), 1) = 1 AND array_position(event_types, NULL) IS NULL),
	CONSTRAINT subscriptions_numbers_in_range CHECK (
		partitions BETWEEN 1 AND 1024 AND max_attempts > 0 AND revision > 0)
);
COMMENT ON TABLE eventstore.subscriptions IS
	'subscriptions whose events are handed out to competing consumers';
COMMENT ON COLUMN eventstore.subscriptions.subscription_id IS
	'name of the subscription';
COMMENT ON COLUMN eventstore.subscriptions.stream_types IS
	'only events of streams of these types; null for all';
COMMENT ON COLUMN eventstore.subscriptions.event_types IS
	'only events of these types; null for all';
COMMENT ON COLUMN eventstore.subscriptions.partitions IS
	'the streams are spread over so many partitions';
COMMENT ON COLUMN eventstore.subscriptions.max_attempts IS
	'an event that failed so many times is parked';
COMMENT ON COLUMN eventstore.subscriptions.revision IS
	'counts the changes of the definition';
COMMENT ON COLUMN eventstore.subscriptions.created_at IS
	'when the subscription was created';
COMMENT ON CONSTRAINT subscriptions_types_are_names ON eventstore.subscriptions IS
	'types are given by their names';
COMMENT ON CONSTRAINT subscriptions_numbers_in_range ON eventstore.subscriptions IS
	'what create_subscription() accepts';
COMMENT ON CONSTRAINT subscriptions_pkey ON eventstore.subscriptions IS
	'subscriptions have distinct names';
COMMENT ON INDEX eventstore.subscriptions_pkey IS
	'subscriptions have distinct names';

CREATE TABLE eventstore.subscription_partitions (
	subscription_id	text COLLATE "C" NOT NULL,
	partition		integer NOT NULL,
	revision		bigint NOT NULL,
	checkpoint		bigint NOT NULL,
	scanned_to		bigint NOT NULL,
	fetched_to		bigint,
	tried_to		bigint NOT NULL DEFAULT 0,
	attempts		integer NOT NULL DEFAULT 0,
	consumer		text COLLATE "C",
	lease_until		timestamptz,
	fetched_at		timestamptz,
	CONSTRAINT subscription_partitions_pkey PRIMARY KEY (subscription_id, partition)
) WITH (fillfactor = 50);
COMMENT ON TABLE eventstore.subscription_partitions IS
	'how far each partition of a subscription has come, and who works on it';
COMMENT ON COLUMN eventstore.subscription_partitions.subscription_id IS
	'name of the subscription';
COMMENT ON COLUMN eventstore.subscription_partitions.partition IS
	'number of the partition, from 0 on';
COMMENT ON COLUMN eventstore.subscription_partitions.revision IS
	'that of the subscription';
COMMENT ON COLUMN eventstore.subscription_partitions.checkpoint IS
	'all at or below is acknowledged, parked, or waits for a further attempt';
COMMENT ON COLUMN eventstore.subscription_partitions.scanned_to IS
	'all that matches at or below was handed out at least once';
COMMENT ON COLUMN eventstore.subscription_partitions.fetched_to IS
	'the last position above the checkpoint that the consumer has in hand; null for none';
COMMENT ON COLUMN eventstore.subscription_partitions.tried_to IS
	'the last position that was ever handed out';
COMMENT ON COLUMN eventstore.subscription_partitions.attempts IS
	'how many times the first event above the checkpoint was handed out';
COMMENT ON COLUMN eventstore.subscription_partitions.consumer IS
	'who holds the partition; null for nobody';
COMMENT ON COLUMN eventstore.subscription_partitions.lease_until IS
	'from then on another consumer may take the partition';
COMMENT ON COLUMN eventstore.subscription_partitions.fetched_at IS
	'when events of the partition were last handed out';
COMMENT ON CONSTRAINT subscription_partitions_pkey ON eventstore.subscription_partitions IS
	'a partition has one row';
COMMENT ON INDEX eventstore.subscription_partitions_pkey IS
	'a partition has one row';

CREATE TABLE eventstore.subscription_streams (
	subscription_id	text COLLATE "C" NOT NULL,
	stream_id		text COLLATE "C" NOT NULL,
	partition		integer NOT NULL,
	position		bigint NOT NULL,
	version			bigint NOT NULL,
	failed_position	bigint,
	attempts		integer NOT NULL,
	reason			text,
	first_failed_at	timestamptz,
	last_failed_at	timestamptz,
	retry_at		timestamptz,
	delivered_to	bigint,
	is_suspect		boolean NOT NULL DEFAULT false,
	CONSTRAINT subscription_streams_pkey PRIMARY KEY (subscription_id, partition, stream_id)
) WITH (fillfactor = 50);
COMMENT ON TABLE eventstore.subscription_streams IS
	'streams that wait for a failed event, or catch up behind one';
COMMENT ON COLUMN eventstore.subscription_streams.subscription_id IS
	'name of the subscription';
COMMENT ON COLUMN eventstore.subscription_streams.stream_id IS
	'the stream';
COMMENT ON COLUMN eventstore.subscription_streams.partition IS
	'its partition';
COMMENT ON COLUMN eventstore.subscription_streams.position IS
	'its events from here on are still to be handled';
COMMENT ON COLUMN eventstore.subscription_streams.version IS
	'the version at that position, or a lower one';
COMMENT ON COLUMN eventstore.subscription_streams.failed_position IS
	'the event that failed; null when the stream catches up';
COMMENT ON COLUMN eventstore.subscription_streams.attempts IS
	'how many times the event was handed out';
COMMENT ON COLUMN eventstore.subscription_streams.reason IS
	'why the event failed, as the consumer has said';
COMMENT ON COLUMN eventstore.subscription_streams.first_failed_at IS
	'when the event failed for the first time';
COMMENT ON COLUMN eventstore.subscription_streams.last_failed_at IS
	'when the event failed last';
COMMENT ON COLUMN eventstore.subscription_streams.retry_at IS
	'when the event is to be handed out again';
COMMENT ON COLUMN eventstore.subscription_streams.delivered_to IS
	'the last position that the consumer has in hand; null for none';
COMMENT ON COLUMN eventstore.subscription_streams.is_suspect IS
	'was it in the hand of a consumer that did not answer?';
COMMENT ON CONSTRAINT subscription_streams_pkey ON eventstore.subscription_streams IS
	'a stream waits once';
COMMENT ON INDEX eventstore.subscription_streams_pkey IS
	'the streams of a partition that wait';

CREATE TABLE eventstore.subscription_parked (
	subscription_id	text COLLATE "C" NOT NULL,
	partition		integer NOT NULL,
	position		bigint NOT NULL,
	stream_id		text COLLATE "C" NOT NULL,
	attempts		integer NOT NULL,
	reason			text NOT NULL,
	first_failed_at	timestamptz NOT NULL,
	last_failed_at	timestamptz NOT NULL,
	parked_at		timestamptz NOT NULL DEFAULT clock_timestamp(),
	is_replayed		boolean NOT NULL DEFAULT false,
	replay_attempts	integer NOT NULL DEFAULT 0,
	retry_at		timestamptz,
	is_delivered	boolean NOT NULL DEFAULT false,
	is_suspect		boolean NOT NULL DEFAULT false,
	CONSTRAINT subscription_parked_pkey PRIMARY KEY (subscription_id, partition, position)
) WITH (fillfactor = 50);
COMMENT ON TABLE eventstore.subscription_parked IS
	'events that were given up after too many attempts, until they are replayed';
COMMENT ON COLUMN eventstore.subscription_parked.subscription_id IS
	'name of the subscription';
COMMENT ON COLUMN eventstore.subscription_parked.partition IS
	'the partition of the event''s stream';
COMMENT ON COLUMN eventstore.subscription_parked.position IS
	'global position of the event';
COMMENT ON COLUMN eventstore.subscription_parked.stream_id IS
	'stream of the event';
COMMENT ON COLUMN eventstore.subscription_parked.attempts IS
	'how many times the event was handed out in all';
COMMENT ON COLUMN eventstore.subscription_parked.reason IS
	'why it failed last';
COMMENT ON COLUMN eventstore.subscription_parked.first_failed_at IS
	'when it failed for the first time';
COMMENT ON COLUMN eventstore.subscription_parked.last_failed_at IS
	'when it failed last';
COMMENT ON COLUMN eventstore.subscription_parked.parked_at IS
	'when it was given up';
COMMENT ON COLUMN eventstore.subscription_parked.is_replayed IS
	'is it to be handed out again?';
COMMENT ON COLUMN eventstore.subscription_parked.replay_attempts IS
	'how many times it was handed out since it is replayed';
COMMENT ON COLUMN eventstore.subscription_parked.retry_at IS
	'when it is to be handed out again';
COMMENT ON COLUMN eventstore.subscription_parked.is_delivered IS
	'has the consumer of the partition got it in hand?';
COMMENT ON COLUMN eventstore.subscription_parked.is_suspect IS
	'was it in the hand of a consumer that did not answer?';
COMMENT ON CONSTRAINT subscription_parked_pkey ON eventstore.subscription_parked IS
	'an event is parked once';
COMMENT ON INDEX eventstore.subscription_parked_pkey IS
	'the parked events of a partition';

CREATE TABLE eventstore.subscription_layouts (
	subscription_id	text COLLATE "C" NOT NULL,
	revision		bigint NOT NULL,
	checkpoints		bigint[] NOT NULL,
	CONSTRAINT subscription_layouts_pkey PRIMARY KEY (subscription_id, revision),
	CONSTRAINT subscription_layouts_are_of_partitions CHECK (
		array_ndims(checkpoints) IS NOT DISTINCT FROM 1 AND array_lower(checkpoints, 1) = 1
		AND array_length(checkpoints, 1) <= 1024 AND array_position(checkpoints, NULL) IS NULL)
);
COMMENT ON TABLE eventstore.subscription_layouts IS
	'how far the partitions had come when their number was changed';
COMMENT ON COLUMN eventstore.subscription_layouts.subscription_id IS
	'name of the subscription';
COMMENT ON COLUMN eventstore.subscription_layouts.revision IS
	'the last revision of the subscription that had these partitions';
COMMENT ON COLUMN eventstore.subscription_layouts.checkpoints IS
	'the checkpoints of partitions 0, 1, 2 ...';
COMMENT ON CONSTRAINT subscription_layouts_are_of_partitions ON eventstore.subscription_layouts IS
	'one checkpoint for each partition';
COMMENT ON CONSTRAINT subscription_layouts_pkey ON eventstore.subscription_layouts IS
	'a revision has one layout';
COMMENT ON INDEX eventstore.subscription_layouts_pkey IS
	'the former layouts of a subscription';

SELECT pg_catalog.pg_extension_config_dump('eventstore.checkpoints', '');
SELECT pg_catalog.pg_extension_config_dump('eventstore.subscriptions', '');
SELECT pg_catalog.pg_extension_config_dump('eventstore.subscription_partitions', '');
SELECT pg_catalog.pg_extension_config_dump('eventstore.subscription_streams', '');
SELECT pg_catalog.pg_extension_config_dump('eventstore.subscription_parked', '');
SELECT pg_catalog.pg_extension_config_dump('eventstore.subscription_layouts', '');

CREATE FUNCTION eventstore.stream_partition(stream_id text, partitions integer)
RETURNS integer
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'eventstore_stream_partition';
COMMENT ON FUNCTION eventstore.stream_partition(text, integer) IS
	'the partition that a stream falls into, from 0 on; never changes';

CREATE FUNCTION eventstore.check_argument(is_valid boolean, message text, detail text, hint text)
RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF is_valid IS NOT TRUE THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
			MESSAGE = message, DETAIL = detail, HINT = hint;
	END IF;
END
$$;
COMMENT ON FUNCTION eventstore.check_argument(boolean, text, text, text) IS
	'refuse an argument (22023) that is not valid';

CREATE FUNCTION eventstore.code_of_others()
RETURNS TABLE (detail text)
LANGUAGE sql STABLE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS $$
	WITH members AS (
		SELECT d.classid, d.objid
		FROM pg_depend d JOIN pg_extension x ON x.oid = d.refobjid
		WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND x.extname = 'eventstore'),
	tables AS (
		SELECT c.oid, c.relowner, n.nspowner AS owner
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r', 'S')
			AND ('pg_class'::regclass, c.oid) IN (SELECT classid, objid FROM members)),
	-- what has been hung on them
	parts (relid, classid, objid) AS (
		SELECT oid, 'pg_class'::regclass::oid, oid FROM tables
		UNION ALL SELECT indrelid, 'pg_class'::regclass, indexrelid FROM pg_index
		UNION ALL SELECT conrelid, 'pg_constraint'::regclass, oid FROM pg_constraint
		UNION ALL SELECT adrelid, 'pg_attrdef'::regclass, oid FROM pg_attrdef
		UNION ALL SELECT ev_class, 'pg_rewrite'::regclass, oid FROM pg_rewrite
		UNION ALL SELECT polrelid, 'pg_policy'::regclass, oid FROM pg_policy
		UNION ALL SELECT tgrelid, 'pg_trigger'::regclass, oid FROM pg_trigger)
	SELECT format('%s belongs to %s', t.oid::regclass, t.relowner::regrole)
	FROM tables t
	WHERE t.relowner <> t.owner

	UNION ALL
	-- and what that calls (of built-in objects there are no dependencies)
	SELECT format('%s uses %s, which belongs to %s', pg_describe_object(p.classid, p.objid, 0),
				  pg_describe_object(d.refclassid, d.refobjid, 0), c.owner::regrole)
	FROM tables t
		JOIN parts p ON p.relid = t.oid
		JOIN pg_depend d ON d.classid = p.classid AND d.objid = p.objid,
		LATERAL (SELECT CASE d.refclassid
			WHEN 'pg_proc'::regclass THEN (SELECT o.proowner FROM pg_proc o WHERE o.oid = d.refobjid)
			WHEN 'pg_operator'::regclass THEN (SELECT o.oprowner FROM pg_operator o WHERE o.oid = d.refobjid)
			WHEN 'pg_opclass'::regclass THEN (SELECT o.opcowner FROM pg_opclass o WHERE o.oid = d.refobjid)
			WHEN 'pg_type'::regclass THEN (SELECT o.typowner FROM pg_type o WHERE o.oid = d.refobjid)
			END) AS c (owner)
	WHERE c.owner <> t.owner
		AND NOT (SELECT r.rolsuper FROM pg_roles r WHERE r.oid = c.owner);
$$;
COMMENT ON FUNCTION eventstore.code_of_others() IS
	'what belongs to others and would run with the rights of the event store''s owner';

CREATE FUNCTION eventstore.check_own_tables()
RETURNS void
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'eventstore_check_own_tables';
COMMENT ON FUNCTION eventstore.check_own_tables() IS
	'refuse to go on as the owner where tables of subscriptions, or triggers on them, are in other hands (42501)';

CREATE FUNCTION eventstore.check_subscription_id(subscription_id text)
RETURNS void
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT eventstore.check_own_tables();
	SELECT eventstore.check_argument(
		octet_length(subscription_id) BETWEEN 1 AND 512,
		'subscription_id is not valid',
		format('It is %s.', coalesce(quote_literal(left(subscription_id, 100)), 'null')),
		'Pass a name of 1 to 512 bytes.');
$$;
COMMENT ON FUNCTION eventstore.check_subscription_id(text) IS
	'refuse a name that no subscription can have';

CREATE FUNCTION eventstore.check_subscription_definition(
	stream_types text[],
	event_types text[],
	after_position bigint,
	partitions integer,
	max_attempts integer)
RETURNS void
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT eventstore.check_argument(
		coalesce(array_ndims(f.types), 1) = 1 AND array_position(f.types, NULL) IS NULL
			AND array_position(f.types, '') IS NULL,
		format('%s is not valid', f.name),
		'It has several dimensions, or an element that is null or empty.',
		'Pass an array of names, or {} for all.')
	FROM (VALUES ('stream_types', coalesce(stream_types, '{}')),
				 ('event_types', coalesce(event_types, '{}'))) AS f (name, types);

	SELECT eventstore.check_argument(
		n.value BETWEEN n.minimum AND n.maximum,
		format('%s is out of range', n.name),
		format('It is %s.', coalesce(n.value::text, 'null')),
		format('Pass %s to %s.', n.minimum, n.maximum))
	FROM (VALUES ('after_position', after_position, 0, 9223372036854775807),
				 ('partitions', partitions::bigint, 1, 1024),
				 ('max_attempts', max_attempts::bigint, 1, 1000000)) AS n (name, value, minimum, maximum);
$$;
COMMENT ON FUNCTION eventstore.check_subscription_definition(text[], text[], bigint, integer, integer) IS
	'refuse a definition that no subscription can have';

CREATE FUNCTION eventstore.save_checkpoint(subscription_id text, "position" bigint)
RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
	PERFORM eventstore.check_subscription_id(save_checkpoint.subscription_id);
	PERFORM eventstore.check_argument(save_checkpoint.position >= 0,
		'position is out of range',
		format('It is %s.', coalesce(save_checkpoint.position::text, 'null')),
		'Pass the global position of the last event that was handled.');

	INSERT INTO eventstore.checkpoints AS c (subscription_id, position)
	VALUES (save_checkpoint.subscription_id, save_checkpoint.position)
	ON CONFLICT ON CONSTRAINT checkpoints_pkey DO UPDATE
		SET position = excluded.position, updated_at = excluded.updated_at
		WHERE c.position < excluded.position;
	-- Not before, since create_subscription() waits for that, or the other way round.
	IF EXISTS (SELECT FROM eventstore.subscriptions s
			   WHERE s.subscription_id = save_checkpoint.subscription_id) THEN
		RAISE EXCEPTION 'subscription "%" keeps its own checkpoints', save_checkpoint.subscription_id
			USING ERRCODE = 'object_not_in_prerequisite_state',
				  DETAIL = 'It was made by create_subscription().',
				  HINT = 'Use ack_events(), or save the checkpoint under another name.';
	END IF;
	RETURN (SELECT c.position FROM eventstore.checkpoints c
			WHERE c.subscription_id = save_checkpoint.subscription_id);
END
$$;
COMMENT ON FUNCTION eventstore.save_checkpoint(text, bigint) IS
	'remember how far a follower has come; never moves backwards';

CREATE FUNCTION eventstore.get_checkpoint(subscription_id text)
RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT eventstore.check_subscription_id(get_checkpoint.subscription_id);

	SELECT coalesce(
		(SELECT c.position FROM eventstore.checkpoints c
		 WHERE c.subscription_id = get_checkpoint.subscription_id),
		(SELECT least(min(p.checkpoint),
					  (SELECT min(w.position) - 1 FROM eventstore.subscription_streams w
					   WHERE w.subscription_id = get_checkpoint.subscription_id))
		 FROM eventstore.subscription_partitions p
		 WHERE p.subscription_id = get_checkpoint.subscription_id),
		0);
$$;
COMMENT ON FUNCTION eventstore.get_checkpoint(text) IS
	'how far a follower or a subscription has come; 0 when it is not known';

CREATE FUNCTION eventstore.create_subscription(
	subscription_id text,
	stream_types text[] DEFAULT NULL,
	event_types text[] DEFAULT NULL,
	after_position bigint DEFAULT 0,
	partitions integer DEFAULT 1,
	max_attempts integer DEFAULT 10)
RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	created boolean;
BEGIN
	PERFORM eventstore.check_subscription_id(create_subscription.subscription_id);
	PERFORM eventstore.check_subscription_definition(
		create_subscription.stream_types, create_subscription.event_types,
		create_subscription.after_position, create_subscription.partitions,
		create_subscription.max_attempts);

	-- Nobody shall save a checkpoint of this name meanwhile.
	WITH reserved AS (
		INSERT INTO eventstore.checkpoints (subscription_id, position)
		VALUES (create_subscription.subscription_id, 0)
		ON CONFLICT DO NOTHING
		RETURNING subscription_id)
	INSERT INTO eventstore.subscriptions
		(subscription_id, stream_types, event_types, partitions, max_attempts)
	SELECT reserved.subscription_id,
		   nullif(create_subscription.stream_types, '{}'),
		   nullif(create_subscription.event_types, '{}'),
		   create_subscription.partitions, create_subscription.max_attempts
	FROM reserved
	ON CONFLICT DO NOTHING
	RETURNING true INTO created;
	IF created IS NOT TRUE THEN
		RAISE EXCEPTION 'subscription "%" exists already', create_subscription.subscription_id
			USING ERRCODE = 'duplicate_object',
				  DETAIL = 'A subscription or a saved checkpoint has this name.',
				  HINT = 'Use alter_subscription() to change it, drop_subscription() to begin anew.';
	END IF;

	INSERT INTO eventstore.subscription_partitions
		(subscription_id, partition, revision, checkpoint, scanned_to)
	SELECT create_subscription.subscription_id, n, 1,
		   create_subscription.after_position, create_subscription.after_position
	FROM generate_series(0, create_subscription.partitions - 1) AS n;
	DELETE FROM eventstore.checkpoints c
	WHERE c.subscription_id = create_subscription.subscription_id;
END
$$;
COMMENT ON FUNCTION eventstore.create_subscription(text, text[], text[], bigint, integer, integer) IS
	'create a subscription, whose events are handed out to competing consumers';

CREATE FUNCTION eventstore.lock_subscription(subscription_id text)
RETURNS eventstore.subscriptions
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	subscription eventstore.subscriptions;
BEGIN
	PERFORM eventstore.check_subscription_id(lock_subscription.subscription_id);
	SELECT s.* INTO subscription FROM eventstore.subscriptions s
	WHERE s.subscription_id = lock_subscription.subscription_id
	FOR UPDATE;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'subscription "%" does not exist', lock_subscription.subscription_id
			USING ERRCODE = 'undefined_object',
				  DETAIL = 'There is no subscription of this name.',
				  HINT = 'Use create_subscription().';
	END IF;
	PERFORM FROM eventstore.subscription_partitions p
	WHERE p.subscription_id = lock_subscription.subscription_id
	ORDER BY p.partition
	FOR UPDATE;
	RETURN subscription;
END
$$;
COMMENT ON FUNCTION eventstore.lock_subscription(text) IS
	'lock a subscription and its partitions, or say that it does not exist';

CREATE FUNCTION eventstore.alter_subscription(
	subscription_id text,
	stream_types text[] DEFAULT NULL,
	event_types text[] DEFAULT NULL,
	partitions integer DEFAULT NULL,
	max_attempts integer DEFAULT NULL,
	after_position bigint DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	former eventstore.subscriptions :=
		eventstore.lock_subscription(alter_subscription.subscription_id);
	npartitions integer := coalesce(alter_subscription.partitions, former.partitions);
	reached bigint[];
BEGIN
	PERFORM eventstore.check_subscription_definition(
		alter_subscription.stream_types, alter_subscription.event_types,
		coalesce(alter_subscription.after_position, 0), npartitions,
		coalesce(alter_subscription.max_attempts, former.max_attempts));

	UPDATE eventstore.subscriptions s
	SET stream_types = nullif(coalesce(alter_subscription.stream_types, s.stream_types), '{}'),
		event_types = nullif(coalesce(alter_subscription.event_types, s.event_types), '{}'),
		partitions = npartitions,
		max_attempts = coalesce(alter_subscription.max_attempts, s.max_attempts),
		revision = s.revision + 1
	WHERE s.subscription_id = former.subscription_id;

	-- New rows: whoever holds a partition has lost it.
	SELECT array_agg(p.checkpoint ORDER BY p.partition) INTO reached
	FROM eventstore.subscription_partitions p
	WHERE p.subscription_id = former.subscription_id;
	DELETE FROM eventstore.subscription_partitions p
	WHERE p.subscription_id = former.subscription_id;
	INSERT INTO eventstore.subscription_partitions
		(subscription_id, partition, revision, checkpoint, scanned_to)
	SELECT former.subscription_id, n, former.revision + 1, c.checkpoint, c.checkpoint
	FROM generate_series(0, npartitions - 1) AS n,
		 LATERAL (SELECT CASE
					WHEN alter_subscription.after_position IS NOT NULL THEN alter_subscription.after_position
					WHEN npartitions = former.partitions THEN reached[n + 1]
					ELSE (SELECT min(r) FROM unnest(reached) AS r) END) AS c (checkpoint);

	-- What waits for another attempt, or is parked, stays with its stream.
	UPDATE eventstore.subscription_streams w
	SET partition = eventstore.stream_partition(w.stream_id, npartitions),
		is_suspect = w.is_suspect OR w.delivered_to IS NOT NULL, delivered_to = NULL
	WHERE w.subscription_id = former.subscription_id;
	UPDATE eventstore.subscription_parked d
	SET partition = eventstore.stream_partition(d.stream_id, npartitions),
		is_suspect = d.is_suspect OR d.is_delivered, is_delivered = false
	WHERE d.subscription_id = former.subscription_id;

	IF alter_subscription.after_position IS NOT NULL THEN
		-- All behind the position is to come again.
		DELETE FROM eventstore.subscription_layouts l
		WHERE l.subscription_id = former.subscription_id;
		DELETE FROM eventstore.subscription_streams w
		WHERE w.subscription_id = former.subscription_id
			AND w.position > alter_subscription.after_position;
		DELETE FROM eventstore.subscription_parked d
		WHERE d.subscription_id = former.subscription_id
			AND d.position > alter_subscription.after_position;
	ELSIF npartitions <> former.partitions THEN
		-- What a partition had behind it is not handed out again.
		INSERT INTO eventstore.subscription_layouts (subscription_id, revision, checkpoints)
		VALUES (former.subscription_id, former.revision, reached);
	END IF;
END
$$;
COMMENT ON FUNCTION eventstore.alter_subscription(text, text[], text[], integer, integer, bigint) IS
	'change a subscription; null leaves as it is, {} takes all types, after_position begins anew';

CREATE FUNCTION eventstore.drop_subscription(subscription_id text)
RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
	PERFORM eventstore.check_subscription_id(drop_subscription.subscription_id);
	DELETE FROM eventstore.checkpoints c
	WHERE c.subscription_id = drop_subscription.subscription_id;
	IF NOT FOUND THEN
		PERFORM eventstore.lock_subscription(drop_subscription.subscription_id);
		DELETE FROM eventstore.subscription_layouts l
		WHERE l.subscription_id = drop_subscription.subscription_id;
		DELETE FROM eventstore.subscription_parked d
		WHERE d.subscription_id = drop_subscription.subscription_id;
		DELETE FROM eventstore.subscription_streams w
		WHERE w.subscription_id = drop_subscription.subscription_id;
		DELETE FROM eventstore.subscription_partitions p
		WHERE p.subscription_id = drop_subscription.subscription_id;
		DELETE FROM eventstore.subscriptions s
		WHERE s.subscription_id = drop_subscription.subscription_id;
	END IF;
END
$$;
COMMENT ON FUNCTION eventstore.drop_subscription(text) IS
	'forget a subscription, with its checkpoints and parked events, or a saved checkpoint';

CREATE FUNCTION eventstore.fetch_events(
	subscription_id text,
	consumer text,
	max_count integer DEFAULT 100,
	lease interval DEFAULT '30 seconds')
RETURNS TABLE (
	partition integer,
	attempt integer,
	global_position bigint,
	version bigint,
	created_at timestamptz,
	event_id uuid,
	stream_id text,
	stream_type text,
	event_type text,
	schema_version integer,
	correlation_id uuid,
	causation_id uuid,
	data json,
	binary_data bytea,
	content_type text,
	metadata json,
	tags text[])
LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'eventstore_fetch_events';
COMMENT ON FUNCTION eventstore.fetch_events(text, text, integer, interval) IS
	'take a partition that has events, and hand them out in order under a lease';

CREATE FUNCTION eventstore.lock_partition(subscription_id text, consumer text, partition integer)
RETURNS eventstore.subscription_partitions
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	held eventstore.subscription_partitions;
BEGIN
	PERFORM eventstore.check_subscription_id(lock_partition.subscription_id);
	PERFORM eventstore.check_argument(lock_partition.consumer <> '',
		'consumer is not valid', 'It is null or empty.', 'Pass the name given to fetch_events().');
	SELECT p.* INTO held FROM eventstore.subscription_partitions p
	WHERE p.subscription_id = lock_partition.subscription_id
		AND p.partition = lock_partition.partition
	FOR NO KEY UPDATE;
	IF held.consumer IS DISTINCT FROM lock_partition.consumer THEN
		PERFORM FROM eventstore.subscriptions s
		WHERE s.subscription_id = lock_partition.subscription_id;
		IF NOT FOUND THEN
			RAISE EXCEPTION 'subscription "%" does not exist', lock_partition.subscription_id
				USING ERRCODE = 'undefined_object',
					  DETAIL = 'There is no subscription of this name.',
					  HINT = 'Use create_subscription().';
		END IF;
		RAISE EXCEPTION 'consumer "%" does not hold partition % of subscription "%"',
			lock_partition.consumer, lock_partition.partition, lock_partition.subscription_id
			USING ERRCODE = 'ST006',
				  DETAIL = coalesce('Consumer "' || held.consumer || '" holds it.', 'Nobody holds it.'),
				  HINT = 'Undo what was done for these events, and fetch again: they are handed out to whoever holds the partition.';
	END IF;
	RETURN held;
END
$$;
COMMENT ON FUNCTION eventstore.lock_partition(text, text, integer) IS
	'lock a partition that the consumer holds, or say that it does not (ST006)';

CREATE FUNCTION eventstore.ack_events(
	subscription_id text,
	consumer text,
	partition integer,
	"position" bigint)
RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	held eventstore.subscription_partitions := eventstore.lock_partition(
		ack_events.subscription_id, ack_events.consumer, ack_events.partition);
	upto bigint := ack_events.position;
	in_hand bigint;
BEGIN
	in_hand := greatest(held.checkpoint, held.fetched_to,
		(SELECT max(w.delivered_to) FROM eventstore.subscription_streams w
		 WHERE w.subscription_id = held.subscription_id AND w.partition = held.partition),
		(SELECT max(d.position) FROM eventstore.subscription_parked d
		 WHERE d.subscription_id = held.subscription_id AND d.partition = held.partition
			AND d.is_delivered));
	PERFORM eventstore.check_argument(upto BETWEEN 0 AND in_hand,
		'position is not one that was fetched',
		format('It is %s; the consumer has events up to %s.', coalesce(upto::text, 'null'), in_hand),
		'Pass the global position of an event that fetch_events() has returned.');

	-- streams that wait or catch up
	UPDATE eventstore.subscription_streams w
	SET position = least(w.delivered_to, upto) + 1,
		failed_position = CASE WHEN w.failed_position > least(w.delivered_to, upto)
			THEN w.failed_position END,
		attempts = CASE WHEN w.failed_position > least(w.delivered_to, upto)
			THEN w.attempts ELSE 0 END,
		delivered_to = CASE WHEN w.delivered_to > upto THEN w.delivered_to END
	WHERE w.subscription_id = held.subscription_id AND w.partition = held.partition
		AND w.delivered_to IS NOT NULL AND w.position <= upto;

	-- parked events
	DELETE FROM eventstore.subscription_parked d
	WHERE d.subscription_id = held.subscription_id AND d.partition = held.partition
		AND d.is_delivered AND d.position <= upto;

	-- all others
	IF upto >= held.fetched_to THEN
		held.checkpoint := held.scanned_to;
		held.fetched_to := NULL;
		held.attempts := (held.checkpoint < held.tried_to)::integer;
	ELSIF upto > held.checkpoint THEN
		held.checkpoint := upto;
		held.attempts := 1;
	END IF;

	-- A partition of which nothing is in hand is free.
	IF held.fetched_to IS NULL
		AND NOT EXISTS (SELECT FROM eventstore.subscription_streams w
						WHERE w.subscription_id = held.subscription_id AND w.partition = held.partition
							AND w.delivered_to IS NOT NULL)
		AND NOT EXISTS (SELECT FROM eventstore.subscription_parked d
						WHERE d.subscription_id = held.subscription_id AND d.partition = held.partition
							AND d.is_delivered) THEN
		held.consumer := NULL;
		held.lease_until := NULL;
	END IF;
	UPDATE eventstore.subscription_partitions p
	SET checkpoint = held.checkpoint, fetched_to = held.fetched_to, attempts = held.attempts,
		consumer = held.consumer, lease_until = held.lease_until
	WHERE p.subscription_id = held.subscription_id AND p.partition = held.partition;
END
$$;
COMMENT ON FUNCTION eventstore.ack_events(text, text, integer, bigint) IS
	'acknowledge the events in hand up to a position, but for those that failed';

CREATE FUNCTION eventstore.park_event(
	subscription_id text,
	partition integer,
	"position" bigint,
	attempts integer,
	reason text,
	first_failed_at timestamptz)
RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
	INSERT INTO eventstore.subscription_parked
		(subscription_id, partition, position, stream_id, attempts, reason,
		 first_failed_at, last_failed_at)
	SELECT park_event.subscription_id, park_event.partition, e.global_position, e.stream_id,
		   park_event.attempts, coalesce(park_event.reason, 'a consumer that had it did not answer'),
		   coalesce(park_event.first_failed_at, clock_timestamp()), clock_timestamp()
	FROM eventstore.events e
	WHERE e.global_position = park_event.position;
$$;
COMMENT ON FUNCTION eventstore.park_event(text, integer, bigint, integer, text, timestamptz) IS
	'give up an event, and keep it to be replayed';

CREATE FUNCTION eventstore.nack_event(
	subscription_id text,
	consumer text,
	partition integer,
	"position" bigint,
	reason text,
	retry_after interval DEFAULT '1 second')
RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	held eventstore.subscription_partitions := eventstore.lock_partition(
		nack_event.subscription_id, nack_event.consumer, nack_event.partition);
	subscription eventstore.subscriptions;
	event eventstore.events;
	waiting eventstore.subscription_streams;
	parked eventstore.subscription_parked;
	why text := coalesce(nack_event.reason, 'no reason was given');
	retry_time timestamptz;
	is_fetched boolean;
BEGIN
	-- Parts of both signs compare as something else than they add up to.
	PERFORM eventstore.check_argument(
		nack_event.retry_after BETWEEN '0' AND '1 year'
			AND least(extract(year FROM nack_event.retry_after), extract(month FROM nack_event.retry_after),
					  extract(day FROM nack_event.retry_after), extract(hour FROM nack_event.retry_after),
					  extract(minute FROM nack_event.retry_after), extract(second FROM nack_event.retry_after)) >= 0,
		'retry_after is out of range',
		format('It is %s.', coalesce(nack_event.retry_after::text, 'null')),
		'Pass how long to wait, up to a year.');
	retry_time := clock_timestamp() + nack_event.retry_after;
	SELECT s.* INTO subscription FROM eventstore.subscriptions s
	WHERE s.subscription_id = held.subscription_id;
	SELECT e.* INTO event FROM eventstore.events e
	WHERE e.global_position = nack_event.position;
	SELECT w.* INTO waiting FROM eventstore.subscription_streams w
	WHERE w.subscription_id = held.subscription_id AND w.partition = held.partition
		AND w.stream_id = event.stream_id;
	SELECT d.* INTO parked FROM eventstore.subscription_parked d
	WHERE d.subscription_id = held.subscription_id AND d.partition = held.partition
		AND d.position = event.global_position;

	is_fetched := event.global_position > held.checkpoint AND event.global_position <= held.fetched_to
		AND eventstore.stream_partition(event.stream_id, subscription.partitions) = held.partition
		AND (subscription.stream_types IS NULL OR event.stream_type = ANY (subscription.stream_types))
		AND (subscription.event_types IS NULL OR event.event_type = ANY (subscription.event_types));

	-- a parked event that is replayed
	IF parked.is_delivered THEN
		UPDATE eventstore.subscription_parked d
		SET is_delivered = false, reason = why, last_failed_at = clock_timestamp(),
			retry_at = retry_time,
			is_replayed = d.replay_attempts < subscription.max_attempts,
			parked_at = CASE WHEN d.replay_attempts < subscription.max_attempts
				THEN d.parked_at ELSE clock_timestamp() END
		WHERE d.subscription_id = held.subscription_id AND d.partition = held.partition
			AND d.position = event.global_position
		RETURNING d.* INTO parked;
		RETURN NOT parked.is_replayed;

	-- an event of a stream that waits or catches up, in hand ...
	ELSIF event.global_position BETWEEN waiting.position AND waiting.delivered_to THEN
		IF event.global_position = waiting.position
			AND waiting.attempts >= subscription.max_attempts THEN
			PERFORM eventstore.park_event(held.subscription_id, held.partition, event.global_position,
										  waiting.attempts, why,
										  CASE WHEN waiting.failed_position = waiting.position
											  THEN waiting.first_failed_at END);
			UPDATE eventstore.subscription_streams w
			SET position = event.global_position + 1, failed_position = NULL, attempts = 0,
				delivered_to = NULL
			WHERE w.subscription_id = held.subscription_id AND w.partition = held.partition
				AND w.stream_id = event.stream_id;
			RETURN true;
		END IF;
		UPDATE eventstore.subscription_streams w
		SET failed_position = event.global_position, reason = why,
			attempts = greatest(w.attempts, 1),
			first_failed_at = CASE WHEN w.failed_position = event.global_position
				THEN w.first_failed_at ELSE clock_timestamp() END,
			last_failed_at = clock_timestamp(), retry_at = retry_time,
			delivered_to = CASE WHEN event.global_position > w.position
				THEN event.global_position - 1 END
		WHERE w.subscription_id = held.subscription_id AND w.partition = held.partition
			AND w.stream_id = event.stream_id;
		RETURN false;

	-- ... or behind one that failed: it comes again anyway
	ELSIF event.global_position >= waiting.position THEN
		RETURN false;

	ELSIF is_fetched AND parked.position IS NOT NULL THEN
		RETURN true;

	ELSIF is_fetched IS NOT TRUE THEN
		RAISE EXCEPTION 'the event at position % is not in the hand of consumer "%"',
			coalesce(nack_event.position::text, 'null'), nack_event.consumer
			USING ERRCODE = 'invalid_parameter_value',
				  DETAIL = 'It was not fetched from this partition, or is acknowledged already.',
				  HINT = 'Pass partition and global position as fetch_events() has returned them.';
	END IF;

	-- The event that is first now has attempts of its own.  The new row also
	-- makes a transaction fail that looks at the partition as it was before.
	UPDATE eventstore.subscription_partitions p
	SET attempts = 1
	WHERE p.subscription_id = held.subscription_id AND p.partition = held.partition;
	IF held.attempts >= subscription.max_attempts THEN
		PERFORM eventstore.park_event(held.subscription_id, held.partition, event.global_position,
									  held.attempts, why, NULL);
	ELSE
		INSERT INTO eventstore.subscription_streams
			(subscription_id, stream_id, partition, position, version, failed_position, attempts,
			 reason, first_failed_at, last_failed_at, retry_at)
		VALUES (held.subscription_id, event.stream_id, held.partition, event.global_position,
				event.version, event.global_position, held.attempts, why,
				clock_timestamp(), clock_timestamp(), retry_time)
		ON CONFLICT ON CONSTRAINT subscription_streams_pkey DO UPDATE
		SET position = excluded.position, version = excluded.version,
			failed_position = excluded.failed_position, attempts = excluded.attempts,
			reason = excluded.reason, first_failed_at = excluded.first_failed_at,
			last_failed_at = excluded.last_failed_at, retry_at = excluded.retry_at;
	END IF;
	RETURN held.attempts >= subscription.max_attempts;
END
$$;
COMMENT ON FUNCTION eventstore.nack_event(text, text, integer, bigint, text, interval) IS
	'say that an event in hand failed: it is handed out again later, or parked; tells whether it is parked';

CREATE FUNCTION eventstore.replay_parked(subscription_id text, positions bigint[] DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	unknown bigint;
	replayed bigint;
BEGIN
	PERFORM eventstore.lock_subscription(replay_parked.subscription_id);
	SELECT p.position INTO unknown
	FROM unnest(replay_parked.positions) AS p (position)
	WHERE NOT EXISTS (SELECT FROM eventstore.subscription_parked d
					  WHERE d.subscription_id = replay_parked.subscription_id
						AND d.position = p.position)
	LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'the event at position % is not parked', coalesce(unknown::text, 'null')
			USING ERRCODE = 'invalid_parameter_value',
				  DETAIL = 'None of the positions was replayed.',
				  HINT = 'See the view parked_events.';
	END IF;

	UPDATE eventstore.subscription_parked d
	SET is_replayed = true, replay_attempts = 0, retry_at = clock_timestamp(), is_suspect = false
	WHERE d.subscription_id = replay_parked.subscription_id AND NOT d.is_replayed
		AND (replay_parked.positions IS NULL OR d.position = ANY (replay_parked.positions));
	GET DIAGNOSTICS replayed = ROW_COUNT;
	RETURN replayed;
END
$$;
COMMENT ON FUNCTION eventstore.replay_parked(text, bigint[]) IS
	'hand out parked events again, all or those at the positions; returns how many';

CREATE VIEW eventstore.subscription_status AS
	SELECT p.subscription_id AS subscription, p.partition, p.checkpoint,
		   greatest(p.scanned_to, p.checkpoint) AS scanned_to,
		   greatest(l.last_position - p.checkpoint, 0) AS lag,
		   clock_timestamp() - least(fresh.created_at, late.created_at) AS oldest_pending,
		   p.consumer, p.lease_until,
		   late.streams AS waiting_streams,
		   (SELECT count(*) FROM eventstore.subscription_parked d
			WHERE d.subscription_id = p.subscription_id AND d.partition = p.partition) AS parked
	FROM eventstore.subscription_partitions p
		JOIN eventstore.subscriptions s ON s.subscription_id = p.subscription_id,
		 (SELECT coalesce(max(e.global_position), 0) AS last_position
		  FROM eventstore.events e) l
		CROSS JOIN LATERAL (
			SELECT min(e.created_at) AS created_at
			FROM (SELECT e.created_at FROM eventstore.events e
				  WHERE e.global_position > p.checkpoint
					AND (s.stream_types IS NULL OR e.stream_type = ANY (s.stream_types))
					AND (s.event_types IS NULL OR e.event_type = ANY (s.event_types))
					AND eventstore.stream_partition(e.stream_id, s.partitions) = p.partition
				  ORDER BY e.global_position
				  LIMIT 1) e) fresh
		CROSS JOIN LATERAL (
			SELECT min(e.created_at) AS created_at, count(DISTINCT w.stream_id) AS streams
			FROM eventstore.subscription_streams w
				LEFT JOIN eventstore.events e
					ON e.stream_id = w.stream_id AND e.version >= w.version
						AND e.global_position >= w.position
						AND (s.stream_types IS NULL OR e.stream_type = ANY (s.stream_types))
						AND (s.event_types IS NULL OR e.event_type = ANY (s.event_types))
			WHERE w.subscription_id = p.subscription_id AND w.partition = p.partition) late;
COMMENT ON VIEW eventstore.subscription_status IS
	'how far each partition of each subscription has come, and who works on it';
COMMENT ON COLUMN eventstore.subscription_status.subscription IS
	'name of the subscription';
COMMENT ON COLUMN eventstore.subscription_status.partition IS
	'number of the partition, from 0 on';
COMMENT ON COLUMN eventstore.subscription_status.checkpoint IS
	'all at or below is acknowledged, parked, or waits for a further attempt';
COMMENT ON COLUMN eventstore.subscription_status.scanned_to IS
	'all that matches at or below was handed out at least once';
COMMENT ON COLUMN eventstore.subscription_status.lag IS
	'how many events the store has behind the checkpoint, matching or not';
COMMENT ON COLUMN eventstore.subscription_status.oldest_pending IS
	'age of the oldest event that is not acknowledged; null when there is none';
COMMENT ON COLUMN eventstore.subscription_status.consumer IS
	'who holds the partition; null for nobody';
COMMENT ON COLUMN eventstore.subscription_status.lease_until IS
	'from then on another consumer may take the partition';
COMMENT ON COLUMN eventstore.subscription_status.waiting_streams IS
	'how many streams wait for an event that failed, or catch up behind it';
COMMENT ON COLUMN eventstore.subscription_status.parked IS
	'how many events are parked';

CREATE VIEW eventstore.parked_events AS
	SELECT d.subscription_id AS subscription, d.partition, d.position AS global_position,
		   d.stream_id, e.version, e.event_id, e.event_type, d.reason, d.attempts,
		   d.first_failed_at, d.last_failed_at, d.parked_at, d.is_replayed AS replaying
	FROM eventstore.subscription_parked d
		LEFT JOIN eventstore.events e ON e.global_position = d.position;
COMMENT ON VIEW eventstore.parked_events IS
	'the events that were given up after too many attempts';
COMMENT ON COLUMN eventstore.parked_events.subscription IS
	'name of the subscription';
COMMENT ON COLUMN eventstore.parked_events.partition IS
	'the partition of the event''s stream';
COMMENT ON COLUMN eventstore.parked_events.global_position IS
	'where the event is';
COMMENT ON COLUMN eventstore.parked_events.stream_id IS
	'stream of the event';
COMMENT ON COLUMN eventstore.parked_events.version IS
	'version of the event in its stream';
COMMENT ON COLUMN eventstore.parked_events.event_id IS
	'identity of the event';
COMMENT ON COLUMN eventstore.parked_events.event_type IS
	'type of the event';
COMMENT ON COLUMN eventstore.parked_events.reason IS
	'why it failed last';
COMMENT ON COLUMN eventstore.parked_events.attempts IS
	'how many times it was handed out';
COMMENT ON COLUMN eventstore.parked_events.first_failed_at IS
	'when it failed for the first time';
COMMENT ON COLUMN eventstore.parked_events.last_failed_at IS
	'when it failed last';
COMMENT ON COLUMN eventstore.parked_events.parked_at IS
	'when it was given up';
COMMENT ON COLUMN eventstore.parked_events.replaying IS
	'is it being handed out again?';

--
-- Replication
--

CREATE VIEW eventstore.replication_status AS
	SELECT s.slot_name,
		   s.temporary,
		   s.active,
		   s.active_pid,
		   s.restart_lsn,
		   s.confirmed_flush_lsn,
		   wal.position - s.restart_lsn AS retained_bytes,
		   -- some clients confirm one byte more than there is
		   greatest(wal.position, s.confirmed_flush_lsn) - s.confirmed_flush_lsn AS lag_bytes,
		   s.wal_status,
		   s.safe_wal_size,
		   -- these came with 17
		   (pg_catalog.to_jsonb(s) ->> 'failover')::boolean AS failover,
		   pg_catalog.to_jsonb(s) ->> 'invalidation_reason' AS invalidation_reason
	FROM pg_catalog.pg_replication_slots s,
		 (SELECT CASE WHEN pg_catalog.pg_is_in_recovery()
					  THEN greatest(pg_catalog.pg_last_wal_receive_lsn(), pg_catalog.pg_last_wal_replay_lsn())
					  ELSE pg_catalog.pg_current_wal_lsn() END) AS wal (position)
	WHERE s.plugin = 'eventstore' AND s.database = pg_catalog.current_database();
COMMENT ON VIEW eventstore.replication_status IS
	'the logical replication slots of this database that use the output plugin "eventstore"';
COMMENT ON COLUMN eventstore.replication_status.slot_name IS
	'name of the slot';
COMMENT ON COLUMN eventstore.replication_status.temporary IS
	'does it go with the session that made it?';
COMMENT ON COLUMN eventstore.replication_status.active IS
	'is a client connected?';
COMMENT ON COLUMN eventstore.replication_status.active_pid IS
	'the server process that serves the client';
COMMENT ON COLUMN eventstore.replication_status.restart_lsn IS
	'the oldest WAL that the slot still needs';
COMMENT ON COLUMN eventstore.replication_status.confirmed_flush_lsn IS
	'up to here the client has confirmed all messages';
COMMENT ON COLUMN eventstore.replication_status.retained_bytes IS
	'WAL that the server keeps for this slot';
COMMENT ON COLUMN eventstore.replication_status.lag_bytes IS
	'WAL behind what the client has confirmed';
COMMENT ON COLUMN eventstore.replication_status.wal_status IS
	'reserved, extended, unreserved or lost: is the WAL still there?';
COMMENT ON COLUMN eventstore.replication_status.safe_wal_size IS
	'bytes of WAL until the slot may be lost; null without max_slot_wal_keep_size';
COMMENT ON COLUMN eventstore.replication_status.failover IS
	'is the slot copied to standbys? null before PostgreSQL 17';
COMMENT ON COLUMN eventstore.replication_status.invalidation_reason IS
	'why the slot was lost, if it was; null before PostgreSQL 17';

--
-- Verification
--

CREATE FUNCTION eventstore.rewritten_positions()
RETURNS SETOF bigint
LANGUAGE c STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'eventstore_rewritten_positions';
COMMENT ON FUNCTION eventstore.rewritten_positions() IS
	'the positions of events whose row was updated since it was stored';

CREATE FUNCTION eventstore.broken_events()
RETURNS TABLE (invariant text, detail text)
LANGUAGE sql STABLE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS $$
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
	FROM eventstore.rewritten_positions() AS position;
$$;
COMMENT ON FUNCTION eventstore.broken_events() IS
	'every broken invariant of the events themselves; no row when they are sound';

CREATE FUNCTION eventstore.broken_index_entries()
RETURNS TABLE (invariant text, detail text)
LANGUAGE c STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'eventstore_broken_index_entries';
COMMENT ON FUNCTION eventstore.broken_index_entries() IS
	'how the events and their indexes disagree; no row when they do not';

CREATE FUNCTION eventstore.event_digest(event eventstore.events)
RETURNS bytea
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'eventstore_event_digest';
COMMENT ON FUNCTION eventstore.event_digest(eventstore.events) IS
	'the SHA-256 of all columns of an event, in the form that docs/integrity.md describes';

CREATE FUNCTION eventstore.current_digest(
	OUT up_to_position bigint,
	OUT digest bytea,
	OUT made_at timestamptz)
LANGUAGE sql STABLE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT d.up_to_position, d.digest, d.made_at
	FROM eventstore.digests d
	ORDER BY d.up_to_position DESC
	LIMIT 1;
$$;
COMMENT ON FUNCTION eventstore.current_digest() IS
	'the last digest: who keeps it elsewhere can prove that no event up to its position was changed, removed or added';

CREATE FUNCTION eventstore.broken_digests(from_position bigint, to_position bigint, known bytea)
RETURNS TABLE (invariant text, detail text)
LANGUAGE c STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'eventstore_broken_digests';
COMMENT ON FUNCTION eventstore.broken_digests(bigint, bigint, bytea) IS
	'the ranges whose events are not those that their digest was made of, and whether a known digest is that of the events';

CREATE FUNCTION eventstore.verify_events(
	from_position bigint DEFAULT 0,
	to_position bigint DEFAULT NULL)
RETURNS TABLE (invariant text, detail text)
LANGUAGE sql STABLE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT b.invariant, b.detail
	FROM eventstore.broken_digests(from_position, to_position, NULL) b;
$$;
COMMENT ON FUNCTION eventstore.verify_events(bigint, bigint) IS
	'every range of events in this part of the store that was changed since its digest was made; none when all is as it was';

CREATE FUNCTION eventstore.verify_digest(up_to_position bigint, digest bytea)
RETURNS TABLE (invariant text, detail text)
LANGUAGE sql STABLE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT b.invariant, b.detail
	FROM eventstore.broken_digests(0, coalesce(verify_digest.up_to_position, 0),
								   coalesce(verify_digest.digest, '')) b;
$$;
COMMENT ON FUNCTION eventstore.verify_digest(bigint, bytea) IS
	'what differs from the store that had this digest: any row proves a change at or below the position';

CREATE FUNCTION eventstore.verify(
	check_events boolean DEFAULT true,
	check_indexes boolean DEFAULT true,
	from_position bigint DEFAULT 0)
RETURNS TABLE (invariant text, detail text)
LANGUAGE sql STABLE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
SET jit = off	-- it would take seconds to compile all this
AS $$
	-- the events and their indexes

	SELECT b.invariant, b.detail
	FROM eventstore.broken_events() b
	WHERE check_events

	UNION ALL
	SELECT b.invariant, b.detail
	FROM eventstore.broken_index_entries() b
	WHERE check_indexes

	UNION ALL
	SELECT b.invariant, b.detail
	FROM eventstore.broken_digests(from_position, NULL, NULL) b
	WHERE check_events

	UNION ALL
	SELECT 'the digests keep up with the watermark',
		   format('the events up to position %s are settled, and the digests go up to %s',
				  w.settled_position, d.up_to_position)
	FROM eventstore.watermark w,
		 (SELECT coalesce(max(up_to_position), 0) AS up_to_position FROM eventstore.digests) d
	WHERE NOT EXISTS (SELECT FROM pg_subscription_rel
					  WHERE srrelid = 'eventstore.events'::regclass)
		AND (SELECT e.created_at FROM eventstore.events e
			 WHERE e.global_position > d.up_to_position
			 ORDER BY e.global_position
			 LIMIT 1) < now() - interval '10 minutes'
		AND EXISTS (SELECT FROM eventstore.events e
					WHERE e.global_position > d.up_to_position
						AND e.global_position <= w.settled_position)

	-- the positions

	UNION ALL
	SELECT 'the next position is above all that are taken',
		   format('the sequence is at %s, the last event at %s', s.last_value, e.last_position)
	FROM eventstore.events_global_position_seq s,
		 (SELECT max(global_position) AS last_position FROM eventstore.events) e
	WHERE (e.last_position > s.last_value
		   OR (e.last_position = s.last_value AND NOT s.is_called))
		AND NOT EXISTS (SELECT FROM pg_subscription_rel	-- they are handed out elsewhere
						WHERE srrelid = 'eventstore.events'::regclass)

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
	WHERE w.nrows > 1
		OR ((w.highest > s.last_value OR (w.highest = s.last_value AND NOT s.is_called))
			AND NOT EXISTS (SELECT FROM pg_subscription_rel
							WHERE srrelid = 'eventstore.watermark'::regclass))

	UNION ALL
	SELECT 'the watermark counts the events up to it',
		   format('%s up to position %s, and there are %s', w.events, w.position,
				  CASE WHEN t.events = w.events THEN 'others' ELSE t.events::text END)
	FROM eventstore.watermark m,
		 LATERAL (VALUES (m.settled_position, m.events, m.checksum),
						 (m.published_position, m.published_events, m.published_checksum))
			AS w (position, events, checksum),
		 LATERAL eventstore.tally(CASE WHEN check_events AND w.events IS NOT NULL THEN w.position END) AS t
	WHERE (t.events, t.checksum) <> (w.events, w.checksum)
		AND (w.position = m.settled_position OR NOT EXISTS (
				SELECT FROM pg_subscription_rel
				WHERE srrelid IN ('eventstore.events'::regclass, 'eventstore.watermark'::regclass)
					AND srsubstate <> 'r'))

	UNION ALL
	SELECT 'no checkpoint is above the last position',
		   format('the sequence is at %s, %s at %s', s.last_value, c.name, c.position)
	FROM eventstore.events_global_position_seq s,
		 (SELECT format('the checkpoint of "%s"', subscription_id), position
		  FROM eventstore.checkpoints
		  UNION ALL
		  SELECT format('partition %s of subscription "%s"', partition, subscription_id),
				 greatest(checkpoint, scanned_to, tried_to)
		  FROM eventstore.subscription_partitions
		  UNION ALL
		  SELECT format('a former layout of subscription "%s"', l.subscription_id), max(p)
		  FROM eventstore.subscription_layouts l, unnest(l.checkpoints) AS p
		  GROUP BY l.subscription_id, l.revision) AS c (name, position)
	WHERE (c.position > s.last_value
		   OR (c.position = s.last_value AND NOT s.is_called))
		AND NOT EXISTS (SELECT FROM pg_subscription_rel
						WHERE srrelid = 'eventstore.events'::regclass)

	-- the table

	UNION ALL
	SELECT 'the relations are permanent, and heaps without children',
		   format('relation %s', c.oid::regclass)
	FROM pg_class c
	WHERE c.oid IN (SELECT d.objid FROM pg_depend d JOIN pg_extension x ON x.oid = d.refobjid
					WHERE d.classid = 'pg_class'::regclass AND d.deptype = 'e'
						AND d.refclassid = 'pg_extension'::regclass AND x.extname = 'eventstore')
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
	SELECT 'the tables have their constraints',
		   format('constraint %s of %s is missing, altered or not validated', e.conname, e.relname)
	FROM (VALUES
			('events', 'events_pkey', 'PRIMARY KEY (global_position)'),
			('events', 'events_stream_id_version_key', 'UNIQUE (stream_id, version)'),
			('events', 'events_event_id_key', 'UNIQUE (event_id)'),
			('events', 'events_version_positive', 'CHECK ((version > 0))'),
			('events', 'events_names_not_empty',
			 'CHECK (((stream_id <> ''''::text) AND (stream_type <> ''''::text) AND (event_type <> ''''::text)))'),
			('events', 'events_one_payload', 'CHECK (((data IS NULL) <> (binary_data IS NULL)))'),
			('digests', 'digests_pkey', 'PRIMARY KEY (up_to_position)'),
			('digests', 'digests_not_empty', 'CHECK (((up_to_position > 0) AND (events > 0)))'),
			('digests', 'digests_sha256', 'CHECK ((octet_length(digest) = 32))'),
			('watermark', 'watermark_pkey', 'PRIMARY KEY (only_row)'),
			('watermark', 'watermark_only_row', 'CHECK (only_row)'))
			AS e (relname, conname, definition)
	WHERE NOT EXISTS (
		SELECT FROM pg_constraint c
		WHERE c.conrelid = format('eventstore.%I', e.relname)::regclass AND c.conname = e.conname
			AND c.convalidated AND NOT c.condeferrable
			AND pg_get_constraintdef(c.oid) = e.definition)

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
		   format('trigger %s of %s is missing, altered or not enabled ALWAYS', e.tgname, e.relname)
	FROM (VALUES ('events', 'guard_insert', 4 + 2, 0),
				 ('events', 'guard_update', 16 + 2, 0), ('events', 'guard_delete', 8 + 2, 0),
				 ('events', 'guard_truncate', 32 + 2, 0),
				 ('events', 'guard_update_row', 16 + 2 + 1, 0), ('events', 'guard_delete_row', 8 + 2 + 1, 0),
				 ('digests', 'guard_insert', 4 + 2, 0),
				 ('digests', 'guard_update', 16 + 2, 0), ('digests', 'guard_delete', 8 + 2, 0),
				 ('digests', 'guard_truncate', 32 + 2, 0),
				 ('digests', 'guard_update_row', 16 + 2 + 1, 0), ('digests', 'guard_delete_row', 8 + 2 + 1, 0),
				 ('watermark', 'guard_owner', 32 + 16 + 8 + 4 + 2, 1),
				 ('watermark', 'receive', 16 + 4 + 2 + 1, 0))
			AS e (relname, tgname, tgtype, tgnargs)
	WHERE NOT EXISTS (
		SELECT FROM pg_trigger t
		WHERE t.tgrelid = format('eventstore.%I', e.relname)::regclass AND t.tgname = e.tgname
			AND t.tgtype = e.tgtype AND t.tgenabled = 'A' AND t.tgqual IS NULL
			AND t.tgattr = '' AND t.tgfoid = CASE e.tgname
				WHEN 'receive' THEN 'eventstore.receive_watermark()' ELSE 'eventstore.guard()' END::regprocedure
			AND t.tgnargs = e.tgnargs)

	UNION ALL
	SELECT 'the guard stands, for everyone',
		   format('event trigger %s is missing, altered or not enabled ALWAYS', e.evtname)
	FROM (VALUES ('eventstore_guard_rewrite', 'table_rewrite', NULL, 'eventstore.guard_rewrite()'::regprocedure),
				 ('eventstore_note_subscription', 'ddl_command_end',
				  ARRAY['CREATE SUBSCRIPTION', 'ALTER SUBSCRIPTION'], 'eventstore.note_subscription()'))
			AS e (evtname, evtevent, evttags, evtfoid)
	WHERE NOT EXISTS (
		SELECT FROM pg_event_trigger t
		WHERE t.evtname = e.evtname AND t.evtevent = e.evtevent AND t.evtenabled = 'A'
			AND t.evttags IS NOT DISTINCT FROM e.evttags AND t.evtfoid = e.evtfoid)

	UNION ALL
	SELECT 'the functions are the extension''s own',
		   format('%s was replaced or altered', p.oid::regprocedure)
	FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
	WHERE p.oid IN (SELECT d.objid FROM pg_depend d JOIN pg_extension x ON x.oid = d.refobjid
					WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
						AND d.refclassid = 'pg_extension'::regclass AND x.extname = 'eventstore')
		AND (CASE l.lanname
				WHEN 'c' THEN p.probin <> '$libdir/eventstore' OR p.prosrc <> 'eventstore_' || p.proname
					OR p.prosecdef
				WHEN 'sql' THEN p.prosecdef <> (p.proname = 'get_checkpoint')
				WHEN 'plpgsql' THEN p.prosecdef <> (p.proname IN (
					'save_checkpoint', 'create_subscription', 'alter_subscription', 'drop_subscription',
					'ack_events', 'nack_event', 'replay_parked'))
				ELSE true END
			 OR (l.lanname <> 'c' AND p.proconfig IS DISTINCT FROM
					ARRAY['search_path=pg_catalog, pg_temp'] || CASE p.proname WHEN 'verify' THEN ARRAY['jit=off'] END)
			 OR (l.lanname = 'c' AND p.proconfig IS NOT NULL AND p.proname <> 'fetch_events'))

	UNION ALL
	SELECT 'all is in the hand of one owner',
		   format('%s belongs to %s', o.name, o.owner::regrole)
	FROM pg_namespace n,
		 (SELECT c.relowner, c.oid::regclass::text, 'pg_class'::regclass::oid, c.oid FROM pg_class c
		  WHERE c.relkind = 'v'
		  UNION ALL
		  SELECT p.proowner, p.oid::regprocedure::text, 'pg_proc'::regclass, p.oid FROM pg_proc p)
			AS o (owner, name, classid, oid)
	WHERE n.nspname = 'eventstore' AND o.owner <> n.nspowner
		AND EXISTS (SELECT FROM pg_depend d JOIN pg_extension x ON x.oid = d.refobjid
					WHERE d.classid = o.classid AND d.objid = o.oid AND d.deptype = 'e'
						AND d.refclassid = 'pg_extension'::regclass AND x.extname = 'eventstore')

	UNION ALL
	SELECT 'all is in the hand of one owner', f.detail
	FROM eventstore.code_of_others() f

	UNION ALL
	SELECT 'all is in the hand of one owner',
		   format('%s is in the schema, and not the extension''s', p.oid::regprocedure)
	FROM pg_proc p
	WHERE p.pronamespace = 'eventstore'::regnamespace
		AND NOT EXISTS (SELECT FROM pg_depend d JOIN pg_extension x ON x.oid = d.refobjid
						WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
							AND d.refclassid = 'pg_extension'::regclass AND x.extname = 'eventstore')

	UNION ALL
	SELECT 'all is in the hand of one owner',
		   format('%s may make objects in the schema', a.grantee::regrole)
	FROM pg_namespace n, aclexplode(n.nspacl) a
	WHERE n.nspname = 'eventstore' AND a.privilege_type = 'CREATE'
		AND a.grantee NOT IN (n.nspowner, 0)

	UNION ALL
	SELECT 'all rows are there for those who may read', format('row-level security is on for %s', c.oid::regclass)
	FROM pg_class c
	WHERE c.relnamespace = 'eventstore'::regnamespace AND (c.relrowsecurity OR c.relforcerowsecurity)

	UNION ALL
	SELECT 'the guard stands, for everyone', format('the catalog says that %s has no triggers', c.oid::regclass)
	FROM pg_class c
	WHERE c.relnamespace = 'eventstore'::regnamespace
		AND c.relname IN ('events', 'digests', 'watermark') AND NOT c.relhastriggers

	UNION ALL
	SELECT 'nothing comes between an append and the table',
		   format('row trigger %s of %s fires before INSERT', t.tgname, t.tgrelid::regclass)
	FROM pg_trigger t
	WHERE t.tgrelid IN ('eventstore.events'::regclass, 'eventstore.digests'::regclass,
						'eventstore.watermark'::regclass)
		AND t.tgtype & (1 + 2 + 4) = 1 + 2 + 4
		AND (t.tgrelid, t.tgname) <> ('eventstore.watermark'::regclass, 'receive')

	UNION ALL
	SELECT 'nothing comes between an append and the table',
		   format('rule %s of %s', r.rulename, r.ev_class::regclass)
	FROM pg_rewrite r
	WHERE r.ev_class IN ('eventstore.events'::regclass, 'eventstore.digests'::regclass,
						 'eventstore.watermark'::regclass)

	-- the subscriptions

	UNION ALL
	SELECT 'a subscription has its partitions',
		   format('of the %s partitions of subscription "%s" there are %s, and %s others',
				  coalesce(s.partitions, 0), coalesce(s.subscription_id, p.subscription_id),
				  count(*) FILTER (WHERE p.partition BETWEEN 0 AND s.partitions - 1
								   AND p.revision = s.revision),
				  count(p) FILTER (WHERE (p.partition BETWEEN 0 AND s.partitions - 1
										  AND p.revision = s.revision) IS NOT TRUE))
	FROM eventstore.subscriptions s
		FULL JOIN eventstore.subscription_partitions p ON p.subscription_id = s.subscription_id
	GROUP BY s.subscription_id, s.partitions, p.subscription_id
	HAVING (count(p) = s.partitions
			AND bool_and(p.partition BETWEEN 0 AND s.partitions - 1 AND p.revision = s.revision)) IS NOT TRUE

	UNION ALL
	SELECT 'a partition is handed out in order',
		   format('partition %s of subscription "%s" has checkpoint %s, has handed out up to %s, and looked at up to %s',
				  p.partition, p.subscription_id, p.checkpoint, coalesce(p.fetched_to::text, 'null'), p.scanned_to)
	FROM eventstore.subscription_partitions p
	WHERE (0 <= p.checkpoint AND p.checkpoint <= p.scanned_to
		   AND coalesce(p.checkpoint < p.fetched_to AND p.fetched_to <= least(p.scanned_to, p.tried_to), true))
			IS NOT TRUE

	UNION ALL
	SELECT 'who has events has a lease',
		   format('partition %s of subscription "%s"', p.partition, p.subscription_id)
	FROM eventstore.subscription_partitions p
	WHERE (p.consumer IS NULL) <> (p.lease_until IS NULL)
		OR (p.consumer IS NULL
			AND (p.fetched_to IS NOT NULL
				 OR EXISTS (SELECT FROM eventstore.subscription_streams w
							WHERE w.subscription_id = p.subscription_id
								AND w.partition = p.partition AND w.delivered_to IS NOT NULL)
				 OR EXISTS (SELECT FROM eventstore.subscription_parked d
							WHERE d.subscription_id = p.subscription_id
								AND d.partition = p.partition AND d.is_delivered)))

	UNION ALL
	SELECT 'what waits or is parked is in the partition of its stream',
		   format('stream "%s" of subscription "%s" is in partition %s', w.stream_id, w.subscription_id, w.partition)
	FROM (SELECT subscription_id, stream_id, partition FROM eventstore.subscription_streams
		  UNION
		  SELECT subscription_id, stream_id, partition FROM eventstore.subscription_parked) w
		LEFT JOIN eventstore.subscriptions s ON s.subscription_id = w.subscription_id
	WHERE w.partition IS DISTINCT FROM eventstore.stream_partition(w.stream_id, s.partitions)

	UNION ALL
	SELECT 'what waits or is parked is an event of its stream',
		   format('there is none of stream "%s" at position %s, for subscription "%s"',
				  w.stream_id, w.position, w.subscription_id)
	FROM (SELECT subscription_id, stream_id, failed_position FROM eventstore.subscription_streams
		  WHERE failed_position IS NOT NULL
		  UNION ALL
		  SELECT subscription_id, stream_id, position FROM eventstore.subscription_parked)
			AS w (subscription_id, stream_id, position)
		LEFT JOIN eventstore.events e ON e.global_position = w.position
	WHERE e.stream_id IS DISTINCT FROM w.stream_id

	UNION ALL
	SELECT 'a stream that waits goes on where it is',
		   format('stream "%s" of subscription "%s" waits at position %s, and goes on with version %s',
				  w.stream_id, w.subscription_id, w.position, w.version)
	FROM eventstore.subscription_streams w
	WHERE w.failed_position < w.position
		OR EXISTS (SELECT FROM eventstore.events e
				   WHERE e.stream_id = w.stream_id AND e.version < w.version
						AND e.global_position >= w.position)

	UNION ALL
	SELECT 'a former layout has checkpoints, and is older',
		   format('subscription "%s", revision %s', l.subscription_id, l.revision)
	FROM eventstore.subscription_layouts l
		LEFT JOIN eventstore.subscriptions s ON s.subscription_id = l.subscription_id
	WHERE (l.revision < s.revision AND array_ndims(l.checkpoints) = 1
		   AND array_position(l.checkpoints, NULL) IS NULL) IS NOT TRUE

	UNION ALL
	SELECT 'a name is that of a follower or of a subscription, not of both',
		   format('"%s"', c.subscription_id)
	FROM eventstore.checkpoints c
		JOIN eventstore.subscriptions s ON s.subscription_id = c.subscription_id

	-- the rights

	UNION ALL
	SELECT 'only the owner may write',
		   format('%s may move the next position, as a member of pg_write_all_data', r.oid::regrole)
	FROM pg_roles r, pg_class c
	WHERE c.oid = 'eventstore.events_global_position_seq'::regclass AND NOT r.rolsuper
		AND r.rolname <> 'pg_write_all_data' AND NOT pg_has_role(r.oid, c.relowner, 'USAGE')
		AND pg_has_role(r.oid, 'pg_write_all_data', 'USAGE')

	UNION ALL
	SELECT 'only the owner has rights on the relations, but for SELECT',
		   format('%s has %s on %s',
				  CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END,
				  a.privilege_type, c.oid::regclass)
	FROM pg_class c, aclexplode(c.relacl) a
	WHERE c.oid IN (SELECT d.objid FROM pg_depend d JOIN pg_extension x ON x.oid = d.refobjid
					WHERE d.classid = 'pg_class'::regclass AND d.deptype = 'e'
						AND d.refclassid = 'pg_extension'::regclass AND x.extname = 'eventstore')
		AND a.grantee <> c.relowner
		AND (a.privilege_type <> 'SELECT' OR a.grantee = 0)

	UNION ALL
	SELECT 'only the owner has rights on the relations, but for SELECT',
		   format('%s has %s on column %s of %s',
				  CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END,
				  a.privilege_type, t.attname, c.oid::regclass)
	FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid, aclexplode(t.attacl) a
	WHERE c.oid IN (SELECT d.objid FROM pg_depend d JOIN pg_extension x ON x.oid = d.refobjid
					WHERE d.classid = 'pg_class'::regclass AND d.deptype = 'e'
						AND d.refclassid = 'pg_extension'::regclass AND x.extname = 'eventstore')
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
COMMENT ON FUNCTION eventstore.verify(boolean, boolean, bigint) IS
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
	EXECUTE format('GRANT SELECT ON eventstore.events, eventstore.events_jsonb,
		eventstore.digests, eventstore.replication_status TO %I', role_name);
	EXECUTE format('GRANT EXECUTE ON FUNCTION
		eventstore.read_stream(text, bigint, bigint),
		eventstore.read_stream_backwards(text, bigint, bigint),
		eventstore.read_all(bigint, bigint),
		eventstore.read_all_backwards(bigint, bigint),
		eventstore.read_category(text, bigint, bigint),
		eventstore.read_visible(bigint, bigint),
		eventstore.read_event(uuid),
		eventstore.event_json(eventstore.events),
		eventstore.event_cloudevent(eventstore.events, text),
		eventstore.stream_version(text),
		eventstore.settled_position(bigint),
		eventstore.event_digest(eventstore.events),
		eventstore.current_digest(),
		eventstore.broken_digests(bigint, bigint, bytea),
		eventstore.verify_events(bigint, bigint),
		eventstore.verify_digest(bigint, bytea)
		TO %I', role_name);
	EXECUTE format('GRANT EXECUTE ON PROCEDURE
		eventstore.wait_for_events(bigint, interval, bigint)
		TO %I', role_name);
END
$$;
COMMENT ON FUNCTION eventstore.grant_reader(name) IS
	'let a role read events; it can''t append any by that';

CREATE FUNCTION eventstore.grant_subscriber(role_name name)
RETURNS void
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM eventstore.grant_reader(role_name);
	EXECUTE format('GRANT SELECT ON eventstore.subscription_status, eventstore.parked_events TO %I',
				   role_name);
	EXECUTE format('GRANT EXECUTE ON FUNCTION
		eventstore.save_checkpoint(text, bigint),
		eventstore.get_checkpoint(text),
		eventstore.create_subscription(text, text[], text[], bigint, integer, integer),
		eventstore.alter_subscription(text, text[], text[], integer, integer, bigint),
		eventstore.drop_subscription(text),
		eventstore.fetch_events(text, text, integer, interval),
		eventstore.ack_events(text, text, integer, bigint),
		eventstore.nack_event(text, text, integer, bigint, text, interval),
		eventstore.replay_parked(text, bigint[]),
		eventstore.stream_partition(text, integer)
		TO %I', role_name);
END
$$;
COMMENT ON FUNCTION eventstore.grant_subscriber(name) IS
	'let a role read events, keep checkpoints, and make and use subscriptions';

REVOKE ALL ON ALL ROUTINES IN SCHEMA eventstore FROM PUBLIC;

-- Who may use a type can make tables with columns of it, and so keep the owner
-- from altering or dropping it.
REVOKE USAGE ON TYPE
	eventstore.events, eventstore.events_jsonb, eventstore.digests, eventstore.watermark,
	eventstore.checkpoints, eventstore.subscriptions, eventstore.subscription_partitions,
	eventstore.subscription_streams, eventstore.subscription_parked,
	eventstore.subscription_layouts, eventstore.subscription_status, eventstore.parked_events,
	eventstore.replication_status
	FROM PUBLIC;
