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

