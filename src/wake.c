/*-------------------------------------------------------------------------
 *
 * wake.c
 *	  The shared memory through which appenders wake the worker of their
 *	  database, and the starting and stopping of workers.
 *
 * There is none of this unless the library is preloaded.  Each database in
 * use has a slot, taken at its first append or wait and given back when the
 * database is dropped; so who is connected to a database can keep a pointer to
 * its slot.
 *
 * An appender must not pay for the wake-up.  After its commit it counts up
 * "nappends", and only then looks whether the worker sleeps; the worker says
 * that it is going to sleep, and only then looks at "nappends" once more.
 * Each has a full barrier in between, so one of them sees the other.  While
 * the worker is awake, which it stays a moment after each NOTIFY, an appender
 * sets no latch.  In the same way a worker that stops first says so and then
 * looks whether something came meanwhile; if so it registers a successor.
 *
 * The lock is taken for slots and for starting and stopping only.  States go
 * NONE, STARTING (registered), RUNNING, NONE.  A worker that was registered
 * may never come (its process could not be forked), so that STARTING counts
 * for START_PATIENCE only.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "eventstore.h"
#include "wake.h"

#define TRANCHE_NAME "eventstore"

/* Microseconds */
#define START_PATIENCE	(10 * USECS_PER_SEC)
#define RETRY_AFTER		(5 * USECS_PER_SEC)
#define STOP_PATIENCE	USECS_PER_SEC

typedef struct EsWake
{
	LWLock	   *lock;
	pg_atomic_uint32 has_warned;	/* that all slots are in use */
	int			nslots;
	EsWakeSlot	slots[FLEXIBLE_ARRAY_MEMBER];
} EsWake;

static EsWake *wake = NULL;
static bool is_installed = false;
static shmem_request_hook_type previous_shmem_request_hook = NULL;
static shmem_startup_hook_type previous_shmem_startup_hook = NULL;

/* ---- shared memory ---- */

/*
 * More databases than there can be workers: some may have none just now, or
 * only sessions that wait for events.
 */
static int
count_slots(void)
{
	return Max(64, 2 * max_worker_processes);
}

static Size
wake_size(void)
{
	return add_size(offsetof(EsWake, slots), mul_size(count_slots(), sizeof(EsWakeSlot)));
}

static void
request_memory(void)
{
	if (previous_shmem_request_hook)
		previous_shmem_request_hook();
	RequestAddinShmemSpace(wake_size());
	RequestNamedLWLockTranche(TRANCHE_NAME, 1);
}

static void
init_slot(EsWakeSlot *slot)
{
	pg_atomic_init_u32(&slot->database, InvalidOid);
	pg_atomic_init_u64(&slot->nappends, 0);
	pg_atomic_init_u32(&slot->nrequests, 0);
	pg_atomic_init_u64(&slot->position, 0);
	pg_atomic_init_u32(&slot->worker_state, ES_WORKER_NONE);
	pg_atomic_init_u32(&slot->worker_proc, 0);
	pg_atomic_init_u32(&slot->worker_pid, 0);
	pg_atomic_init_u32(&slot->worker_sleeps, 0);
	pg_atomic_init_u64(&slot->started_at, 0);
	pg_atomic_init_u64(&slot->retry_at, 0);
	pg_atomic_init_u32(&slot->has_warned, false);
	pg_atomic_init_u32(&slot->nholds, 0);
	ConditionVariableInit(&slot->waiters);
}

static void
attach_memory(void)
{
	bool		found;

	if (previous_shmem_startup_hook)
		previous_shmem_startup_hook();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	wake = ShmemInitStruct("eventstore wake-ups", wake_size(), &found);
	if (!found)
	{
		wake->lock = &GetNamedLWLockTranche(TRANCHE_NAME)->lock;
		pg_atomic_init_u32(&wake->has_warned, false);
		wake->nslots = count_slots();
		for (int i = 0; i < wake->nslots; i++)
			init_slot(&wake->slots[i]);
	}
	LWLockRelease(AddinShmemInitLock);
}

/*
 * Called when the library is preloaded.
 */
void
es_wake_install(void)
{
	previous_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = request_memory;
	previous_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = attach_memory;
	is_installed = true;
}

bool
es_wake_is_installed(void)
{
	return is_installed;
}

