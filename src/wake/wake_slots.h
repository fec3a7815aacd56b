/*-------------------------------------------------------------------------
 *
 * wake_slots.h
 *	  The shared memory of wake-ups.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_WAKE_SLOTS_H
#define ES_WAKE_SLOTS_H

#include "port/atomics.h"
#include "storage/condition_variable.h"

typedef enum EsWorkerState
{
	ES_WORKER_NONE,
	ES_WORKER_STARTING,			/* registered, or to be restarted */
	ES_WORKER_CONNECTING,		/* its process is there */
	ES_WORKER_RUNNING
} EsWorkerState;

/*
 * One database.  What is marked so is changed under the lock only.
 */
typedef struct EsSlot
{
	pg_atomic_uint32 database;	/* (lock) InvalidOid: the slot is free */
	pg_atomic_uint32 ncommitting;	/* transactions about to count an append */

	/* What has happened: counted up, never reset. */
	pg_atomic_uint64 nappends;	/* transactions to be announced */
	pg_atomic_uint64 nannounced;	/* of them, by the worker */
	pg_atomic_uint32 nrequests; /* to look for what else has changed */
	pg_atomic_uint64 last_position; /* of the appends that are not announced */

	/* The worker */
	pg_atomic_uint32 worker_state;	/* (lock) EsWorkerState */
	pg_atomic_uint32 worker_proc;	/* (lock) its number, while it runs */
	pg_atomic_uint32 is_watching;	/* will it look again by itself? */
	pg_atomic_uint64 started_at;	/* (lock) when it was registered last */
	pg_atomic_uint64 retry_at;	/* (lock) not to be registered before */

	ConditionVariable waiters;	/* in wait_for_events() */
} EsSlot;

/* Why is there no worker? */
typedef enum EsOutage
{
	ES_NO_OUTAGE,
	ES_OUT_OF_MEMORY,
	ES_OUT_OF_SLOTS,
	ES_OUT_OF_WORKERS
} EsOutage;

#define ES_OUTAGES (ES_OUT_OF_WORKERS + 1)

extern bool es_slots_attach(void);
extern void es_slots_lock(void);
extern void es_slots_unlock(void);
extern EsSlot *es_slot_known(void);
extern EsSlot *es_slot_get(Oid database);
extern EsSlot *es_slot_find(Oid database);
extern bool es_slot_has_worker(EsSlot *slot);
extern bool es_slot_has_news(EsSlot *slot);
extern bool es_slots_may_tell(EsOutage outage);

#endif							/* ES_WAKE_SLOTS_H */
