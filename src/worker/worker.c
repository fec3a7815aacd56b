/*-------------------------------------------------------------------------
 *
 * worker.c
 *	  The background worker of a database: one NOTIFY for many appends, and
 *	  the watermark.
 *
 * It sleeps until an appender wakes it (wake.c).  Then it wakes those who are
 * in wait_for_events(), looks how far all is settled, and sends a NOTIFY.  It
 * stays awake for PAUSE before it asks for more: under load that makes one
 * NOTIFY of many appends.
 *
 * A listener reads when it is notified, and as far as all is settled.  If a
 * transaction in front is still open, the listener has to be told again when
 * what it stopped at is settled, although that transaction may notify nobody:
 * it may have been rolled back.  So as long as something is open, the worker
 * looks again each eventstore.watermark_interval, and sends another NOTIFY when
 * the settled position has moved.
 *
 * Under load a look for each NOTIFY would take half the worker's time.  So where
 * there are BUSY appends to announce, it looks afterwards, when a reader that
 * has stopped asks for it or an interval has passed; what has been settled by
 * then is announced again.  In the same interval it advances the watermark, if
 * there is something new, and makes digests of what is settled, a small one at a
 * time; less often where an old snapshot keeps all versions of the watermark
 * (worker_watermark.c).  When nothing happens for some seconds, it exits.
 *
 * It makes way for whoever wants the database for himself (DROP DATABASE and
 * the like): to the server it looks like an autovacuum worker, which those
 * commands terminate, whoever runs them.  While it holds the lock on the
 * extension it waits for no other lock for longer than LOCK_PATIENCE
 * (worker_options.c); but it sends its NOTIFY in a transaction that holds none,
 * and waits for that as long as it takes.  An error is logged, and what failed is
 * tried again after RETRY_AFTER; after MAX_FAILURES it gives up.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "order/position_index.h"
#include "order/walk.h"
#include "order/watermark.h"
#include "settings.h"
#include "store/catalog.h"
#include "wait_point.h"
#include "wake/notify.h"
#include "wake/wake.h"
#include "wake/wake_slots.h"
#include "worker/worker.h"
#include "worker/worker_options.h"
#include "worker/worker_watermark.h"

/* Milliseconds */
#define PAUSE				3
#define RETRY_AFTER			1000
#define RETRY_FAILED_AFTER	30000
#define LOCK_RETRY_AFTER	100

#define MAX_FAILURES		3

#define BUSY				4	/* appends to announce at once */

/*
 * The worker.  What it knows of the store is about the events table
 * "events".
 */
typedef struct EsWorker
{
	EsSlot	   *slot;
	bool		has_failed;		/* to connect, or too often */
	int			nfailures;		/* to look, in a row */
	bool		is_gone;		/* the extension was dropped */

	int64		news;			/* the position to announce, or 0 */

	Oid			events;			/* invalid: there was no look at a store */
	int64		settled;		/* at the last look */
	bool		is_open;		/* was something in front open? */
	uint32		nrequests;		/* seen before the last look */
	TimestampTz look_at;		/* when to look unasked */

	int64		watermark;		/* that was written last */
	EsPace		pace;			/* and when to write the next one */
	bool		is_held_up;		/* by somebody's lock */
	bool		has_undigested; /* may there be something to make a digest of? */

	TimestampTz busy_at;		/* when there last was something to do */
} EsWorker;

typedef void (*EsWorkerStep) (EsWorker *worker);

static EsWorker me;

static TimestampTz
after_milliseconds(int64 milliseconds)
{
	return GetCurrentTimestamp() + milliseconds * 1000;
}

static bool
has_passed(TimestampTz time)
{
	return GetCurrentTimestamp() >= time;
}

/* ---- in a transaction ---- */

/*
 * Lock the extension, as DROP EXTENSION does first of all: else the two could
 * wait for each other.  Returns false if there is none.
 */
static bool
lock_extension(void)
{
	Oid			extension;

	while (OidIsValid(extension = get_extension_oid("eventstore", true)))
	{
		LockDatabaseObject(ExtensionRelationId, extension, 0, AccessShareLock);
		if (get_extension_oid("eventstore", true) == extension)
			return true;
		UnlockDatabaseObject(ExtensionRelationId, extension, 0, AccessShareLock);
	}
	return false;
}

