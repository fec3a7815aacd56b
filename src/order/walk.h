/*-------------------------------------------------------------------------
 *
 * walk.h
 *	  The walk up the global order that misses nothing.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_WALK_H
#define ES_WALK_H

#include "access/htup.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

#include "order/entry_scan.h"

/*
 * A walk up the global order under one snapshot.  "position" is the place
 * that has been reached: that of the last event handed out or, where events
 * were not wanted, passed.  All at or below it is settled.
 */
typedef struct EsWalk
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
} EsWalk;

#define ES_WALK_TO_END PG_INT64_MAX

extern EsWalk *es_walk_begin(Relation events, Snapshot snapshot,
							 int64 after_position);
extern EsWalk *es_walk_begin_settling(Relation events, Snapshot snapshot,
									  int64 after_position);
extern HeapTuple es_walk_next_event(EsWalk *walk, int64 max_events);
extern int64 es_walk_settle(EsWalk *walk, int64 limit);
extern void es_walk_end(EsWalk *walk);
extern int64 es_settled_position(Relation events, Snapshot snapshot,
								 int64 after_position, bool *is_at_end);

#endif							/* ES_WALK_H */