uint32
es_wake_wait_event(EsWaitEvent event)
{
	static const char *const names[ES_WAIT_EVENTS] = {
		[ES_WAIT_FOR_EVENTS] = "EventstoreWaitForEvents",
		[ES_WAIT_WORKER_MAIN] = "EventstoreWorkerMain",
		[ES_WAIT_WORKER_PAUSE] = "EventstoreWorkerPause",
		[ES_WAIT_WORKER_STOP] = "EventstoreWorkerStop",
	};
	static uint32 known[ES_WAIT_EVENTS];

	if (known[event] == 0)
		known[event] = es_wait_event_new(names[event]);
	return known[event];
}

/* ---- slots ---- */

/*
 * The slot of a database; the caller holds the lock.
 */
static EsWakeSlot *
find_slot(Oid database)
{
	for (int i = 0; i < wake->nslots; i++)
	{
		if (pg_atomic_read_u32(&wake->slots[i].database) == database)
			return &wake->slots[i];
	}
	return NULL;
}

/*
 * A slot that nobody uses; the caller holds the lock.
 */
static EsWakeSlot *
find_free_slot(void)
{
	for (int i = 0; i < wake->nslots; i++)
	{
		if (!OidIsValid(pg_atomic_read_u32(&wake->slots[i].database)) &&
			pg_atomic_read_u32(&wake->slots[i].nholds) == 0)
			return &wake->slots[i];
	}
	return NULL;
}

/*
 * The slot of a database, NULL when it has none.
 */
EsWakeSlot *
es_wake_find_slot(Oid database)
{
	EsWakeSlot *slot;

	if (wake == NULL || !OidIsValid(database))
		return NULL;
	LWLockAcquire(wake->lock, LW_SHARED);
	slot = find_slot(database);
	LWLockRelease(wake->lock);
	return slot;
}

/*
 * The slot of this database, taken if need be; NULL when all are in use, or
 * when the library was not preloaded.
 */
EsWakeSlot *
es_wake_get_slot(void)
{
	static EsWakeSlot *mine = NULL;

	if (mine != NULL || wake == NULL)
		return mine;

	LWLockAcquire(wake->lock, LW_EXCLUSIVE);
	mine = find_slot(MyDatabaseId);
	if (mine == NULL && (mine = find_free_slot()) != NULL)
	{
		init_slot(mine);
		pg_atomic_write_u32(&mine->database, MyDatabaseId);
	}
	LWLockRelease(wake->lock);
	return mine;
}

/*
 * Release a slot that the caller holds, and give it back: its database was
 * dropped.
 */
void
es_wake_free_slot(EsWakeSlot *slot)
{
	LWLockAcquire(wake->lock, LW_EXCLUSIVE);
	pg_atomic_write_u32(&slot->database, InvalidOid);
	pg_atomic_fetch_sub_u32(&slot->nholds, 1);
	LWLockRelease(wake->lock);
}

/* ---- starting a worker ---- */

static bool
register_worker(EsWakeSlot *slot)
{
	BackgroundWorker worker = {0};

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_main_arg = Int32GetDatum(slot - wake->slots);
	snprintf(worker.bgw_library_name, BGW_MAXLEN, "eventstore");
	snprintf(worker.bgw_function_name, BGW_MAXLEN, "es_worker_main");
	snprintf(worker.bgw_name, BGW_MAXLEN, "eventstore worker for database %u",
			 pg_atomic_read_u32(&slot->database));
	snprintf(worker.bgw_type, BGW_MAXLEN, "eventstore worker");

	/* Without a handle this raises no error. */
	return RegisterDynamicBackgroundWorker(&worker, NULL);
}

/*
 * See to it that the database has a worker, running or on its way.  Raises no
 * error; the caller holds the lock.
 */
static bool
start_worker(EsWakeSlot *slot)
{
	uint64		now = GetCurrentTimestamp();

	if (!OidIsValid(pg_atomic_read_u32(&slot->database)) ||
		pg_atomic_read_u32(&slot->nholds) > 0)
		return false;
	switch ((EsWorkerState) pg_atomic_read_u32(&slot->worker_state))
	{
		case ES_WORKER_RUNNING:
			return true;
		case ES_WORKER_STARTING:
			if (now < pg_atomic_read_u64(&slot->started_at) + START_PATIENCE)
				return true;
			break;
		case ES_WORKER_NONE:
			if (now < pg_atomic_read_u64(&slot->retry_at))
				return false;
			break;
	}

	if (!register_worker(slot))
	{
		pg_atomic_write_u32(&slot->worker_state, ES_WORKER_NONE);
		pg_atomic_write_u64(&slot->retry_at, now + RETRY_AFTER);
		return false;
	}
	pg_atomic_write_u64(&slot->started_at, now);
	pg_atomic_write_u32(&slot->worker_state, ES_WORKER_STARTING);
	return true;
}

