--
-- Checkpoints and subscriptions
--
-- docs/subscriptions.md tells how they are used; fetch.c, how they work.
-- There are no foreign keys, since a parallel pg_restore loads the tables of
-- an extension in any order: rows come and go under the partitions' locks,
-- and verify() knows what belongs together.
--

CREATE TABLE eventstore.checkpoints (
	subscription_id	text COLLATE "C" NOT NULL,
	position		bigint NOT NULL,
	updated_at		timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT checkpoints_pkey PRIMARY KEY (subscription_id),
	CONSTRAINT checkpoints_position_not_negative CHECK (position >= 0)
) WITH (fillfactor = 50);
COMMENT ON TABLE eventstore.checkpoints IS
	'how far followers that read on their own have come';
COMMENT ON COLUMN eventstore.checkpoints.subscription_id IS
	'name of the follower';
COMMENT ON COLUMN eventstore.checkpoints.position IS
	'all at or below this global position is handled';
COMMENT ON COLUMN eventstore.checkpoints.updated_at IS
	'when the position was saved';
COMMENT ON CONSTRAINT checkpoints_pkey ON eventstore.checkpoints IS
	'one checkpoint for each follower';
COMMENT ON CONSTRAINT checkpoints_position_not_negative ON eventstore.checkpoints IS
	'0 is before the first event';
COMMENT ON INDEX eventstore.checkpoints_pkey IS
	'one checkpoint for each follower';

CREATE TABLE eventstore.subscriptions (
	subscription_id	text COLLATE "C" NOT NULL,
	stream_types	text[] COLLATE "C",
	event_types		text[] COLLATE "C",
	partitions		integer NOT NULL,
	max_attempts	integer NOT NULL,
	revision		bigint NOT NULL DEFAULT 1,
	created_at		timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT subscriptions_pkey PRIMARY KEY (subscription_id),
	CONSTRAINT subscriptions_types_are_names CHECK (
		coalesce(array_ndims(stream_types), 1) = 1 AND array_position(stream_types, NULL) IS NULL
		AND coalesce(array_ndims(event_types), 1) = 1 AND array_position(event_types, NULL) IS NULL),
	CONSTRAINT subscriptions_numbers_in_range CHECK (
		partitions BETWEEN 1 AND 1024 AND max_attempts > 0 AND revision > 0)
);
COMMENT ON TABLE eventstore.subscriptions IS
	'subscriptions whose events are handed out to competing consumers';
COMMENT ON COLUMN eventstore.subscriptions.subscription_id IS
	'name of the subscription';
COMMENT ON COLUMN eventstore.subscriptions.stream_types IS
	'only events of streams of these types; null for all';
COMMENT ON COLUMN eventstore.subscriptions.event_types IS
	'only events of these types; null for all';
COMMENT ON COLUMN eventstore.subscriptions.partitions IS
	'the streams are spread over so many partitions';
COMMENT ON COLUMN eventstore.subscriptions.max_attempts IS
	'an event that failed so many times is parked';
COMMENT ON COLUMN eventstore.subscriptions.revision IS
	'counts the changes of the definition';
COMMENT ON COLUMN eventstore.subscriptions.created_at IS
	'when the subscription was created';
COMMENT ON CONSTRAINT subscriptions_types_are_names ON eventstore.subscriptions IS
	'types are given by their names';
COMMENT ON CONSTRAINT subscriptions_numbers_in_range ON eventstore.subscriptions IS
	'what create_subscription() accepts';
COMMENT ON CONSTRAINT subscriptions_pkey ON eventstore.subscriptions IS
	'subscriptions have distinct names';
COMMENT ON INDEX eventstore.subscriptions_pkey IS
	'subscriptions have distinct names';

CREATE TABLE eventstore.subscription_partitions (
	subscription_id	text COLLATE "C" NOT NULL,
	partition		integer NOT NULL,
	revision		bigint NOT NULL,
	checkpoint		bigint NOT NULL,
	scanned_to		bigint NOT NULL,
	fetched_to		bigint,
	tried_to		bigint NOT NULL DEFAULT 0,
	attempts		integer NOT NULL DEFAULT 0,
	consumer		text COLLATE "C",
	lease_until		timestamptz,
	fetched_at		timestamptz,
	CONSTRAINT subscription_partitions_pkey PRIMARY KEY (subscription_id, partition)
) WITH (fillfactor = 50);
COMMENT ON TABLE eventstore.subscription_partitions IS
	'how far each partition of a subscription has come, and who works on it';
COMMENT ON COLUMN eventstore.subscription_partitions.subscription_id IS
	'name of the subscription';
COMMENT ON COLUMN eventstore.subscription_partitions.partition IS
	'number of the partition, from 0 on';
COMMENT ON COLUMN eventstore.subscription_partitions.revision IS
	'that of the subscription';
COMMENT ON COLUMN eventstore.subscription_partitions.checkpoint IS
	'all at or below is acknowledged, parked, or waits for a further attempt';
COMMENT ON COLUMN eventstore.subscription_partitions.scanned_to IS
	'all that matches at or below was handed out at least once';
COMMENT ON COLUMN eventstore.subscription_partitions.fetched_to IS
	'the last position above the checkpoint that the consumer has in hand; null for none';
COMMENT ON COLUMN eventstore.subscription_partitions.tried_to IS
	'the last position that was ever handed out';
COMMENT ON COLUMN eventstore.subscription_partitions.attempts IS
	'how many times the first event above the checkpoint was handed out';
COMMENT ON COLUMN eventstore.subscription_partitions.consumer IS
	'who holds the partition; null for nobody';
COMMENT ON COLUMN eventstore.subscription_partitions.lease_until IS
	'from then on another consumer may take the partition';
COMMENT ON COLUMN eventstore.subscription_partitions.fetched_at IS
	'when events of the partition were last handed out';
COMMENT ON CONSTRAINT subscription_partitions_pkey ON eventstore.subscription_partitions IS
	'a partition has one row';
COMMENT ON INDEX eventstore.subscription_partitions_pkey IS
	'a partition has one row';

