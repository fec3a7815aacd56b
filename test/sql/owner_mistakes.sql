--
-- What the owner can do to the store by ALTER TABLE: nothing that changes an
-- event, and nothing that crashes a session.
--
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS eventstore CASCADE;
CREATE EXTENSION eventstore;
SELECT last_version FROM eventstore.append_event('Order-1', 'Placed', '1');

-- Through a parent table.
CREATE TABLE parent (version bigint);
ALTER TABLE eventstore.events INHERIT parent;
UPDATE parent SET version = 5;
DELETE FROM parent;
TRUNCATE parent;
ALTER TABLE eventstore.events NO INHERIT parent;
DROP TABLE parent;
SELECT version FROM eventstore.read_stream('Order-1');

-- As a partition.
BEGIN;
CREATE TABLE parent (LIKE eventstore.events INCLUDING CONSTRAINTS) PARTITION BY LIST (stream_type);
ALTER TABLE parent ATTACH PARTITION eventstore.events FOR VALUES IN ('Order');
SELECT FROM eventstore.append_event('Account-1', 'Opened', '1');
ROLLBACK;

-- A column that is added, and dropped again.
BEGIN;
ALTER TABLE eventstore.events ADD COLUMN more int;
SELECT FROM eventstore.append_event('Order-1', 'Paid', '2');
ROLLBACK;
ALTER TABLE eventstore.events ADD COLUMN more int;
ALTER TABLE eventstore.events DROP COLUMN more;
SELECT last_version FROM eventstore.append_event('Order-1', 'Paid', '2');
SELECT last_version FROM eventstore.append_events('Order-1',
	'[{"event_type": "Packed", "data": 3}, {"event_type": "Shipped", "data": 4}]');
SELECT version, event_type, data FROM eventstore.read_all();

-- What a crash would empty.
BEGIN;
ALTER TABLE eventstore.events SET UNLOGGED;
SAVEPOINT s;
SELECT FROM eventstore.append_event('Order-1', 'Paid', '2');
ROLLBACK TO s;
SELECT count(*) FROM eventstore.read_all();
ROLLBACK TO s;
ALTER TABLE eventstore.events SET LOGGED;
SELECT FROM eventstore.append_event('Order-1', 'Paid', '2');
ALTER TABLE eventstore.watermark SET UNLOGGED;
SELECT FROM eventstore.append_event('Order-1', 'Paid', '2');
ROLLBACK;

-- The sequence moved back, in a session that has appended before: what it
-- would hand out now, followers may have passed.
BEGIN;
SELECT nextval('eventstore.events_global_position_seq') IS NOT NULL AS left_out
FROM generate_series(1, 10);
SELECT last_position > 10 AS above FROM eventstore.append_event('Order-1', 'Paid', '2');
SELECT global_position - 5 AS gap, global_position AS last
FROM eventstore.read_all_backwards(NULL, 1) \gset
SAVEPOINT s;
SELECT setval('eventstore.events_global_position_seq', :gap) = :gap AS moved_back;
SELECT last_position FROM eventstore.append_event('Order-1', 'Paid', '2');
\echo :SQLSTATE
ROLLBACK TO s;
ALTER SEQUENCE eventstore.events_global_position_seq RESTART;
SELECT last_position FROM eventstore.append_event('Order-1', 'Paid', '2');
ROLLBACK TO s;
SELECT setval('eventstore.events_global_position_seq', :gap) = :gap AS moved_back;
SELECT invariant FROM eventstore.verify();
SELECT eventstore.continue_positions() = :last AS continued;
SELECT last_position = :last + 1 AS above FROM eventstore.append_event('Order-1', 'Paid', '2');
-- Rolled-back events were handed out, too.
SAVEPOINT t;
SELECT FROM eventstore.append_event('Order-1', 'Paid', '2');
ROLLBACK TO t;
SELECT setval('eventstore.events_global_position_seq', :last + 1) = :last + 1 AS moved_back;
SELECT eventstore.continue_positions() = :last + 2 AS continued;
SELECT last_position = :last + 3 AS above FROM eventstore.append_event('Order-1', 'Paid', '2');
ROLLBACK;

-- The watermark replaced by something else.
BEGIN;
ALTER TABLE eventstore.watermark RENAME TO renamed;
SELECT eventstore.settled_position();
ROLLBACK;
BEGIN;
ALTER TABLE eventstore.watermark RENAME TO renamed;
CREATE VIEW eventstore.watermark AS SELECT * FROM eventstore.renamed;
SELECT eventstore.settled_position();
ROLLBACK;
BEGIN;
ALTER TABLE eventstore.watermark RENAME TO renamed;
CREATE TABLE eventstore.watermark (x text, y text);
SELECT eventstore.settled_position();
ROLLBACK;

-- The events replaced by a view.
BEGIN;
ALTER TABLE eventstore.events RENAME TO renamed;
CREATE VIEW eventstore.events AS SELECT * FROM eventstore.renamed;
SELECT * FROM eventstore.rewritten_positions();
ROLLBACK;

-- The sequence altered.
BEGIN;
ALTER SEQUENCE eventstore.events_global_position_seq CACHE 10;
SELECT FROM eventstore.append_event('Order-1', 'Paid', '2');
ROLLBACK;

-- A stream with a name that has no type in it says its type once.
SELECT last_version FROM eventstore.append_event('-1', 'Placed', '1', stream_type => 'Order');
SELECT last_version FROM eventstore.append_event('-1', 'Paid', '2');
SELECT FROM eventstore.append_event('-2', 'Placed', '1');

-- PUBLIC gets no rights.
SELECT eventstore.grant_reader('public');
SELECT eventstore.grant_writer('public');

-- A pager that goes backwards ends in an empty page.
SELECT version FROM eventstore.read_stream_backwards('Order-1', 0);

SELECT invariant FROM eventstore.verify();
DROP EXTENSION eventstore;
