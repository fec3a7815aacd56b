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