/*
 * Be the database owner's process for those who want to terminate it.
 */
static void
belong_to_owner(EsWorker *worker)
{
	HeapTuple	database = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(MyDatabaseId));

	if (HeapTupleIsValid(database))
	{
		MyProc->roleId = ((Form_pg_database) GETSTRUCT(database))->datdba;
		ReleaseSysCache(database);
	}
}

/*
 * See how far all is settled, and whether that is all there is.  If it has moved,
 * there is something to tell; the first look tells of whatever is there.
 */
static void
look(EsWorker *worker)
{
	Relation	events;
	uint32		nrequests = pg_atomic_read_u32(&worker->slot->nrequests);
	int64		settled;
	bool		is_at_end;
	bool		is_first;

	belong_to_owner(worker);
	worker->is_gone = !lock_extension();
	if (worker->is_gone)
	{
		worker->events = InvalidOid;
		worker->nrequests = nrequests;
		worker->is_open = worker->has_undigested = false;
		return;
	}
	events = es_catalog_open_events();
	is_first = worker->events != RelationGetRelid(events);

	PushActiveSnapshot(GetLatestSnapshot());
	if (is_first)
	{
		worker->settled = 0;
		worker->pace.next = 0;
		worker->watermark = Max(es_watermark_read(GetActiveSnapshot()), 0);
		worker->has_undigested = worker->watermark > 0;
	}
	settled = es_settled_position(events, GetActiveSnapshot(), worker->settled, &is_at_end);
	PopActiveSnapshot();
	if (is_first || settled != worker->settled)
		worker->news = Max(es_position_last(events), settled);
	worker->events = RelationGetRelid(events);
	table_close(events, AccessShareLock);

	worker->nrequests = nrequests;
	worker->settled = settled;
	worker->is_open = !is_at_end;
}

/*
 * Tell the listeners, however long others take to tell theirs.
 */
static void
send_notify(EsWorker *worker)
{
	belong_to_owner(worker);
	es_worker_wait_for_locks();
	es_notify_send(worker->news);
}

static bool
has_new_watermark(EsWorker *worker)
{
	return worker->settled > worker->watermark;
}

static void
advance_watermark(EsWorker *worker)
{
	int64		before = worker->watermark;

	worker->is_gone = !lock_extension();
	if (worker->is_gone)
		return;
	worker->watermark = es_watermark_advance(&worker->pace);
	if (worker->watermark > before && has_new_watermark(worker))
		worker->busy_at = GetCurrentTimestamp();	/* it gets on, in portions */
	worker->has_undigested = true;
}

static void
make_digests(EsWorker *worker)
{
	worker->is_gone = !lock_extension();
	if (!worker->is_gone)
		worker->has_undigested = es_digest_advance();
}

/* ---- steps ---- */

/*
 * Run a step in a transaction of its own.  Returns false after an error, which
 * was logged.
 */
