/*-------------------------------------------------------------------------
 *
 * settled_floor.c
 *	  A position that is known to be settled, so that no walk need begin at
 *	  the beginning of the store.
 *
 * What is settled for one snapshot is settled for every later one.  So a
 * session remembers how far its walks have come, and under which snapshot;
 * and a session that knows nothing yet begins at the watermark, which is
 * settled for whoever sees it.  Two stretches are remembered: the one from the
 * beginning of the store, and the last one of a walk that began elsewhere,
 * such as behind a position that a client has named.
 *
 * On a logical replica none of this holds (replica.c), and what was known
 * before a store became one is forgotten.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "utils/rel.h"

#include "order/replica.h"
#include "order/settled_floor.h"
#include "order/snapshot_mark.h"
#include "order/watermark.h"

/*
 * What is known since "mark": all behind "after", up to "position", is settled.
 */
typedef struct Stretch
{
	int64		after;
	int64		position;
	EsSnapshotMark mark;
} Stretch;

/*
 * What a session knows, of the store whose table is "known_events", as long as
 * no subscription changes.
 */
static Oid	known_events = InvalidOid;
static uint64 known_changes = 0;
static Stretch from_beginning;
static Stretch elsewhere;

/*
 * What is known is of this store, or forgotten; also when it has become a logical
 * replica, or ceased to be one.
 */
static void
turn_to(Relation events)
{
	uint64		changes = es_replica_subscription_changes();

	if (known_events == RelationGetRelid(events) && known_changes == changes)
		return;
	es_snapshot_mark_forget(&from_beginning.mark);
	es_snapshot_mark_forget(&elsewhere.mark);
	known_events = RelationGetRelid(events);
	known_changes = changes;
}

/*
 * The end of the stretch, if "position" lies in it, or else "position".
 */
static int64
end_of_stretch(const Stretch *stretch, Snapshot snapshot, int64 position)
{
	if (stretch->after <= position && position < stretch->position &&
		es_snapshot_mark_precedes(&stretch->mark, snapshot))
		return stretch->position;
	return position;
}

/*
 * May what was learned under the current snapshot be remembered?
 *
 * This transaction's own events are settled for itself; but once it is
 * prepared it runs on, and is no longer ours.
 */
static bool
can_remember(Snapshot snapshot)
{
	return !RecoveryInProgress() && !snapshot->takenDuringRecovery &&
		!TransactionIdIsValid(GetTopTransactionIdIfAny());
}

static void
remember(Stretch *stretch, Snapshot snapshot, int64 after, int64 position)
{
	stretch->after = after;
	stretch->position = position;
	es_snapshot_mark_set(&stretch->mark, snapshot);
}

/*
 * Prolong the stretch if the walk has begun in it.
 */
static bool
prolong(Stretch *stretch, Snapshot snapshot, int64 after, int64 position)
{
	if (after < stretch->after || stretch->position < after ||
		!es_snapshot_mark_precedes(&stretch->mark, snapshot))
		return false;
	if (stretch->position < position)
		remember(stretch, snapshot, stretch->after, position);
	return true;
}

/*
 * A position from "after" on, such that all between is settled for the
 * snapshot.
 */
int64
es_settled_floor_get(Relation events, Snapshot snapshot, int64 after)
{
	int64		floor;

	turn_to(events);
	floor = end_of_stretch(&from_beginning, snapshot, after);
	floor = end_of_stretch(&elsewhere, snapshot, floor);
	if (floor > after || es_snapshot_mark_precedes(&from_beginning.mark, snapshot))
		return floor;

	floor = es_watermark_read(snapshot);
	if (floor <= after)
		return after;
	es_replica_check_own(floor);
	if (can_remember(snapshot))
		remember(&from_beginning, snapshot, 0, floor);
	return floor;
}

/*
 * A walk under the snapshot has found all behind "after", up to "position",
 * to be settled.
 */
void
es_settled_floor_raise(Relation events, Snapshot snapshot, int64 after, int64 position)
{
	Assert(after <= position);

	turn_to(events);
	if (!can_remember(snapshot) ||
		prolong(&from_beginning, snapshot, after, position))
		return;
	if (after == 0 && !from_beginning.mark.is_set)
		remember(&from_beginning, snapshot, after, position);
	else if (after < position && !prolong(&elsewhere, snapshot, after, position))
		remember(&elsewhere, snapshot, after, position);
}