CREATE TABLE eventstore.subscription_streams (
	subscription_id	text COLLATE "C" NOT NULL,
	stream_id		text COLLATE "C" NOT NULL,
	partition		integer NOT NULL,
	position		bigint NOT NULL,
	version			bigint NOT NULL,
	failed_position	bigint,
	attempts		integer NOT NULL,
	reason			text,
	first_failed_at	timestamptz,
	last_failed_at	timestamptz,
	retry_at		timestamptz,
	delivered_to	bigint,
	is_suspect		boolean NOT NULL DEFAULT false,
	CONSTRAINT subscription_streams_pkey PRIMARY KEY (subscription_id, partition, stream_id)
) WITH (fillfactor = 50);
COMMENT ON TABLE eventstore.subscription_streams IS
	'streams that wait for a failed event, or catch up behind one';
COMMENT ON COLUMN eventstore.subscription_streams.subscription_id IS
	'name of the subscription';
COMMENT ON COLUMN eventstore.subscription_streams.stream_id IS
	'the stream';
COMMENT ON COLUMN eventstore.subscription_streams.partition IS
	'its partition';
COMMENT ON COLUMN eventstore.subscription_streams.position IS
	'its events from here on are still to be handled';
COMMENT ON COLUMN eventstore.subscription_streams.version IS
	'the version at that position, or a lower one';
COMMENT ON COLUMN eventstore.subscription_streams.failed_position IS
	'the event that failed; null when the stream catches up';
COMMENT ON COLUMN eventstore.subscription_streams.attempts IS
	'how many times the event was handed out';
COMMENT ON COLUMN eventstore.subscription_streams.reason IS
	'why the event failed, as the consumer has said';
COMMENT ON COLUMN eventstore.subscription_streams.first_failed_at IS
	'when the event failed for the first time';
COMMENT ON COLUMN eventstore.subscription_streams.last_failed_at IS
	'when the event failed last';
COMMENT ON COLUMN eventstore.subscription_streams.retry_at IS
	'when the event is to be handed out again';
COMMENT ON COLUMN eventstore.subscription_streams.delivered_to IS
	'the last position that the consumer has in hand; null for none';
COMMENT ON COLUMN eventstore.subscription_streams.is_suspect IS
	'was it in the hand of a consumer that did not answer?';
COMMENT ON CONSTRAINT subscription_streams_pkey ON eventstore.subscription_streams IS
	'a stream waits once';
COMMENT ON INDEX eventstore.subscription_streams_pkey IS
	'the streams of a partition that wait';

CREATE TABLE eventstore.subscription_parked (
	subscription_id	text COLLATE "C" NOT NULL,
	partition		integer NOT NULL,
	position		bigint NOT NULL,
	stream_id		text COLLATE "C" NOT NULL,
	attempts		integer NOT NULL,
	reason			text NOT NULL,
	first_failed_at	timestamptz NOT NULL,
	last_failed_at	timestamptz NOT NULL,
	parked_at		timestamptz NOT NULL DEFAULT clock_timestamp(),
	is_replayed		boolean NOT NULL DEFAULT false,
	replay_attempts	integer NOT NULL DEFAULT 0,
	retry_at		timestamptz,
	is_delivered	boolean NOT NULL DEFAULT false,
	is_suspect		boolean NOT NULL DEFAULT false,
	CONSTRAINT subscription_parked_pkey PRIMARY KEY (subscription_id, partition, position)
) WITH (fillfactor = 50);
COMMENT ON TABLE eventstore.subscription_parked IS
	'events that were given up after too many attempts, until they are replayed';
COMMENT ON COLUMN eventstore.subscription_parked.subscription_id IS
	'name of the subscription';
COMMENT ON COLUMN eventstore.subscription_parked.partition IS
	'the partition of the event''s stream';
COMMENT ON COLUMN eventstore.subscription_parked.position IS
	'global position of the event';
COMMENT ON COLUMN eventstore.subscription_parked.stream_id IS
	'stream of the event';
COMMENT ON COLUMN eventstore.subscription_parked.attempts IS
	'how many times the event was handed out in all';
COMMENT ON COLUMN eventstore.subscription_parked.reason IS
	'why it failed last';
COMMENT ON COLUMN eventstore.subscription_parked.first_failed_at IS
	'when it failed for the first time';
COMMENT ON COLUMN eventstore.subscription_parked.last_failed_at IS
	'when it failed last';
COMMENT ON COLUMN eventstore.subscription_parked.parked_at IS
	'when it was given up';
COMMENT ON COLUMN eventstore.subscription_parked.is_replayed IS
	'is it to be handed out again?';
COMMENT ON COLUMN eventstore.subscription_parked.replay_attempts IS
	'how many times it was handed out since it is replayed';
COMMENT ON COLUMN eventstore.subscription_parked.retry_at IS
	'when it is to be handed out again';
COMMENT ON COLUMN eventstore.subscription_parked.is_delivered IS
	'has the consumer of the partition got it in hand?';
COMMENT ON COLUMN eventstore.subscription_parked.is_suspect IS
	'was it in the hand of a consumer that did not answer?';
COMMENT ON CONSTRAINT subscription_parked_pkey ON eventstore.subscription_parked IS
	'an event is parked once';
COMMENT ON INDEX eventstore.subscription_parked_pkey IS
	'the parked events of a partition';

CREATE TABLE eventstore.subscription_layouts (
	subscription_id	text COLLATE "C" NOT NULL,
	revision		bigint NOT NULL,
	checkpoints		bigint[] NOT NULL,
	CONSTRAINT subscription_layouts_pkey PRIMARY KEY (subscription_id, revision),
	CONSTRAINT subscription_layouts_are_of_partitions CHECK (
		array_ndims(checkpoints) IS NOT DISTINCT FROM 1 AND array_lower(checkpoints, 1) = 1
		AND array_length(checkpoints, 1) <= 1024 AND array_position(checkpoints, NULL) IS NULL)
);
COMMENT ON TABLE eventstore.subscription_layouts IS
	'how far the partitions had come when their number was changed';
COMMENT ON COLUMN eventstore.subscription_layouts.subscription_id IS
	'name of the subscription';
COMMENT ON COLUMN eventstore.subscription_layouts.revision IS
	'the last revision of the subscription that had these partitions';
