/*-------------------------------------------------------------------------
 *
 * wake.h
 *	  What appenders, the worker and those who wait for events share; see
 *	  wake.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_WAKE_H
#define ES_WAKE_H

#include "port/atomics.h"
#include "storage/condition_variable.h"

typedef enum EsWorkerState
{
	ES_WORKER_NONE,
	ES_WORKER_STARTING,			/* registered */
	ES_WORKER_RUNNING
} EsWorkerState;

/*
 * One database.  All but the condition variable is atomic, so that it can be
 * read without the lock; what is changed under it only is marked so.
 */
typedef struct EsWakeSlot
{
	pg_atomic_uint32 database;	/* (lock) InvalidOid: the slot is free */

	/* What has happened: counted up, and compared by the worker. */
	pg_atomic_uint64 nappends;	/* transactions to be announced */
	pg_atomic_uint32 nrequests; /* to look for what else has changed */
	pg_atomic_uint64 position;	/* the highest that was committed */

	/* The worker */
	pg_atomic_uint32 worker_state;	/* (lock) EsWorkerState */
	pg_atomic_uint32 worker_proc;	/* (lock) its number, while it runs */
	pg_atomic_uint32 worker_pid;	/* (lock) the same */
	pg_atomic_uint32 worker_sleeps; /* until its latch is set */
	pg_atomic_uint64 started_at;	/* (lock) when it was registered last */
	pg_atomic_uint64 retry_at;	/* (lock) not to be registered before */
	pg_atomic_uint32 has_warned;	/* of this outage */
	pg_atomic_uint32 nholds;	/* (lock) commands that need it to be away */

	ConditionVariable waiters;	/* in wait_for_events() */
} EsWakeSlot;

/* What one can be seen to wait for. */
typedef enum EsWaitEvent
{
	ES_WAIT_FOR_EVENTS,
	ES_WAIT_WORKER_MAIN,
	ES_WAIT_WORKER_PAUSE,
	ES_WAIT_WORKER_STOP
} EsWaitEvent;

#define ES_WAIT_EVENTS (ES_WAIT_WORKER_STOP + 1)

/* ---- wake.c ---- */

extern void es_wake_install(void);
extern bool es_wake_is_installed(void);
extern uint32 es_wake_wait_event(EsWaitEvent event);
extern EsWakeSlot *es_wake_get_slot(void);
extern EsWakeSlot *es_wake_find_slot(Oid database);
extern void es_wake_free_slot(EsWakeSlot *slot);
extern EsWakeSlot *es_wake_ensure_worker(void);
extern void es_wake_publish(EsWakeSlot *slot, int64 position);
extern void es_wake_request_look(EsWakeSlot *slot);
extern void es_wake_store_dropped(Oid database);
extern bool es_wake_hold(EsWakeSlot *slot);
extern void es_wake_release(EsWakeSlot *slot, bool restart);
extern void es_wake_wait_until_stopped(EsWakeSlot *slot);
extern EsWakeSlot *es_wake_claim(Datum slot_number);
extern void es_wake_worker_started(EsWakeSlot *slot);
extern void es_wake_worker_stopped(EsWakeSlot *slot, bool was_connected,
								   uint64 nappends_done, bool has_work);

/* ---- worker.c ---- */

extern PGDLLEXPORT void es_worker_main(Datum slot_number);

/* ---- worker_hooks.c ---- */

extern void es_worker_hooks_install(void);

#endif							/* ES_WAKE_H */
