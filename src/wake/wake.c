/*-------------------------------------------------------------------------
 *
 * wake.c
 *	  How appenders wake the worker of their database, and how workers are
 *	  started and ended.
 *
 * An appender must not pay for the wake-up, and nothing may be lost by it.
 * Before its commit it counts itself in the slot's "ncommitting", and then
 * looks whether the slot is its database's and a worker runs.  Who takes a slot
 * over, and a worker that wants to go, says so first and looks at "ncommitting"
 * then.  Each has a full barrier in between, so one of them sees the other: a
 * worker that runs before a commit is there after it.  If none runs, not even
 * yet, the transaction sends a NOTIFY of its own.
 *
 * When the commit can be seen by everybody, the appender says where its last
 * event is, counts up "nappends", and sets the worker's latch, which costs no
 * system call while the worker is awake; and that is what it is for some time
 * after each NOTIFY.
 *
 * States go NONE, STARTING, CONNECTING, RUNNING, NONE.  Nobody counts on a worker
 * before it runs: its registration may not be heeded, and its connection may
 * wait for a command that wants the database for itself.  A worker that is
 * terminated is restarted by the postmaster, in the place that it has, so that
 * there is a successor when all other places are taken; if nothing was left to
 * do, that one finds the state NONE and goes at once.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "store/transaction.h"
#include "wait_point.h"
#include "wake/wake.h"
#include "wake/wake_slots.h"

/* Microseconds */
#define RETRY_AFTER			(5 * USECS_PER_SEC)
#define RETRY_FAILED_AFTER	(30 * USECS_PER_SEC)

#define RESTART_AFTER	1		/* seconds */

uint32
es_wake_wait_event(EsWaitEvent event)
{
	static const char *const names[ES_WAIT_EVENTS] = {
		[ES_WAIT_FOR_EVENTS] = "EventstoreWaitForEvents",
		[ES_WAIT_WORKER_MAIN] = "EventstoreWorkerMain",
		[ES_WAIT_WORKER_PAUSE] = "EventstoreWorkerPause",
	};
	static uint32 known[ES_WAIT_EVENTS];

	if (known[event] == 0)
		known[event] = es_wait_event_new(names[event]);
	return known[event];
}

static EsWorkerState
worker_state(EsSlot *slot)
{
	return (EsWorkerState) pg_atomic_read_u32(&slot->worker_state);
}

/* ---- starting a worker ---- */

static bool
register_worker(Oid database)
{
	BackgroundWorker worker = {0};

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION |
		ES_BGWORKER_INTERRUPTIBLE;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = RESTART_AFTER;
	worker.bgw_main_arg = ObjectIdGetDatum(database);
	snprintf(worker.bgw_library_name, BGW_MAXLEN, "eventstore");
	snprintf(worker.bgw_function_name, BGW_MAXLEN, "es_worker_main");
	snprintf(worker.bgw_name, BGW_MAXLEN, "eventstore worker for database %u", database);
	snprintf(worker.bgw_type, BGW_MAXLEN, "eventstore worker");

	/* Without a handle this raises no error. */
	return RegisterDynamicBackgroundWorker(&worker, NULL);
}

/*
 * See to it that there is a worker, running or on its way.  Raises no error;
 * the caller holds the lock.
 */
static bool
start_worker(EsSlot *slot)
{
	uint64		now = GetCurrentTimestamp();

	if (es_slot_has_worker(slot))
		return true;
	if (now < pg_atomic_read_u64(&slot->retry_at))
		return false;
	if (!register_worker(pg_atomic_read_u32(&slot->database)))
	{
		pg_atomic_write_u64(&slot->retry_at, now + RETRY_AFTER);
		return false;
	}
	pg_atomic_write_u64(&slot->started_at, now);
	pg_atomic_write_u32(&slot->worker_state, ES_WORKER_STARTING);
	return true;
}

/*
 * Get this database a slot and start its worker.  Raises no error; the caller
 * holds the lock.
 */
static EsOutage
start_my_worker(EsSlot **slot)
{
	*slot = es_slot_get(MyDatabaseId);
	if (*slot == NULL)
		return ES_OUT_OF_SLOTS;
	return start_worker(*slot) ? ES_NO_OUTAGE : ES_OUT_OF_WORKERS;
}