COMMENT ON COLUMN eventstore.subscription_layouts.checkpoints IS
	'the checkpoints of partitions 0, 1, 2 ...';
COMMENT ON CONSTRAINT subscription_layouts_are_of_partitions ON eventstore.subscription_layouts IS
	'one checkpoint for each partition';
COMMENT ON CONSTRAINT subscription_layouts_pkey ON eventstore.subscription_layouts IS
	'a revision has one layout';
COMMENT ON INDEX eventstore.subscription_layouts_pkey IS
	'the former layouts of a subscription';

SELECT pg_catalog.pg_extension_config_dump('eventstore.checkpoints', '');
SELECT pg_catalog.pg_extension_config_dump('eventstore.subscriptions', '');
SELECT pg_catalog.pg_extension_config_dump('eventstore.subscription_partitions', '');
SELECT pg_catalog.pg_extension_config_dump('eventstore.subscription_streams', '');
SELECT pg_catalog.pg_extension_config_dump('eventstore.subscription_parked', '');
SELECT pg_catalog.pg_extension_config_dump('eventstore.subscription_layouts', '');

CREATE FUNCTION eventstore.stream_partition(stream_id text, partitions integer)
RETURNS integer
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'eventstore_stream_partition';
COMMENT ON FUNCTION eventstore.stream_partition(text, integer) IS
	'the partition that a stream falls into, from 0 on; never changes';

CREATE FUNCTION eventstore.check_argument(is_valid boolean, message text, detail text, hint text)
RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF is_valid IS NOT TRUE THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
			MESSAGE = message, DETAIL = detail, HINT = hint;
	END IF;
END
$$;
COMMENT ON FUNCTION eventstore.check_argument(boolean, text, text, text) IS
	'refuse an argument (22023) that is not valid';

CREATE FUNCTION eventstore.code_of_others()
RETURNS TABLE (detail text)
LANGUAGE sql STABLE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS $$
	WITH members AS (
		SELECT d.classid, d.objid
		FROM pg_depend d JOIN pg_extension x ON x.oid = d.refobjid
		WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND x.extname = 'eventstore'),
	tables AS (
		SELECT c.oid, c.relowner, n.nspowner AS owner
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r', 'S')
			AND ('pg_class'::regclass, c.oid) IN (SELECT classid, objid FROM members)),
	-- what has been hung on them
	parts (relid, classid, objid) AS (
		SELECT oid, 'pg_class'::regclass::oid, oid FROM tables
		UNION ALL SELECT indrelid, 'pg_class'::regclass, indexrelid FROM pg_index
		UNION ALL SELECT conrelid, 'pg_constraint'::regclass, oid FROM pg_constraint
		UNION ALL SELECT adrelid, 'pg_attrdef'::regclass, oid FROM pg_attrdef
		UNION ALL SELECT ev_class, 'pg_rewrite'::regclass, oid FROM pg_rewrite
		UNION ALL SELECT polrelid, 'pg_policy'::regclass, oid FROM pg_policy
		UNION ALL SELECT tgrelid, 'pg_trigger'::regclass, oid FROM pg_trigger)
	SELECT format('%s belongs to %s', t.oid::regclass, t.relowner::regrole)
	FROM tables t
	WHERE t.relowner <> t.owner

	UNION ALL
	-- and what that calls (of built-in objects there are no dependencies)
	SELECT format('%s uses %s, which belongs to %s', pg_describe_object(p.classid, p.objid, 0),
				  pg_describe_object(d.refclassid, d.refobjid, 0), c.owner::regrole)
	FROM tables t
		JOIN parts p ON p.relid = t.oid
		JOIN pg_depend d ON d.classid = p.classid AND d.objid = p.objid,
		LATERAL (SELECT CASE d.refclassid
			WHEN 'pg_proc'::regclass THEN (SELECT o.proowner FROM pg_proc o WHERE o.oid = d.refobjid)
			WHEN 'pg_operator'::regclass THEN (SELECT o.oprowner FROM pg_operator o WHERE o.oid = d.refobjid)
			WHEN 'pg_opclass'::regclass THEN (SELECT o.opcowner FROM pg_opclass o WHERE o.oid = d.refobjid)
			WHEN 'pg_type'::regclass THEN (SELECT o.typowner FROM pg_type o WHERE o.oid = d.refobjid)
			END) AS c (owner)
	WHERE c.owner <> t.owner
		AND NOT (SELECT r.rolsuper FROM pg_roles r WHERE r.oid = c.owner);
$$;
COMMENT ON FUNCTION eventstore.code_of_others() IS
	'what belongs to others and would run with the rights of the event store''s owner';

CREATE FUNCTION eventstore.check_own_tables()
RETURNS void
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'eventstore_check_own_tables';
COMMENT ON FUNCTION eventstore.check_own_tables() IS
	'refuse to go on as the owner where tables of subscriptions, or triggers on them, are in other hands (42501)';

CREATE FUNCTION eventstore.check_subscription_id(subscription_id text)
RETURNS void
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT eventstore.check_own_tables();
	SELECT eventstore.check_argument(
		octet_length(subscription_id) BETWEEN 1 AND 512,
		'subscription_id is not valid',
		format('It is %s.', coalesce(quote_literal(left(subscription_id, 100)), 'null')),
		'Pass a name of 1 to 512 bytes.');
$$;
COMMENT ON FUNCTION eventstore.check_subscription_id(text) IS
	'refuse a name that no subscription can have';

CREATE FUNCTION eventstore.check_subscription_definition(
	stream_types text[],
	event_types text[],
	after_position bigint,
	partitions integer,
	max_attempts integer)
RETURNS void
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT eventstore.check_argument(
		coalesce(array_ndims(f.types), 1) = 1 AND array_position(f.types, NULL) IS NULL
			AND array_position(f.types, '') IS NULL,
		format('%s is not valid', f.name),
		'It has several dimensions, or an element that is null or empty.',
		'Pass an array of names, or {} for all.')
	FROM (VALUES ('stream_types', coalesce(stream_types, '{}')),
				 ('event_types', coalesce(event_types, '{}'))) AS f (name, types);

	SELECT eventstore.check_argument(
		n.value BETWEEN n.minimum AND n.maximum,
		format('%s is out of range', n.name),
		format('It is %s.', coalesce(n.value::text, 'null')),
		format('Pass %s to %s.', n.minimum, n.maximum))
	FROM (VALUES ('after_position', after_position, 0, 9223372036854775807),
				 ('partitions', partitions::bigint, 1, 1024),
				 ('max_attempts', max_attempts::bigint, 1, 1000000)) AS n (name, value, minimum, maximum);
