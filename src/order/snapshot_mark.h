/*-------------------------------------------------------------------------
 *
 * snapshot_mark.h
 *	  Remembers when a snapshot was taken, so that what was learned under it
 *	  is used under later ones only.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_SNAPSHOT_MARK_H
#define ES_SNAPSHOT_MARK_H

#include "utils/snapshot.h"

/* When a snapshot was taken, by what it saw as running. */
typedef struct EsSnapshotMark
{
	bool		is_set;
	bool		is_kept;		/* by its transaction, so it may be imported */
	TransactionId xmax;
	int			nrunning;		/* below xmax */
	int			capacity;
	TransactionId *running;		/* in TopMemoryContext */
} EsSnapshotMark;

extern void es_snapshot_mark_set(EsSnapshotMark *mark, Snapshot snapshot);
extern void es_snapshot_mark_forget(EsSnapshotMark *mark);
extern bool es_snapshot_mark_precedes(const EsSnapshotMark *mark, Snapshot snapshot);

#endif							/* ES_SNAPSHOT_MARK_H */
