\set stream random(1, 1000)
SELECT * FROM eventstore.read_stream('Read-' || :stream);
