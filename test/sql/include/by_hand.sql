-- No worker looks at the store: what is written to it is written by the test.
SET eventstore.notify = off;
SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
WHERE backend_type = 'eventstore worker' AND datname = current_database() \g /dev/null
