/*-------------------------------------------------------------------------
 *
 * wake.h
 *	  How appenders wake the worker of their database, and how workers are
 *	  started and ended.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_WAKE_H
#define ES_WAKE_H

#include "storage/condition_variable.h"

#include "store/transaction.h"
#include "wake/wake_slots.h"

/* What one can be seen to wait for. */
typedef enum EsWaitEvent
{
	ES_WAIT_FOR_EVENTS,
	ES_WAIT_WORKER_MAIN,
	ES_WAIT_WORKER_PAUSE
} EsWaitEvent;

#define ES_WAIT_EVENTS (ES_WAIT_WORKER_PAUSE + 1)

extern bool es_wake_begin_commit(void);
extern void es_wake_end_commit(EsTransactionEnd end, int64 last_position);
extern bool es_wake_request_look(void);
extern void es_wake_request_watch(void);
extern ConditionVariable *es_wake_find_waiters(void);
extern uint32 es_wake_wait_event(EsWaitEvent event);

extern EsSlot *es_wake_claim(Oid database);
extern void es_wake_worker_runs(EsSlot *slot);
extern bool es_wake_retire(EsSlot *slot, uint32 nrequests);
extern void es_wake_worker_died(EsSlot *slot, bool has_failed, bool has_work);

#endif							/* ES_WAKE_H */
