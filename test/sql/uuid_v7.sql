--
-- uuid_v7 and the event ids that are made with it
--

CREATE EXTENSION eventstore;

CREATE VIEW fields AS
SELECT id,
	   substr(id::text, 15, 1) AS version,
	   ('x' || substr(id::text, 20, 1))::bit(4)::int >> 2 AS variant,
	   ('x0000' || replace(substr(id::text, 1, 13), '-', ''))::bit(64)::bigint AS ms,
	   right(id::text, 18) AS random
FROM (SELECT eventstore.uuid_v7() FROM generate_series(1, 20000)) u (id);

CREATE TABLE made AS
	SELECT row_number() OVER () AS n, f.*, clock_timestamp() AS at FROM fields f;
SELECT count(*), count(DISTINCT id) AS distinct_ids, count(DISTINCT random) > 19990 AS random,
	   min(version) AS min_version, max(version) AS max_version,
	   min(variant) AS min_variant, max(variant) AS max_variant
FROM made;
-- strictly increasing in the order in which they were made, also within a millisecond
SELECT count(*) FILTER (WHERE id > previous) AS increasing, count(*) FILTER (WHERE id <= previous) AS others
FROM (SELECT id, lag(id) OVER (ORDER BY n) AS previous FROM made) m;
SELECT count(DISTINCT ms) < count(*) AS several_in_a_millisecond FROM made;
-- the wall clock, in milliseconds since 1970
SELECT bool_and(abs(ms - extract(epoch FROM at) * 1000) < 60000) AS is_time FROM made;
-- all bits that are to be random are
SELECT bool_and(ones BETWEEN 9000 AND 11000) AS even
FROM (SELECT sum(get_bit(decode(replace(id::text, '-', ''), 'hex'), b)) AS ones
	  FROM made, generate_series(64, 127) b
	  WHERE b NOT IN (70, 71)	-- the variant
	  GROUP BY b) bits;
DROP TABLE made;
DROP VIEW fields;

-- Each call makes one, also within a statement and in a rolled-back one.
SELECT eventstore.uuid_v7() <> eventstore.uuid_v7() AS differ,
	   eventstore.uuid_v7() < eventstore.uuid_v7() AS ordered;
SELECT eventstore.uuid_v7() AS before \gset
BEGIN;
SELECT eventstore.uuid_v7() > :'before' AS later, eventstore.uuid_v7() AS within \gset
ROLLBACK;
SELECT :'later' AS later, eventstore.uuid_v7() > :'within' AS later_still;

-- Events without an id get one of these, in the order of the batch.
SELECT eventstore.uuid_v7() AS before \gset
SELECT last_version FROM eventstore.append_events('Order-1',
	(SELECT json_agg(json_build_object('event_type', 'T', 'data', i)) FROM generate_series(1, 3000) i));
SELECT last_version FROM eventstore.append_event('Order-1', 'T', '1');
SELECT count(*), count(*) FILTER (WHERE event_id > previous) AS increasing,
	   bool_and(event_id::text ~ '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$') AS v7
FROM (SELECT event_id, lag(event_id, 1, :'before') OVER (ORDER BY version) AS previous
	  FROM eventstore.read_stream('Order-1')) e;

DROP EXTENSION eventstore;
