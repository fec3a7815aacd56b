/*-------------------------------------------------------------------------
 *
 * settle.c
 *	  The walk up the global order that misses nothing.
 *
 * Positions are taken before commit, so a transaction can commit position 2
 * before another one commits position 1.  A position is settled for a
 * snapshot when no transaction that the snapshot sees as running can still
 * commit an event at or below it.  The walk goes along the position index and
 * stops in front of the first position that is not settled; the next walk,
 * under a later snapshot, goes on from there.
 *
 * At each entry of the index:
 *	- the snapshot sees the row: it is an event, to be handed out;
 *	- the row's inserter runs as the snapshot sees it, or is this very
 *	  transaction in a later command: stop;
 *	- else the inserter had ended before the snapshot without committing:
 *	  pass over it.  The test is for "running in the snapshot", never "did it
 *	  abort?" alone: a transaction that a crash cut off neither committed nor
 *	  aborted, and to wait for it would be to wait for ever.
 *
 * Between the entries: gaps, that is positions that were taken and are not in
 * the index, or not yet.  Where the walk sees an entry above the gap as
 * ended before its snapshot, the gap's position was taken before the
 * snapshot, too.  So when nobody was inside the append gate (gate.c) at a
 * time after the snapshot was taken and before the index was read, whoever
 * took it has put it into the index or is dead.  The walk asks once at its
 * start; if somebody was inside then, it waits for him at the first gap and
 * reads the index again from there.  An index page is read in one go, so it
 * would not do to look at the gate and go on with what was read before.
 *
 * Neither is needed when the snapshot saw nothing running at all.  That is
 * not "its list of running transactions is empty" (ids from its xmax on are
 * not in the list): it is that, and xmax still being the next id when asked
 * after the snapshot was taken.  An appender has an id before it enters the
 * gate.
 *
 * In recovery the gate can't be seen.  There a gap counts as settled at or
 * below the watermark, a row that the primary writes when it knows; or when
 * the snapshot saw nothing running, which is safe because appenders announce
 * themselves (event_writer.c).
 *
 * The scan uses the caller's MVCC snapshot, so rows that it sees cost what
 * they cost in any index scan, and serializable transactions get their
 * predicate locks.  The index tuple is asked for, both for the position and
 * because the scan then keeps its pin on the index page: no entry's row can
 * be vacuumed away and its place given to another one while we look at it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/itup.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/visibilitymap.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/predicate.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "eventstore.h"
#include "wait_point.h"

/* What an entry of the position index stands for. */
typedef enum EntryState
{
	ENTRY_EVENT,				/* an event that the snapshot sees */
	ENTRY_PASSED,				/* nothing, now and for ever */
	ENTRY_UNSETTLED				/* possibly an event, later */
} EntryState;

/*
 * Did the snapshot see no running transaction, and were none begun since?
 */
static bool
nothing_was_running(Snapshot snapshot)
{
	TransactionId next;

	if (snapshot->xcnt != 0 || snapshot->subxcnt != 0 || snapshot->suboverflowed)
		return false;

	next = ReadNextTransactionId();
	return snapshot->xmax == next;
}

/*
 * (Re)start the index scan behind the place that the walk has reached.
 */
static void
position_scan(EsWalk *walk)
{
	ScanKeyData key;

	ScanKeyEntryInitialize(&key, 0, 1, BTGreaterStrategyNumber, InvalidOid,
						   InvalidOid, F_INT8GT, Int64GetDatum(walk->position));
	index_rescan(walk->scan, &key, 1, NULL, 0);
}

/*
 * Begin a walk behind "after_position".  The snapshot must be an MVCC
 * snapshot that stays registered or active until es_walk_end(), and the
 * caller holds a lock on "events".
 */
EsWalk *
es_walk_begin(Relation events, Snapshot snapshot, int64 after_position)
{
	EsWalk	   *walk = palloc0(sizeof(EsWalk));

	walk->events = events;
	walk->position_index = index_open(es_catalog_get()->position_index, AccessShareLock);
	walk->snapshot = snapshot;
	walk->slot = table_slot_create(events, NULL);
	walk->vm_buffer = InvalidBuffer;
	walk->after_position = after_position;
	walk->position = after_position;
	walk->handed_out = after_position;

	if (nothing_was_running(snapshot))
		walk->gaps_settled = walk->all_settled = true;
	else if (RecoveryInProgress())
		walk->watermark = es_watermark_read(snapshot);
	else
		walk->gaps_settled = es_gate_is_empty();

	walk->scan = es_index_beginscan(events, walk->position_index, snapshot, 1);
	walk->scan->xs_want_itup = true;
	position_scan(walk);
	return walk;
}

/*
 * End the walk, and remember what it has learned for later ones.
 */
void
es_walk_end(EsWalk *walk)
{
	es_settled_floor_raise(walk->events, walk->snapshot, walk->after_position,
						   walk->position);

	index_endscan(walk->scan);
	if (BufferIsValid(walk->vm_buffer))
		ReleaseBuffer(walk->vm_buffer);
	ExecDropSingleTupleTableSlot(walk->slot);
	index_close(walk->position_index, AccessShareLock);
	pfree(walk);
}

/*
 * Can the transaction that inserted this row, which the snapshot does not
 * see, still commit it as far as the snapshot knows?
 */
