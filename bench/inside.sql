-- Time reads in the server alone: no output functions, no client.  Prints
-- "workload ours plain" in microseconds a call, the median of nine rounds.
CREATE FUNCTION bench.time_calls(statement text, ncalls int) RETURNS float
LANGUAGE plpgsql AS $$
DECLARE
	began timestamptz;
	n bigint;
BEGIN
	EXECUTE format('PREPARE timed (int) AS %s', statement);
	began := clock_timestamp();
	FOR i IN 1 .. ncalls LOOP
		EXECUTE format('EXECUTE timed (%s)', i % 1000 + 1) INTO n;
	END LOOP;
	DEALLOCATE timed;
	RETURN extract(epoch FROM clock_timestamp() - began) * 1e6 / ncalls;
END
$$;

CREATE TABLE bench.timed (workload text, ours float, plain float);
DO $$
BEGIN
	FOR round IN 1 .. 9 LOOP
		INSERT INTO bench.timed VALUES
			('read_stream_100',
			 bench.time_calls($q$SELECT count(data) FROM eventstore.read_stream('Read-' || $1)$q$, 2000),
			 bench.time_calls($q$SELECT count(data) FROM (SELECT * FROM bench.events WHERE stream_id = 'Read-' || $1 ORDER BY version OFFSET 0) s$q$, 2000)),
			('read_all_1000',
			 bench.time_calls($q$SELECT count(data) FROM eventstore.read_all($1 * 90, 1000)$q$, 200),
			 bench.time_calls($q$SELECT count(data) FROM (SELECT * FROM bench.events WHERE global_position > $1 * 90 ORDER BY global_position LIMIT 1000) s$q$, 200));
	END LOOP;
END
$$;
SELECT workload,
	   percentile_cont(0.5) WITHIN GROUP (ORDER BY ours),
	   percentile_cont(0.5) WITHIN GROUP (ORDER BY plain),
	   percentile_cont(0.5) WITHIN GROUP (ORDER BY plain / ours)
FROM bench.timed GROUP BY workload ORDER BY workload DESC;
