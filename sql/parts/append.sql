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

