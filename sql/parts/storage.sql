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