static bool
inserter_is_open(TransactionId inserter, Snapshot snapshot)
{
	if (TransactionIdIsCurrentTransactionId(inserter))
		return true;
	if (TransactionIdDidAbort(inserter))
		return false;
	return XidInMVCCSnapshot(inserter, snapshot);
}

/*
 * Classify an entry whose row the snapshot does not see.
 *
 * Only a row that was inserted counts.  The later versions of a row that was
 * rewritten stand for an event that was inserted, and settled, before.
 */
static EntryState
classify_unseen(EsWalk *walk, ItemPointer tid)
{
	EntryState	state = ENTRY_PASSED;

	if (table_tuple_fetch_row_version(walk->events, tid, SnapshotAny, walk->slot))
	{
		HeapTuple	tuple = ExecFetchSlotHeapTuple(walk->slot, false, NULL);

		if (!(tuple->t_data->t_infomask & HEAP_UPDATED) &&
			!HeapTupleHeaderXminFrozen(tuple->t_data) &&
			inserter_is_open(HeapTupleHeaderGetXmin(tuple->t_data), walk->snapshot))
			state = ENTRY_UNSETTLED;
		ExecClearTuple(walk->slot);
	}
	return state;
}

/*
 * Look at the row behind the entry that the scan has just returned.  With
 * "want_row", the slot holds the row of an event afterwards.
 */
static EntryState
look_at_row(EsWalk *walk, ItemPointer entry_tid, bool want_row)
{
	ItemPointerData tid = *entry_tid;	/* index_fetch_heap() moves the scan's */

	if (!want_row &&
		VM_ALL_VISIBLE(walk->events, ItemPointerGetBlockNumber(&tid), &walk->vm_buffer))
	{
		PredicateLockPage(walk->events, ItemPointerGetBlockNumber(&tid), walk->snapshot);
		return ENTRY_EVENT;
	}

	if (index_fetch_heap(walk->scan, walk->slot))
		return ENTRY_EVENT;
	return classify_unseen(walk, &tid);
}

/*
 * May the walk pass the gap, if there is one, in front of "position"?
 */
static bool
gap_is_settled(EsWalk *walk, int64 position)
{
	return position <= walk->position + 1 || walk->gaps_settled ||
		position - 1 <= walk->watermark;
}

/*
 * Step to the next position whose event the snapshot sees, but not past
 * "limit".  Returns false at the limit, at the end of the index, and in front
 * of a position that is not settled.
 */
static bool
walk_step(EsWalk *walk, int64 limit, bool want_row)
{
	ItemPointer tid;

	while ((tid = index_getnext_tid(walk->scan, ForwardScanDirection)) != NULL)
	{
		bool		isnull;
		int64		position = DatumGetInt64(index_getattr(walk->scan->xs_itup, 1,
														   walk->scan->xs_itupdesc,
														   &isnull));

		CHECK_FOR_INTERRUPTS();

		if (position > limit)
		{
			position_scan(walk);	/* the next step is to see it again */
			return false;
		}

		if (!gap_is_settled(walk, position))
		{
			if (RecoveryInProgress())
			{
				walk->stopped = true;
				return false;
			}
			position_scan(walk);	/* also lets go of the index page */
			ES_WAIT_POINT("gap-met");
			es_gate_wait_until_left();
			walk->gaps_settled = true;
			continue;
		}

		switch (look_at_row(walk, tid, want_row))
		{
			case ENTRY_UNSETTLED:
				walk->stopped = true;
				return false;
			case ENTRY_PASSED:
				walk->position = position;
				break;
			case ENTRY_EVENT:
				walk->position = position;
				if (walk->handed_out == position)
					break;		/* another version of the same row */
				walk->handed_out = position;
				return true;
		}
	}
	return false;
}

/*
 * Step to the next event, which walk->slot then holds.
 */
bool
es_walk_next_event(EsWalk *walk)
{
	return !walk->stopped && walk_step(walk, ES_WALK_TO_END, true);
}

/*
 * The last position whose event the snapshot sees, 0 when there is none.
 */
static int64
last_seen_position(EsWalk *walk)
{
	IndexScanDesc scan = es_index_beginscan(walk->events, walk->position_index,
											walk->snapshot, 0);
	int64		position = 0;

	index_rescan(scan, NULL, 0, NULL, 0);
	if (index_getnext_slot(scan, BackwardScanDirection, walk->slot))
	{
		bool		isnull;

		position = DatumGetInt64(slot_getattr(walk->slot, Anum_es_events_global_position, &isnull));
	}
	ExecClearTuple(walk->slot);
	index_endscan(scan);
	return position;
}

/*
 * Go on without handing out events, up to "limit" if that is an event's
 * position or to the end of the store with ES_WALK_TO_END, or else to where a
 * position is not settled.  Returns the position that was reached.
 */
int64
es_walk_settle(EsWalk *walk, int64 limit)
{
	if (walk->all_settled)
	{
		if (limit == ES_WALK_TO_END)
			limit = last_seen_position(walk);
		walk->position = Max(walk->position, limit);
	}

	while (walk->position < limit && !walk->stopped && walk_step(walk, limit, false))
		 /* go on */ ;
	return walk->position;
}
