-- A slot, and messages(option, value, ...): what it has, without what differs
-- from run to run.
SELECT slot_name FROM pg_create_logical_replication_slot('regress_es', 'eventstore');
CREATE FUNCTION messages(VARIADIC options text[] DEFAULT '{}') RETURNS TABLE (message text)
LANGUAGE sql AS $$
	SELECT regexp_replace(regexp_replace(regexp_replace(regexp_replace(data,
				'"(created_at|time|commit_time)":"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"', '"\1":"now"', 'g'),
				'"xid":\d+', '"xid":"N"', 'g'),
				'"(commit_lsn|end_lsn)":"[0-9A-F]+/[0-9A-F]+"', '"\1":"L"', 'g'),
				'"[0-9A-F]+/[0-9A-F]+-', '"L-', 'g')
	FROM pg_logical_slot_peek_changes('regress_es', NULL, NULL, VARIADIC options)
$$;
-- What was decoded is not decoded again.
CREATE FUNCTION skip_messages() RETURNS void
LANGUAGE sql AS $$
	SELECT FROM pg_replication_slot_advance('regress_es', pg_current_wal_insert_lsn())
$$;
-- Messages are long.
\pset format unaligned