/*
 * Is it known, without the lock, that there is no worker and won't be one?
 */
static bool
is_known_outage(EsWakeSlot *slot)
{
	return pg_atomic_read_u32(&slot->has_warned) &&
		(uint64) GetCurrentTimestamp() < pg_atomic_read_u64(&slot->retry_at);
}

static void
warn_of_outage(void)
{
	ereport(WARNING,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("the event store's background worker could not be started"),
			 errdetail("Until it can, appends to this database send their own notifications."),
			 errhint("Consider increasing the configuration parameter \"max_worker_processes\".")));
}

/*
 * See to it that this database has a worker, running or on its way, and return
 * the slot; or NULL.  If it can't have one, say so once, until it has had one
 * again.
 */
EsWakeSlot *
es_wake_ensure_worker(void)
{
	EsWakeSlot *slot = es_wake_get_slot();
	bool		has_worker;
	bool		is_outage;

	if (slot == NULL)
	{
		if (!pg_atomic_exchange_u32(&wake->has_warned, true))
			warn_of_outage();
		return NULL;
	}
	if (pg_atomic_read_u32(&slot->worker_state) == ES_WORKER_RUNNING)
		return slot;
	if (is_known_outage(slot))
		return NULL;

	LWLockAcquire(wake->lock, LW_EXCLUSIVE);
	has_worker = start_worker(slot);
	is_outage = !has_worker && pg_atomic_read_u32(&slot->nholds) == 0;
	LWLockRelease(wake->lock);

	if (is_outage && !pg_atomic_exchange_u32(&slot->has_warned, true))
		warn_of_outage();
	return has_worker ? slot : NULL;
}

/* ---- waking a worker ---- */

/*
 * Wake the worker, or start one.  Raises no error.
 */
static void
wake_worker(EsWakeSlot *slot)
{
	if (pg_atomic_read_u32(&slot->worker_state) == ES_WORKER_RUNNING)
	{
		if (pg_atomic_read_u32(&slot->worker_sleeps) &&
			pg_atomic_exchange_u32(&slot->worker_sleeps, false))
			SetLatch(&GetPGProcByNumber(pg_atomic_read_u32(&slot->worker_proc))->procLatch);
	}
	else
	{
		LWLockAcquire(wake->lock, LW_EXCLUSIVE);
		(void) start_worker(slot);
		LWLockRelease(wake->lock);
	}
}

/*
 * A transaction was committed whose last event is at "position".  Raises no
 * error.
 */
void
es_wake_publish(EsWakeSlot *slot, int64 position)
{
	uint64		highest = pg_atomic_read_u64(&slot->position);

	while (highest < position &&
		   !pg_atomic_compare_exchange_u64(&slot->position, &highest, position))
		 /* try again */ ;
	pg_atomic_fetch_add_u64(&slot->nappends, 1);
	wake_worker(slot);
}

/*
 * Something has changed that is no append: let the worker look.  Raises no
 * error.
 */
void
es_wake_request_look(EsWakeSlot *slot)
{
	pg_atomic_fetch_add_u32(&slot->nrequests, 1);
	wake_worker(slot);
}

/*
 * The store was dropped: positions begin anew, and the worker can go.  The
 * caller still holds the lock on the events table that keeps appenders away.
 * Raises no error.
 */
void
es_wake_store_dropped(Oid database)
{
	EsWakeSlot *slot = es_wake_find_slot(database);

	if (slot == NULL)
		return;
	pg_atomic_write_u64(&slot->position, 0);
	if (pg_atomic_read_u32(&slot->worker_state) != ES_WORKER_NONE)
		es_wake_request_look(slot);
}

/* ---- keeping workers away ---- */

/*
 * Let no worker run in this database, and ask the one that does to stop.
 * Returns whether there was one.
 */
