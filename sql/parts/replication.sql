--
-- Replication
--

CREATE VIEW eventstore.replication_status AS
	SELECT s.slot_name,
		   s.temporary,
		   s.active,
		   s.active_pid,
		   s.restart_lsn,
		   s.confirmed_flush_lsn,
		   wal.position - s.restart_lsn AS retained_bytes,
		   -- some clients confirm one byte more than there is
		   greatest(wal.position, s.confirmed_flush_lsn) - s.confirmed_flush_lsn AS lag_bytes,
		   s.wal_status,
		   s.safe_wal_size,
		   -- these came with 17
		   (pg_catalog.to_jsonb(s) ->> 'failover')::boolean AS failover,
		   pg_catalog.to_jsonb(s) ->> 'invalidation_reason' AS invalidation_reason
	FROM pg_catalog.pg_replication_slots s,
		 (SELECT CASE WHEN pg_catalog.pg_is_in_recovery()
					  THEN greatest(pg_catalog.pg_last_wal_receive_lsn(), pg_catalog.pg_last_wal_replay_lsn())
					  ELSE pg_catalog.pg_current_wal_lsn() END) AS wal (position)
	WHERE s.plugin = 'eventstore' AND s.database = pg_catalog.current_database();
COMMENT ON VIEW eventstore.replication_status IS
	'the logical replication slots of this database that use the output plugin "eventstore"';
COMMENT ON COLUMN eventstore.replication_status.slot_name IS
	'name of the slot';
COMMENT ON COLUMN eventstore.replication_status.temporary IS
	'does it go with the session that made it?';
COMMENT ON COLUMN eventstore.replication_status.active IS
	'is a client connected?';
COMMENT ON COLUMN eventstore.replication_status.active_pid IS
	'the server process that serves the client';
COMMENT ON COLUMN eventstore.replication_status.restart_lsn IS
	'the oldest WAL that the slot still needs';
COMMENT ON COLUMN eventstore.replication_status.confirmed_flush_lsn IS
	'up to here the client has confirmed all messages';
COMMENT ON COLUMN eventstore.replication_status.retained_bytes IS
	'WAL that the server keeps for this slot';
COMMENT ON COLUMN eventstore.replication_status.lag_bytes IS
	'WAL behind what the client has confirmed';
COMMENT ON COLUMN eventstore.replication_status.wal_status IS
	'reserved, extended, unreserved or lost: is the WAL still there?';
COMMENT ON COLUMN eventstore.replication_status.safe_wal_size IS
	'bytes of WAL until the slot may be lost; null without max_slot_wal_keep_size';
COMMENT ON COLUMN eventstore.replication_status.failover IS
	'is the slot copied to standbys? null before PostgreSQL 17';
COMMENT ON COLUMN eventstore.replication_status.invalidation_reason IS
	'why the slot was lost, if it was; null before PostgreSQL 17';

