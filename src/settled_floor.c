/*-------------------------------------------------------------------------
 *
 * settled_floor.c
 *	  A position that is known to be settled, so that no walk need begin at
 *	  the beginning of the store.
 *
 * What is settled for one snapshot is settled for every later one.  So a
 * session remembers how far its walks have come, and under which snapshot;
 * and a session that knows nothing yet begins at the watermark, which is
 * settled for whoever sees it.  On a logical replica none of this holds
 * (replica.c), and what was known before a store became one is forgotten.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"

#include "eventstore.h"

/*
 * What a session knows, under a snapshot: all behind "after", up to
 * "position", is settled.  Of no store when "events" is invalid.
 */
typedef struct KnownFloor
{
	Oid			events;
	int64		after;
	int64		position;
	TransactionId snapshot_xmax;
	uint32		snapshot_xcnt;
} KnownFloor;

static KnownFloor known;

/*
 * Was the snapshot taken at or after the moment of the one that "known" was
 * learned under?  xmax never falls, and while it stands still the number of
 * running transactions below it never rises.
 */
static bool
known_holds_for(Relation events, Snapshot snapshot)
{
	if (known.events != RelationGetRelid(events))
		return false;
	if (snapshot->xmax == known.snapshot_xmax)
		return snapshot->xcnt <= known.snapshot_xcnt;
	return TransactionIdFollows(snapshot->xmax, known.snapshot_xmax);
}

/*
 * The newest watermark that the snapshot sees, or ES_NO_WATERMARK.
 */
int64
es_watermark_read(Snapshot snapshot)
{
	Relation	watermark = table_open(es_catalog_get()->watermark, AccessShareLock);
	SysScanDesc scan = systable_beginscan(watermark, InvalidOid, false, snapshot, 0, NULL);
	HeapTuple	row = systable_getnext(scan);
	int64		position = ES_NO_WATERMARK;

	if (HeapTupleIsValid(row))
	{
		bool		isnull;

		position = DatumGetInt64(heap_getattr(row, Anum_es_watermark_settled_position,
											  RelationGetDescr(watermark), &isnull));
	}
	systable_endscan(scan);
	table_close(watermark, AccessShareLock);
	return position;
}

static void
remember(Relation events, Snapshot snapshot, int64 after, int64 position)
{
	es_replica_watch_subscriptions();
	known.events = RelationGetRelid(events);
	known.after = after;
	known.position = position;
	known.snapshot_xmax = snapshot->xmax;
	known.snapshot_xcnt = snapshot->xcnt;
}

/*
 * May what was learned under the current snapshot be remembered?
 *
 * This transaction's own events are settled for itself; but once it is
 * prepared it runs on, and is no longer ours.
 */
static bool
can_remember(void)
{
	return !RecoveryInProgress() && !TransactionIdIsValid(GetTopTransactionIdIfAny());
}

/*
 * A position from "after" on, such that all between is settled for the
 * snapshot.
 */
int64
es_settled_floor_get(Relation events, Snapshot snapshot, int64 after)
{
	int64		watermark;

	if (known_holds_for(events, snapshot) && known.after <= after)
		return Max(after, known.position);

	watermark = es_watermark_read(snapshot);
	if (watermark <= after)
		return after;
	es_replica_check_own(watermark);
	if (can_remember())
		remember(events, snapshot, 0, watermark);
	return watermark;
}

/*
 * A walk under the snapshot has found all behind "after", up to "position",
 * to be settled.
 */
void
es_settled_floor_raise(Relation events, Snapshot snapshot, int64 after, int64 position)
{
	bool		is_continued = known_holds_for(events, snapshot) &&
	known.after <= after && after <= known.position;

	if (!can_remember())
		return;
	if (!is_continued)
		remember(events, snapshot, after, position);
	else if (position > known.position)
		remember(events, snapshot, known.after, position);
}

/*
 * Forget what is known: the store has become a logical replica, or ceased to
 * be one.
 */
void
es_settled_floor_forget(void)
{
	known.events = InvalidOid;
}
