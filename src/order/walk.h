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

/* A walk up the global order under one snapshot. */
typedef struct EsWalk EsWalk;

#define ES_WALK_TO_END PG_INT64_MAX

extern EsWalk *es_walk_begin(Relation events, Snapshot snapshot,
							 int64 after_position);
extern EsWalk *es_walk_begin_settling(Relation events, Snapshot snapshot,
									  int64 after_position);
extern HeapTuple es_walk_next_event(EsWalk *walk, int64 max_events);
extern int64 es_walk_settle(EsWalk *walk, int64 limit);
extern bool es_walk_reaches(EsWalk *walk, HeapTuple row);
extern int64 es_walk_position(const EsWalk *walk);
extern bool es_walk_is_on_replica(const EsWalk *walk);
extern void es_walk_end(EsWalk *walk);
extern int64 es_settled_position(Relation events, Snapshot snapshot,
								 int64 after_position, bool *is_at_end);

#endif							/* ES_WALK_H */