static void
tell_of_outage(EsOutage outage)
{
	static const char *const details[ES_OUTAGES] = {
		[ES_OUT_OF_MEMORY] = "There is no shared memory left for it.",
		[ES_OUT_OF_SLOTS] = "Too many databases have event stores in use.",
		[ES_OUT_OF_WORKERS] = "All background worker processes are in use, or it has just failed.",
	};
	static const char *const hints[ES_OUTAGES] = {
		[ES_OUT_OF_MEMORY] = "Consider increasing \"max_locks_per_transaction\", which reserves shared memory, and restart the server.",
		[ES_OUT_OF_SLOTS] = "Consider spreading the databases over several servers.",
		[ES_OUT_OF_WORKERS] = "Consider increasing \"max_worker_processes\", or see the server's log.",
	};

	if (es_slots_may_tell(outage))
		ereport(WARNING,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("the event store has no background worker"),
				 errdetail("%s Until there is one, appends send their own notifications, which makes concurrent ones slower.",
						   details[outage]),
				 errhint("%s", hints[outage])));
}

/* ---- appenders ---- */

/* The slot that this transaction has counted itself in, and who announces it. */
static EsSlot *committing_in = NULL;
static bool is_for_worker = false;

static bool
is_mine(EsSlot *slot)
{
	return slot != NULL && pg_atomic_read_u32(&slot->database) == MyDatabaseId;
}

/*
 * Count this transaction in the slot, without the lock.  The slot may turn out
 * to be another database's by now.
 */
static bool
count_in(EsSlot *slot)
{
	if (slot == NULL)
		return false;
	pg_atomic_fetch_add_u32(&slot->ncommitting, 1);
	if (is_mine(slot))
	{
		committing_in = slot;
		return true;
	}
	pg_atomic_fetch_sub_u32(&slot->ncommitting, 1);
	return false;
}

/*
 * The transaction is about to commit, or to be prepared, and has appended.
 * Returns whether a worker will announce that.
 */
bool
es_wake_begin_commit(void)
{
	EsOutage	outage = ES_OUT_OF_MEMORY;

	Assert(committing_in == NULL);
	is_for_worker = count_in(es_slot_known()) &&
		worker_state(committing_in) == ES_WORKER_RUNNING;
	if (!is_for_worker && es_slots_attach())
	{
		EsSlot	   *slot;

		es_slots_lock();
		outage = start_my_worker(&slot);
		if (committing_in != NULL || count_in(slot))
			is_for_worker = worker_state(committing_in) == ES_WORKER_RUNNING;
		es_slots_unlock();
	}
	if (!is_for_worker && outage != ES_NO_OUTAGE)
		tell_of_outage(outage);
	ES_WAIT_POINT("commit-begun");
	return is_for_worker;
}

static void
set_latch(EsSlot *slot)
{
	SetLatch(&GetPGProcByNumber(pg_atomic_read_u32(&slot->worker_proc))->procLatch);
}

/*
 * Wake the worker, or start one; where there is none yet, those who wait for
 * events are woken from here.  Raises no error; the slot can't be taken over.
 */
static void
wake_worker(EsSlot *slot)
{
	if (worker_state(slot) == ES_WORKER_RUNNING)
	{
		set_latch(slot);
		return;
	}
	ConditionVariableBroadcast(&slot->waiters);
	es_slots_lock();
	(void) start_worker(slot);
	es_slots_unlock();
}

/*
 * Say how far the appends go that are to be announced.
 */
static void
raise_last_position(EsSlot *slot, uint64 position)
{
	uint64		known = pg_atomic_read_u64(&slot->last_position);

	while (known < position &&
		   !pg_atomic_compare_exchange_u64(&slot->last_position, &known, position))
		 /* try again */ ;
}

/*
 * The transaction has ended, or was prepared.  If it has announced its appends
 * itself, or has yet to be decided, the worker is to look all the same: what is
 * settled, and what remains open?  Raises no error.
 */
void
es_wake_end_commit(EsTransactionEnd end, int64 last_position)
{
	EsSlot	   *slot = committing_in;

	if (slot == NULL)
		return;
	if (end == ES_COMMITTED && is_for_worker)
	{
		raise_last_position(slot, last_position);
		pg_atomic_fetch_add_u64(&slot->nappends, 1);
	}
	else if (end != ES_ABORTED)
		pg_atomic_fetch_add_u32(&slot->nrequests, 1);
	if (end != ES_ABORTED)
		wake_worker(slot);
	pg_atomic_fetch_sub_u32(&slot->ncommitting, 1);
	committing_in = NULL;
}

