--
-- Guard
--

CREATE FUNCTION eventstore.guard()
RETURNS trigger
LANGUAGE c
AS 'MODULE_PATHNAME', 'eventstore_guard';
COMMENT ON FUNCTION eventstore.guard() IS
	'trigger function that refuses to change or remove events (ST004), and writes of others than the owner';

CREATE TRIGGER guard_update BEFORE UPDATE ON eventstore.events
	FOR EACH STATEMENT EXECUTE FUNCTION eventstore.guard();
CREATE TRIGGER guard_delete BEFORE DELETE ON eventstore.events
	FOR EACH STATEMENT EXECUTE FUNCTION eventstore.guard();
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON eventstore.events
	FOR EACH STATEMENT EXECUTE FUNCTION eventstore.guard();
CREATE TRIGGER guard_update_row BEFORE UPDATE ON eventstore.events
	FOR EACH ROW EXECUTE FUNCTION eventstore.guard();
CREATE TRIGGER guard_delete_row BEFORE DELETE ON eventstore.events
	FOR EACH ROW EXECUTE FUNCTION eventstore.guard();

CREATE TRIGGER guard_insert BEFORE INSERT ON eventstore.events
	FOR EACH STATEMENT EXECUTE FUNCTION eventstore.guard();
CREATE TRIGGER guard_insert BEFORE INSERT ON eventstore.digests
	FOR EACH STATEMENT EXECUTE FUNCTION eventstore.guard();
CREATE TRIGGER guard_update BEFORE UPDATE ON eventstore.digests
	FOR EACH STATEMENT EXECUTE FUNCTION eventstore.guard();
CREATE TRIGGER guard_delete BEFORE DELETE ON eventstore.digests
	FOR EACH STATEMENT EXECUTE FUNCTION eventstore.guard();
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON eventstore.digests
	FOR EACH STATEMENT EXECUTE FUNCTION eventstore.guard();
CREATE TRIGGER guard_update_row BEFORE UPDATE ON eventstore.digests
	FOR EACH ROW EXECUTE FUNCTION eventstore.guard();
CREATE TRIGGER guard_delete_row BEFORE DELETE ON eventstore.digests
	FOR EACH ROW EXECUTE FUNCTION eventstore.guard();
CREATE TRIGGER guard_owner BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON eventstore.watermark
	FOR EACH STATEMENT EXECUTE FUNCTION eventstore.guard('owner');

CREATE FUNCTION eventstore.guard_rewrite()
RETURNS event_trigger
LANGUAGE c
AS 'MODULE_PATHNAME', 'eventstore_guard_rewrite';
COMMENT ON FUNCTION eventstore.guard_rewrite() IS
	'event-trigger function that refuses to compute columns of events anew (ST004)';

CREATE EVENT TRIGGER eventstore_guard_rewrite ON table_rewrite
	EXECUTE FUNCTION eventstore.guard_rewrite();
ALTER EVENT TRIGGER eventstore_guard_rewrite ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER eventstore_guard_rewrite IS 'events are immutable, for ALTER TABLE, too';

CREATE FUNCTION eventstore.receive_watermark()
RETURNS trigger
LANGUAGE c
AS 'MODULE_PATHNAME', 'eventstore_receive_watermark';
COMMENT ON FUNCTION eventstore.receive_watermark() IS
	'hold back a watermark that a subscription brings until all events are there';

CREATE TRIGGER receive BEFORE INSERT OR UPDATE ON eventstore.watermark
	FOR EACH ROW EXECUTE FUNCTION eventstore.receive_watermark();

CREATE FUNCTION eventstore.note_subscription()
RETURNS event_trigger
LANGUAGE c
AS 'MODULE_PATHNAME', 'eventstore_note_subscription';
COMMENT ON FUNCTION eventstore.note_subscription() IS
	'note that a subscription makes a logical replica of the store';

CREATE EVENT TRIGGER eventstore_note_subscription ON ddl_command_end
	WHEN tag IN ('CREATE SUBSCRIPTION', 'ALTER SUBSCRIPTION')
	EXECUTE FUNCTION eventstore.note_subscription();
COMMENT ON EVENT TRIGGER eventstore_note_subscription IS
	'a store with a subscription is a logical replica';
ALTER EVENT TRIGGER eventstore_note_subscription ENABLE ALWAYS;

CREATE FUNCTION eventstore.enable_guard()
RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
	ALTER TABLE eventstore.events ENABLE ALWAYS TRIGGER guard_insert;
	ALTER TABLE eventstore.events ENABLE ALWAYS TRIGGER guard_update;
	ALTER TABLE eventstore.events ENABLE ALWAYS TRIGGER guard_delete;
	ALTER TABLE eventstore.events ENABLE ALWAYS TRIGGER guard_truncate;
	ALTER TABLE eventstore.events ENABLE ALWAYS TRIGGER guard_update_row;
	ALTER TABLE eventstore.events ENABLE ALWAYS TRIGGER guard_delete_row;
	ALTER TABLE eventstore.digests ENABLE ALWAYS TRIGGER guard_insert;
	ALTER TABLE eventstore.digests ENABLE ALWAYS TRIGGER guard_update;
	ALTER TABLE eventstore.digests ENABLE ALWAYS TRIGGER guard_delete;
	ALTER TABLE eventstore.digests ENABLE ALWAYS TRIGGER guard_truncate;
	ALTER TABLE eventstore.digests ENABLE ALWAYS TRIGGER guard_update_row;
	ALTER TABLE eventstore.digests ENABLE ALWAYS TRIGGER guard_delete_row;
	ALTER TABLE eventstore.watermark ENABLE ALWAYS TRIGGER guard_owner;
	ALTER TABLE eventstore.watermark ENABLE ALWAYS TRIGGER receive;
$$;
COMMENT ON FUNCTION eventstore.enable_guard() IS
	'let the guard fire for everyone, as it does from the beginning: for after a restore with --disable-triggers';

SELECT eventstore.enable_guard();
COMMENT ON TRIGGER guard_insert ON eventstore.events IS
	'events are appended; only the owner restores some';
COMMENT ON TRIGGER guard_update ON eventstore.events IS 'events are immutable';
COMMENT ON TRIGGER guard_delete ON eventstore.events IS 'events are immutable';
COMMENT ON TRIGGER guard_truncate ON eventstore.events IS 'events are immutable';
COMMENT ON TRIGGER guard_update_row ON eventstore.events IS
	'events are immutable, through a parent table, too';
COMMENT ON TRIGGER guard_delete_row ON eventstore.events IS
	'events are immutable, through a parent table, too';
COMMENT ON TRIGGER guard_insert ON eventstore.digests IS 'digests are for the owner to write';
COMMENT ON TRIGGER guard_update ON eventstore.digests IS 'digests are immutable';
COMMENT ON TRIGGER guard_delete ON eventstore.digests IS 'digests are immutable';
COMMENT ON TRIGGER guard_truncate ON eventstore.digests IS 'digests are immutable';
COMMENT ON TRIGGER guard_update_row ON eventstore.digests IS
	'digests are immutable, through a parent table, too';
COMMENT ON TRIGGER guard_delete_row ON eventstore.digests IS
	'digests are immutable, through a parent table, too';
COMMENT ON TRIGGER guard_owner ON eventstore.watermark IS 'the watermark is for the owner to write';
COMMENT ON TRIGGER receive ON eventstore.watermark IS 'nothing is settled before it is there';