$$;
COMMENT ON FUNCTION eventstore.check_subscription_definition(text[], text[], bigint, integer, integer) IS
	'refuse a definition that no subscription can have';

CREATE FUNCTION eventstore.save_checkpoint(subscription_id text, "position" bigint)
RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
	PERFORM eventstore.check_subscription_id(save_checkpoint.subscription_id);
	PERFORM eventstore.check_argument(save_checkpoint.position >= 0,
		'position is out of range',
		format('It is %s.', coalesce(save_checkpoint.position::text, 'null')),
		'Pass the global position of the last event that was handled.');

	INSERT INTO eventstore.checkpoints AS c (subscription_id, position)
	VALUES (save_checkpoint.subscription_id, save_checkpoint.position)
	ON CONFLICT ON CONSTRAINT checkpoints_pkey DO UPDATE
		SET position = excluded.position, updated_at = excluded.updated_at
		WHERE c.position < excluded.position;
	-- Not before, since create_subscription() waits for that, or the other way round.
	IF EXISTS (SELECT FROM eventstore.subscriptions s
			   WHERE s.subscription_id = save_checkpoint.subscription_id) THEN
		RAISE EXCEPTION 'subscription "%" keeps its own checkpoints', save_checkpoint.subscription_id
			USING ERRCODE = 'object_not_in_prerequisite_state',
				  DETAIL = 'It was made by create_subscription().',
				  HINT = 'Use ack_events(), or save the checkpoint under another name.';
	END IF;
	RETURN (SELECT c.position FROM eventstore.checkpoints c
			WHERE c.subscription_id = save_checkpoint.subscription_id);
END
$$;
COMMENT ON FUNCTION eventstore.save_checkpoint(text, bigint) IS
	'remember how far a follower has come; never moves backwards';

CREATE FUNCTION eventstore.get_checkpoint(subscription_id text)
RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT eventstore.check_subscription_id(get_checkpoint.subscription_id);

	SELECT coalesce(
		(SELECT c.position FROM eventstore.checkpoints c
		 WHERE c.subscription_id = get_checkpoint.subscription_id),
		(SELECT least(min(p.checkpoint),
					  (SELECT min(w.position) - 1 FROM eventstore.subscription_streams w
					   WHERE w.subscription_id = get_checkpoint.subscription_id))
		 FROM eventstore.subscription_partitions p
		 WHERE p.subscription_id = get_checkpoint.subscription_id),
		0);
$$;
COMMENT ON FUNCTION eventstore.get_checkpoint(text) IS
	'how far a follower or a subscription has come; 0 when it is not known';

CREATE FUNCTION eventstore.create_subscription(
	subscription_id text,
	stream_types text[] DEFAULT NULL,
	event_types text[] DEFAULT NULL,
	after_position bigint DEFAULT 0,
	partitions integer DEFAULT 1,
	max_attempts integer DEFAULT 10)
RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	created boolean;
BEGIN
	PERFORM eventstore.check_subscription_id(create_subscription.subscription_id);
	PERFORM eventstore.check_subscription_definition(
		create_subscription.stream_types, create_subscription.event_types,
		create_subscription.after_position, create_subscription.partitions,
		create_subscription.max_attempts);

	-- Nobody shall save a checkpoint of this name meanwhile.
	WITH reserved AS (
		INSERT INTO eventstore.checkpoints (subscription_id, position)
		VALUES (create_subscription.subscription_id, 0)
		ON CONFLICT DO NOTHING
		RETURNING subscription_id)
	INSERT INTO eventstore.subscriptions
		(subscription_id, stream_types, event_types, partitions, max_attempts)
	SELECT reserved.subscription_id,
		   nullif(create_subscription.stream_types, '{}'),
		   nullif(create_subscription.event_types, '{}'),
		   create_subscription.partitions, create_subscription.max_attempts
	FROM reserved
	ON CONFLICT DO NOTHING
	RETURNING true INTO created;
	IF created IS NOT TRUE THEN
		RAISE EXCEPTION 'subscription "%" exists already', create_subscription.subscription_id
			USING ERRCODE = 'duplicate_object',
				  DETAIL = 'A subscription or a saved checkpoint has this name.',
				  HINT = 'Use alter_subscription() to change it, drop_subscription() to begin anew.';
	END IF;

	INSERT INTO eventstore.subscription_partitions
		(subscription_id, partition, revision, checkpoint, scanned_to)
	SELECT create_subscription.subscription_id, n, 1,
		   create_subscription.after_position, create_subscription.after_position
	FROM generate_series(0, create_subscription.partitions - 1) AS n;
	DELETE FROM eventstore.checkpoints c
	WHERE c.subscription_id = create_subscription.subscription_id;
END
$$;
COMMENT ON FUNCTION eventstore.create_subscription(text, text[], text[], bigint, integer, integer) IS
	'create a subscription, whose events are handed out to competing consumers';

CREATE FUNCTION eventstore.lock_subscription(subscription_id text)
RETURNS eventstore.subscriptions
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	subscription eventstore.subscriptions;
BEGIN
	PERFORM eventstore.check_subscription_id(lock_subscription.subscription_id);
	SELECT s.* INTO subscription FROM eventstore.subscriptions s
	WHERE s.subscription_id = lock_subscription.subscription_id
	FOR UPDATE;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'subscription "%" does not exist', lock_subscription.subscription_id
			USING ERRCODE = 'undefined_object',
				  DETAIL = 'There is no subscription of this name.',
				  HINT = 'Use create_subscription().';
	END IF;
	PERFORM FROM eventstore.subscription_partitions p
	WHERE p.subscription_id = lock_subscription.subscription_id
	ORDER BY p.partition
	FOR UPDATE;
	RETURN subscription;
