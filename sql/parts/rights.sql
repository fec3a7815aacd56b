--
-- Rights: nothing for PUBLIC
--

CREATE FUNCTION eventstore.grant_writer(role_name name)
RETURNS void
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF role_name = 'public' THEN
		RAISE EXCEPTION 'rights on the event store are not granted to PUBLIC'
			USING ERRCODE = 'invalid_parameter_value',
				  DETAIL = 'Every role of the database would have them.',
				  HINT = 'Name a role.';
	END IF;
	EXECUTE format('GRANT USAGE ON SCHEMA eventstore TO %I', role_name);
	EXECUTE format('GRANT EXECUTE ON FUNCTION
		eventstore.append_events(text, json, bigint, text),
		eventstore.append_event(text, text, json, bigint, uuid, json, uuid, uuid,
								integer, text[], text, bytea, text),
		eventstore.uuid_v7()
		TO %I', role_name);
END
$$;
COMMENT ON FUNCTION eventstore.grant_writer(name) IS
	'let a role append events; it cannot read them by that';

CREATE FUNCTION eventstore.grant_reader(role_name name)
RETURNS void
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF role_name = 'public' THEN
		RAISE EXCEPTION 'rights on the event store are not granted to PUBLIC'
			USING ERRCODE = 'invalid_parameter_value',
				  DETAIL = 'Every role of the database would have them.',
				  HINT = 'Name a role.';
	END IF;
	EXECUTE format('GRANT USAGE ON SCHEMA eventstore TO %I', role_name);
	EXECUTE format('GRANT SELECT ON eventstore.events, eventstore.events_jsonb,
		eventstore.digests, eventstore.replication_status TO %I', role_name);
	EXECUTE format('GRANT EXECUTE ON FUNCTION
		eventstore.read_stream(text, bigint, bigint),
		eventstore.read_stream_backwards(text, bigint, bigint),
		eventstore.read_all(bigint, bigint),
		eventstore.read_all_backwards(bigint, bigint),
		eventstore.read_category(text, bigint, bigint),
		eventstore.read_visible(bigint, bigint),
		eventstore.read_event(uuid),
		eventstore.event_json(eventstore.events),
		eventstore.event_cloudevent(eventstore.events, text),
		eventstore.stream_version(text),
		eventstore.settled_position(bigint),
		eventstore.event_digest(eventstore.events),
		eventstore.current_digest(),
		eventstore.broken_digests(bigint, bigint, bytea),
		eventstore.verify_events(bigint, bigint),
		eventstore.verify_digest(bigint, bytea)
		TO %I', role_name);
	EXECUTE format('GRANT EXECUTE ON PROCEDURE
		eventstore.wait_for_events(bigint, interval, bigint)
		TO %I', role_name);
END
$$;
COMMENT ON FUNCTION eventstore.grant_reader(name) IS
	'let a role read events; it cannot append any by that';

CREATE FUNCTION eventstore.grant_subscriber(role_name name)
RETURNS void
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM eventstore.grant_reader(role_name);
	EXECUTE format('GRANT SELECT ON eventstore.subscription_status, eventstore.parked_events TO %I',
				   role_name);
	EXECUTE format('GRANT EXECUTE ON FUNCTION
		eventstore.save_checkpoint(text, bigint),
		eventstore.get_checkpoint(text),
		eventstore.create_subscription(text, text[], text[], bigint, integer, integer),
		eventstore.alter_subscription(text, text[], text[], integer, integer, bigint),
		eventstore.drop_subscription(text),
		eventstore.fetch_events(text, text, integer, interval),
		eventstore.ack_events(text, text, integer, bigint),
		eventstore.nack_event(text, text, integer, bigint, text, interval),
		eventstore.replay_parked(text, bigint[]),
		eventstore.stream_partition(text, integer)
		TO %I', role_name);
END
$$;
COMMENT ON FUNCTION eventstore.grant_subscriber(name) IS
	'let a role read events, keep checkpoints, and make and use subscriptions';

REVOKE ALL ON ALL ROUTINES IN SCHEMA eventstore FROM PUBLIC;

-- Who may use a type can make tables with columns of it, and so keep the owner
-- from altering or dropping it.
REVOKE USAGE ON TYPE
	eventstore.events, eventstore.events_jsonb, eventstore.digests, eventstore.watermark,
	eventstore.checkpoints, eventstore.subscriptions, eventstore.subscription_partitions,
	eventstore.subscription_streams, eventstore.subscription_parked,
	eventstore.subscription_layouts, eventstore.subscription_status, eventstore.parked_events,
	eventstore.replication_status
	FROM PUBLIC;
