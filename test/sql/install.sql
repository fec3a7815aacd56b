--
-- The extension comes and goes, and so do its relations under a session that
-- has used them.
--

CREATE EXTENSION eventstore;
CREATE EXTENSION eventstore;
ALTER EXTENSION eventstore SET SCHEMA public;
DROP TABLE eventstore.events;
DROP FUNCTION eventstore.read_event(uuid);

-- A database owner without superuser rights can't install C code.
DROP EXTENSION eventstore;
CREATE ROLE regress_es_nobody;
SET ROLE regress_es_nobody;
CREATE EXTENSION eventstore;
RESET ROLE;
DROP ROLE regress_es_nobody;

-- The schema is the extension's alone.
CREATE SCHEMA eventstore;
\set VERBOSITY terse
CREATE EXTENSION eventstore;
\set VERBOSITY default
DROP SCHEMA eventstore;

-- One session sees the extension dropped and created again.
CREATE EXTENSION eventstore;
SELECT * FROM eventstore.append_event('Order-1', 'Placed', '{}');
PREPARE reading AS
	SELECT global_position, version, event_type FROM eventstore.read_stream('Order-1');
PREPARE appending AS
	SELECT * FROM eventstore.append_event('Order-1', 'Paid', '{}');
EXECUTE appending;
EXECUTE reading;
DROP EXTENSION eventstore;
EXECUTE reading;
EXECUTE appending;
CREATE EXTENSION eventstore;
EXECUTE reading;
EXECUTE appending;
EXECUTE reading;

-- ... and that taken back.
BEGIN;
DROP EXTENSION eventstore;
CREATE EXTENSION eventstore;
EXECUTE reading;
SELECT * FROM eventstore.append_events('Other-1',
	'[{"event_type":"A","data":1},{"event_type":"B","data":2},{"event_type":"C","data":3}]');
SELECT eventstore.settled_position();
ROLLBACK;
EXECUTE appending;
EXECUTE reading;
SELECT eventstore.settled_position(), eventstore.stream_version('Other-1');

-- What users build on the events is not dropped behind their backs.
CREATE VIEW order_events AS SELECT * FROM eventstore.read_stream('Order-1');
DROP EXTENSION eventstore;
DROP EXTENSION eventstore CASCADE;
