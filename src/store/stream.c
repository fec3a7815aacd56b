/*-------------------------------------------------------------------------
 *
 * stream.c
 *	  One stream: its lock and its current version.
 *
 * Whoever appends to a stream holds its lock to the end of the transaction,
 * so versions have no gaps and no two transactions compete for one.  The
 * lock is a heavyweight one on a 64-bit hash of the stream's id; two ids with
 * the same hash merely wait for each other.
 *
 * A transaction that touches very many streams must not fill the shared lock
 * table.  Past its share of the table it takes one lock on the events table
 * instead, in a mode that no other appender's row-exclusive lock is
 * compatible with, and no more stream locks.  The stream lock is therefore
 * taken before the table is opened: a session that waits for a stream of
 * such a transaction does not stand in the way of its table lock.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/skey.h"
#include "access/tableam.h"
#include "access/twophase.h"
#include "common/hashfn.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/varlena.h"

#include "compat.h"
#include "eventstore.h"
#include "store/catalog.h"
#include "store/lock.h"
#include "store/lock_tags.h"
#include "store/stream.h"
#include "store/transaction.h"

/* The part of the shared lock table that one transaction's streams may take. */
#define LOCK_TABLE_SHARE 8

static int
stream_lock_limit(void)
{
	return max_locks_per_xact * (MaxBackends + max_prepared_xacts) / LOCK_TABLE_SHARE;
}

/*
 * Lock the stream to the end of the transaction, and see what those who held
 * it before have committed.
 */
void
es_stream_lock(const text *stream_id)
{
	Oid			events = es_catalog_get()->events;
	uint64		hash;
	LOCKTAG		tag;

	/*
	 * A rolled-back savepoint or cursor can have let go of the table: lock it
	 * each time.
	 */
	if (es_transaction_stream_locks() >= stream_lock_limit())
	{
		es_lock_relation(events, ShareRowExclusiveLock);
		return;
	}

	hash = hash_bytes_extended((const unsigned char *) VARDATA_ANY(stream_id),
							   VARSIZE_ANY_EXHDR(stream_id), 0);
	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId,
						 (uint32) (hash >> 32), (uint32) hash,
						 ES_LOCKTAG_STREAM);
	switch (es_lock_acquire_if_room(&tag, ExclusiveLock))
	{
		case LOCKACQUIRE_OK:
			es_transaction_note()->nstream_locks++;
			break;
		case LOCKACQUIRE_NOT_AVAIL:
			es_transaction_note()->nstream_locks = stream_lock_limit();
			es_lock_relation(events, ShareRowExclusiveLock);
			break;
		case LOCKACQUIRE_ALREADY_HELD:
		case LOCKACQUIRE_ALREADY_CLEAR:
			break;
	}
}

static void
fill_stream(EsStream *stream, TupleTableSlot *slot)
{
	bool		isnull;

	stream->version = DatumGetInt64(slot_getattr(slot, Anum_es_events_version, &isnull));
	stream->stream_type =
		DatumGetTextPCopy(slot_getattr(slot, Anum_es_events_stream_type, &isnull));
}

/*
 * The stream's last event that the snapshot sees.  Appenders pass
 * SnapshotSelf: under the stream lock it shows what is committed by now, and
 * what this transaction did, in every isolation level.
 */
void
es_stream_look_up(EsStream *stream, Relation events, Relation stream_index,
				  const text *stream_id, Snapshot snapshot)
{
	ScanKeyData key;
	IndexScanDesc scan;
	TupleTableSlot *slot = table_slot_create(events, NULL);

	stream->version = 0;
	stream->stream_type = NULL;

	ScanKeyEntryInitialize(&key, 0, 1, BTEqualStrategyNumber, InvalidOid,
						   stream_index->rd_indcollation[0], F_TEXTEQ,
						   PointerGetDatum(stream_id));
	scan = es_index_beginscan(events, stream_index, snapshot, 1);
	index_rescan(scan, &key, 1, NULL, 0);
	if (index_getnext_slot(scan, BackwardScanDirection, slot))
		fill_stream(stream, slot);
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
}
