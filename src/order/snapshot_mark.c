/*-------------------------------------------------------------------------
 *
 * snapshot_mark.c
 *	  Remembers when a snapshot was taken, so that what was learned under it
 *	  is used under later ones only.
 *
 * A session does not take its snapshots in the order in which it reads under
 * them: a cursor and a repeatable-read transaction go on with an old one, and
 * an imported one can be older than all that the session has seen.
 *
 * A snapshot was taken at or after the marked one if its xmax is greater,
 * since that never falls; or if it is equal and all that the snapshot sees as
 * running was running for the marked one, too, since below xmax transactions
 * only end.  It would not do to count them: a transaction that is just being
 * prepared is listed twice.
 *
 * A snapshot that a transaction keeps may have been imported from a replication
 * slot.  Such a one goes by the order of the commits in the WAL, and an ordinary
 * one by the order in which transactions were seen to end, which need not be
 * the same.  Of these, a snapshot is held to be later only if all that had begun
 * for the earlier one have ended for it.
 *
 * A snapshot that was taken in recovery lists what runs in another way.  It is
 * never held to be later, also after a promotion, and can't be marked.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "utils/memutils.h"

#include "order/snapshot_mark.h"

/*
 * Remember the snapshot's time.
 */
void
es_snapshot_mark_set(EsSnapshotMark *mark, Snapshot snapshot)
{
	Assert(!snapshot->takenDuringRecovery);

	mark->is_set = false;		/* should we run out of memory */
	if (mark->capacity < snapshot->xcnt)
	{
		if (mark->running != NULL)
			pfree(mark->running);
		mark->running = NULL;
		mark->capacity = 0;
		mark->running = MemoryContextAlloc(TopMemoryContext,
										   snapshot->xcnt * sizeof(TransactionId));
		mark->capacity = snapshot->xcnt;
	}
	if (snapshot->xcnt > 0)
		memcpy(mark->running, snapshot->xip, snapshot->xcnt * sizeof(TransactionId));
	mark->nrunning = snapshot->xcnt;
	mark->xmax = snapshot->xmax;
	mark->is_kept = IsolationUsesXactSnapshot();
	mark->is_set = true;
}

void
es_snapshot_mark_forget(EsSnapshotMark *mark)
{
	mark->is_set = false;
}

static bool
was_running(const EsSnapshotMark *mark, TransactionId xid)
{
	for (int i = 0; i < mark->nrunning; i++)
	{
		if (TransactionIdEquals(mark->running[i], xid))
			return true;
	}
	return false;
}

/*
 * Was the snapshot taken at or after the time that is remembered?
 */
bool
es_snapshot_mark_precedes(const EsSnapshotMark *mark, Snapshot snapshot)
{
	if (!mark->is_set || snapshot->takenDuringRecovery)
		return false;
	if (mark->is_kept || IsolationUsesXactSnapshot())
		return TransactionIdPrecedesOrEquals(mark->xmax, snapshot->xmin);
	if (snapshot->xmax != mark->xmax)
		return TransactionIdFollows(snapshot->xmax, mark->xmax);

	for (uint32 i = 0; i < snapshot->xcnt; i++)
	{
		if (!was_running(mark, snapshot->xip[i]))
			return false;
	}
	return true;
}
