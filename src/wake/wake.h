/*-------------------------------------------------------------------------
 *
 * wake.h
 *	  What appenders, the worker and those who wait for events share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_WAKE_H
#define ES_WAKE_H

#include "datatype/timestamp.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"

#include "eventstore.h"

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

/* What one can be seen to wait for. */
typedef enum EsWaitEvent
{
	ES_WAIT_FOR_EVENTS,
	ES_WAIT_WORKER_MAIN,
	ES_WAIT_WORKER_PAUSE
} EsWaitEvent;

#define ES_WAIT_EVENTS (ES_WAIT_WORKER_PAUSE + 1)

/* ---- wake_slots.c ---- */

extern bool es_slots_attach(void);
extern void es_slots_lock(void);
extern void es_slots_unlock(void);
extern EsSlot *es_slot_known(void);
extern EsSlot *es_slot_get(Oid database);
extern EsSlot *es_slot_find(Oid database);
extern bool es_slot_has_worker(EsSlot *slot);
extern bool es_slot_has_news(EsSlot *slot);
extern bool es_slots_may_tell(EsOutage outage);

/* ---- wake.c ---- */

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

/* ---- worker_watermark.c ---- */

/* When the watermark is written. */
typedef struct EsPace
{
	TimestampTz next;			/* not before */
	TransactionId kept_xid;		/* that of the first version that may be kept */
	TimestampTz kept_since;
} EsPace;

extern void es_watermark_get_ready(void);
extern void es_watermark_clean_up(void);
extern void es_watermark_advance(EsPace *pace);
extern bool es_digest_advance(void);

/* ---- worker_options.c ---- */

extern void es_worker_set_options(void);
extern void es_worker_wait_for_locks(void);

/* ---- worker.c ---- */

extern PGDLLEXPORT void es_worker_main(Datum database);

/* ---- two_phase.c ---- */

extern void es_two_phase_install(void);

#endif							/* ES_WAKE_H */