END
$$;
COMMENT ON FUNCTION eventstore.lock_subscription(text) IS
	'lock a subscription and its partitions, or say that it does not exist';

CREATE FUNCTION eventstore.alter_subscription(
	subscription_id text,
	stream_types text[] DEFAULT NULL,
	event_types text[] DEFAULT NULL,
	partitions integer DEFAULT NULL,
	max_attempts integer DEFAULT NULL,
	after_position bigint DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	former eventstore.subscriptions :=
		eventstore.lock_subscription(alter_subscription.subscription_id);
	npartitions integer := coalesce(alter_subscription.partitions, former.partitions);
	reached bigint[];
BEGIN
	PERFORM eventstore.check_subscription_definition(
		alter_subscription.stream_types, alter_subscription.event_types,
		coalesce(alter_subscription.after_position, 0), npartitions,
		coalesce(alter_subscription.max_attempts, former.max_attempts));

	UPDATE eventstore.subscriptions s
	SET stream_types = nullif(coalesce(alter_subscription.stream_types, s.stream_types), '{}'),
		event_types = nullif(coalesce(alter_subscription.event_types, s.event_types), '{}'),
		partitions = npartitions,
		max_attempts = coalesce(alter_subscription.max_attempts, s.max_attempts),
		revision = s.revision + 1
	WHERE s.subscription_id = former.subscription_id;

	-- New rows: whoever holds a partition has lost it.
	SELECT array_agg(p.checkpoint ORDER BY p.partition) INTO reached
	FROM eventstore.subscription_partitions p
	WHERE p.subscription_id = former.subscription_id;
	DELETE FROM eventstore.subscription_partitions p
	WHERE p.subscription_id = former.subscription_id;
	INSERT INTO eventstore.subscription_partitions
		(subscription_id, partition, revision, checkpoint, scanned_to)
	SELECT former.subscription_id, n, former.revision + 1, c.checkpoint, c.checkpoint
	FROM generate_series(0, npartitions - 1) AS n,
		 LATERAL (SELECT CASE
					WHEN alter_subscription.after_position IS NOT NULL THEN alter_subscription.after_position
					WHEN npartitions = former.partitions THEN reached[n + 1]
					ELSE (SELECT min(r) FROM unnest(reached) AS r) END) AS c (checkpoint);

	-- What waits for another attempt, or is parked, stays with its stream.
	UPDATE eventstore.subscription_streams w
	SET partition = eventstore.stream_partition(w.stream_id, npartitions),
		is_suspect = w.is_suspect OR w.delivered_to IS NOT NULL, delivered_to = NULL
	WHERE w.subscription_id = former.subscription_id;
	UPDATE eventstore.subscription_parked d
	SET partition = eventstore.stream_partition(d.stream_id, npartitions),
		is_suspect = d.is_suspect OR d.is_delivered, is_delivered = false
	WHERE d.subscription_id = former.subscription_id;

	IF alter_subscription.after_position IS NOT NULL THEN
		-- All behind the position is to come again.
		DELETE FROM eventstore.subscription_layouts l
		WHERE l.subscription_id = former.subscription_id;
		DELETE FROM eventstore.subscription_streams w
		WHERE w.subscription_id = former.subscription_id
			AND w.position > alter_subscription.after_position;
		DELETE FROM eventstore.subscription_parked d
		WHERE d.subscription_id = former.subscription_id
			AND d.position > alter_subscription.after_position;
	ELSIF npartitions <> former.partitions THEN
		-- What a partition had behind it is not handed out again.
		INSERT INTO eventstore.subscription_layouts (subscription_id, revision, checkpoints)
		VALUES (former.subscription_id, former.revision, reached);
	END IF;
END
$$;
COMMENT ON FUNCTION eventstore.alter_subscription(text, text[], text[], integer, integer, bigint) IS
	'change a subscription; null leaves as it is, {} takes all types, after_position begins anew';

CREATE FUNCTION eventstore.drop_subscription(subscription_id text)
RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
	PERFORM eventstore.check_subscription_id(drop_subscription.subscription_id);
	DELETE FROM eventstore.checkpoints c
	WHERE c.subscription_id = drop_subscription.subscription_id;
	IF NOT FOUND THEN
		PERFORM eventstore.lock_subscription(drop_subscription.subscription_id);
		DELETE FROM eventstore.subscription_layouts l
		WHERE l.subscription_id = drop_subscription.subscription_id;
		DELETE FROM eventstore.subscription_parked d
		WHERE d.subscription_id = drop_subscription.subscription_id;
		DELETE FROM eventstore.subscription_streams w
		WHERE w.subscription_id = drop_subscription.subscription_id;
		DELETE FROM eventstore.subscription_partitions p
		WHERE p.subscription_id = drop_subscription.subscription_id;
		DELETE FROM eventstore.subscriptions s
		WHERE s.subscription_id = drop_subscription.subscription_id;
	END IF;
END
$$;
COMMENT ON FUNCTION eventstore.drop_subscription(text) IS
	'forget a subscription, with its checkpoints and parked events, or a saved checkpoint';

CREATE FUNCTION eventstore.fetch_events(
	subscription_id text,
	consumer text,
	max_count integer DEFAULT 100,
	lease interval DEFAULT '30 seconds')
RETURNS TABLE (
	partition integer,
	attempt integer,
	global_position bigint,
	version bigint,
	created_at timestamptz,
	event_id uuid,
	stream_id text,
	stream_type text,
	event_type text,
	schema_version integer,
	correlation_id uuid,
	causation_id uuid,
	data json,
	binary_data bytea,
	content_type text,
	metadata json,
	tags text[])
LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'eventstore_fetch_events';
COMMENT ON FUNCTION eventstore.fetch_events(text, text, integer, interval) IS
	'take a partition that has events, and hand them out in order under a lease';

CREATE FUNCTION eventstore.lock_partition(subscription_id text, consumer text, partition integer)
RETURNS eventstore.subscription_partitions
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	held eventstore.subscription_partitions;
BEGIN
	PERFORM eventstore.check_subscription_id(lock_partition.subscription_id);
	PERFORM eventstore.check_argument(lock_partition.consumer <> '',
		'consumer is not valid', 'It is null or empty.', 'Pass the name given to fetch_events().');
	SELECT p.* INTO held FROM eventstore.subscription_partitions p
	WHERE p.subscription_id = lock_partition.subscription_id
		AND p.partition = lock_partition.partition
	FOR NO KEY UPDATE;
	IF held.consumer IS DISTINCT FROM lock_partition.consumer THEN
		PERFORM FROM eventstore.subscriptions s
		WHERE s.subscription_id = lock_partition.subscription_id;
		IF NOT FOUND THEN
			RAISE EXCEPTION 'subscription "%" does not exist', lock_partition.subscription_id
				USING ERRCODE = 'undefined_object',
					  DETAIL = 'There is no subscription of this name.',
					  HINT = 'Use create_subscription().';
		END IF;
		RAISE EXCEPTION 'consumer "%" does not hold partition % of subscription "%"',
			lock_partition.consumer, lock_partition.partition, lock_partition.subscription_id
			USING ERRCODE = 'ST006',
				  DETAIL = coalesce('Consumer "' || held.consumer || '" holds it.', 'Nobody holds it.'),
				  HINT = 'Undo what was done for these events, and fetch again: they are handed out to whoever holds the partition.';
	END IF;
	RETURN held;
END
$$;
COMMENT ON FUNCTION eventstore.lock_partition(text, text, integer) IS
	'lock a partition that the consumer holds, or say that it does not (ST006)';

CREATE FUNCTION eventstore.ack_events(
	subscription_id text,
	consumer text,
	partition integer,
	"position" bigint)
RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	held eventstore.subscription_partitions := eventstore.lock_partition(
		ack_events.subscription_id, ack_events.consumer, ack_events.partition);
	upto bigint := ack_events.position;
	in_hand bigint;
BEGIN
	in_hand := greatest(held.checkpoint, held.fetched_to,
		(SELECT max(w.delivered_to) FROM eventstore.subscription_streams w
		 WHERE w.subscription_id = held.subscription_id AND w.partition = held.partition),
		(SELECT max(d.position) FROM eventstore.subscription_parked d
		 WHERE d.subscription_id = held.subscription_id AND d.partition = held.partition
			AND d.is_delivered));
	PERFORM eventstore.check_argument(upto BETWEEN 0 AND in_hand,
		'position is not one that was fetched',
		format('It is %s; the consumer has events up to %s.', coalesce(upto::text, 'null'), in_hand),
		'Pass the global position of an event that fetch_events() has returned.');

	-- streams that wait or catch up
	UPDATE eventstore.subscription_streams w
	SET position = least(w.delivered_to, upto) + 1,
		failed_position = CASE WHEN w.failed_position > least(w.delivered_to, upto)
			THEN w.failed_position END,
		attempts = CASE WHEN w.failed_position > least(w.delivered_to, upto)
			THEN w.attempts ELSE 0 END,
		delivered_to = CASE WHEN w.delivered_to > upto THEN w.delivered_to END
	WHERE w.subscription_id = held.subscription_id AND w.partition = held.partition
		AND w.delivered_to IS NOT NULL AND w.position <= upto;

	-- parked events
	DELETE FROM eventstore.subscription_parked d
	WHERE d.subscription_id = held.subscription_id AND d.partition = held.partition
		AND d.is_delivered AND d.position <= upto;

	-- all others
	IF upto >= held.fetched_to THEN
		held.checkpoint := held.scanned_to;
		held.fetched_to := NULL;
		held.attempts := (held.checkpoint < held.tried_to)::integer;
	ELSIF upto > held.checkpoint THEN
		held.checkpoint := upto;
		held.attempts := 1;
	END IF;

	-- A partition of which nothing is in hand is free.
	IF held.fetched_to IS NULL
		AND NOT EXISTS (SELECT FROM eventstore.subscription_streams w
						WHERE w.subscription_id = held.subscription_id AND w.partition = held.partition
							AND w.delivered_to IS NOT NULL)
		AND NOT EXISTS (SELECT FROM eventstore.subscription_parked d
						WHERE d.subscription_id = held.subscription_id AND d.partition = held.partition
							AND d.is_delivered) THEN
		held.consumer := NULL;
		held.lease_until := NULL;
	END IF;
	UPDATE eventstore.subscription_partitions p
	SET checkpoint = held.checkpoint, fetched_to = held.fetched_to, attempts = held.attempts,
		consumer = held.consumer, lease_until = held.lease_until
	WHERE p.subscription_id = held.subscription_id AND p.partition = held.partition;
END
$$;
COMMENT ON FUNCTION eventstore.ack_events(text, text, integer, bigint) IS
	'acknowledge the events in hand up to a position, but for those that failed';

CREATE FUNCTION eventstore.park_event(
	subscription_id text,
	partition integer,
	"position" bigint,
	attempts integer,
	reason text,
	first_failed_at timestamptz)
RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
	INSERT INTO eventstore.subscription_parked
		(subscription_id, partition, position, stream_id, attempts, reason,
		 first_failed_at, last_failed_at)
	SELECT park_event.subscription_id, park_event.partition, e.global_position, e.stream_id,
		   park_event.attempts, coalesce(park_event.reason, 'a consumer that had it did not answer'),
		   coalesce(park_event.first_failed_at, clock_timestamp()), clock_timestamp()
	FROM eventstore.events e
	WHERE e.global_position = park_event.position;
$$;
COMMENT ON FUNCTION eventstore.park_event(text, integer, bigint, integer, text, timestamptz) IS
	'give up an event, and keep it to be replayed';

CREATE FUNCTION eventstore.nack_event(
	subscription_id text,
	consumer text,
	partition integer,
	"position" bigint,
	reason text,
	retry_after interval DEFAULT '1 second')
RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	held eventstore.subscription_partitions := eventstore.lock_partition(
		nack_event.subscription_id, nack_event.consumer, nack_event.partition);
	subscription eventstore.subscriptions;
	event eventstore.events;
	waiting eventstore.subscription_streams;
	parked eventstore.subscription_parked;
	why text := coalesce(nack_event.reason, 'no reason was given');
	retry_time timestamptz;
	is_fetched boolean;
BEGIN
	-- Parts of both signs compare as something else than they add up to.
	PERFORM eventstore.check_argument(
		nack_event.retry_after BETWEEN '0' AND '1 year'
			AND least(extract(year FROM nack_event.retry_after), extract(month FROM nack_event.retry_after),
					  extract(day FROM nack_event.retry_after), extract(hour FROM nack_event.retry_after),
					  extract(minute FROM nack_event.retry_after), extract(second FROM nack_event.retry_after)) >= 0,
		'retry_after is out of range',
		format('It is %s.', coalesce(nack_event.retry_after::text, 'null')),
		'Pass how long to wait, up to a year.');
	retry_time := clock_timestamp() + nack_event.retry_after;
	SELECT s.* INTO subscription FROM eventstore.subscriptions s
	WHERE s.subscription_id = held.subscription_id;
	SELECT e.* INTO event FROM eventstore.events e
	WHERE e.global_position = nack_event.position;
	SELECT w.* INTO waiting FROM eventstore.subscription_streams w
	WHERE w.subscription_id = held.subscription_id AND w.partition = held.partition
		AND w.stream_id = event.stream_id;
	SELECT d.* INTO parked FROM eventstore.subscription_parked d
	WHERE d.subscription_id = held.subscription_id AND d.partition = held.partition
		AND d.position = event.global_position;

	is_fetched := event.global_position > held.checkpoint AND event.global_position <= held.fetched_to
		AND eventstore.stream_partition(event.stream_id, subscription.partitions) = held.partition
		AND (subscription.stream_types IS NULL OR event.stream_type = ANY (subscription.stream_types))
		AND (subscription.event_types IS NULL OR event.event_type = ANY (subscription.event_types));

	-- a parked event that is replayed
	IF parked.is_delivered THEN
		UPDATE eventstore.subscription_parked d
		SET is_delivered = false, reason = why, last_failed_at = clock_timestamp(),
			retry_at = retry_time,
			is_replayed = d.replay_attempts < subscription.max_attempts,
			parked_at = CASE WHEN d.replay_attempts < subscription.max_attempts
				THEN d.parked_at ELSE clock_timestamp() END
		WHERE d.subscription_id = held.subscription_id AND d.partition = held.partition
			AND d.position = event.global_position
		RETURNING d.* INTO parked;
		RETURN NOT parked.is_replayed;

	-- an event of a stream that waits or catches up, in hand ...
	ELSIF event.global_position BETWEEN waiting.position AND waiting.delivered_to THEN
		IF event.global_position = waiting.position
			AND waiting.attempts >= subscription.max_attempts THEN
			PERFORM eventstore.park_event(held.subscription_id, held.partition, event.global_position,
										  waiting.attempts, why,
										  CASE WHEN waiting.failed_position = waiting.position
											  THEN waiting.first_failed_at END);
			UPDATE eventstore.subscription_streams w
			SET position = event.global_position + 1, failed_position = NULL, attempts = 0,
				delivered_to = NULL
			WHERE w.subscription_id = held.subscription_id AND w.partition = held.partition
				AND w.stream_id = event.stream_id;
			RETURN true;
		END IF;
		UPDATE eventstore.subscription_streams w
		SET failed_position = event.global_position, reason = why,
			attempts = greatest(w.attempts, 1),
			first_failed_at = CASE WHEN w.failed_position = event.global_position
				THEN w.first_failed_at ELSE clock_timestamp() END,
			last_failed_at = clock_timestamp(), retry_at = retry_time,
			delivered_to = CASE WHEN event.global_position > w.position
				THEN event.global_position - 1 END
		WHERE w.subscription_id = held.subscription_id AND w.partition = held.partition
			AND w.stream_id = event.stream_id;
		RETURN false;

	-- ... or behind one that failed: it comes again anyway
	ELSIF event.global_position >= waiting.position THEN
		RETURN false;

	ELSIF is_fetched AND parked.position IS NOT NULL THEN
		RETURN true;

	ELSIF is_fetched IS NOT TRUE THEN
		RAISE EXCEPTION 'the event at position % is not in the hand of consumer "%"',
			coalesce(nack_event.position::text, 'null'), nack_event.consumer
			USING ERRCODE = 'invalid_parameter_value',
				  DETAIL = 'It was not fetched from this partition, or is acknowledged already.',
				  HINT = 'Pass partition and global position as fetch_events() has returned them.';
	END IF;

	-- The event that is first now has attempts of its own.  The new row also
	-- makes a transaction fail that looks at the partition as it was before.
	UPDATE eventstore.subscription_partitions p
	SET attempts = 1
	WHERE p.subscription_id = held.subscription_id AND p.partition = held.partition;
	IF held.attempts >= subscription.max_attempts THEN
		PERFORM eventstore.park_event(held.subscription_id, held.partition, event.global_position,
									  held.attempts, why, NULL);
	ELSE
		INSERT INTO eventstore.subscription_streams
			(subscription_id, stream_id, partition, position, version, failed_position, attempts,
			 reason, first_failed_at, last_failed_at, retry_at)
		VALUES (held.subscription_id, event.stream_id, held.partition, event.global_position,
				event.version, event.global_position, held.attempts, why,
				clock_timestamp(), clock_timestamp(), retry_time)
		ON CONFLICT ON CONSTRAINT subscription_streams_pkey DO UPDATE
		SET position = excluded.position, version = excluded.version,
			failed_position = excluded.failed_position, attempts = excluded.attempts,
			reason = excluded.reason, first_failed_at = excluded.first_failed_at,
			last_failed_at = excluded.last_failed_at, retry_at = excluded.retry_at;
	END IF;
	RETURN held.attempts >= subscription.max_attempts;
END
$$;
COMMENT ON FUNCTION eventstore.nack_event(text, text, integer, bigint, text, interval) IS
	'say that an event in hand failed: it is handed out again later, or parked; tells whether it is parked';

CREATE FUNCTION eventstore.replay_parked(subscription_id text, positions bigint[] DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	unknown bigint;
	replayed bigint;
BEGIN
	PERFORM eventstore.lock_subscription(replay_parked.subscription_id);
	SELECT p.position INTO unknown
	FROM unnest(replay_parked.positions) AS p (position)
	WHERE NOT EXISTS (SELECT FROM eventstore.subscription_parked d
					  WHERE d.subscription_id = replay_parked.subscription_id
						AND d.position = p.position)
	LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'the event at position % is not parked', coalesce(unknown::text, 'null')
			USING ERRCODE = 'invalid_parameter_value',
				  DETAIL = 'None of the positions was replayed.',
				  HINT = 'See the view parked_events.';
	END IF;

	UPDATE eventstore.subscription_parked d
	SET is_replayed = true, replay_attempts = 0, retry_at = clock_timestamp(), is_suspect = false
	WHERE d.subscription_id = replay_parked.subscription_id AND NOT d.is_replayed
		AND (replay_parked.positions IS NULL OR d.position = ANY (replay_parked.positions));
	GET DIAGNOSTICS replayed = ROW_COUNT;
	RETURN replayed;
END
$$;
COMMENT ON FUNCTION eventstore.replay_parked(text, bigint[]) IS
	'hand out parked events again, all or those at the positions; returns how many';

CREATE VIEW eventstore.subscription_status AS
	SELECT p.subscription_id AS subscription, p.partition, p.checkpoint,
		   greatest(p.scanned_to, p.checkpoint) AS scanned_to,
		   greatest(l.last_position - p.checkpoint, 0) AS lag,
		   clock_timestamp() - least(fresh.created_at, late.created_at) AS oldest_pending,
		   p.consumer, p.lease_until,
		   late.streams AS waiting_streams,
		   (SELECT count(*) FROM eventstore.subscription_parked d
			WHERE d.subscription_id = p.subscription_id AND d.partition = p.partition) AS parked
	FROM eventstore.subscription_partitions p
		JOIN eventstore.subscriptions s ON s.subscription_id = p.subscription_id,
		 (SELECT coalesce(max(e.global_position), 0) AS last_position
		  FROM eventstore.events e) l
		CROSS JOIN LATERAL (
			SELECT min(e.created_at) AS created_at
			FROM (SELECT e.created_at FROM eventstore.events e
				  WHERE e.global_position > p.checkpoint
					AND (s.stream_types IS NULL OR e.stream_type = ANY (s.stream_types))
					AND (s.event_types IS NULL OR e.event_type = ANY (s.event_types))
					AND eventstore.stream_partition(e.stream_id, s.partitions) = p.partition
				  ORDER BY e.global_position
				  LIMIT 1) e) fresh
		CROSS JOIN LATERAL (
			SELECT min(e.created_at) AS created_at, count(DISTINCT w.stream_id) AS streams
			FROM eventstore.subscription_streams w
				LEFT JOIN eventstore.events e
					ON e.stream_id = w.stream_id AND e.version >= w.version
						AND e.global_position >= w.position
						AND (s.stream_types IS NULL OR e.stream_type = ANY (s.stream_types))
						AND (s.event_types IS NULL OR e.event_type = ANY (s.event_types))
			WHERE w.subscription_id = p.subscription_id AND w.partition = p.partition) late;
COMMENT ON VIEW eventstore.subscription_status IS
	'how far each partition of each subscription has come, and who works on it';
COMMENT ON COLUMN eventstore.subscription_status.subscription IS
	'name of the subscription';
COMMENT ON COLUMN eventstore.subscription_status.partition IS
	'number of the partition, from 0 on';
COMMENT ON COLUMN eventstore.subscription_status.checkpoint IS
	'all at or below is acknowledged, parked, or waits for a further attempt';
COMMENT ON COLUMN eventstore.subscription_status.scanned_to IS
	'all that matches at or below was handed out at least once';
COMMENT ON COLUMN eventstore.subscription_status.lag IS
	'how many events the store has behind the checkpoint, matching or not';
COMMENT ON COLUMN eventstore.subscription_status.oldest_pending IS
	'age of the oldest event that is not acknowledged; null when there is none';
COMMENT ON COLUMN eventstore.subscription_status.consumer IS
	'who holds the partition; null for nobody';
COMMENT ON COLUMN eventstore.subscription_status.lease_until IS
	'from then on another consumer may take the partition';
COMMENT ON COLUMN eventstore.subscription_status.waiting_streams IS
	'how many streams wait for an event that failed, or catch up behind it';
COMMENT ON COLUMN eventstore.subscription_status.parked IS
	'how many events are parked';

CREATE VIEW eventstore.parked_events AS
	SELECT d.subscription_id AS subscription, d.partition, d.position AS global_position,
		   d.stream_id, e.version, e.event_id, e.event_type, d.reason, d.attempts,
		   d.first_failed_at, d.last_failed_at, d.parked_at, d.is_replayed AS replaying
	FROM eventstore.subscription_parked d
		LEFT JOIN eventstore.events e ON e.global_position = d.position;
COMMENT ON VIEW eventstore.parked_events IS
	'the events that were given up after too many attempts';
COMMENT ON COLUMN eventstore.parked_events.subscription IS
	'name of the subscription';
COMMENT ON COLUMN eventstore.parked_events.partition IS
	'the partition of the event''s stream';
COMMENT ON COLUMN eventstore.parked_events.global_position IS
	'where the event is';
COMMENT ON COLUMN eventstore.parked_events.stream_id IS
	'stream of the event';
COMMENT ON COLUMN eventstore.parked_events.version IS
	'version of the event in its stream';
COMMENT ON COLUMN eventstore.parked_events.event_id IS
	'identity of the event';
COMMENT ON COLUMN eventstore.parked_events.event_type IS
	'type of the event';
COMMENT ON COLUMN eventstore.parked_events.reason IS
	'why it failed last';
COMMENT ON COLUMN eventstore.parked_events.attempts IS
	'how many times it was handed out';
COMMENT ON COLUMN eventstore.parked_events.first_failed_at IS
	'when it failed for the first time';
COMMENT ON COLUMN eventstore.parked_events.last_failed_at IS
	'when it failed last';
COMMENT ON COLUMN eventstore.parked_events.parked_at IS
	'when it was given up';
COMMENT ON COLUMN eventstore.parked_events.replaying IS
	'is it being handed out again?';