static bool
run_step(EsWorker *worker, EsWorkerStep step, const char *activity)
{
	MemoryContext context = CurrentMemoryContext;
	volatile bool is_done = false;
	Oid			user;
	int			security_context;

	GetUserIdAndSecContext(&user, &security_context);
	SetCurrentStatementStartTimestamp();
	pgstat_report_activity(STATE_RUNNING, activity);
	PG_TRY();
	{
		StartTransactionCommand();
		step(worker);
		SetUserIdAndSecContext(user, security_context);
		CommitTransactionCommand();
		is_done = true;
		worker->is_held_up = false;
	}
	PG_CATCH();
	{
		HOLD_INTERRUPTS();
		MemoryContextSwitchTo(context);
		worker->is_held_up = geterrcode() == ERRCODE_LOCK_NOT_AVAILABLE;
		if (!worker->is_held_up)
			EmitErrorReport();
		if (!worker->is_held_up && geterrcode() != ERRCODE_QUERY_CANCELED)
			worker->nfailures++;
		AbortCurrentTransaction();
		FlushErrorState();
		RESUME_INTERRUPTS();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	es_watermark_clean_up();
	pgstat_report_activity(STATE_IDLE, NULL);
	pgstat_report_stat(false);
	return is_done;
}

static bool
is_asked_to_look(EsWorker *worker)
{
	return (!worker->is_gone && !OidIsValid(worker->events)) ||
		worker->nrequests != pg_atomic_read_u32(&worker->slot->nrequests);
}

static TimestampTz
idle_from(EsWorker *worker)
{
	return worker->busy_at + (TimestampTz) es_worker_idle_limit * 1000;
}

/*
 * Does it stay for a watermark that somebody's lock keeps it from writing?
 */
static bool
is_kept(EsWorker *worker)
{
	return worker->is_held_up && has_new_watermark(worker);
}

/*
 * Before it goes, it looks what has become of everything.
 */
static bool
must_look(EsWorker *worker)
{
	return is_asked_to_look(worker) ||
		(worker->look_at != DT_NOEND && has_passed(Min(worker->look_at, idle_from(worker))));
}

/*
 * Has it been idle for long enough to go?
 */
static bool
is_idle(EsWorker *worker)
{
	return worker->look_at == DT_NOEND && has_passed(idle_from(worker)) && !is_kept(worker);
}

/*
 * When to look what has become of appends that were announced without a look?
 * When the watermark can be written, but not much later; and at once where they
 * belong to a store that was not there.
 */
static TimestampTz
time_to_look(EsWorker *worker)
{
	TimestampTz time = after_milliseconds(es_watermark_interval);

	if (worker->is_gone)
		return 0;
	return has_passed(worker->pace.next) ? time : Min(time, worker->pace.next);
}

/*
 * Look.  Who stops from here on asks for another look, unless there will be one.
 */
static bool
look_around(EsWorker *worker)
{
	EsSlot	   *slot = worker->slot;
	int64		settled_before = worker->settled;

	pg_atomic_exchange_u32(&slot->is_watching, false);
	worker->look_at = 0;		/* until it is done */
	if (!run_step(worker, look, "looking for new events"))
		return false;
	pg_atomic_write_u32(&slot->is_watching, worker->is_open);
	worker->look_at = worker->is_open ? after_milliseconds(es_watermark_interval) : DT_NOEND;
	if (worker->settled != settled_before)
		ConditionVariableBroadcast(&slot->waiters);
	return true;
}

/*
 * Look, if that is due, and tell the listeners; of appends also when the look
 * fails.
 */
static bool
look_and_announce(EsWorker *worker, bool is_to_look)
{
	EsSlot	   *slot = worker->slot;
	bool		has_appends = es_slot_has_news(slot);
	bool		is_done;

	/* In this order: who has counted an append has said before where it is. */
	uint64		nappends = pg_atomic_read_u64(&slot->nappends);
	int64		position = pg_atomic_exchange_u64(&slot->last_position, 0);

	worker->news = Max(worker->news, position);
	if (has_appends)
		ConditionVariableBroadcast(&slot->waiters);
	is_done = !is_to_look || look_around(worker);
	if (worker->news > 0 && !run_step(worker, send_notify, "announcing new events"))
		return false;
	worker->news = 0;
	pg_atomic_write_u64(&slot->nannounced, nappends);
	if (is_done)
		worker->nfailures = 0;
	if (!is_to_look)
		worker->look_at = Min(worker->look_at, time_to_look(worker));

	/* Those who commit meanwhile need not wake us. */
	if (has_appends)
		(void) WaitLatch(NULL, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, PAUSE,
						 es_wake_wait_event(ES_WAIT_WORKER_PAUSE));
	return is_done;
}

static bool
is_busy(EsSlot *slot)
{
	return pg_atomic_read_u64(&slot->nappends) - pg_atomic_read_u64(&slot->nannounced) >= BUSY;
}

/*
 * Do what there is to do now.  Returns false if it is to be tried again.
 */
static bool
work(EsWorker *worker)
{
	bool		has_appends = es_slot_has_news(worker->slot);
	bool		is_to_look = must_look(worker) || (has_appends && !is_busy(worker->slot));

	if (has_appends || is_to_look || worker->news > 0)
	{
		worker->busy_at = GetCurrentTimestamp();
		if (!look_and_announce(worker, is_to_look))
			return false;
	}
	if (!worker->is_gone && has_new_watermark(worker) &&
		(has_passed(worker->pace.next) ||
		 (has_passed(idle_from(worker)) && !worker->is_held_up)) &&
		!run_step(worker, advance_watermark, "advancing the watermark"))
	{
		worker->pace.next = after_milliseconds(worker->is_held_up ? RETRY_AFTER : RETRY_FAILED_AFTER);
		worker->nfailures = 0;
	}
	if (worker->has_undigested && !worker->is_gone &&
		!run_step(worker, make_digests, "making digests"))
	{
		worker->has_undigested = false; /* until the watermark is advanced */
		worker->nfailures = 0;
	}
	return true;
}

/*
 * When is there something to do, if nobody wakes us?
 */
static TimestampTz
next_time(EsWorker *worker)
{
	TimestampTz next = worker->look_at;

	if (has_new_watermark(worker))
		next = Min(next, worker->pace.next);
	return is_kept(worker) ? next : Min(next, idle_from(worker));
}

/*
 * Go if told to.  A cancellation was meant for what was done when it came.
 */
static void
check_for_termination(void)
{
	QueryCancelPending = false;
	CHECK_FOR_INTERRUPTS();
}

/*
 * Sleep until the latch is set, or until then.
 */
static void
sleep_until(TimestampTz time)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 TimestampDifferenceMilliseconds(GetCurrentTimestamp(), time),
					 es_wake_wait_event(ES_WAIT_WORKER_MAIN));
	ResetLatch(MyLatch);
	check_for_termination();
}

