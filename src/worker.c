/*-------------------------------------------------------------------------
 *
 * worker.c
 *	  The background worker of a database: one NOTIFY for many appends, and
 *	  the watermark.
 *
 * It sleeps until an appender wakes it (wake.c).  Then it wakes those who are
 * in wait_for_events(), looks how far all is settled, and sends a NOTIFY.  It
 * stays awake for PAUSE before it looks for more: under load that makes one
 * NOTIFY of many appends.
 *
 * A listener reads when it is notified, and as far as all is settled.  If a
 * transaction in front is still open, the listener has to be told again when
 * what it stopped at is settled, although that transaction may notify nobody:
 * it may have been rolled back.  So as long as something is open, the worker
 * looks again each eventstore.watermark_interval, and sends another NOTIFY when
 * the settled position has moved.
 *
 * In the same interval it advances the watermark, if there is something new.
 * Where an old snapshot keeps all versions of that row, less often: see
 * worker_watermark.c.  When nothing happens for some seconds, it exits.
 *
 * It makes way for whoever wants the database for himself (DROP DATABASE and
 * the like): to the server it looks like an autovacuum worker, which those
 * commands terminate, whoever runs them.  It waits for no lock for longer than
 * LOCK_PATIENCE, since it would do so while it holds the lock on the extension,
 * and it sends its NOTIFY in a transaction that holds none, since that can take
 * as long as anybody's commit.  An error is logged, and what failed is tried
 * again after RETRY_AFTER; after MAX_FAILURES it gives up.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

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
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "eventstore.h"
#include "wait_point.h"
#include "wake.h"

/* Milliseconds */
#define PAUSE				2
#define RETRY_AFTER			1000
#define LOCK_PATIENCE		100
#define LOCK_RETRY_AFTER	100

#define MAX_FAILURES		3

/*
 * The worker.  What it knows of the store is about the events table
 * "events".
 */
