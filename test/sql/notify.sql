--
-- Notifications by the appending transaction, and wait_for_events()
--
CREATE EXTENSION eventstore;
SELECT eventstore.uuid_v7() IS NOT NULL AS library_is_loaded;

-- The names and the default, without preloading
SHOW eventstore.notify;
SET eventstore.notify = 'worker';
\echo :SQLSTATE
SET eventstore.notify = 'perhaps';
SHOW eventstore.notify;
SET eventstore.notify = off;
SET eventstore.notify = transaction;
SET eventstore.watermark_interval = 1;
\echo :SQLSTATE
SELECT min_val, max_val FROM pg_settings WHERE name = 'eventstore.watermark_interval';

--
-- What is announced.  psql would print a process id with each notification,
-- so another session shows them.
--
CREATE EXTENSION dblink;
SELECT format('host=%L port=%s user=%I dbname=%I',
			  split_part(current_setting('unix_socket_directories'), ', ', 1),
			  current_setting('port'), current_user, current_database()) AS here \gset
SELECT dblink_connect('listener', :'here');
SELECT dblink_exec('listener', 'LISTEN eventstore');
-- A notification comes with the end of a command at the latest.
CREATE FUNCTION heard() RETURNS TABLE (channel text, payload text) LANGUAGE sql AS $$
	SELECT dblink_exec('listener', 'LISTEN eventstore');
	SELECT notify_name, extra FROM dblink_get_notify('listener');
$$;

SELECT last_position FROM eventstore.append_event('Order-1', 'T', '1');
SELECT * FROM heard();
-- one for a transaction, the last position
BEGIN;
SELECT last_position FROM eventstore.append_event('Order-1', 'T', '2');
SELECT last_position FROM eventstore.append_events('Order-2', '[{"event_type":"T","data":3},{"event_type":"T","data":4}]');
COMMIT;
SELECT * FROM heard();
-- none for a rollback
BEGIN;
SELECT last_position FROM eventstore.append_event('Order-1', 'T', '5');
ROLLBACK;
SELECT * FROM heard();
-- none for a repetition
SELECT last_position, deduplicated FROM eventstore.append_event('Order-3', 'T', '6', event_id => '00000006-0000-4000-8000-000000000000');
SELECT last_position, deduplicated FROM eventstore.append_event('Order-3', 'T', '6', event_id => '00000006-0000-4000-8000-000000000000');
SELECT * FROM heard();
-- none for a failed append
SELECT last_position FROM eventstore.append_event('Order-1', 'T', '7', expected_version => 99);
SELECT * FROM heard();

-- savepoints: what is left counts
BEGIN;
SELECT last_position FROM eventstore.append_event('Order-1', 'T', '8');
SAVEPOINT a;
SELECT last_position FROM eventstore.append_event('Order-1', 'T', '9');
SAVEPOINT b;
SELECT last_position FROM eventstore.append_event('Order-1', 'T', '10');
ROLLBACK TO b;
RELEASE a;
SAVEPOINT c;
SELECT last_position FROM eventstore.append_event('Order-1', 'T', '11');
ROLLBACK TO c;
COMMIT;
SELECT * FROM heard();
BEGIN;
SAVEPOINT a;
SELECT last_position FROM eventstore.append_event('Order-1', 'T', '12');
ROLLBACK TO a;
COMMIT;
SELECT * FROM heard();
BEGIN;
SAVEPOINT a;
SAVEPOINT b;
SELECT last_position FROM eventstore.append_event('Order-1', 'T', '13');
RELEASE b;
RELEASE a;
SAVEPOINT c;
ROLLBACK TO c;
COMMIT;
SELECT * FROM heard();
BEGIN;
SAVEPOINT a;
SAVEPOINT b;
SELECT last_position FROM eventstore.append_event('Order-1', 'T', '14');
RELEASE b;
ROLLBACK TO a;
COMMIT;
SELECT * FROM heard();

-- off, for one transaction
BEGIN;
SET LOCAL eventstore.notify = off;
SELECT last_position FROM eventstore.append_event('Order-1', 'T', '15');
COMMIT;
SELECT * FROM heard();
-- as it is when the event is appended
BEGIN;
SELECT last_position FROM eventstore.append_event('Order-1', 'T', '16');
SET LOCAL eventstore.notify = off;
SELECT last_position FROM eventstore.append_event('Order-1', 'T', '17');
COMMIT;
SELECT * FROM heard();
-- beside notifications of the transaction's own
BEGIN;
NOTIFY eventstore, 'mine';
SELECT last_position FROM eventstore.append_event('Order-1', 'T', '18');
COMMIT;
SELECT * FROM heard();

