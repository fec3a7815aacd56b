/*-------------------------------------------------------------------------
 *
 * walk.c
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
 *	- the snapshot sees the row: it is an event, and all up to it is settled;
 *	- the row's inserter runs as the snapshot sees it, or is this very
 *	  transaction in a later command: stop;
 *	- else the row is dead: go on.  The test is for "running in the snapshot",
 *	  never "did it abort?" alone: a transaction that a crash cut off neither
 *	  committed nor aborted, and to wait for it would be to wait for ever.
 *
 * Only an event that the snapshot sees moves the place that the walk has
 * reached.  A dead row proves nothing: its position may have been taken after
 * the snapshot, and after a crash it may even be taken again.
 *
 * Between the entries: gaps, that is positions that were taken and are not in
 * the index, or not yet.  A gap below an event that the snapshot sees was
 * taken before the snapshot, like the event's own position.  So when nobody
 * was inside the append gate (gate.c) at a time after the snapshot was taken
 * and before the index was read, whoever took it has put it into the index or
 * is dead.  The walk asks once at its start; if somebody was inside then, it
 * waits for him at the first event behind a gap and reads the index again
 * from there.  An index page is read in one go, so it would not do to look at
 * the gate and go on with what was read before.
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
 * On a logical replica events come in another way, and nothing of the above
 * tells what is settled: the replicated watermark does, see replica.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/skey.h"
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "storage/bufmgr.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "order/entry_scan.h"
#include "order/gate.h"
#include "order/replica.h"
#include "order/settled_floor.h"
#include "order/walk.h"
#include "order/watermark.h"
#include "store/catalog.h"
#include "store/event_row.h"
#include "wait_point.h"
#include "wake/notify.h"

/*
 * A walk up the global order under one snapshot.  "position" is the place
 * that has been reached: that of the last event handed out or, where events
 * were not wanted, passed.  All at or below it is settled.
 */
struct EsWalk
{
	Relation	events;
	Relation	position_index;
	Snapshot	snapshot;
	EsEntryScan *scan;
	int64		after_position; /* where the walk began */
	int64		position;
	int64		covered;		/* the position of the last entry looked at */
	int64		last_gap;		/* the last position that was not in the index */
	bool		all_settled;	/* did the snapshot see nothing running? */
	bool		gaps_settled;	/* is every gap from here on settled? */
	int64		watermark;		/* in recovery: gaps up to here are settled */
	bool		is_replica;		/* do events arrive by a subscription? */
	int64		bound;			/* ... then all up to here is settled */
	bool		is_held;		/* ... and soon more than its watermark says */
	bool		stopped;		/* met a position that is not settled */
};

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
 * (Re)start the scan behind the place that the walk has reached.
 */
static void
position_scan(EsWalk *walk)
{
	ScanKeyData key;

	ScanKeyEntryInitialize(&key, 0, 1, BTGreaterStrategyNumber, InvalidOid,
						   InvalidOid, F_INT8GT, Int64GetDatum(walk->position));
	es_entry_scan_position(walk->scan, &key, ForwardScanDirection);
	walk->covered = walk->position;
	walk->last_gap = 0;
}

/*
 * Learn which gaps may be passed.
 */
static void
look_at_gaps(EsWalk *walk)
{
	if (nothing_was_running(walk->snapshot))
		walk->gaps_settled = walk->all_settled = true;
	else if (RecoveryInProgress())
		walk->watermark = es_watermark_read(walk->snapshot);
	else
		walk->gaps_settled = es_gate_is_empty();
}

static EsWalk *
begin_walk(Relation events, Snapshot snapshot, int64 after_position, bool from_floor)
{
	EsWalk	   *walk = palloc0(sizeof(EsWalk));

	walk->events = events;
	walk->position_index = es_catalog_open_index(ES_POSITION_INDEX);
	walk->snapshot = snapshot;
	walk->bound = ES_WALK_TO_END;
	walk->is_replica = es_replica_get_bound(events, snapshot, &walk->bound, &walk->is_held);

	if (walk->is_replica)
		walk->gaps_settled = true;
	else
	{
		if (from_floor)
			after_position = es_settled_floor_get(events, snapshot, after_position);
		look_at_gaps(walk);
	}
	walk->after_position = walk->position = after_position;

	walk->scan = es_entry_scan_begin(events, walk->position_index, snapshot, 1);
	es_entry_scan_want_positions(walk->scan);
	position_scan(walk);
	ES_WAIT_POINT("walk-begun");
	return walk;
}

/*
 * Begin a walk behind "after_position".  The snapshot must be an MVCC
 * snapshot that stays registered or active until es_walk_end(), and the
 * caller holds a lock on "events".
 */
EsWalk *
es_walk_begin(Relation events, Snapshot snapshot, int64 after_position)
{
	return begin_walk(events, snapshot, after_position, false);
}

/*
 * The same for a caller who wants no events handed out: it begins where all
 * before is known to be settled anyway.
 */
EsWalk *
es_walk_begin_settling(Relation events, Snapshot snapshot, int64 after_position)
{
	return begin_walk(events, snapshot, after_position, true);
}

/*
 * Remember what the walk has learned for later ones.
 */
static void
keep_what_was_learned(EsWalk *walk)
{
	if (walk->position > walk->after_position)
		es_replica_check_own(walk->position);
	es_settled_floor_raise(walk->events, walk->snapshot, walk->after_position,
						   walk->position);
}

