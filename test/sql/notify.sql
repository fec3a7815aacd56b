--
-- Notifications, and wait_for_events()
--
CREATE EXTENSION eventstore;
SELECT eventstore.uuid_v7() IS NOT NULL AS library_is_loaded;

-- The names and the default
SHOW eventstore.notify;
SET eventstore.notify = 'perhaps';
SHOW eventstore.notify;
SET eventstore.notify = off;
SET eventstore.notify = worker;
SET eventstore.watermark_interval = 1;
\echo :SQLSTATE
SELECT min_val, max_val FROM pg_settings WHERE name = 'eventstore.watermark_interval';

--
-- What the appending transaction announces itself.  psql would print a process
-- id with each notification, so another session shows them.
--
\getenv srcdir PG_ABS_SRCDIR
\set by_hand :srcdir '/sql/include/by_hand.sql'
\i :by_hand
SET eventstore.notify = transaction;
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

RESET eventstore.notify;

--
-- wait_for_events()
--
SELECT eventstore.settled_position() AS settled, eventstore.settled_position() - 1 AS before \gset
CALL eventstore.wait_for_events(0) \gset now_
SELECT :now_settled_position = :settled AS at_once;
CALL eventstore.wait_for_events(after_position => :before, timeout => '0') \gset now_
SELECT :now_settled_position = :settled AS at_once;
CALL eventstore.wait_for_events(:settled, '0');
CALL eventstore.wait_for_events(:settled, '0.2 s');
CALL eventstore.wait_for_events(9223372036854775807, '1 ms');
CALL eventstore.wait_for_events(0, '100000000 days') \gset now_
SELECT :now_settled_position = :settled AS at_once;
CALL eventstore.wait_for_events(0, '-1 day 24:00:00') \gset now_
SELECT :now_settled_position = :settled AS at_once;

CALL eventstore.wait_for_events(NULL);
CALL eventstore.wait_for_events(-1);
CALL eventstore.wait_for_events(0, NULL);
CALL eventstore.wait_for_events(0, '-1 ms');
CALL eventstore.wait_for_events(0, '1 month');
CALL eventstore.wait_for_events(0, '1 year -360 days');
CALL eventstore.wait_for_events(0, '2147483647 days 2562047788 hours');

-- It can't let go of the snapshots and locks of a transaction block.
BEGIN;
SELECT last_position FROM eventstore.append_event('Order-1', 'T', '21');
CALL eventstore.wait_for_events(0);
\echo :SQLSTATE
ROLLBACK;
CREATE FUNCTION wait() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	settled bigint;
BEGIN
	CALL eventstore.wait_for_events(0, '0', settled);
END
$$;
SELECT wait();
DROP FUNCTION wait();
-- A procedure can be a loop around it, whatever the isolation level; what it
-- has done before is committed.
SET default_transaction_isolation = serializable;
DO $$
DECLARE
	settled bigint := 0;
	last bigint;
	n int;
BEGIN
	FOR i IN 1 .. 3 LOOP
		SELECT last_position INTO last FROM eventstore.append_event('Wait-1', 'T', '1');
		CALL eventstore.wait_for_events(settled, '10 s', settled);
		SELECT count(*) INTO n FROM eventstore.read_stream('Wait-1');
		RAISE NOTICE 'settled up to the last: %, events: %, isolation: %',
			settled = last, n, current_setting('transaction_isolation');
	END LOOP;
	CALL eventstore.wait_for_events(settled, '1 ms', settled);
	RAISE NOTICE 'nothing new: %', settled;
END
$$;
RESET default_transaction_isolation;
SET default_transaction_read_only = on;
CALL eventstore.wait_for_events(0) \gset now_
SELECT :now_settled_position > :settled AS at_once;
RESET default_transaction_read_only;
SELECT eventstore.settled_position() AS settled \gset

-- It can be cancelled.
SET statement_timeout = '100ms';
CALL eventstore.wait_for_events(:settled);
RESET statement_timeout;

-- It needs the rights of a reader.
CREATE ROLE regress_es_waiter;
SET ROLE regress_es_waiter;
CALL eventstore.wait_for_events(0);
RESET ROLE;
GRANT USAGE ON SCHEMA eventstore TO regress_es_waiter;
GRANT EXECUTE ON PROCEDURE eventstore.wait_for_events TO regress_es_waiter;
SET ROLE regress_es_waiter;
CALL eventstore.wait_for_events(0);
RESET ROLE;
SELECT eventstore.grant_reader('regress_es_waiter');
SET ROLE regress_es_waiter;
CALL eventstore.wait_for_events(0) \gset now_
SELECT :now_settled_position = :settled AS at_once;
RESET ROLE;

-- Another session commits while this one waits.
SELECT dblink_send_query('listener', $$
	SELECT pg_sleep(0.2), last_position FROM eventstore.append_event('Order-9', 'T', '1')$$);
CALL eventstore.wait_for_events(:settled, '60 s') \gset now_
SELECT :now_settled_position > :settled AS woken;
SELECT count(*) FROM dblink_get_result('listener') AS r (slept text, last_position bigint);
SELECT count(*) FROM dblink_get_result('listener') AS r (slept text, last_position bigint);

-- The store is dropped while this one waits.
SELECT eventstore.settled_position() AS settled \gset
SELECT dblink_send_query('listener', $$
	SELECT pg_sleep(0.2); DROP EXTENSION eventstore$$);
CALL eventstore.wait_for_events(:settled, '60 s');
\echo :SQLSTATE
SELECT dblink_disconnect('listener');

DROP OWNED BY regress_es_waiter;
DROP ROLE regress_es_waiter;
DROP FUNCTION heard();
DROP EXTENSION dblink;