-- an append of a deferred trigger
CREATE FUNCTION append_again() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM eventstore.append_event('Deferred-1', 'T', '1');
	RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER again AFTER INSERT ON eventstore.events
	DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
	WHEN (NEW.stream_id = 'Order-1') EXECUTE FUNCTION append_again();
SELECT last_position FROM eventstore.append_event('Order-1', 'T', '19');
SELECT * FROM heard();
DROP TRIGGER again ON eventstore.events;
DROP FUNCTION append_again();

--
-- wait_for_events()
--
SELECT eventstore.settled_position() AS settled \gset
SELECT eventstore.wait_for_events(0) = :settled AS at_once;
SELECT eventstore.wait_for_events(:settled - 1, '0') = :settled AS at_once;
SELECT eventstore.wait_for_events(:settled, '0');
SELECT eventstore.wait_for_events(:settled, '0.2 s');
SELECT eventstore.wait_for_events(9223372036854775807, '1 ms');
SELECT eventstore.wait_for_events(0, '100000000 days') = :settled AS at_once;
SELECT eventstore.wait_for_events(0, '-1 day 24:00:00') = :settled AS at_once;

-- The statement that appends would wait for itself.
SELECT eventstore.wait_for_events(:settled)
FROM eventstore.append_event('Wait-1', 'T', '1');
\echo :SQLSTATE
SELECT eventstore.wait_for_events(NULL);
SELECT eventstore.wait_for_events(-1);
SELECT eventstore.wait_for_events(0, NULL);
SELECT eventstore.wait_for_events(0, '-1 ms');
SELECT eventstore.wait_for_events(0, '1 month');
SELECT eventstore.wait_for_events(0, '1 year -360 days');
SELECT eventstore.wait_for_events(0, '2147483647 days 2562047788 hours');

-- A transaction that keeps its snapshot could not read what it waited for.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT eventstore.wait_for_events(0);
\echo :SQLSTATE
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT eventstore.wait_for_events(0);
ROLLBACK;
-- In a read-only one it can wait; and for what it has appended itself.
BEGIN READ ONLY;
SELECT eventstore.wait_for_events(0) = :settled AS at_once;
COMMIT;
BEGIN;
SELECT last_position FROM eventstore.append_event('Order-1', 'T', '20') \gset
SELECT eventstore.wait_for_events(:settled) = :last_position AS at_once;
ROLLBACK;

-- It can be cancelled.
SET statement_timeout = '100ms';
SELECT eventstore.wait_for_events(:settled);
RESET statement_timeout;

-- It needs the rights of a reader.
CREATE ROLE regress_es_waiter;
SET ROLE regress_es_waiter;
SELECT eventstore.wait_for_events(0);
RESET ROLE;
GRANT USAGE ON SCHEMA eventstore TO regress_es_waiter;
GRANT EXECUTE ON FUNCTION eventstore.wait_for_events TO regress_es_waiter;
SET ROLE regress_es_waiter;
SELECT eventstore.wait_for_events(0);
RESET ROLE;
SELECT eventstore.grant_reader('regress_es_waiter');
SET ROLE regress_es_waiter;
SELECT eventstore.wait_for_events(0) = :settled AS at_once;
RESET ROLE;

-- Another session commits while this one waits.
SELECT dblink_send_query('listener', $$
	SELECT pg_sleep(0.2), last_position FROM eventstore.append_event('Order-9', 'T', '1')$$);
SELECT eventstore.wait_for_events(:settled, '60 s') > :settled AS woken;
SELECT count(*) FROM dblink_get_result('listener') AS r (slept text, last_position bigint);
SELECT count(*) FROM dblink_get_result('listener') AS r (slept text, last_position bigint);

-- The store is dropped while this one waits.
SELECT eventstore.settled_position() AS settled \gset
SELECT dblink_send_query('listener', $$
	SELECT pg_sleep(0.2); DROP EXTENSION eventstore$$);
SELECT eventstore.wait_for_events(:settled, '60 s');
\echo :SQLSTATE
SELECT dblink_disconnect('listener');

DROP OWNED BY regress_es_waiter;
DROP ROLE regress_es_waiter;
DROP FUNCTION heard();
DROP EXTENSION dblink;