/* ---- others ---- */

/*
 * Something has changed that is no append, or was missed: let the worker look,
 * or start one.  Returns whether one runs.  Raises no error.
 */
bool
es_wake_request_look(void)
{
	EsSlot	   *slot;
	bool		is_running = false;

	if (!es_slots_attach())
		return false;

	es_slots_lock();
	if (start_my_worker(&slot) == ES_NO_OUTAGE)
	{
		pg_atomic_fetch_add_u32(&slot->nrequests, 1);
		is_running = worker_state(slot) == ES_WORKER_RUNNING;
		if (is_running)
			set_latch(slot);
	}
	es_slots_unlock();
	return is_running;
}

/*
 * A reader has stopped in front of a position that is not settled: somebody is
 * to say when it is.  Raises no error.
 */
void
es_wake_request_watch(void)
{
	EsSlot	   *slot = es_slot_known();

	if (is_mine(slot) && worker_state(slot) == ES_WORKER_RUNNING &&
		pg_atomic_read_u32(&slot->is_watching))
		return;
	(void) es_wake_request_look();
}

/*
 * What the worker signals when there is something new; NULL where there is no
 * slot.
 */
ConditionVariable *
es_wake_find_waiters(void)
{
	EsSlot	   *slot = es_slot_known();

	if (!is_mine(slot))
	{
		if (!es_slots_attach())
			return NULL;
		es_slots_lock();
		slot = es_slot_get(MyDatabaseId);
		es_slots_unlock();
	}
	return slot != NULL ? &slot->waiters : NULL;
}

/* ---- the worker's side ---- */

/*
 * A worker's process begins.  Returns its slot, or NULL if it is not wanted.
 */
EsSlot *
es_wake_claim(Oid database)
{
	EsSlot	   *slot;

	if (!es_slots_attach())
		return NULL;

	es_slots_lock();
	slot = es_slot_find(database);
	if (slot != NULL && worker_state(slot) == ES_WORKER_STARTING)
	{
		pg_atomic_write_u32(&slot->worker_proc, ES_MY_PROC_NUMBER);
		pg_atomic_write_u32(&slot->is_watching, false);
		pg_atomic_write_u32(&slot->worker_state, ES_WORKER_CONNECTING);
	}
	else
		slot = NULL;
	es_slots_unlock();
	return slot;
}

/*
 * The worker is in its database: from here on, appenders count on it.
 */
void
es_wake_worker_runs(EsSlot *slot)
{
	es_slots_lock();
	pg_atomic_write_u32(&slot->worker_state, ES_WORKER_RUNNING);
	es_slots_unlock();
}

/*
 * The worker has nothing to do and wants to go.  Returns false if it is wanted
 * after all, also by a request that is not among the "nrequests" that it knows
 * of.
 */
bool
es_wake_retire(EsSlot *slot, uint32 nrequests)
{
	bool		may_go;

	es_slots_lock();
	pg_atomic_exchange_u32(&slot->worker_state, ES_WORKER_NONE);
	may_go = pg_atomic_read_u32(&slot->ncommitting) == 0 && !es_slot_has_news(slot) &&
		pg_atomic_read_u32(&slot->nrequests) == nrequests;
	if (!may_go)
		pg_atomic_write_u32(&slot->worker_state, ES_WORKER_RUNNING);
	es_slots_unlock();
	return may_go;
}

/*
 * The worker goes, wanted or not.  If it has failed, nobody is to count on one
 * for a while, and nothing is kept for it: the next one begins by announcing
 * whatever is there.  Else it comes back, if it has work or somebody may count
 * on it.
 */
void
es_wake_worker_died(EsSlot *slot, bool has_failed, bool has_work)
{
	uint64		now = GetCurrentTimestamp();

	es_slots_lock();
	pg_atomic_exchange_u32(&slot->worker_state, ES_WORKER_NONE);
	if (has_failed)
	{
		pg_atomic_write_u64(&slot->retry_at, now + RETRY_FAILED_AFTER);
		pg_atomic_write_u64(&slot->nannounced, pg_atomic_read_u64(&slot->nappends));
	}
	else if (has_work || es_slot_has_news(slot) || pg_atomic_read_u32(&slot->ncommitting) > 0)
	{
		pg_atomic_write_u64(&slot->started_at, now);
		pg_atomic_write_u32(&slot->worker_state, ES_WORKER_STARTING);
	}
	es_slots_unlock();
}
