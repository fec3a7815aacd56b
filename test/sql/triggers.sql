--
-- Triggers on eventstore.events fire as they do for an INSERT.
--

CREATE EXTENSION eventstore;

CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE NOTICE '% % %: %', TG_WHEN, TG_LEVEL, TG_OP,
		coalesce(NEW.stream_id || ' ' || NEW.version || ' at ' || NEW.global_position || ' ' ||
				 NEW.event_type || ' ' || coalesce(NEW.data::text, NEW.binary_data::text), 'no row');
	RETURN NEW;
END
$$;

--
-- Rows, statements, and in which order
--
CREATE TRIGGER t1_before_statement BEFORE INSERT ON eventstore.events
	FOR EACH STATEMENT EXECUTE FUNCTION tell();
CREATE TRIGGER t2_row AFTER INSERT ON eventstore.events
	FOR EACH ROW EXECUTE FUNCTION tell();
CREATE TRIGGER t3_statement AFTER INSERT ON eventstore.events
	FOR EACH STATEMENT EXECUTE FUNCTION tell();
CREATE TRIGGER t4_when AFTER INSERT ON eventstore.events
	FOR EACH ROW WHEN (NEW.event_type = 'Paid') EXECUTE FUNCTION tell();
SELECT last_version FROM eventstore.append_events('Order-1',
	'[{"event_type":"Placed","data":1},{"event_type":"Paid","data":2},{"event_type":"Sent","binary_data":"AAH/"}]');
SELECT last_version FROM eventstore.append_event('Order-2', 'Placed', '1');
-- Each append of a statement is a statement to them.
SELECT last_version FROM generate_series(3, 4) i, eventstore.append_event('Order-' || i, 'Placed', '1');
-- An append that is a repetition fires none.
SELECT deduplicated FROM eventstore.append_event('Order-5', 'Placed', '1',
	event_id => '00000000-0000-4000-8000-000000000001');
SELECT deduplicated FROM eventstore.append_event('Order-5', 'Placed', '1',
	event_id => '00000000-0000-4000-8000-000000000001');
-- One that fails fires none either.
SELECT eventstore.append_event('Order-5', 'Placed', '1', 0);
-- In replica mode only the triggers that are meant for it fire.
ALTER TABLE eventstore.events ENABLE REPLICA TRIGGER t3_statement;
ALTER TABLE eventstore.events DISABLE TRIGGER t4_when;
SELECT last_version FROM eventstore.append_event('Order-6', 'Paid', '1');
SET session_replication_role = replica;
SELECT last_version FROM eventstore.append_event('Order-6', 'Paid', '1');
RESET session_replication_role;
DROP TRIGGER t1_before_statement ON eventstore.events;
DROP TRIGGER t2_row ON eventstore.events;
DROP TRIGGER t3_statement ON eventstore.events;
DROP TRIGGER t4_when ON eventstore.events;

--
-- Transition tables hold the append's events, and no others.
--
CREATE FUNCTION sum_up() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE NOTICE '% events of %, versions % to %, data %, % stored',
		(SELECT count(*) FROM appended), (SELECT min(stream_id) FROM appended),
		(SELECT min(version) FROM appended), (SELECT max(version) FROM appended),
		(SELECT sum((data::text)::int) FROM appended),
		(SELECT count(*) FROM appended JOIN eventstore.events USING (global_position, event_id));
	RETURN NULL;
END
$$;
CREATE TRIGGER sums AFTER INSERT ON eventstore.events
	REFERENCING NEW TABLE AS appended FOR EACH STATEMENT EXECUTE FUNCTION sum_up();
SELECT last_version FROM eventstore.append_events('Sum-1',
	'[{"event_type":"A","data":1},{"event_type":"B","data":20}]');
SELECT last_version FROM eventstore.append_event('Sum-1', 'C', '300');
SELECT last_version FROM eventstore.append_events('Sum-2',
	(SELECT json_agg(json_build_object('event_type', 'T', 'data', i)) FROM generate_series(1, 2500) i));
DROP TRIGGER sums ON eventstore.events;

--
-- A projection in the same transaction
--
CREATE TABLE totals (stream_id text PRIMARY KEY, version bigint, total numeric);
CREATE FUNCTION project() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.event_type = 'Refused' THEN
		RAISE EXCEPTION 'version % is refused', NEW.version;
	END IF;
	INSERT INTO totals VALUES (NEW.stream_id, NEW.version, (NEW.data->>'amount')::numeric)
	ON CONFLICT (stream_id) DO UPDATE
		SET version = excluded.version, total = totals.total + excluded.total;
	RETURN NULL;
END
$$;
CREATE TRIGGER project AFTER INSERT ON eventstore.events
	FOR EACH ROW EXECUTE FUNCTION project();
SELECT last_version FROM eventstore.append_events('Sale-1',
	'[{"event_type":"A","data":{"amount":1.5}},{"event_type":"B","data":{"amount":2}}]');
SELECT last_version FROM eventstore.append_event('Sale-1', 'C', '{"amount":-1}');
BEGIN;
SELECT last_version FROM eventstore.append_event('Sale-1', 'C', '{"amount":100}');
TABLE totals;
ROLLBACK;
-- What the trigger refuses is not stored; the error says where.
SELECT eventstore.append_events('Sale-1',
	'[{"event_type":"A","data":{"amount":1}},{"event_type":"Refused","data":{"amount":1}}]');
TABLE totals;
SELECT eventstore.stream_version('Sale-1');
DROP TRIGGER project ON eventstore.events;

