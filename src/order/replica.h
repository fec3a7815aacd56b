/*-------------------------------------------------------------------------
 *
 * replica.h
 *	  Logical replicas.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_REPLICA_H
#define ES_REPLICA_H

#include "utils/relcache.h"
#include "utils/snapshot.h"

extern bool es_replica_get_bound(Relation events, Snapshot snapshot, int64 *bound, bool *is_held);
extern bool es_replica_events_are_ready(Oid subscription);
extern void es_replica_check_own(int64 position);
extern void es_replica_check_append(Relation events);
extern void es_replica_check_next(int64 last_taken, int64 next);
extern uint64 es_replica_subscription_changes(void);
extern bool es_replica_is_subscribed(void);
extern bool es_replica_is_one(void);

#endif							/* ES_REPLICA_H */
