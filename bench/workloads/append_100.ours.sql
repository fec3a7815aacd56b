\set stream random(1, 1000000000000000)
SELECT first_version, first_position FROM eventstore.append_events('Batch-' || :stream, (SELECT events::json FROM bench.batch));