--
-- Constraint triggers, at once and at the transaction's end
--
CREATE FUNCTION check_pair() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF eventstore.stream_version(NEW.stream_id) % 2 <> 0 THEN
		RAISE EXCEPTION 'stream % has an odd number of events', NEW.stream_id;
	END IF;
	RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER pairs AFTER INSERT ON eventstore.events
	DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.stream_type = 'Pair')
	EXECUTE FUNCTION check_pair();
SELECT eventstore.append_event('Pair-1', 'T', '1');
BEGIN;
SELECT last_version FROM eventstore.append_event('Pair-1', 'T', '1');
SELECT last_version FROM eventstore.append_event('Pair-1', 'T', '1');
COMMIT;
BEGIN;
SELECT last_version FROM eventstore.append_event('Pair-1', 'T', '1');
SET CONSTRAINTS ALL IMMEDIATE;
ROLLBACK;
BEGIN;
SET CONSTRAINTS ALL IMMEDIATE;
SELECT last_version FROM eventstore.append_events('Pair-1', '[{"event_type":"T","data":1},{"event_type":"T","data":1}]');
SELECT last_version FROM eventstore.append_event('Pair-1', 'T', '1');
ROLLBACK;
SELECT eventstore.stream_version('Pair-1');
DROP TRIGGER pairs ON eventstore.events;

--
-- A trigger can append, to another stream or to its own.
--
CREATE FUNCTION answer() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.event_type = 'Question' THEN
		PERFORM eventstore.append_event('Answers', 'Answer', NEW.data, causation_id => NEW.event_id);
		PERFORM eventstore.append_event(NEW.stream_id, 'Answered', NEW.data, causation_id => NEW.event_id);
	END IF;
	RETURN NULL;
END
$$;
CREATE TRIGGER answer AFTER INSERT ON eventstore.events
	FOR EACH ROW EXECUTE FUNCTION answer();
SELECT last_version FROM eventstore.append_events('Talk-1',
	'[{"event_type":"Question","data":1},{"event_type":"Question","data":2}]', 0);
SELECT last_version FROM eventstore.append_event('Talk-1', 'Question', '3', 4);
SELECT a.version, a.event_type, a.data, q.version AS caused_by
FROM eventstore.read_stream('Talk-1') a LEFT JOIN eventstore.events q ON q.event_id = a.causation_id
ORDER BY a.version;
SELECT version, data FROM eventstore.read_stream('Answers');
DROP TRIGGER answer ON eventstore.events;

-- Without an end that is an error, and the session survives it.
CREATE FUNCTION echo() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM eventstore.append_event('Echo-1', 'Echo', '1');
	RETURN NULL;
END
$$;
CREATE TRIGGER echo AFTER INSERT ON eventstore.events
	FOR EACH ROW EXECUTE FUNCTION echo();
\set VERBOSITY sqlstate
SELECT eventstore.append_event('Echo-1', 'T', '1');
\set VERBOSITY default
DROP TRIGGER echo ON eventstore.events;
SELECT last_version FROM eventstore.append_event('Echo-1', 'T', '1', 0);

-- A trigger can't alter the table while it is being written.
CREATE FUNCTION alter_table() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	CREATE INDEX ON eventstore.events (event_type);
	RETURN NULL;
END
$$;
CREATE TRIGGER alter_table AFTER INSERT ON eventstore.events
	FOR EACH STATEMENT EXECUTE FUNCTION alter_table();
SELECT eventstore.append_event('Echo-1', 'T', '1');
DROP TRIGGER alter_table ON eventstore.events;

--
-- Triggers run with the appender's rights.
--
CREATE ROLE regress_es_writer;
SELECT eventstore.grant_writer('regress_es_writer');
CREATE FUNCTION who() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE NOTICE 'as %', current_user;
	RETURN NULL;
END
$$;
CREATE TRIGGER who AFTER INSERT ON eventstore.events
	FOR EACH ROW EXECUTE FUNCTION who();
SET ROLE regress_es_writer;
SELECT last_version FROM eventstore.append_event('Who-1', 'T', '1');
RESET ROLE;
DROP TRIGGER who ON eventstore.events;

--
-- What an append could not honour is refused.
--
CREATE TRIGGER before_row BEFORE INSERT ON eventstore.events
	FOR EACH ROW EXECUTE FUNCTION tell();
SELECT eventstore.append_event('Order-1', 'T', '1');
\echo :SQLSTATE
SELECT eventstore.append_events('Order-1', '[{"event_type":"T","data":1}]');
-- ... unless it is switched off.
ALTER TABLE eventstore.events DISABLE TRIGGER before_row;
SELECT last_version FROM eventstore.append_event('Off-1', 'T', '1');
DROP TRIGGER before_row ON eventstore.events;
CREATE RULE mute AS ON INSERT TO eventstore.events DO INSTEAD NOTHING;
SELECT eventstore.append_event('Order-1', 'T', '1');
\echo :SQLSTATE
ALTER TABLE eventstore.events DISABLE RULE mute;
SELECT last_version FROM eventstore.append_event('Off-1', 'T', '1');
DROP RULE mute ON eventstore.events;
-- Triggers and rules for other commands do not matter.
CREATE RULE tell AS ON DELETE TO eventstore.events DO ALSO NOTIFY regress_es;
CREATE TRIGGER before_update BEFORE UPDATE ON eventstore.events
	FOR EACH ROW EXECUTE FUNCTION tell();
SELECT last_version FROM eventstore.append_event('Off-1', 'T', '1');
DROP TRIGGER before_update ON eventstore.events;
DROP RULE tell ON eventstore.events;

DROP TABLE totals;
DROP EXTENSION eventstore;
DROP FUNCTION tell(), sum_up(), project(), check_pair(), answer(), echo(), alter_table(), who();
DROP ROLE regress_es_writer;
