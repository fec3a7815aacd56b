--
-- Verification
--

CREATE FUNCTION eventstore.rewritten_positions()
RETURNS SETOF bigint
LANGUAGE c STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'eventstore_rewritten_positions';
COMMENT ON FUNCTION eventstore.rewritten_positions() IS
	'the positions of events whose row was updated since it was stored';

CREATE FUNCTION eventstore.broken_events()
RETURNS TABLE (invariant text, detail text)
LANGUAGE sql STABLE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT 'versions of a stream are 1, 2, 3 ... without gaps',
		   format('stream "%s" has %s events with versions from %s to %s',
				  stream_id, count(*), min(version), max(version))
	FROM eventstore.events
	GROUP BY stream_id
	HAVING min(version) <> 1 OR max(version) <> count(DISTINCT version)
		OR count(*) <> count(DISTINCT version)

	UNION ALL
	SELECT 'a stream''s order is the same by version and by position',
		   format('stream "%s": version %s is at position %s, the version before it at %s',
				  stream_id, version, global_position, previous_position)
	FROM (SELECT stream_id, version, global_position,
				 lag(global_position) OVER (PARTITION BY stream_id ORDER BY version)
					AS previous_position
		  FROM eventstore.events) e
	WHERE previous_position >= global_position

	UNION ALL
	SELECT 'a stream has one stream type',
		   format('stream "%s" has the types "%s" and "%s"',
				  stream_id, min(stream_type), max(stream_type))
	FROM eventstore.events
	GROUP BY stream_id
	HAVING min(stream_type) <> max(stream_type)

	UNION ALL
	SELECT 'a position is taken once',
		   format('%s events have position %s', count(*), global_position)
	FROM eventstore.events
	GROUP BY global_position
	HAVING count(*) > 1

	UNION ALL
	SELECT 'an event is stored once',
		   format('%s events have the id %s', count(*), event_id)
	FROM eventstore.events
	GROUP BY event_id
	HAVING count(*) > 1

	UNION ALL
	SELECT 'an event is complete',
		   format('the event at position %s lacks a name, an id, a time or a version, or has not exactly one payload',
				  coalesce(global_position::text, 'null'))
	FROM eventstore.events
	WHERE ((global_position > 0) AND (version > 0) AND (schema_version > 0)
		   AND created_at IS NOT NULL AND event_id IS NOT NULL
		   AND stream_id <> '' AND stream_type <> '' AND event_type <> ''
		   AND (data IS NULL) <> (binary_data IS NULL)) IS NOT TRUE

	UNION ALL
	SELECT 'events are immutable',
		   format('the event at position %s was updated', position)
	FROM eventstore.rewritten_positions() AS position;
$$;
COMMENT ON FUNCTION eventstore.broken_events() IS
	'every broken invariant of the events themselves; no row when they are sound';

CREATE FUNCTION eventstore.broken_index_entries()
RETURNS TABLE (invariant text, detail text)
LANGUAGE c STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'eventstore_broken_index_entries';
COMMENT ON FUNCTION eventstore.broken_index_entries() IS
	'how the events and their indexes disagree; no row when they do not';

CREATE FUNCTION eventstore.event_digest(event eventstore.events)
RETURNS bytea
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'eventstore_event_digest';
COMMENT ON FUNCTION eventstore.event_digest(eventstore.events) IS
	'the SHA-256 of all columns of an event, in the form that docs/integrity.md describes';

CREATE FUNCTION eventstore.current_digest(
	OUT up_to_position bigint,
	OUT digest bytea,
	OUT made_at timestamptz)
LANGUAGE sql STABLE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT d.up_to_position, d.digest, d.made_at
	FROM eventstore.digests d
	ORDER BY d.up_to_position DESC
	LIMIT 1;
$$;
COMMENT ON FUNCTION eventstore.current_digest() IS
	'the last digest: who keeps it elsewhere can prove that no event up to its position was changed, removed or added';

CREATE FUNCTION eventstore.broken_digests(from_position bigint, to_position bigint, known bytea)
RETURNS TABLE (invariant text, detail text)
LANGUAGE c STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'eventstore_broken_digests';
COMMENT ON FUNCTION eventstore.broken_digests(bigint, bigint, bytea) IS
	'the ranges whose events are not those that their digest was made of, and whether a known digest is that of the events';