typedef struct EsWorker
{
	EsSlot	   *slot;
	bool		has_failed;		/* to connect, or too often */
	int			nfailures;		/* to look, in a row */
	bool		has_looked;
	bool		is_gone;		/* the extension was dropped */

	Oid			events;
	int64		settled;		/* at the last look */
	int64		news;			/* the position to announce, or 0 */
	bool		may_be_open;	/* may something in front be open? */
	uint64		nappends;		/* seen before the last look */
	uint32		nrequests;		/* the same */

	int64		watermark;		/* that was written last */
	EsPace		pace;			/* and when to write the next one */

	TimestampTz look_at;		/* when to look unasked */
	TimestampTz busy_at;		/* when there last was something to look for */
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
 * See how far all is settled, whether that is all there is, and whether there is
 * something to tell the listeners.
 */
static void
look(EsWorker *worker)
{
	Relation	events;
	uint64		nappends = pg_atomic_read_u64(&worker->slot->nappends);
	uint32		nrequests = pg_atomic_read_u32(&worker->slot->nrequests);
	int64		settled;
	bool		is_at_end;

	belong_to_owner(worker);
	worker->is_gone = !lock_extension();
	worker->nappends = nappends;
	if (worker->is_gone)
	{
		worker->nrequests = nrequests;
		worker->news = 0;
		return;
	}
	events = es_catalog_open_events();
	if (worker->events != RelationGetRelid(events))
	{
		worker->events = RelationGetRelid(events);
		worker->settled = worker->watermark = 0;
	}

	PushActiveSnapshot(GetLatestSnapshot());
	if (!worker->has_looked)
		worker->watermark = Max(es_watermark_read(GetActiveSnapshot()), 0);
	settled = es_settled_position(events, GetActiveSnapshot(), worker->settled, &is_at_end);
	PopActiveSnapshot();
	if (nappends != pg_atomic_read_u64(&worker->slot->nannounced) ||
		settled != worker->settled)
		worker->news = Max(es_position_last(events), settled);
	table_close(events, AccessShareLock);

	worker->nrequests = nrequests;
	worker->settled = settled;
	worker->may_be_open = !is_at_end;
	worker->has_looked = true;
}

/*
 * Tell the listeners.
 */
static void
announce(EsWorker *worker)
{
	es_notify_send(worker->news);
}

static void
advance_watermark(EsWorker *worker)
{
	int64		settled = worker->settled;

	worker->is_gone = !lock_extension();
	if (worker->is_gone)
		return;
	es_watermark_advance(&worker->pace);
	worker->watermark = settled;
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
	}
	PG_CATCH();
	{
		HOLD_INTERRUPTS();
		MemoryContextSwitchTo(context);
		if (geterrcode() != ERRCODE_LOCK_NOT_AVAILABLE)
		{
			EmitErrorReport();
			worker->nfailures++;
		}
		AbortCurrentTransaction();
		FlushErrorState();
		RESUME_INTERRUPTS();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	disable_timeout(STATEMENT_TIMEOUT, false);
	pgstat_report_activity(STATE_IDLE, NULL);
	pgstat_report_stat(false);
	return is_done;
}

static bool
has_news(EsWorker *worker)
{
	return pg_atomic_read_u64(&worker->slot->nappends) !=
		pg_atomic_read_u64(&worker->slot->nannounced);
}

static bool
is_asked_to_look(EsWorker *worker)
{
	return !worker->has_looked || worker->news > 0 || has_news(worker) ||
		worker->nrequests != pg_atomic_read_u32(&worker->slot->nrequests);
}

static bool
has_new_watermark(EsWorker *worker)
{
	return worker->settled > worker->watermark;
}

static TimestampTz
idle_from(EsWorker *worker)
{
	return worker->busy_at + (TimestampTz) es_worker_idle_limit * 1000;
}

/*
 * Has it been idle for long enough to go?
 */
static bool
is_idle(EsWorker *worker)
{
	return !worker->may_be_open && has_passed(idle_from(worker));
}

/*
 * Look, and tell everybody.
 */
static bool
look_around(EsWorker *worker)
{
	EsSlot	   *slot = worker->slot;
	int64		settled_before = worker->settled;
	bool		has_appends = has_news(worker);

	if (has_appends)
		ConditionVariableBroadcast(&slot->waiters);

	/* Who stops from here on asks for another look. */
	pg_atomic_exchange_u32(&slot->is_watching, false);
	if (!run_step(worker, look, "looking for new events"))
		return false;
	if (worker->news > 0 && !run_step(worker, announce, "announcing new events"))
		return false;
	worker->news = 0;
	worker->nfailures = 0;
	pg_atomic_write_u32(&slot->is_watching, worker->may_be_open);

	pg_atomic_write_u64(&slot->nannounced, worker->nappends);
	worker->look_at = after_milliseconds(es_watermark_interval);
	if (worker->settled != settled_before)
		ConditionVariableBroadcast(&slot->waiters);

	/* Those who commit meanwhile need not wake us. */
	if (has_appends)
		(void) WaitLatch(NULL, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, PAUSE,
						 es_wake_wait_event(ES_WAIT_WORKER_PAUSE));
	return true;
}

/*
 * Do what there is to do now.  Returns false if it is to be tried again.
 */
static bool
work(EsWorker *worker)
{
	if (is_asked_to_look(worker) || (worker->may_be_open && has_passed(worker->look_at)))
	{
		worker->busy_at = GetCurrentTimestamp();
		if (!look_around(worker))
			return false;
	}
	if (!worker->is_gone && has_new_watermark(worker) &&
		(has_passed(worker->pace.next) || is_idle(worker)) &&
		!run_step(worker, advance_watermark, "advancing the watermark"))
	{
		worker->pace.next = after_milliseconds(RETRY_AFTER);
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
	TimestampTz next = worker->may_be_open ? worker->look_at : idle_from(worker);

	return has_new_watermark(worker) ? Min(next, worker->pace.next) : next;
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
							me.has_looked && !me.is_gone &&
							(me.may_be_open || is_asked_to_look(&me)));
}

static bool
retire(EsWorker *worker)
{
	if (!es_wake_retire(worker->slot, worker->nrequests))
		return false;
	worker->slot = NULL;
	return true;
}

/*
 * What was set for the database must not keep the worker from its work.
 */
static void
set_option(const char *name, const char *value)
{
	SetConfigOption(name, value, PGC_SUSET, PGC_S_OVERRIDE);
}

/*
 * Whoever waits for us while we wait for him is not to find that out.
 */
static void
set_lock_timeout(void)
{
	char		milliseconds[16];

	snprintf(milliseconds, sizeof(milliseconds), "%d",
			 Max(1, Min(LOCK_PATIENCE, DeadlockTimeout / 2)));
	set_option("lock_timeout", milliseconds);
}

static void
set_options(void)
{
	set_option("eventstore.notify", "off");
	set_option("synchronous_commit", "off");
	set_option("search_path", "pg_catalog, pg_temp");
	set_option("default_transaction_isolation", "read committed");
	set_option("default_transaction_read_only", "off");
	set_option("statement_timeout", "0");
	set_lock_timeout();
	set_option("idle_in_transaction_session_timeout", "0");
	if (GetConfigOption("transaction_timeout", true, false) != NULL)
		set_option("transaction_timeout", "0");
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
	set_options();
	if (!run_step(&me, belong_to_owner, "starting"))
		proc_exit(1);
	me.has_failed = false;
	es_wake_worker_runs(me.slot);
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
		}

		if (!work(worker))
		{
			worker->has_failed = worker->nfailures >= MAX_FAILURES;
			if (worker->has_failed)
				return;
			sleep_after_error(worker->nfailures > 0 ? RETRY_AFTER : LOCK_RETRY_AFTER);
		}
		else if (is_asked_to_look(worker))
			continue;
		else if (!worker->is_gone && !is_idle(worker))
			sleep_until(next_time(worker));
		else
		{
			ES_WAIT_POINT("worker-retires");
			if (retire(worker))
				return;
			worker->busy_at = GetCurrentTimestamp();
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