bool
es_wake_hold(EsWakeSlot *slot)
{
	bool		has_worker;

	LWLockAcquire(wake->lock, LW_EXCLUSIVE);
	pg_atomic_fetch_add_u32(&slot->nholds, 1);
	has_worker = pg_atomic_read_u32(&slot->worker_state) != ES_WORKER_NONE;
	if (pg_atomic_read_u32(&slot->worker_state) == ES_WORKER_RUNNING)
		SetLatch(&GetPGProcByNumber(pg_atomic_read_u32(&slot->worker_proc))->procLatch);
	LWLockRelease(wake->lock);
	return has_worker;
}

/*
 * Let workers run again.  Raises no error.
 */
void
es_wake_release(EsWakeSlot *slot, bool restart)
{
	LWLockAcquire(wake->lock, LW_EXCLUSIVE);
	pg_atomic_fetch_sub_u32(&slot->nholds, 1);
	if (restart)
		(void) start_worker(slot);
	LWLockRelease(wake->lock);
}

/*
 * Has the worker stopped?  One that takes its time is told to terminate.
 */
static bool
worker_has_stopped(EsWakeSlot *slot, bool is_late)
{
	bool		has_stopped = false;

	LWLockAcquire(wake->lock, LW_SHARED);
	switch ((EsWorkerState) pg_atomic_read_u32(&slot->worker_state))
	{
		case ES_WORKER_NONE:
			has_stopped = true;
			break;
		case ES_WORKER_STARTING:
			has_stopped = (uint64) GetCurrentTimestamp() >=
				pg_atomic_read_u64(&slot->started_at) + START_PATIENCE;
			break;
		case ES_WORKER_RUNNING:
			/* It takes the lock to stop, so the process is still its. */
			if (is_late)
				(void) kill(pg_atomic_read_u32(&slot->worker_pid), SIGTERM);
			break;
	}
	LWLockRelease(wake->lock);
	return has_stopped;
}

/*
 * Wait for the end of the worker that es_wake_hold() asked to stop.
 */
void
es_wake_wait_until_stopped(EsWakeSlot *slot)
{
	TimestampTz asked_at = GetCurrentTimestamp();

	while (!worker_has_stopped(slot, GetCurrentTimestamp() > asked_at + STOP_PATIENCE))
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 10,
						 es_wake_wait_event(ES_WAIT_WORKER_STOP));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/* ---- the worker's side ---- */

/*
 * A worker begins.  Returns its slot, or NULL if it is not wanted any more.
 */
EsWakeSlot *
es_wake_claim(Datum slot_number)
{
	EsWakeSlot *slot = &wake->slots[DatumGetInt32(slot_number)];
	bool		is_wanted;

	LWLockAcquire(wake->lock, LW_EXCLUSIVE);
	is_wanted = pg_atomic_read_u32(&slot->worker_state) == ES_WORKER_STARTING;
	if (is_wanted && pg_atomic_read_u32(&slot->nholds) > 0)
	{
		pg_atomic_write_u32(&slot->worker_state, ES_WORKER_NONE);
		is_wanted = false;
	}
	if (is_wanted)
	{
		pg_atomic_write_u32(&slot->worker_proc, ES_MY_PROC_NUMBER);
		pg_atomic_write_u32(&slot->worker_pid, MyProcPid);
		pg_atomic_write_u32(&slot->worker_sleeps, false);
		pg_atomic_write_u32(&slot->worker_state, ES_WORKER_RUNNING);
	}
	LWLockRelease(wake->lock);
	return is_wanted ? slot : NULL;
}

/*
 * The worker has connected to its database: the outage, if there was one, is
 * over.
 */
void
es_wake_worker_started(EsWakeSlot *slot)
{
	LWLockAcquire(wake->lock, LW_EXCLUSIVE);
	pg_atomic_write_u32(&slot->has_warned, false);
	LWLockRelease(wake->lock);
}

/*
 * The worker has left its database.  If it did not get into it, appenders had
 * better leave it for a while; if it was told to go with work left, or an
 * append came meanwhile, another one goes on.
 */
void
es_wake_worker_stopped(EsWakeSlot *slot, bool was_connected, uint64 nappends_done,
					   bool has_work)
{
	LWLockAcquire(wake->lock, LW_EXCLUSIVE);
	pg_atomic_exchange_u32(&slot->worker_state, ES_WORKER_NONE);
	if (!was_connected)
		pg_atomic_write_u64(&slot->retry_at, GetCurrentTimestamp() + RETRY_AFTER);
	else if (has_work || pg_atomic_read_u64(&slot->nappends) != nappends_done)
		(void) start_worker(slot);
	LWLockRelease(wake->lock);
}
