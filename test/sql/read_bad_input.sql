--
-- What the read functions refuse, and what they say
--

CREATE EXTENSION eventstore;
SELECT last_version FROM eventstore.append_event('A-1', 'T', '1');
\getenv srcdir PG_ABS_SRCDIR
\set outcome :srcdir '/sql/include/outcome.sql'
\i :outcome

\pset format unaligned
\pset tuples_only on
SELECT call || E'\n' || pg_temp.outcome('SELECT count(*) FROM eventstore.' || call)
FROM (VALUES
	('read_stream(NULL)'),
	('read_stream(''A-1'', NULL)'),
	('read_stream(''A-1'', 0)'),
	('read_stream(''A-1'', -9223372036854775808)'),
	('read_stream(''A-1'', 1, -1)'),
	('read_stream(NULL, NULL, NULL)'),
	('read_stream_backwards(NULL)'),
	('read_stream_backwards(''A-1'', -1)'),
	('read_stream_backwards(''A-1'', NULL, -1)'),
	('read_all(NULL)'),
	('read_all(-1)'),
	('read_all(0, -1)'),
	('read_all_backwards(-1)'),
	('read_all_backwards(NULL, -9223372036854775808)'),
	('read_category(NULL)'),
	('read_category(''A'', NULL)'),
	('read_category(''A'', -1)'),
	('read_category(''A'', 0, -1)'),
	('read_event(NULL)')) AS v (call);
SELECT call || E'\n' || pg_temp.outcome('SELECT eventstore.' || call)
FROM (VALUES
	('stream_version(NULL)'),
	('settled_position(NULL)'),
	('settled_position(-1)')) AS v (call);

-- Pages of all that is visible are of one snapshot.
SELECT 'read_visible()' || E'\n' || pg_temp.outcome('SELECT count(*) FROM eventstore.read_visible()');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT call || E'\n' || pg_temp.outcome('SELECT count(*) FROM eventstore.' || call)
FROM (VALUES
	('read_visible()'),
	('read_visible(NULL)'),
	('read_visible(-1)'),
	('read_visible(0, -1)')) AS v (call);
COMMIT;

-- After all that the session reads on.
SELECT version FROM eventstore.read_stream('A-1');

DROP EXTENSION eventstore;
