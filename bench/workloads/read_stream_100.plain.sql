\set stream random(1, 1000)
SELECT * FROM bench.events WHERE stream_id = 'Read-' || :stream ORDER BY version;