/*
 * Sleep after an error, whoever sets the latch.
 */
static void
sleep_after_error(int milliseconds)
{
	TimestampTz end = after_milliseconds(milliseconds);

	while (!has_passed(end))
		sleep_until(end);
}

/* ---- the process ---- */

/*
 * What has come since is known to the slot.  The watermark can wait: if the
 * database was dropped, a successor would only make noise.
 */
static void
at_exit(int code, Datum arg)
{
	if (me.slot != NULL)
		es_wake_worker_died(me.slot, me.has_failed,
							OidIsValid(me.events) && (me.is_open || is_asked_to_look(&me)));
}

static bool
retire(EsWorker *worker)
{
	if (!es_wake_retire(worker->slot, worker->nrequests))
		return false;
	worker->slot = NULL;
	return true;
}

static void
connect_to_database(Oid database)
{
#ifdef ES_MAKE_WAY_AS_AUTOVACUUM
	/* Published when the connection adds us to the array of processes. */
	MyProc->statusFlags |= PROC_IS_AUTOVACUUM;
#endif
	me.has_failed = true;		/* until it is done */
	BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, BGWORKER_BYPASS_ALLOWCONN);
	es_worker_set_options();
	es_watermark_get_ready();
	if (!run_step(&me, belong_to_owner, "starting"))
		proc_exit(1);
	me.has_failed = false;
	es_wake_worker_runs(me.slot);
}

/*
 * The interval may be a shorter one now.
 */
static void
heed_interval(EsWorker *worker)
{
	TimestampTz time = after_milliseconds(es_watermark_interval);

	worker->pace.next = Min(worker->pace.next, time);
	if (worker->look_at != DT_NOEND)
		worker->look_at = Min(worker->look_at, time);
}

/*
 * Work until there is nothing left to do.
 */
static void
run(EsWorker *worker)
{
	worker->busy_at = GetCurrentTimestamp();
	for (;;)
	{
		check_for_termination();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
			heed_interval(worker);
		}

		if (!work(worker))
		{
			worker->has_failed = worker->nfailures >= MAX_FAILURES;
			if (worker->has_failed)
				return;
			sleep_after_error(worker->is_held_up ? LOCK_RETRY_AFTER : RETRY_AFTER);
		}
		else if (es_slot_has_news(worker->slot) || is_asked_to_look(worker) ||
				 (worker->has_undigested && !worker->is_gone))
			continue;
		else if (!worker->is_gone && !is_idle(worker))
			sleep_until(next_time(worker));
		else
		{
			ES_WAIT_POINT("worker-retires");
			if (retire(worker))
				return;
			worker->busy_at = GetCurrentTimestamp();
			if (worker->is_gone)
				sleep_until(after_milliseconds(LOCK_RETRY_AFTER));
		}
	}
}

void
es_worker_main(Datum database)
{
	pqsignal(SIGTERM, die);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();

	me.slot = es_wake_claim(DatumGetObjectId(database));
	if (me.slot == NULL)
		return;
	/* Registered before the connection, so called after its end. */
	before_shmem_exit(at_exit, (Datum) 0);
	connect_to_database(DatumGetObjectId(database));
	run(&me);
}
