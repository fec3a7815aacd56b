-- What ./demo needs in its database.

CREATE EXTENSION eventstore;

-- Those who append can't read, those who follow can't append.
CREATE ROLE appender LOGIN;
CREATE ROLE follower LOGIN;
SELECT eventstore.grant_writer('appender'), eventstore.grant_reader('follower') \g /dev/null

-- Two followers of the whole store.  Each keeps what it saw, in the order in
-- which it saw it, and moves its checkpoint in the same transaction.
CREATE SCHEMA demo;

CREATE TABLE demo.follower (
	name		text PRIMARY KEY,
	checkpoint	bigint NOT NULL DEFAULT 0,
	polls		bigint NOT NULL DEFAULT 0
);
INSERT INTO demo.follower (name) VALUES ('live'), ('naive');

CREATE TABLE demo.seen (
	nr				bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	follower		text NOT NULL,
	global_position	bigint NOT NULL,
	event_id		uuid NOT NULL
);

-- The right way: read_all() stops in front of what is not settled.
CREATE FUNCTION demo.poll_live() RETURNS bigint LANGUAGE sql AS $$
	WITH batch AS MATERIALIZED (
		SELECT e.global_position, e.event_id
		FROM demo.follower f, eventstore.read_all(f.checkpoint, 500) e
		WHERE f.name = 'live'
	), kept AS (
		INSERT INTO demo.seen (follower, global_position, event_id)
		SELECT 'live', global_position, event_id FROM batch
	)
	UPDATE demo.follower
	SET checkpoint = greatest(checkpoint, (SELECT max(global_position) FROM batch)),
		polls = polls + 1
	WHERE name = 'live'
	RETURNING (SELECT count(*) FROM batch);
$$;

-- The way that suggests itself, and misses what commits late.
CREATE FUNCTION demo.poll_naive() RETURNS bigint LANGUAGE sql AS $$
	WITH batch AS MATERIALIZED (
		SELECT e.global_position, e.event_id
		FROM eventstore.events e
		WHERE e.global_position > (SELECT checkpoint FROM demo.follower WHERE name = 'naive')
		ORDER BY e.global_position
		LIMIT 500
	), kept AS (
		INSERT INTO demo.seen (follower, global_position, event_id)
		SELECT 'naive', global_position, event_id FROM batch
	)
	UPDATE demo.follower
	SET checkpoint = greatest(checkpoint, (SELECT max(global_position) FROM batch)),
		polls = polls + 1
	WHERE name = 'naive'
	RETURNING (SELECT count(*) FROM batch);
$$;

-- Wait until the store holds this many events.
CREATE FUNCTION demo.wait_for_events(wanted bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	WHILE (SELECT count(*) FROM eventstore.events) < wanted LOOP
		PERFORM pg_sleep(0.01);
	END LOOP;
END
$$;

GRANT USAGE ON SCHEMA demo TO appender, follower;
GRANT SELECT, UPDATE ON demo.follower TO follower;
GRANT INSERT ON demo.seen TO follower;

-- Everything that is appended from here on, for logical replication.
SELECT pg_create_logical_replication_slot('demo', 'eventstore') \g /dev/null
