/*-------------------------------------------------------------------------
 *
 * settled_floor.h
 *	  A position that is known to be settled, so that no walk need begin at
 *	  the beginning of the store.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_SETTLED_FLOOR_H
#define ES_SETTLED_FLOOR_H

#include "utils/relcache.h"
#include "utils/snapshot.h"

extern int64 es_settled_floor_get(Relation events, Snapshot snapshot, int64 after);
extern void es_settled_floor_raise(Relation events, Snapshot snapshot,
								   int64 after, int64 position);

#endif							/* ES_SETTLED_FLOOR_H */