CREATE FUNCTION eventstore.verify_events(
	from_position bigint DEFAULT 0,
	to_position bigint DEFAULT NULL)
RETURNS TABLE (invariant text, detail text)
LANGUAGE sql STABLE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT b.invariant, b.detail
	FROM eventstore.broken_digests(from_position, to_position, NULL) b;
$$;
COMMENT ON FUNCTION eventstore.verify_events(bigint, bigint) IS
	'every range of events in this part of the store that was changed since its digest was made; none when all is as it was';

CREATE FUNCTION eventstore.verify_digest(up_to_position bigint, digest bytea)
RETURNS TABLE (invariant text, detail text)
LANGUAGE sql STABLE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT b.invariant, b.detail
	FROM eventstore.broken_digests(0, coalesce(verify_digest.up_to_position, 0),
								   coalesce(verify_digest.digest, '')) b;
$$;
COMMENT ON FUNCTION eventstore.verify_digest(bigint, bytea) IS
	'what differs from the store that had this digest: any row proves a change at or below the position';

CREATE FUNCTION eventstore.verify(
	check_events boolean DEFAULT true,
	check_indexes boolean DEFAULT true,
	from_position bigint DEFAULT 0)
RETURNS TABLE (invariant text, detail text)
LANGUAGE sql STABLE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
SET jit = off	-- it would take seconds to compile all this
AS $$
	-- the events and their indexes

	SELECT b.invariant, b.detail
	FROM eventstore.broken_events() b
	WHERE check_events

	UNION ALL
	SELECT b.invariant, b.detail
	FROM eventstore.broken_index_entries() b
	WHERE check_indexes

	UNION ALL
	SELECT b.invariant, b.detail
	FROM eventstore.broken_digests(from_position, NULL, NULL) b
	WHERE check_events

	UNION ALL
	SELECT 'the digests keep up with the watermark',
		   format('the events up to position %s are settled, and the digests go up to %s',
				  w.settled_position, d.up_to_position)
	FROM eventstore.watermark w,
		 (SELECT coalesce(max(up_to_position), 0) AS up_to_position FROM eventstore.digests) d
	WHERE NOT EXISTS (SELECT FROM pg_subscription_rel
					  WHERE srrelid = 'eventstore.events'::regclass)
		AND (SELECT e.created_at FROM eventstore.events e
			 WHERE e.global_position > d.up_to_position
			 ORDER BY e.global_position
			 LIMIT 1) < now() - interval '10 minutes'
		AND EXISTS (SELECT FROM eventstore.events e
					WHERE e.global_position > d.up_to_position
						AND e.global_position <= w.settled_position)

	-- the positions

	UNION ALL
	SELECT 'the next position is above all that are taken',
		   format('the sequence is at %s, the last event at %s', s.last_value, e.last_position)
	FROM eventstore.events_global_position_seq s,
		 (SELECT max(global_position) AS last_position FROM eventstore.events) e
	WHERE (e.last_position > s.last_value
		   OR (e.last_position = s.last_value AND NOT s.is_called))
		AND NOT EXISTS (SELECT FROM pg_subscription_rel	-- they are handed out elsewhere
						WHERE srrelid = 'eventstore.events'::regclass)

	UNION ALL
	SELECT 'positions are handed out one by one, upwards, for ever',
		   format('the sequence has increment %s, cache %s, cycle %s, maximum %s',
				  s.seqincrement, s.seqcache, s.seqcycle, s.seqmax)
	FROM pg_sequence s
	WHERE s.seqrelid = 'eventstore.events_global_position_seq'::regclass
		AND (s.seqincrement <> 1 OR s.seqcache <> 1 OR s.seqcycle
			 OR s.seqmax <> 9223372036854775807)

	UNION ALL
	SELECT 'the watermark is one row and not above the last position',
		   format('%s rows, the highest at %s', w.nrows, w.highest)
	FROM eventstore.events_global_position_seq s,
		 (SELECT count(*) AS nrows, max(settled_position) AS highest
		  FROM eventstore.watermark) w
	WHERE w.nrows > 1
		OR ((w.highest > s.last_value OR (w.highest = s.last_value AND NOT s.is_called))
			AND NOT EXISTS (SELECT FROM pg_subscription_rel
							WHERE srrelid = 'eventstore.watermark'::regclass))

	UNION ALL
	SELECT 'the watermark counts the events up to it',
		   format('%s up to position %s, and there are %s', w.events, w.position,
				  CASE WHEN t.events = w.events THEN 'others' ELSE t.events::text END)
	FROM eventstore.watermark m,
		 LATERAL (VALUES (m.settled_position, m.events, m.checksum),
						 (m.published_position, m.published_events, m.published_checksum))
			AS w (position, events, checksum),
		 LATERAL eventstore.tally(CASE WHEN check_events AND w.events IS NOT NULL THEN w.position END) AS t
	WHERE (t.events, t.checksum) <> (w.events, w.checksum)
		AND (w.position = m.settled_position OR NOT EXISTS (
				SELECT FROM pg_subscription_rel
				WHERE srrelid IN ('eventstore.events'::regclass, 'eventstore.watermark'::regclass)
					AND srsubstate <> 'r'))

	UNION ALL
	SELECT 'no checkpoint is above the last position',
		   format('the sequence is at %s, %s at %s', s.last_value, c.name, c.position)
	FROM eventstore.events_global_position_seq s,
		 (SELECT format('the checkpoint of "%s"', subscription_id), position
		  FROM eventstore.checkpoints
		  UNION ALL
		  SELECT format('partition %s of subscription "%s"', partition, subscription_id),
				 greatest(checkpoint, scanned_to, tried_to)
		  FROM eventstore.subscription_partitions
		  UNION ALL
		  SELECT format('a former layout of subscription "%s"', l.subscription_id), max(p)
		  FROM eventstore.subscription_layouts l, unnest(l.checkpoints) AS p
		  GROUP BY l.subscription_id, l.revision) AS c (name, position)
	WHERE (c.position > s.last_value
		   OR (c.position = s.last_value AND NOT s.is_called))
		AND NOT EXISTS (SELECT FROM pg_subscription_rel
						WHERE srrelid = 'eventstore.events'::regclass)

	-- the table

	UNION ALL
	SELECT 'the relations are permanent, and heaps without children',
		   format('relation %s', c.oid::regclass)
	FROM pg_class c
	WHERE c.oid IN (SELECT d.objid FROM pg_depend d JOIN pg_extension x ON x.oid = d.refobjid
					WHERE d.classid = 'pg_class'::regclass AND d.deptype = 'e'
						AND d.refclassid = 'pg_extension'::regclass AND x.extname = 'eventstore')
		AND (c.relpersistence <> 'p'
			 OR (c.relkind = 'r' AND c.relam <> (SELECT a.oid FROM pg_am a WHERE a.amname = 'heap'))
			 OR EXISTS (SELECT FROM pg_inherits i WHERE c.oid IN (i.inhparent, i.inhrelid)))

	UNION ALL
	SELECT 'the events table has its columns',
		   format('column %s is missing or altered', e.attname)
	FROM (VALUES
			(1, 'global_position', 'int8', true), (2, 'version', 'int8', true),
			(3, 'created_at', 'timestamptz', true), (4, 'event_id', 'uuid', true),
			(5, 'stream_id', 'text', true), (6, 'stream_type', 'text', true),
			(7, 'event_type', 'text', true), (8, 'schema_version', 'int4', true),
			(9, 'correlation_id', 'uuid', false), (10, 'causation_id', 'uuid', false),
			(11, 'data', 'json', false), (12, 'binary_data', 'bytea', false),
			(13, 'content_type', 'text', false), (14, 'metadata', 'json', false),
			(15, 'tags', '_text', false)) AS e (attnum, attname, typname, attnotnull)
	WHERE NOT EXISTS (
		SELECT FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
		WHERE a.attrelid = 'eventstore.events'::regclass AND a.attnum = e.attnum
			AND a.attname = e.attname AND t.typname = e.typname
			AND a.attnotnull = e.attnotnull AND NOT a.attisdropped
			AND (a.attcollation = 0
				 OR a.attcollation = (SELECT c.oid FROM pg_collation c
									  WHERE c.collname = 'C' AND c.collnamespace = 'pg_catalog'::regnamespace)))

	UNION ALL
	SELECT 'the events table has no further columns',
		   format('column %s', a.attname)
	FROM pg_attribute a
	WHERE a.attrelid = 'eventstore.events'::regclass AND a.attnum > 15
		AND NOT a.attisdropped

	UNION ALL
	SELECT 'the tables have their constraints',
		   format('constraint %s of %s is missing, altered or not validated', e.conname, e.relname)
	FROM (VALUES
			('events', 'events_pkey', 'PRIMARY KEY (global_position)'),
			('events', 'events_stream_id_version_key', 'UNIQUE (stream_id, version)'),
			('events', 'events_event_id_key', 'UNIQUE (event_id)'),
			('events', 'events_version_positive', 'CHECK ((version > 0))'),
			('events', 'events_names_not_empty',
			 'CHECK (((stream_id <> ''''::text) AND (stream_type <> ''''::text) AND (event_type <> ''''::text)))'),
			('events', 'events_one_payload', 'CHECK (((data IS NULL) <> (binary_data IS NULL)))'),
			('digests', 'digests_pkey', 'PRIMARY KEY (up_to_position)'),
			('digests', 'digests_not_empty', 'CHECK (((up_to_position > 0) AND (events > 0)))'),
			('digests', 'digests_sha256', 'CHECK ((octet_length(digest) = 32))'),
			('watermark', 'watermark_pkey', 'PRIMARY KEY (only_row)'),
			('watermark', 'watermark_only_row', 'CHECK (only_row)'))
			AS e (relname, conname, definition)
	WHERE NOT EXISTS (
		SELECT FROM pg_constraint c
		WHERE c.conrelid = format('eventstore.%I', e.relname)::regclass AND c.conname = e.conname
			AND c.convalidated AND NOT c.condeferrable
			AND pg_get_constraintdef(c.oid) = e.definition)

	UNION ALL
	SELECT 'the events table has its indexes',
		   format('there is no valid %s index on (%s)',
				  CASE WHEN e.isunique THEN 'unique' ELSE 'plain' END, e.columns)
	FROM (VALUES ('global_position', '1', '0', true), ('stream_id, version', '5 2', '950 0', true),
				 ('event_id', '4', '0', true), ('stream_type, global_position', '6 1', '950 0', false))
			AS e (columns, indkey, indcollation, isunique)
	WHERE NOT EXISTS (
		SELECT FROM pg_index i
		WHERE i.indrelid = 'eventstore.events'::regclass AND i.indkey::text = e.indkey
			AND i.indcollation::text = e.indcollation AND i.indoption::text IN ('0', '0 0')
			AND i.indisunique = e.isunique AND i.indisvalid AND i.indisready
			AND i.indimmediate AND i.indpred IS NULL)

	-- the guard

	UNION ALL
	SELECT 'the guard stands, for everyone',
		   format('trigger %s of %s is missing, altered or not enabled ALWAYS', e.tgname, e.relname)
	FROM (VALUES ('events', 'guard_insert', 4 + 2, 0),
				 ('events', 'guard_update', 16 + 2, 0), ('events', 'guard_delete', 8 + 2, 0),
				 ('events', 'guard_truncate', 32 + 2, 0),
				 ('events', 'guard_update_row', 16 + 2 + 1, 0), ('events', 'guard_delete_row', 8 + 2 + 1, 0),
				 ('digests', 'guard_insert', 4 + 2, 0),
				 ('digests', 'guard_update', 16 + 2, 0), ('digests', 'guard_delete', 8 + 2, 0),
				 ('digests', 'guard_truncate', 32 + 2, 0),
				 ('digests', 'guard_update_row', 16 + 2 + 1, 0), ('digests', 'guard_delete_row', 8 + 2 + 1, 0),
				 ('watermark', 'guard_owner', 32 + 16 + 8 + 4 + 2, 1),
				 ('watermark', 'receive', 16 + 4 + 2 + 1, 0))
			AS e (relname, tgname, tgtype, tgnargs)
	WHERE NOT EXISTS (
		SELECT FROM pg_trigger t
		WHERE t.tgrelid = format('eventstore.%I', e.relname)::regclass AND t.tgname = e.tgname
			AND t.tgtype = e.tgtype AND t.tgenabled = 'A' AND t.tgqual IS NULL
			AND t.tgattr = '' AND t.tgfoid = CASE e.tgname
				WHEN 'receive' THEN 'eventstore.receive_watermark()' ELSE 'eventstore.guard()' END::regprocedure
			AND t.tgnargs = e.tgnargs)

	UNION ALL
	SELECT 'the guard stands, for everyone',
		   format('event trigger %s is missing, altered or not enabled ALWAYS', e.evtname)
	FROM (VALUES ('eventstore_guard_rewrite', 'table_rewrite', NULL, 'eventstore.guard_rewrite()'::regprocedure),
				 ('eventstore_note_subscription', 'ddl_command_end',
				  ARRAY['CREATE SUBSCRIPTION', 'ALTER SUBSCRIPTION'], 'eventstore.note_subscription()'))
			AS e (evtname, evtevent, evttags, evtfoid)
	WHERE NOT EXISTS (
		SELECT FROM pg_event_trigger t
		WHERE t.evtname = e.evtname AND t.evtevent = e.evtevent AND t.evtenabled = 'A'
			AND t.evttags IS NOT DISTINCT FROM e.evttags AND t.evtfoid = e.evtfoid)

	UNION ALL
	SELECT 'the functions are the extension''s own',
		   format('%s was replaced or altered', p.oid::regprocedure)
	FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
	WHERE p.oid IN (SELECT d.objid FROM pg_depend d JOIN pg_extension x ON x.oid = d.refobjid
					WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
						AND d.refclassid = 'pg_extension'::regclass AND x.extname = 'eventstore')
		AND (CASE l.lanname
				WHEN 'c' THEN p.probin <> '$libdir/eventstore' OR p.prosrc <> 'eventstore_' || p.proname
					OR p.prosecdef
				WHEN 'sql' THEN p.prosecdef <> (p.proname = 'get_checkpoint')
				WHEN 'plpgsql' THEN p.prosecdef <> (p.proname IN (
					'save_checkpoint', 'create_subscription', 'alter_subscription', 'drop_subscription',
					'ack_events', 'nack_event', 'replay_parked'))
				ELSE true END
			 OR (l.lanname <> 'c' AND p.proconfig IS DISTINCT FROM
					ARRAY['search_path=pg_catalog, pg_temp'] || CASE p.proname WHEN 'verify' THEN ARRAY['jit=off'] END)
			 OR (l.lanname = 'c' AND p.proconfig IS NOT NULL AND p.proname <> 'fetch_events'))

	UNION ALL
	SELECT 'all is in the hand of one owner',
		   format('%s belongs to %s', o.name, o.owner::regrole)
	FROM pg_namespace n,
		 (SELECT c.relowner, c.oid::regclass::text, 'pg_class'::regclass::oid, c.oid FROM pg_class c
		  WHERE c.relkind = 'v'
		  UNION ALL
		  SELECT p.proowner, p.oid::regprocedure::text, 'pg_proc'::regclass, p.oid FROM pg_proc p)
			AS o (owner, name, classid, oid)
	WHERE n.nspname = 'eventstore' AND o.owner <> n.nspowner
		AND EXISTS (SELECT FROM pg_depend d JOIN pg_extension x ON x.oid = d.refobjid
					WHERE d.classid = o.classid AND d.objid = o.oid AND d.deptype = 'e'
						AND d.refclassid = 'pg_extension'::regclass AND x.extname = 'eventstore')

	UNION ALL
	SELECT 'all is in the hand of one owner', f.detail
	FROM eventstore.code_of_others() f

	UNION ALL
	SELECT 'all is in the hand of one owner',
		   format('%s is in the schema, and not the extension''s', p.oid::regprocedure)
	FROM pg_proc p
	WHERE p.pronamespace = 'eventstore'::regnamespace
		AND NOT EXISTS (SELECT FROM pg_depend d JOIN pg_extension x ON x.oid = d.refobjid
						WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
							AND d.refclassid = 'pg_extension'::regclass AND x.extname = 'eventstore')

	UNION ALL
	SELECT 'all is in the hand of one owner',
		   format('%s may make objects in the schema', a.grantee::regrole)
	FROM pg_namespace n, aclexplode(n.nspacl) a
	WHERE n.nspname = 'eventstore' AND a.privilege_type = 'CREATE'
		AND a.grantee NOT IN (n.nspowner, 0)

	UNION ALL
	SELECT 'all rows are there for those who may read', format('row-level security is on for %s', c.oid::regclass)
	FROM pg_class c
	WHERE c.relnamespace = 'eventstore'::regnamespace AND (c.relrowsecurity OR c.relforcerowsecurity)

	UNION ALL
	SELECT 'the guard stands, for everyone', format('the catalog says that %s has no triggers', c.oid::regclass)
	FROM pg_class c
	WHERE c.relnamespace = 'eventstore'::regnamespace
		AND c.relname IN ('events', 'digests', 'watermark') AND NOT c.relhastriggers

	UNION ALL
	SELECT 'nothing comes between an append and the table',
		   format('row trigger %s of %s fires before INSERT', t.tgname, t.tgrelid::regclass)
	FROM pg_trigger t
	WHERE t.tgrelid IN ('eventstore.events'::regclass, 'eventstore.digests'::regclass,
						'eventstore.watermark'::regclass)
		AND t.tgtype & (1 + 2 + 4) = 1 + 2 + 4
		AND (t.tgrelid, t.tgname) <> ('eventstore.watermark'::regclass, 'receive')

	UNION ALL
	SELECT 'nothing comes between an append and the table',
		   format('rule %s of %s', r.rulename, r.ev_class::regclass)
	FROM pg_rewrite r
	WHERE r.ev_class IN ('eventstore.events'::regclass, 'eventstore.digests'::regclass,
						 'eventstore.watermark'::regclass)

	-- the subscriptions

	UNION ALL
	SELECT 'a subscription has its partitions',
		   format('of the %s partitions of subscription "%s" there are %s, and %s others',
				  coalesce(s.partitions, 0), coalesce(s.subscription_id, p.subscription_id),
				  count(*) FILTER (WHERE p.partition BETWEEN 0 AND s.partitions - 1
								   AND p.revision = s.revision),
				  count(p) FILTER (WHERE (p.partition BETWEEN 0 AND s.partitions - 1
										  AND p.revision = s.revision) IS NOT TRUE))
	FROM eventstore.subscriptions s
		FULL JOIN eventstore.subscription_partitions p ON p.subscription_id = s.subscription_id
	GROUP BY s.subscription_id, s.partitions, p.subscription_id
	HAVING (count(p) = s.partitions
			AND bool_and(p.partition BETWEEN 0 AND s.partitions - 1 AND p.revision = s.revision)) IS NOT TRUE

	UNION ALL
	SELECT 'a partition is handed out in order',
		   format('partition %s of subscription "%s" has checkpoint %s, has handed out up to %s, and looked at up to %s',
				  p.partition, p.subscription_id, p.checkpoint, coalesce(p.fetched_to::text, 'null'), p.scanned_to)
	FROM eventstore.subscription_partitions p
	WHERE (0 <= p.checkpoint AND p.checkpoint <= p.scanned_to
		   AND coalesce(p.checkpoint < p.fetched_to AND p.fetched_to <= least(p.scanned_to, p.tried_to), true))
			IS NOT TRUE

	UNION ALL
	SELECT 'who has events has a lease',
		   format('partition %s of subscription "%s"', p.partition, p.subscription_id)
	FROM eventstore.subscription_partitions p
	WHERE (p.consumer IS NULL) <> (p.lease_until IS NULL)
		OR (p.consumer IS NULL
			AND (p.fetched_to IS NOT NULL
				 OR EXISTS (SELECT FROM eventstore.subscription_streams w
							WHERE w.subscription_id = p.subscription_id
								AND w.partition = p.partition AND w.delivered_to IS NOT NULL)
				 OR EXISTS (SELECT FROM eventstore.subscription_parked d
							WHERE d.subscription_id = p.subscription_id
								AND d.partition = p.partition AND d.is_delivered)))

	UNION ALL
	SELECT 'what waits or is parked is in the partition of its stream',
		   format('stream "%s" of subscription "%s" is in partition %s', w.stream_id, w.subscription_id, w.partition)
	FROM (SELECT subscription_id, stream_id, partition FROM eventstore.subscription_streams
		  UNION
		  SELECT subscription_id, stream_id, partition FROM eventstore.subscription_parked) w
		LEFT JOIN eventstore.subscriptions s ON s.subscription_id = w.subscription_id
	WHERE w.partition IS DISTINCT FROM eventstore.stream_partition(w.stream_id, s.partitions)

	UNION ALL
	SELECT 'what waits or is parked is an event of its stream',
		   format('there is none of stream "%s" at position %s, for subscription "%s"',
				  w.stream_id, w.position, w.subscription_id)
	FROM (SELECT subscription_id, stream_id, failed_position FROM eventstore.subscription_streams
		  WHERE failed_position IS NOT NULL
		  UNION ALL
		  SELECT subscription_id, stream_id, position FROM eventstore.subscription_parked)
			AS w (subscription_id, stream_id, position)
		LEFT JOIN eventstore.events e ON e.global_position = w.position
	WHERE e.stream_id IS DISTINCT FROM w.stream_id

	UNION ALL
	SELECT 'a stream that waits goes on where it is',
		   format('stream "%s" of subscription "%s" waits at position %s, and goes on with version %s',
				  w.stream_id, w.subscription_id, w.position, w.version)
	FROM eventstore.subscription_streams w
	WHERE w.failed_position < w.position
		OR EXISTS (SELECT FROM eventstore.events e
				   WHERE e.stream_id = w.stream_id AND e.version < w.version
						AND e.global_position >= w.position)

	UNION ALL
	SELECT 'a former layout has checkpoints, and is older',
		   format('subscription "%s", revision %s', l.subscription_id, l.revision)
	FROM eventstore.subscription_layouts l
		LEFT JOIN eventstore.subscriptions s ON s.subscription_id = l.subscription_id
	WHERE (l.revision < s.revision AND array_ndims(l.checkpoints) = 1
		   AND array_position(l.checkpoints, NULL) IS NULL) IS NOT TRUE

	UNION ALL
	SELECT 'a name is that of a follower or of a subscription, not of both',
		   format('"%s"', c.subscription_id)
	FROM eventstore.checkpoints c
		JOIN eventstore.subscriptions s ON s.subscription_id = c.subscription_id

	-- the rights

	UNION ALL
	SELECT 'only the owner may write',
		   format('%s may move the next position, as a member of pg_write_all_data', r.oid::regrole)
	FROM pg_roles r, pg_class c
	WHERE c.oid = 'eventstore.events_global_position_seq'::regclass AND NOT r.rolsuper
		AND r.rolname <> 'pg_write_all_data' AND NOT pg_has_role(r.oid, c.relowner, 'USAGE')
		AND pg_has_role(r.oid, 'pg_write_all_data', 'USAGE')

	UNION ALL
	SELECT 'only the owner has rights on the relations, but for SELECT',
		   format('%s has %s on %s',
				  CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END,
				  a.privilege_type, c.oid::regclass)
	FROM pg_class c, aclexplode(c.relacl) a
	WHERE c.oid IN (SELECT d.objid FROM pg_depend d JOIN pg_extension x ON x.oid = d.refobjid
					WHERE d.classid = 'pg_class'::regclass AND d.deptype = 'e'
						AND d.refclassid = 'pg_extension'::regclass AND x.extname = 'eventstore')
		AND a.grantee <> c.relowner
		AND (a.privilege_type <> 'SELECT' OR a.grantee = 0)

	UNION ALL
	SELECT 'only the owner has rights on the relations, but for SELECT',
		   format('%s has %s on column %s of %s',
				  CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END,
				  a.privilege_type, t.attname, c.oid::regclass)
	FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid, aclexplode(t.attacl) a
	WHERE c.oid IN (SELECT d.objid FROM pg_depend d JOIN pg_extension x ON x.oid = d.refobjid
					WHERE d.classid = 'pg_class'::regclass AND d.deptype = 'e'
						AND d.refclassid = 'pg_extension'::regclass AND x.extname = 'eventstore')
		AND a.grantee <> c.relowner
		AND (a.privilege_type <> 'SELECT' OR a.grantee = 0)

	UNION ALL
	SELECT 'PUBLIC has no rights', format('EXECUTE on function %s', p.oid::regprocedure)
	FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
	WHERE p.pronamespace = 'eventstore'::regnamespace AND a.grantee = 0
		AND EXISTS (SELECT FROM pg_depend d JOIN pg_extension x ON x.oid = d.refobjid
					WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid
						AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
						AND x.extname = 'eventstore')

	UNION ALL
	SELECT 'PUBLIC has no rights', format('%s on schema eventstore', a.privilege_type)
	FROM pg_namespace n, aclexplode(n.nspacl) a
	WHERE n.oid = 'eventstore'::regnamespace AND a.grantee = 0;
$$;
COMMENT ON FUNCTION eventstore.verify(boolean, boolean, bigint) IS
	'every broken invariant of the store as a row; none when the store is sound';

