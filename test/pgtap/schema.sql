--
-- The contract of the SQL surface: every object with every property that
-- users, dumps and drivers may rely on.  Run with
--
--	pg_prove -d DATABASE test/pgtap/*.sql
--

\set ON_ERROR_STOP on
\set QUIET on
BEGIN;
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
DROP EXTENSION IF EXISTS eventstore;
CREATE EXTENSION eventstore;

SELECT plan(39);

--
-- The extension
--
SELECT has_schema('eventstore'::name);
SELECT results_eq(
	$$SELECT extrelocatable, extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'eventstore'$$,
	$$VALUES (false, 'pg_catalog')$$,
	'the extension stays where it is');
SELECT results_eq(
	$$SELECT superuser, trusted FROM pg_available_extension_versions WHERE name = 'eventstore' AND installed$$,
	$$VALUES (true, false)$$,
	'a superuser installs it');
SELECT set_eq(
	$$SELECT relation::regclass::text, condition
	  FROM pg_extension, unnest(extconfig, extcondition) AS c (relation, condition)
	  WHERE extname = 'eventstore'$$,
	$$VALUES ('eventstore.events', ''), ('eventstore.digests', ''),
			 ('eventstore.events_global_position_seq', ''),
			 ('eventstore.watermark', ''), ('eventstore.checkpoints', ''), ('eventstore.subscriptions', ''),
			 ('eventstore.subscription_partitions', ''), ('eventstore.subscription_streams', ''),
			 ('eventstore.subscription_parked', ''), ('eventstore.subscription_layouts', '')$$,
	'pg_dump dumps the rows of these, all of them');
SELECT set_eq(
	$$SELECT c.relkind::text, c.relname::text FROM pg_class c
	  WHERE c.relnamespace = 'eventstore'::regnamespace$$,
	$$VALUES ('r', 'events'), ('r', 'watermark'), ('S', 'events_global_position_seq'),
			 ('v', 'events_jsonb'), ('v', 'replication_status'),
			 ('i', 'events_pkey'), ('i', 'events_stream_id_version_key'), ('i', 'events_event_id_key'),
			 ('i', 'events_stream_type_global_position_idx'), ('i', 'watermark_pkey'),
			 ('r', 'digests'), ('i', 'digests_pkey'),
			 ('r', 'checkpoints'), ('i', 'checkpoints_pkey'), ('r', 'subscriptions'), ('i', 'subscriptions_pkey'),
			 ('r', 'subscription_partitions'), ('i', 'subscription_partitions_pkey'),
			 ('r', 'subscription_streams'), ('i', 'subscription_streams_pkey'),
			 ('r', 'subscription_parked'), ('i', 'subscription_parked_pkey'),
			 ('r', 'subscription_layouts'), ('i', 'subscription_layouts_pkey'),
			 ('v', 'subscription_status'), ('v', 'parked_events')$$,
	'the schema holds these relations');
SELECT is_empty(
	$$SELECT d.classid::regclass, d.objid FROM pg_depend d
	  WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
	  AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'eventstore')
	  AND (pg_identify_object(d.classid, d.objid, d.objsubid)).schema IS DISTINCT FROM 'eventstore'
	  AND d.classid NOT IN ('pg_namespace'::regclass, 'pg_event_trigger'::regclass)$$,
	'the extension has nothing outside its schema but event triggers');
SELECT set_eq(
	$$SELECT evtname::text, evtevent::text, evtfoid::regproc::text, evtenabled::text, evttags::text
	  FROM pg_event_trigger$$,
	$$VALUES ('eventstore_guard_rewrite', 'table_rewrite', 'eventstore.guard_rewrite', 'A', NULL),
			 ('eventstore_note_subscription', 'ddl_command_end', 'eventstore.note_subscription', 'A',
			  '{"CREATE SUBSCRIPTION","ALTER SUBSCRIPTION"}')$$,
	'which are for table_rewrite and for subscriptions');
SELECT is_empty(
	$$SELECT t.typname FROM pg_type t
	  WHERE t.typnamespace = 'eventstore'::regnamespace
	  AND t.typrelid = 0
	  AND NOT EXISTS (SELECT FROM pg_type r WHERE r.oid = t.typelem AND r.typrelid <> 0)
	  UNION ALL SELECT o.oprname FROM pg_operator o WHERE o.oprnamespace = 'eventstore'::regnamespace
	  UNION ALL SELECT c.collname FROM pg_collation c WHERE c.collnamespace = 'eventstore'::regnamespace$$,
	'... and no types but those of its relations, and no operators');

--
-- Tables
--
SELECT results_eq(
	$$SELECT a.attnum::int, a.attname::text COLLATE "default", format_type(a.atttypid, a.atttypmod), a.attnotnull,
			 (SELECT c.collname::text COLLATE "default" FROM pg_collation c WHERE c.oid = a.attcollation),
			 pg_get_expr(d.adbin, d.adrelid) COLLATE "default", (a.attidentity::text || a.attgenerated::text) COLLATE "default"
	  FROM pg_attribute a LEFT JOIN pg_attrdef d ON (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
	  WHERE a.attrelid = 'eventstore.events'::regclass AND a.attnum > 0 ORDER BY a.attnum$$,
	$$VALUES (1, 'global_position', 'bigint', true, NULL, NULL, ''),
			 (2, 'version', 'bigint', true, NULL, NULL, ''),
			 (3, 'created_at', 'timestamp with time zone', true, NULL, NULL, ''),
			 (4, 'event_id', 'uuid', true, NULL, NULL, ''),
			 (5, 'stream_id', 'text', true, 'C', NULL, ''),
			 (6, 'stream_type', 'text', true, 'C', NULL, ''),
			 (7, 'event_type', 'text', true, 'C', NULL, ''),
			 (8, 'schema_version', 'integer', true, NULL, NULL, ''),
			 (9, 'correlation_id', 'uuid', false, NULL, NULL, ''),
			 (10, 'causation_id', 'uuid', false, NULL, NULL, ''),
			 (11, 'data', 'json', false, NULL, NULL, ''),
			 (12, 'binary_data', 'bytea', false, NULL, NULL, ''),
			 (13, 'content_type', 'text', false, 'C', NULL, ''),
			 (14, 'metadata', 'json', false, NULL, NULL, ''),
			 (15, 'tags', 'text[]', false, 'C', NULL, '')$$,
	'columns of events: name, type, not null, collation, default');
SELECT results_eq(
	$$SELECT a.attnum::int, a.attname::text COLLATE "default", format_type(a.atttypid, a.atttypmod), a.attnotnull,
			 pg_get_expr(d.adbin, d.adrelid) COLLATE "default"
	  FROM pg_attribute a LEFT JOIN pg_attrdef d ON (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
	  WHERE a.attrelid = 'eventstore.watermark'::regclass AND a.attnum > 0 ORDER BY a.attnum$$,
	$$VALUES (1, 'only_row', 'boolean', true, 'true'),
			 (2, 'settled_position', 'bigint', true, NULL),
			 (3, 'events', 'bigint', false, NULL),
			 (4, 'checksum', 'bigint', false, NULL),
			 (5, 'is_replica', 'boolean', true, 'false'),
			 (6, 'published_position', 'bigint', false, NULL),
			 (7, 'published_events', 'bigint', false, NULL),
			 (8, 'published_checksum', 'bigint', false, NULL)$$,
	'columns of watermark: name, type, not null, default');
SELECT results_eq(
	$$SELECT a.attname::text COLLATE "default", format_type(a.atttypid, a.atttypmod)
	  FROM pg_attribute a
	  WHERE a.attrelid = 'eventstore.replication_status'::regclass AND a.attnum > 0 ORDER BY a.attnum$$,
	$$VALUES ('slot_name', 'name'), ('temporary', 'boolean'), ('active', 'boolean'), ('active_pid', 'integer'),
			 ('restart_lsn', 'pg_lsn'), ('confirmed_flush_lsn', 'pg_lsn'),
			 ('retained_bytes', 'numeric'), ('lag_bytes', 'numeric'),
			 ('wal_status', 'text'), ('safe_wal_size', 'bigint'),
			 ('failover', 'boolean'), ('invalidation_reason', 'text')$$,
	'columns of replication_status');
SELECT set_eq(
	$$SELECT c.relname::text, a.attnum::int, a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull,
			 (SELECT l.collname::text FROM pg_collation l WHERE l.oid = a.attcollation),
			 pg_get_expr(d.adbin, d.adrelid), a.attidentity::text || a.attgenerated::text
	  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
		LEFT JOIN pg_attrdef d ON (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
	  WHERE c.relnamespace = 'eventstore'::regnamespace AND c.relkind = 'r' AND a.attnum > 0
	  AND c.relname ~ '^(checkpoints|subscription)'$$,
	$$VALUES ('checkpoints', 1, 'subscription_id', 'text', true, 'C', NULL, ''),
			 ('checkpoints', 2, 'position', 'bigint', true, NULL, NULL, ''),
			 ('checkpoints', 3, 'updated_at', 'timestamp with time zone', true, NULL, 'now()', ''),
			 ('subscriptions', 1, 'subscription_id', 'text', true, 'C', NULL, ''),
			 ('subscriptions', 2, 'stream_types', 'text[]', false, 'C', NULL, ''),
			 ('subscriptions', 3, 'event_types', 'text[]', false, 'C', NULL, ''),
			 ('subscriptions', 4, 'partitions', 'integer', true, NULL, NULL, ''),
			 ('subscriptions', 5, 'max_attempts', 'integer', true, NULL, NULL, ''),
			 ('subscriptions', 6, 'revision', 'bigint', true, NULL, '1', ''),
			 ('subscriptions', 7, 'created_at', 'timestamp with time zone', true, NULL, 'now()', ''),
			 ('subscription_partitions', 1, 'subscription_id', 'text', true, 'C', NULL, ''),
			 ('subscription_partitions', 2, 'partition', 'integer', true, NULL, NULL, ''),
			 ('subscription_partitions', 3, 'revision', 'bigint', true, NULL, NULL, ''),
			 ('subscription_partitions', 4, 'checkpoint', 'bigint', true, NULL, NULL, ''),
			 ('subscription_partitions', 5, 'scanned_to', 'bigint', true, NULL, NULL, ''),
			 ('subscription_partitions', 6, 'fetched_to', 'bigint', false, NULL, NULL, ''),
			 ('subscription_partitions', 7, 'tried_to', 'bigint', true, NULL, '0', ''),
			 ('subscription_partitions', 8, 'attempts', 'integer', true, NULL, '0', ''),
			 ('subscription_partitions', 9, 'consumer', 'text', false, 'C', NULL, ''),
			 ('subscription_partitions', 10, 'lease_until', 'timestamp with time zone', false, NULL, NULL, ''),
			 ('subscription_partitions', 11, 'fetched_at', 'timestamp with time zone', false, NULL, NULL, ''),
			 ('subscription_streams', 1, 'subscription_id', 'text', true, 'C', NULL, ''),
			 ('subscription_streams', 2, 'stream_id', 'text', true, 'C', NULL, ''),
			 ('subscription_streams', 3, 'partition', 'integer', true, NULL, NULL, ''),
			 ('subscription_streams', 4, 'position', 'bigint', true, NULL, NULL, ''),
			 ('subscription_streams', 5, 'version', 'bigint', true, NULL, NULL, ''),
			 ('subscription_streams', 6, 'failed_position', 'bigint', false, NULL, NULL, ''),
			 ('subscription_streams', 7, 'attempts', 'integer', true, NULL, NULL, ''),
			 ('subscription_streams', 8, 'reason', 'text', false, 'default', NULL, ''),
			 ('subscription_streams', 9, 'first_failed_at', 'timestamp with time zone', false, NULL, NULL, ''),
			 ('subscription_streams', 10, 'last_failed_at', 'timestamp with time zone', false, NULL, NULL, ''),
			 ('subscription_streams', 11, 'retry_at', 'timestamp with time zone', false, NULL, NULL, ''),
			 ('subscription_streams', 12, 'delivered_to', 'bigint', false, NULL, NULL, ''),
			 ('subscription_streams', 13, 'is_suspect', 'boolean', true, NULL, 'false', ''),
			 ('subscription_parked', 1, 'subscription_id', 'text', true, 'C', NULL, ''),
			 ('subscription_parked', 2, 'partition', 'integer', true, NULL, NULL, ''),
			 ('subscription_parked', 3, 'position', 'bigint', true, NULL, NULL, ''),
			 ('subscription_parked', 4, 'stream_id', 'text', true, 'C', NULL, ''),
			 ('subscription_parked', 5, 'attempts', 'integer', true, NULL, NULL, ''),
			 ('subscription_parked', 6, 'reason', 'text', true, 'default', NULL, ''),
			 ('subscription_parked', 7, 'first_failed_at', 'timestamp with time zone', true, NULL, NULL, ''),
			 ('subscription_parked', 8, 'last_failed_at', 'timestamp with time zone', true, NULL, NULL, ''),
			 ('subscription_parked', 9, 'parked_at', 'timestamp with time zone', true, NULL, 'clock_timestamp()', ''),
			 ('subscription_parked', 10, 'is_replayed', 'boolean', true, NULL, 'false', ''),
			 ('subscription_parked', 11, 'replay_attempts', 'integer', true, NULL, '0', ''),
			 ('subscription_parked', 12, 'retry_at', 'timestamp with time zone', false, NULL, NULL, ''),
			 ('subscription_parked', 13, 'is_delivered', 'boolean', true, NULL, 'false', ''),
			 ('subscription_parked', 14, 'is_suspect', 'boolean', true, NULL, 'false', ''),
			 ('subscription_layouts', 1, 'subscription_id', 'text', true, 'C', NULL, ''),
			 ('subscription_layouts', 2, 'revision', 'bigint', true, NULL, NULL, ''),
			 ('subscription_layouts', 3, 'checkpoints', 'bigint[]', true, NULL, NULL, '')$$,
	'columns of the tables of subscriptions: name, type, not null, collation, default');
SELECT set_eq(
	$$SELECT c.relname::text, a.attnum::int, a.attname::text, format_type(a.atttypid, a.atttypmod)
	  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
	  WHERE c.relnamespace = 'eventstore'::regnamespace AND c.relkind = 'v'
	  AND c.relname NOT IN ('replication_status', 'events_jsonb')$$,
	$$VALUES ('subscription_status', 1, 'subscription', 'text'),
			 ('subscription_status', 2, 'partition', 'integer'),
			 ('subscription_status', 3, 'checkpoint', 'bigint'),
			 ('subscription_status', 4, 'scanned_to', 'bigint'),
			 ('subscription_status', 5, 'lag', 'bigint'),
			 ('subscription_status', 6, 'oldest_pending', 'interval'),
			 ('subscription_status', 7, 'consumer', 'text'),
			 ('subscription_status', 8, 'lease_until', 'timestamp with time zone'),
			 ('subscription_status', 9, 'waiting_streams', 'bigint'),
			 ('subscription_status', 10, 'parked', 'bigint'),
			 ('parked_events', 1, 'subscription', 'text'),
			 ('parked_events', 2, 'partition', 'integer'),
			 ('parked_events', 3, 'global_position', 'bigint'),
			 ('parked_events', 4, 'stream_id', 'text'),
			 ('parked_events', 5, 'version', 'bigint'),
			 ('parked_events', 6, 'event_id', 'uuid'),
			 ('parked_events', 7, 'event_type', 'text'),
			 ('parked_events', 8, 'reason', 'text'),
			 ('parked_events', 9, 'attempts', 'integer'),
			 ('parked_events', 10, 'first_failed_at', 'timestamp with time zone'),
			 ('parked_events', 11, 'last_failed_at', 'timestamp with time zone'),
			 ('parked_events', 12, 'parked_at', 'timestamp with time zone'),
			 ('parked_events', 13, 'replaying', 'boolean')$$,
	'columns of the views: name, type');
SELECT results_eq(
	$$SELECT attname::text COLLATE "default", format_type(atttypid, atttypmod), attcollation::int FROM pg_attribute
	  WHERE attrelid = 'eventstore.events_jsonb'::regclass AND attnum > 0 ORDER BY attnum$$,
	$$SELECT attname::text COLLATE "default", replace(format_type(atttypid, atttypmod), 'json', 'jsonb'), attcollation::int FROM pg_attribute
	  WHERE attrelid = 'eventstore.events'::regclass AND attnum > 0 ORDER BY attnum$$,
	'columns of events_jsonb: those of events, with jsonb for json');
SELECT is(
	(SELECT reloptions::text FROM pg_class WHERE oid = 'eventstore.events_jsonb'::regclass),
	'{security_invoker=true}',
	'... which is no way round the rights to events');
SELECT set_eq(
	$$SELECT c.relname::text, a.amname::text, c.relpersistence::text, c.relreplident::text,
			 c.relrowsecurity, c.relispartition OR c.relhassubclass, c.reloptions::text, c.reltablespace::int
	  FROM pg_class c JOIN pg_am a ON a.oid = c.relam
	  WHERE c.relnamespace = 'eventstore'::regnamespace AND c.relkind = 'r'$$,
	$$VALUES ('events', 'heap', 'p', 'd', false, false, NULL, 0),
			 ('watermark', 'heap', 'p', 'd', false, false, NULL, 0),
			 ('digests', 'heap', 'p', 'd', false, false, NULL, 0),
			 ('checkpoints', 'heap', 'p', 'd', false, false, '{fillfactor=50}', 0),
			 ('subscriptions', 'heap', 'p', 'd', false, false, NULL, 0),
			 ('subscription_partitions', 'heap', 'p', 'd', false, false, '{fillfactor=50}', 0),
			 ('subscription_streams', 'heap', 'p', 'd', false, false, '{fillfactor=50}', 0),
			 ('subscription_parked', 'heap', 'p', 'd', false, false, '{fillfactor=50}', 0),
			 ('subscription_layouts', 'heap', 'p', 'd', false, false, NULL, 0)$$,
	'tables are permanent heaps, those whose rows change with room for that');
SELECT results_eq(
	$$SELECT format_type(seqtypid, NULL), seqstart, seqincrement, seqmin, seqmax, seqcache, seqcycle
	  FROM pg_sequence WHERE seqrelid = 'eventstore.events_global_position_seq'::regclass$$,
	$$VALUES ('bigint', 1::bigint, 1::bigint, 1::bigint, 9223372036854775807, 1::bigint, false)$$,
	'positions count up one by one from 1, uncached, without an end');
SELECT is_empty(
	$$SELECT refobjid::regclass FROM pg_depend
	  WHERE classid = 'pg_class'::regclass AND objid = 'eventstore.events_global_position_seq'::regclass
	  AND deptype IN ('a', 'i')$$,
	'no column owns the sequence');

--
-- Constraints (not null is above: it is a constraint of its own only from 18 on)
--
SELECT set_eq(
	$$SELECT conrelid::regclass::text, conname::text, pg_get_constraintdef(oid), convalidated
	  FROM pg_constraint
	  WHERE connamespace = 'eventstore'::regnamespace AND contype <> 'n'$$,
	$$VALUES
	  ('eventstore.events', 'events_pkey', 'PRIMARY KEY (global_position)', true),
	  ('eventstore.events', 'events_stream_id_version_key', 'UNIQUE (stream_id, version)', true),
	  ('eventstore.events', 'events_event_id_key', 'UNIQUE (event_id)', true),
	  ('eventstore.events', 'events_version_positive', 'CHECK ((version > 0))', true),
	  ('eventstore.events', 'events_names_not_empty',
	   'CHECK (((stream_id <> ''''::text) AND (stream_type <> ''''::text) AND (event_type <> ''''::text)))', true),
	  ('eventstore.events', 'events_one_payload', 'CHECK (((data IS NULL) <> (binary_data IS NULL)))', true),
	  ('eventstore.watermark', 'watermark_pkey', 'PRIMARY KEY (only_row)', true),
	  ('eventstore.watermark', 'watermark_only_row', 'CHECK (only_row)', true),
	  ('eventstore.digests', 'digests_pkey', 'PRIMARY KEY (up_to_position)', true),
	  ('eventstore.digests', 'digests_not_empty', 'CHECK (((up_to_position > 0) AND (events > 0)))', true),
	  ('eventstore.digests', 'digests_sha256', 'CHECK ((octet_length(digest) = 32))', true),
	  ('eventstore.checkpoints', 'checkpoints_pkey', 'PRIMARY KEY (subscription_id)', true),
	  ('eventstore.checkpoints', 'checkpoints_position_not_negative', 'CHECK (("position" >= 0))', true),
	  ('eventstore.subscriptions', 'subscriptions_pkey', 'PRIMARY KEY (subscription_id)', true),
	  ('eventstore.subscriptions', 'subscriptions_types_are_names', 'CHECK (((COALESCE(array_ndims(stream_types), 1) = 1) AND (array_position(stream_types, NULL::text) IS NULL) AND (COALESCE(array_ndims(event_types), 1) = 1) AND (array_position(event_types, NULL::text) IS NULL)))', true),
	  ('eventstore.subscriptions', 'subscriptions_numbers_in_range', 'CHECK ((((partitions >= 1) AND (partitions <= 1024)) AND (max_attempts > 0) AND (revision > 0)))', true),
	  ('eventstore.subscription_layouts', 'subscription_layouts_are_of_partitions', 'CHECK (((NOT (array_ndims(checkpoints) IS DISTINCT FROM 1)) AND (array_lower(checkpoints, 1) = 1) AND (array_length(checkpoints, 1) <= 1024) AND (array_position(checkpoints, NULL::bigint) IS NULL)))', true),
	  ('eventstore.subscription_partitions', 'subscription_partitions_pkey', 'PRIMARY KEY (subscription_id, partition)', true),
	  ('eventstore.subscription_streams', 'subscription_streams_pkey', 'PRIMARY KEY (subscription_id, partition, stream_id)', true),
	  ('eventstore.subscription_parked', 'subscription_parked_pkey', 'PRIMARY KEY (subscription_id, partition, "position")', true),
	  ('eventstore.subscription_layouts', 'subscription_layouts_pkey', 'PRIMARY KEY (subscription_id, revision)', true)$$,
	'constraints');
PREPARE event(bigint, bigint, text, text, text, json, bytea) AS
	INSERT INTO eventstore.events (global_position, version, created_at, event_id, stream_id,
								   stream_type, event_type, schema_version, data, binary_data)
	VALUES ($1, $2, now(), gen_random_uuid(), $3, $4, $5, 1, $6, $7);
SELECT lives_ok('EXECUTE event(1, 1, ''S-1'', ''S'', ''T'', ''1'', NULL)', 'a sound row is accepted');
SELECT throws_ok('EXECUTE event(1, 2, ''S-1'', ''S'', ''T'', ''1'', NULL)', '23505', NULL, 'a position twice is not');
SELECT throws_ok('EXECUTE event(2, 1, ''S-1'', ''S'', ''T'', ''1'', NULL)', '23505', NULL, '... nor a version twice');
SELECT throws_ok('EXECUTE event(2, 0, ''S-1'', ''S'', ''T'', ''1'', NULL)', '23514', NULL, '... nor version 0');
SELECT throws_ok('EXECUTE event(2, 2, ''S-1'', ''S'', ''T'', NULL, NULL)', '23514', NULL, '... nor no payload');
SELECT throws_ok('EXECUTE event(2, 2, ''S-1'', ''S'', ''T'', ''1'', ''\x00'')', '23514', NULL, '... nor two');
SELECT throws_ok(
	format('EXECUTE event(2, 2, %L, %L, %L, ''1'', NULL)', names[1], names[2], names[3]), '23514', NULL,
	format('... nor an empty name (%s)', names))
FROM (VALUES ('{"",S,T}'::text[]), ('{S-1,"",T}'), ('{S-1,S,""}')) AS v (names);

--
-- Indexes
--
SELECT set_eq(
	$$SELECT pg_get_indexdef(i.indexrelid), i.indisvalid AND i.indisready AND i.indislive AND i.indimmediate
	  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
	  WHERE c.relnamespace = 'eventstore'::regnamespace$$,
	$$VALUES
	  ('CREATE UNIQUE INDEX events_pkey ON eventstore.events USING btree (global_position)', true),
	  ('CREATE UNIQUE INDEX events_stream_id_version_key ON eventstore.events USING btree (stream_id, version)', true),
	  ('CREATE UNIQUE INDEX events_event_id_key ON eventstore.events USING btree (event_id)', true),
	  ('CREATE INDEX events_stream_type_global_position_idx ON eventstore.events USING btree (stream_type, global_position)', true),
	  ('CREATE UNIQUE INDEX watermark_pkey ON eventstore.watermark USING btree (only_row)', true),
	  ('CREATE UNIQUE INDEX digests_pkey ON eventstore.digests USING btree (up_to_position)', true),
	  ('CREATE UNIQUE INDEX checkpoints_pkey ON eventstore.checkpoints USING btree (subscription_id)', true),
	  ('CREATE UNIQUE INDEX subscriptions_pkey ON eventstore.subscriptions USING btree (subscription_id)', true),
	  ('CREATE UNIQUE INDEX subscription_partitions_pkey ON eventstore.subscription_partitions USING btree (subscription_id, partition)', true),
	  ('CREATE UNIQUE INDEX subscription_streams_pkey ON eventstore.subscription_streams USING btree (subscription_id, partition, stream_id)', true),
	  ('CREATE UNIQUE INDEX subscription_parked_pkey ON eventstore.subscription_parked USING btree (subscription_id, partition, "position")', true),
	  ('CREATE UNIQUE INDEX subscription_layouts_pkey ON eventstore.subscription_layouts USING btree (subscription_id, revision)', true)$$,
	'indexes');

--
-- Triggers and rules
--
SELECT set_eq(
	$$SELECT pg_get_triggerdef(oid), tgenabled::text FROM pg_trigger
	  WHERE tgrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'eventstore'::regnamespace)
	  AND NOT tgisinternal$$,
	$$VALUES
	  ('CREATE TRIGGER guard_insert BEFORE INSERT ON eventstore.events FOR EACH STATEMENT EXECUTE FUNCTION eventstore.guard()', 'A'),
	  ('CREATE TRIGGER guard_insert BEFORE INSERT ON eventstore.digests FOR EACH STATEMENT EXECUTE FUNCTION eventstore.guard()', 'A'),
	  ('CREATE TRIGGER guard_update BEFORE UPDATE ON eventstore.digests FOR EACH STATEMENT EXECUTE FUNCTION eventstore.guard()', 'A'),
	  ('CREATE TRIGGER guard_delete BEFORE DELETE ON eventstore.digests FOR EACH STATEMENT EXECUTE FUNCTION eventstore.guard()', 'A'),
	  ('CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON eventstore.digests FOR EACH STATEMENT EXECUTE FUNCTION eventstore.guard()', 'A'),
	  ('CREATE TRIGGER guard_update_row BEFORE UPDATE ON eventstore.digests FOR EACH ROW EXECUTE FUNCTION eventstore.guard()', 'A'),
	  ('CREATE TRIGGER guard_delete_row BEFORE DELETE ON eventstore.digests FOR EACH ROW EXECUTE FUNCTION eventstore.guard()', 'A'),
	  ('CREATE TRIGGER guard_owner BEFORE INSERT OR DELETE OR UPDATE OR TRUNCATE ON eventstore.watermark FOR EACH STATEMENT EXECUTE FUNCTION eventstore.guard(''owner'')', 'A'),
	  ('CREATE TRIGGER receive BEFORE INSERT OR UPDATE ON eventstore.watermark FOR EACH ROW EXECUTE FUNCTION eventstore.receive_watermark()', 'A'),
	  ('CREATE TRIGGER guard_update BEFORE UPDATE ON eventstore.events FOR EACH STATEMENT EXECUTE FUNCTION eventstore.guard()', 'A'),
	  ('CREATE TRIGGER guard_delete BEFORE DELETE ON eventstore.events FOR EACH STATEMENT EXECUTE FUNCTION eventstore.guard()', 'A'),
	  ('CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON eventstore.events FOR EACH STATEMENT EXECUTE FUNCTION eventstore.guard()', 'A'),
	  ('CREATE TRIGGER guard_update_row BEFORE UPDATE ON eventstore.events FOR EACH ROW EXECUTE FUNCTION eventstore.guard()', 'A'),
	  ('CREATE TRIGGER guard_delete_row BEFORE DELETE ON eventstore.events FOR EACH ROW EXECUTE FUNCTION eventstore.guard()', 'A')$$,
	'the guard stands ALWAYS, and there is no other trigger');
SELECT is_empty(
	$$SELECT rulename FROM pg_rules WHERE schemaname = 'eventstore' AND rulename <> '_RETURN'$$,
	'there are no rules but those that make views');

--
-- Functions
--
CREATE TEMP VIEW functions AS
	SELECT p.*, l.lanname
	FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
	WHERE p.pronamespace = 'eventstore'::regnamespace;
SELECT set_eq(
	$$SELECT proname::text, pg_get_function_arguments(oid), pg_get_function_result(oid) FROM functions$$,
	$$VALUES
	  ('append_events', 'stream_id text, events json, expected_version bigint DEFAULT NULL::bigint, stream_type text DEFAULT NULL::text, OUT first_version bigint, OUT last_version bigint, OUT first_position bigint, OUT last_position bigint, OUT deduplicated boolean', 'record'),
	  ('append_event', 'stream_id text, event_type text, data json DEFAULT NULL::json, expected_version bigint DEFAULT NULL::bigint, event_id uuid DEFAULT NULL::uuid, metadata json DEFAULT NULL::json, correlation_id uuid DEFAULT NULL::uuid, causation_id uuid DEFAULT NULL::uuid, schema_version integer DEFAULT 1, tags text[] DEFAULT NULL::text[], stream_type text DEFAULT NULL::text, binary_data bytea DEFAULT NULL::bytea, content_type text DEFAULT NULL::text, OUT first_version bigint, OUT last_version bigint, OUT first_position bigint, OUT last_position bigint, OUT deduplicated boolean', 'record'),
	  ('uuid_v7', '', 'uuid'),
	  ('read_stream', 'stream_id text, from_version bigint DEFAULT 1, max_count bigint DEFAULT NULL::bigint', 'SETOF eventstore.events'),
	  ('read_stream_backwards', 'stream_id text, from_version bigint DEFAULT NULL::bigint, max_count bigint DEFAULT NULL::bigint', 'SETOF eventstore.events'),
	  ('read_all', 'after_position bigint DEFAULT 0, max_count bigint DEFAULT 1000', 'SETOF eventstore.events'),
	  ('read_all_backwards', 'before_position bigint DEFAULT NULL::bigint, max_count bigint DEFAULT 1000', 'SETOF eventstore.events'),
	  ('read_category', 'stream_type text, after_position bigint DEFAULT 0, max_count bigint DEFAULT 1000', 'SETOF eventstore.events'),
	  ('read_visible', 'after_position bigint DEFAULT 0, max_count bigint DEFAULT 1000', 'SETOF eventstore.events'),
	  ('read_event', 'event_id uuid', 'SETOF eventstore.events'),
	  ('event_json', 'event eventstore.events', 'json'),
	  ('event_cloudevent', 'event eventstore.events, source text DEFAULT NULL::text', 'json'),
	  ('stream_version', 'stream_id text', 'bigint'),
	  ('settled_position', 'after_position bigint DEFAULT 0', 'bigint'),
	  ('wait_for_events', 'IN after_position bigint, IN timeout interval DEFAULT ''00:00:30''::interval, INOUT settled_position bigint DEFAULT NULL::bigint', NULL),
	  ('advance_watermark', '', 'bigint'),
	  ('write_watermark', '', 'bigint'),
	  ('new_digests', 'max_digests integer, OUT up_to_position bigint, OUT events bigint, OUT digest bytea', 'SETOF record'),
	  ('write_digests', 'max_digests integer', 'bigint'),
	  ('continue_positions', 'above_position bigint DEFAULT NULL::bigint', 'bigint'),
	  ('rewritten_positions', '', 'SETOF bigint'),
	  ('broken_events', '', 'TABLE(invariant text, detail text)'),
	  ('broken_index_entries', '', 'TABLE(invariant text, detail text)'),
	  ('event_digest', 'event eventstore.events', 'bytea'),
	  ('current_digest', 'OUT up_to_position bigint, OUT digest bytea, OUT made_at timestamp with time zone', 'record'),
	  ('broken_digests', 'from_position bigint, to_position bigint, known bytea', 'TABLE(invariant text, detail text)'),
	  ('verify_events', 'from_position bigint DEFAULT 0, to_position bigint DEFAULT NULL::bigint', 'TABLE(invariant text, detail text)'),
	  ('verify_digest', 'up_to_position bigint, digest bytea', 'TABLE(invariant text, detail text)'),
	  ('verify', 'check_events boolean DEFAULT true, check_indexes boolean DEFAULT true, from_position bigint DEFAULT 0', 'TABLE(invariant text, detail text)'),
	  ('guard', '', 'trigger'),
	  ('guard_rewrite', '', 'event_trigger'),
	  ('receive_watermark', '', 'trigger'),
	  ('note_subscription', '', 'event_trigger'),
	  ('tally', 'up_to_position bigint, OUT events bigint, OUT checksum bigint', 'record'),
	  ('next_watermark', 'OUT settled_position bigint, OUT events bigint, OUT checksum bigint, OUT is_replica boolean', 'record'),
	  ('enable_guard', '', 'void'),
	  ('check_own_tables', '', 'void'),
	  ('code_of_others', '', 'TABLE(detail text)'),
	  ('grant_reader', 'role_name name', 'void'),
	  ('grant_writer', 'role_name name', 'void'),
	  ('stream_partition', 'stream_id text, partitions integer', 'integer'),
	  ('check_argument', 'is_valid boolean, message text, detail text, hint text', 'void'),
	  ('check_subscription_id', 'subscription_id text', 'void'),
	  ('check_subscription_definition', 'stream_types text[], event_types text[], after_position bigint, partitions integer, max_attempts integer', 'void'),
	  ('save_checkpoint', 'subscription_id text, "position" bigint', 'bigint'),
	  ('get_checkpoint', 'subscription_id text', 'bigint'),
	  ('create_subscription', 'subscription_id text, stream_types text[] DEFAULT NULL::text[], event_types text[] DEFAULT NULL::text[], after_position bigint DEFAULT 0, partitions integer DEFAULT 1, max_attempts integer DEFAULT 10', 'void'),
	  ('lock_subscription', 'subscription_id text', 'eventstore.subscriptions'),
	  ('alter_subscription', 'subscription_id text, stream_types text[] DEFAULT NULL::text[], event_types text[] DEFAULT NULL::text[], partitions integer DEFAULT NULL::integer, max_attempts integer DEFAULT NULL::integer, after_position bigint DEFAULT NULL::bigint', 'void'),
	  ('drop_subscription', 'subscription_id text', 'void'),
	  ('fetch_events', 'subscription_id text, consumer text, max_count integer DEFAULT 100, lease interval DEFAULT ''00:00:30''::interval', 'TABLE(partition integer, attempt integer, global_position bigint, version bigint, created_at timestamp with time zone, event_id uuid, stream_id text, stream_type text, event_type text, schema_version integer, correlation_id uuid, causation_id uuid, data json, binary_data bytea, content_type text, metadata json, tags text[])'),
	  ('lock_partition', 'subscription_id text, consumer text, partition integer', 'eventstore.subscription_partitions'),
	  ('ack_events', 'subscription_id text, consumer text, partition integer, "position" bigint', 'void'),
	  ('park_event', 'subscription_id text, partition integer, "position" bigint, attempts integer, reason text, first_failed_at timestamp with time zone', 'void'),
	  ('nack_event', 'subscription_id text, consumer text, partition integer, "position" bigint, reason text, retry_after interval DEFAULT ''00:00:01''::interval', 'boolean'),
	  ('replay_parked', 'subscription_id text, positions bigint[] DEFAULT NULL::bigint[]', 'bigint'),
	  ('grant_subscriber', 'role_name name', 'void')$$,
	'functions: arguments with names, types and defaults, and results');
SELECT set_eq(
	$$SELECT proname::text, lanname::text, provolatile::text, proparallel::text, proisstrict FROM functions$$,
	$$VALUES
	  ('append_events', 'c', 'v', 'u', false),
	  ('append_event', 'c', 'v', 'u', false),
	  ('uuid_v7', 'c', 'v', 's', true),
	  ('read_stream', 'c', 's', 'r', false),
	  ('read_stream_backwards', 'c', 's', 'r', false),
	  ('read_all', 'c', 's', 'r', false),
	  ('read_all_backwards', 'c', 's', 'r', false),
	  ('read_category', 'c', 's', 'r', false),
	  ('read_visible', 'c', 's', 'r', false),
	  ('read_event', 'c', 's', 'r', false),
	  ('event_json', 'c', 'i', 's', true),
	  ('event_cloudevent', 'c', 's', 's', false),
	  ('stream_version', 'c', 's', 'r', false),
	  ('settled_position', 'c', 's', 'r', false),
	  ('wait_for_events', 'c', 'v', 'u', false),
	  ('rewritten_positions', 'c', 's', 'r', false),
	  ('continue_positions', 'c', 'v', 'u', false),
	  ('guard', 'c', 'v', 'u', false),
	  ('guard_rewrite', 'c', 'v', 'u', false),
	  ('receive_watermark', 'c', 'v', 'u', false),
	  ('note_subscription', 'c', 'v', 'u', false),
	  ('next_watermark', 'c', 'v', 'u', false),
	  ('tally', 'c', 's', 'r', true),
	  ('enable_guard', 'sql', 'v', 'u', false),
	  ('advance_watermark', 'sql', 'v', 'u', false),
	  ('write_watermark', 'sql', 'v', 'u', false),
	  ('new_digests', 'c', 'v', 'u', true),
	  ('write_digests', 'sql', 'v', 'u', false),
	  ('check_own_tables', 'c', 's', 's', false),
	  ('event_digest', 'c', 's', 's', true),
	  ('current_digest', 'sql', 's', 'r', false),
	  ('broken_digests', 'c', 's', 'r', false),
	  ('code_of_others', 'sql', 's', 'r', false),
	  ('verify_events', 'sql', 's', 'r', false),
	  ('verify_digest', 'sql', 's', 'r', false),
	  ('broken_events', 'sql', 's', 'r', false),
	  ('broken_index_entries', 'c', 's', 'r', false),
	  ('verify', 'sql', 's', 'r', false),
	  ('grant_reader', 'plpgsql', 'v', 'u', true),
	  ('grant_writer', 'plpgsql', 'v', 'u', true),
	  ('stream_partition', 'c', 'i', 's', true),
	  ('check_argument', 'plpgsql', 's', 's', false),
	  ('check_subscription_id', 'sql', 's', 's', false),
	  ('check_subscription_definition', 'sql', 's', 's', false),
	  ('save_checkpoint', 'plpgsql', 'v', 'u', false),
	  ('get_checkpoint', 'sql', 's', 'r', false),
	  ('create_subscription', 'plpgsql', 'v', 'u', false),
	  ('lock_subscription', 'plpgsql', 'v', 'u', false),
	  ('alter_subscription', 'plpgsql', 'v', 'u', false),
	  ('drop_subscription', 'plpgsql', 'v', 'u', false),
	  ('fetch_events', 'c', 'v', 'u', false),
	  ('lock_partition', 'plpgsql', 'v', 'u', false),
	  ('ack_events', 'plpgsql', 'v', 'u', false),
	  ('park_event', 'sql', 'v', 'u', false),
	  ('nack_event', 'plpgsql', 'v', 'u', false),
	  ('replay_parked', 'plpgsql', 'v', 'u', false),
	  ('grant_subscriber', 'plpgsql', 'v', 'u', true)$$,
	'functions: language, volatility, parallel safety, strictness');
SELECT set_eq(
	$$SELECT proname::text FROM functions WHERE prosecdef$$,
	$$VALUES ('save_checkpoint'), ('get_checkpoint'), ('create_subscription'), ('alter_subscription'),
			 ('drop_subscription'), ('ack_events'), ('nack_event'), ('replay_parked')$$,
	'functions that write the books, which nobody else can, are SECURITY DEFINER');
SELECT is_empty(
	$$SELECT proname FROM functions WHERE proleakproof$$,
	'no function is LEAKPROOF');
SELECT set_eq(
	$$SELECT proname::text, proconfig::text FROM functions WHERE lanname <> 'c' OR proconfig IS NOT NULL$$,
	$$SELECT proname::text, CASE proname WHEN 'verify' THEN '{"search_path=pg_catalog, pg_temp",jit=off}'
			 ELSE '{"search_path=pg_catalog, pg_temp"}' END
	  FROM functions
	  WHERE lanname <> 'c' OR proname = 'fetch_events'$$,
	'functions that run statements pin search_path, the temporary schema last; and verify() is not compiled');
SELECT is_empty(
	$$SELECT proname, probin FROM functions WHERE lanname = 'c' AND probin <> '$libdir/eventstore'$$,
	'C functions are in the one library');

--
-- Comments
--
CREATE TEMP VIEW parts (classid, objid, objsubid) AS
	WITH members AS (
		SELECT classid, objid FROM pg_depend
		WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
		AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'eventstore'))
	SELECT classid, objid, 0 FROM members
	UNION SELECT 'pg_class'::regclass, attrelid, attnum FROM pg_attribute
		WHERE attrelid IN (SELECT objid FROM members WHERE classid = 'pg_class'::regclass)
		AND attrelid <> 'eventstore.events_global_position_seq'::regclass AND attnum > 0
	UNION SELECT 'pg_class'::regclass, indexrelid, 0 FROM pg_index
		WHERE indrelid IN (SELECT objid FROM members WHERE classid = 'pg_class'::regclass)
	UNION SELECT 'pg_constraint'::regclass, oid, 0 FROM pg_constraint
		WHERE conrelid IN (SELECT objid FROM members WHERE classid = 'pg_class'::regclass) AND contype <> 'n'
	UNION SELECT 'pg_trigger'::regclass, oid, 0 FROM pg_trigger
		WHERE tgrelid IN (SELECT objid FROM members WHERE classid = 'pg_class'::regclass) AND NOT tgisinternal;
SELECT is_empty(
	$$SELECT pg_describe_object(p.classid, p.objid, p.objsubid)
	  FROM parts p
	  WHERE p.classid <> 'pg_type'::regclass
	  AND NOT EXISTS (SELECT FROM pg_description d
					  WHERE (d.classoid, d.objoid, d.objsubid) = (p.classid, p.objid, p.objsubid)
					  AND d.description <> '')$$,
	'every object has a comment');
SELECT cmp_ok(
	(SELECT count(*) FROM parts), '>', 40::bigint,
	'... and these were looked for everywhere');

SELECT * FROM finish();
ROLLBACK;
