-- The table that the event store is measured against: the same shape and the
-- same indexes, written and read by plain SQL.
CREATE EXTENSION eventstore;
CREATE SCHEMA bench;
CREATE TABLE bench.events (LIKE eventstore.events);
CREATE SEQUENCE bench.position_seq;
ALTER TABLE bench.events
	ALTER global_position SET DEFAULT nextval('bench.position_seq'),
	ADD PRIMARY KEY (global_position),
	ADD UNIQUE (stream_id, version),
	ADD UNIQUE (event_id);
CREATE INDEX ON bench.events (stream_type, global_position);

-- A payload of 250 bytes.
CREATE FUNCTION bench.payload() RETURNS json LANGUAGE sql IMMUTABLE AS $$
	SELECT ('{"customer": "c-4711", "items": [{"sku": "A-100", "quantity": 2, "price": "19.90"}], "note": "'
			|| repeat('x', 153) || '"}')::json
$$;

-- One JSON array of 100 events, as a client would send it.
CREATE TABLE bench.batch AS
	SELECT json_agg(json_build_object('event_type', 'OrderPlaced', 'data', bench.payload()))::text AS events
	FROM generate_series(1, 100);

-- What the reads are measured on, in both tables: 1,000 streams of 100 events,
-- which came in turns, so that each stream is spread over the table.
DO $$
BEGIN
	FOR version IN 1 .. 100 LOOP
		FOR stream IN 1 .. 1000 LOOP
			PERFORM eventstore.append_event('Read-' || stream, 'OrderPlaced', bench.payload());
		END LOOP;
		COMMIT;
	END LOOP;
END
$$;
INSERT INTO bench.events SELECT * FROM eventstore.events ORDER BY global_position;
SELECT setval('bench.position_seq', (SELECT max(global_position) FROM bench.events));
VACUUM ANALYZE eventstore.events;
VACUUM ANALYZE bench.events;
