\set stream random(1, 1000000000000000)
INSERT INTO bench.events (version, created_at, event_id, stream_id, stream_type, event_type, schema_version, data) SELECT e.n, clock_timestamp(), gen_random_uuid(), 'Batch-' || :stream, 'Batch', e.event ->> 'event_type', 1, e.event -> 'data' FROM json_array_elements((SELECT events::json FROM bench.batch)) WITH ORDINALITY AS e (event, n);