/*
 * End the walk.  Nothing that it has found may be returned to the user
 * before: this raises an error if the store was a logical replica.
 */
void
es_walk_end(EsWalk *walk)
{
	if (!walk->is_replica)
		keep_what_was_learned(walk);
	if (walk->stopped || walk->is_held)
		es_notify_stopped();

	es_entry_scan_end(walk->scan);
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
 * Can the row behind an entry, which the snapshot does not see, still become
 * an event?
 *
 * Only a row that was inserted counts.  The later versions of a row that was
 * rewritten stand for an event that was inserted, and settled, before.  And
 * only the entry's own row counts: if it was vacuumed away since the entry
 * was read, and its place taken, it was dead.
 */
static bool
row_is_open(EsWalk *walk, EsEntry *entry)
{
	HeapTupleData row;
	Buffer		buffer;
	bool		is_open;

	row.t_self = entry->tid;
	if (!heap_fetch(walk->events, SnapshotAny, &row, &buffer, false))
		return false;

	is_open = !(row.t_data->t_infomask & HEAP_UPDATED) &&
		!HeapTupleHeaderXminFrozen(row.t_data) &&
		es_event_position(&row, RelationGetDescr(walk->events)) == entry->position &&
		inserter_is_open(HeapTupleHeaderGetXmin(row.t_data), walk->snapshot);
	ReleaseBuffer(buffer);
	return is_open;
}

/*
 * Are the gaps settled that lie in front of the event that was just met?
 */
static bool
gaps_are_settled(EsWalk *walk)
{
	return walk->gaps_settled ||
		walk->last_gap <= Max(walk->position, walk->watermark);
}

/*
 * Met an event behind a gap that may not be passed yet.  On a primary, wait for those who are
 * inside the gate and start over in front of the gap; in recovery, stop.
 */
static void
settle_gaps(EsWalk *walk)
{
	if (RecoveryInProgress())
	{
		walk->stopped = true;
		return;
	}

	position_scan(walk);		/* also lets go of all pages */
	ES_WAIT_POINT("gap-met");
	es_gate_wait_until_left();
	walk->gaps_settled = true;
}

/*
 * Step to the next position whose event the snapshot sees, but not past
 * "limit".  Returns NULL at the limit, at the end of the index, and in front
 * of a position that is not settled.
 */
static EsEntry *
walk_step(EsWalk *walk, int64 limit, int64 max_entries)
{
	EsEntry    *entry;

	while (!walk->stopped &&
		   (entry = es_entry_scan_next(walk->scan, max_entries)) != NULL)
	{
		if (entry->position > limit)
		{
			position_scan(walk);	/* the next step is to see it again */
			return NULL;
		}

		if (entry->position > walk->covered + 1)
			walk->last_gap = entry->position - 1;
		walk->covered = entry->position;

		if (!entry->is_seen)
			walk->stopped = row_is_open(walk, entry);
		else if (!gaps_are_settled(walk))
			settle_gaps(walk);
		else if (walk->position < entry->position)
		{
			Assert(walk->covered == entry->position);
			walk->position = entry->position;
			return entry;
		}
	}
	return NULL;
}

/*
 * Step to the next event and return its row, valid until the next step; NULL
 * when there is none that is settled.  The caller can use "max_events" at the
 * most.
 */
HeapTuple
es_walk_next_event(EsWalk *walk, int64 max_events)
{
	EsEntry    *entry = walk_step(walk, walk->bound, max_events);

	return entry ? &entry->row : NULL;
}

/*
 * Go on without handing out events, up to "limit" if that is an event's
 * position or to the end of the store with ES_WALK_TO_END, or else to where a
 * position is not settled.  Returns the position that was reached.
 */
int64
es_walk_settle(EsWalk *walk, int64 limit)
{
	if (walk->is_replica)
	{
		walk->position = Max(walk->position, Min(limit, walk->bound));
		return walk->position;
	}

	if (walk->all_settled)
	{
		if (limit == ES_WALK_TO_END)
			limit = es_entry_scan_last_position(walk->events, walk->position_index,
												walk->snapshot);
		walk->position = Max(walk->position, limit);
	}

	es_entry_scan_want_no_rows(walk->scan);
	while (walk->position < limit &&
		   walk_step(walk, limit, limit - walk->position) != NULL)
		 /* go on */ ;
	return walk->position;
}

/*
 * Is all settled up to this event, which was found in another way?
 */
bool
es_walk_reaches(EsWalk *walk, HeapTuple row)
{
	int64		position = es_event_position(row, RelationGetDescr(walk->events));

	return es_walk_settle(walk, position) >= position;
}

/*
 * The place that the walk has reached.
 */
int64
es_walk_position(const EsWalk *walk)
{
	return walk->position;
}

/*
 * Do the events arrive by a subscription?
 */
bool
es_walk_is_on_replica(const EsWalk *walk)
{
	return walk->is_replica;
}

/*
 * How far a follower that has handled all up to "after_position" could read
 * under the snapshot.  Sets *is_at_end, if that is wanted, to whether no
 * position behind that was taken by a transaction that is still open.
 */
int64
es_settled_position(Relation events, Snapshot snapshot, int64 after_position,
					bool *is_at_end)
{
	EsWalk	   *walk = es_walk_begin_settling(events, snapshot, after_position);
	int64		settled = es_walk_settle(walk, ES_WALK_TO_END);

	if (is_at_end != NULL)
		*is_at_end = !walk->stopped && !walk->is_held;
	es_walk_end(walk);
	return settled;
}
