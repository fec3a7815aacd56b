-- fetched(subscription, consumer, max_count): what fetch_events() hands out, as
-- "partition: position stream, position stream #attempt".
CREATE FUNCTION pg_temp.fetched(subscription_id text, consumer text, max_count int DEFAULT 100)
RETURNS text
LANGUAGE sql VOLATILE AS $$
	SELECT partition || ': ' ||
		   string_agg(concat_ws(' ', global_position, stream_id, '#' || nullif(attempt, 1)), ', ' ORDER BY n)
	FROM (SELECT row_number() OVER () AS n, f.*
		  FROM eventstore.fetch_events(fetched.subscription_id, fetched.consumer,
									   fetched.max_count) f) f
	GROUP BY partition
$$;

-- appended(streams): one event to each, in this order; the last position.
CREATE FUNCTION pg_temp.appended(VARIADIC streams text[])
RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	stream text;
	reached bigint;
BEGIN
	FOREACH stream IN ARRAY streams LOOP
		reached := last_position FROM eventstore.append_event(stream, 'Happened', '1');
	END LOOP;
	RETURN reached;
END
$$;

-- lost(subscription): every lease has ended.
CREATE FUNCTION pg_temp.lost(subscription_id text) RETURNS bigint
LANGUAGE sql VOLATILE AS $$
	WITH ended AS (
		UPDATE eventstore.subscription_partitions p
		SET lease_until = clock_timestamp() - interval '1 second'
		WHERE p.subscription_id = lost.subscription_id AND p.consumer IS NOT NULL
		RETURNING 1)
	SELECT count(*) FROM ended
$$;

-- due(subscription): whatever waits is due.
CREATE FUNCTION pg_temp.due(subscription_id text) RETURNS bigint
LANGUAGE sql VOLATILE AS $$
	WITH ended AS (
		UPDATE eventstore.subscription_streams w
		SET retry_at = clock_timestamp() - interval '1 second'
		WHERE w.subscription_id = due.subscription_id AND w.retry_at > clock_timestamp()
		RETURNING 1)
	SELECT count(*) FROM ended
$$;
