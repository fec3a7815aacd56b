/*-------------------------------------------------------------------------
 *
 * worker.c
 *	  The background worker of a database: one NOTIFY for many appends, and
 *	  the watermark.
 *
 * It sleeps until an appender wakes it (wake.c).  Then it wakes those who are
 * in wait_for_events(), sends a NOTIFY that carries the highest committed
 * position, and stays awake for PAUSE before it looks for more: under load that
 * makes one NOTIFY of many appends.
 *
 * A listener reads when it is notified, and as far as all is settled.  If a
 * transaction in front is still open, or was at that time, the listener has to
 * be told again when what it stopped at is settled, although that transaction
 * may notify nobody: it may have been rolled back.  So before a NOTIFY the
 * worker looks how far all is settled, but not more often than every
 * LOOK_EVERY, since a look can disturb appenders.  Unless it has found that
 * nothing was open, it looks again each eventstore.watermark_interval and sends
 * another NOTIFY when the settled position has moved.
 *
 * In the same interval it advances the watermark, if there is something new.
 * So an idle store costs nothing.
 *
 * An error is logged and what failed is tried again after RETRY_AFTER.  The
 * worker exits when the extension is gone, when a command wants the database
 * for itself (worker_hooks.c), and on SIGTERM.
 *
 * What belongs to the users is touched as the owner of the watermark, in a
 * security-restricted operation, like by autovacuum.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/parse_func.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "eventstore.h"
#include "wake.h"

/* Milliseconds */
#define PAUSE				2
#define LOOK_EVERY			100
#define RETRY_AFTER			5000
#define WATERMARK_PATIENCE	"100"	/* for those who lock it */

/*
 * The worker.  What it knows of the store is about the events table
 * "events".
 */
typedef struct EsWorker
{
	EsWakeSlot *slot;
	bool		is_connected;
	uint64		nappends;		/* announced */
	uint32		nrequests;		/* looked after */
	Oid			events;
	int64		settled;		/* at the last look */
	int64		watermark;		/* that was written last */
	bool		may_be_open;	/* may something in front be open? */
	TimestampTz looked_at;
	TimestampTz tend_at;		/* when to look after the store next */
	bool		is_gone;		/* the extension was dropped */
} EsWorker;

typedef void (*EsWorkerStep) (EsWorker *worker);

static EsWorker me;

static TimestampTz
after_milliseconds(int milliseconds)
{
	return TimestampTzPlusMilliseconds(GetCurrentTimestamp(), milliseconds);
}

static bool
has_passed(TimestampTz time)
{
	return GetCurrentTimestamp() >= time;
}

/* ---- in a transaction ---- */

/*
 * Become the owner of the watermark, until the end of the step.
 */
static void
become_owner(void)
{
	Relation	watermark = table_open(es_catalog_get()->watermark, AccessShareLock);
	Oid			owner = watermark->rd_rel->relowner;

	table_close(watermark, AccessShareLock);
	SetUserIdAndSecContext(owner, SECURITY_RESTRICTED_OPERATION);
}

/*
 * See how far all is settled, and whether that is all there is.
 */
static void
look(EsWorker *worker)
{
	Relation	events;
	bool		is_at_end;

	if (!OidIsValid(get_extension_oid("eventstore", true)))
	{
		worker->is_gone = true;
		return;
	}
	become_owner();
	events = es_catalog_open_events();
	if (worker->events != RelationGetRelid(events))
	{
		worker->events = RelationGetRelid(events);
		worker->settled = worker->watermark = 0;
	}

	PushActiveSnapshot(GetLatestSnapshot());
	worker->settled = es_settled_position(events, GetActiveSnapshot(), worker->settled,
										  &is_at_end);
	worker->may_be_open = !is_at_end;
	PopActiveSnapshot();
	table_close(events, AccessShareLock);
	worker->looked_at = GetCurrentTimestamp();
}

static void
notify(EsWorker *worker)
{
	int64		position = pg_atomic_read_u64(&worker->slot->position);

	position = Max(position, worker->settled);
	if (position > 0)
		es_notify_send(position);
}

/*
 * Announce what was committed.
 */
static void
announce(EsWorker *worker)
{
	if (has_passed(TimestampTzPlusMilliseconds(worker->looked_at, LOOK_EVERY)))
		look(worker);
	else
		worker->may_be_open = true;
	if (!worker->is_gone)
		notify(worker);
}

/*
 * See whether more was settled since the last look, and tell if so.
 */
static void
look_again(EsWorker *worker)
{
	int64		settled_before = worker->settled;
	Oid			events_before = worker->events;

	look(worker);
	if (!worker->is_gone &&
		(worker->settled != settled_before || worker->events != events_before))
		notify(worker);
}

static void
advance_watermark(EsWorker *worker)
{
	int64		settled = worker->settled;
	List	   *name = list_make2(makeString("eventstore"), makeString("advance_watermark"));
	Oid			function;

	become_owner();
	function = LookupFuncName(name, 0, NULL, false);
	(void) set_config_option("lock_timeout", WATERMARK_PATIENCE, PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
	PushActiveSnapshot(GetTransactionSnapshot());
	(void) OidFunctionCall0(function);
	PopActiveSnapshot();
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
		EmitErrorReport();
		AbortCurrentTransaction();
		FlushErrorState();
		RESUME_INTERRUPTS();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	pgstat_report_activity(STATE_IDLE, NULL);
	pgstat_report_stat(false);
	return is_done;
}

/*
 * Sleep, for so long at most (-1: for ever), or until the latch is set.
 */
static void
sleep_until_woken(long milliseconds)
{
	(void) WaitLatch(MyLatch,
					 WL_LATCH_SET | WL_EXIT_ON_PM_DEATH |
					 (milliseconds >= 0 ? WL_TIMEOUT : 0),
					 milliseconds, es_wake_wait_event(ES_WAIT_WORKER_MAIN));
	ResetLatch(MyLatch);
}

static bool
has_new_appends(EsWorker *worker)
{
	return worker->nappends != pg_atomic_read_u64(&worker->slot->nappends);
}

static bool
is_requested(EsWorker *worker)
{
	return worker->nrequests != pg_atomic_read_u32(&worker->slot->nrequests);
}

/*
 * Is there something to be looked after when nothing new comes?
 */
static bool
has_work_left(EsWorker *worker)
{
	return worker->may_be_open || worker->settled != worker->watermark;
}

static void
announce_appends(EsWorker *worker)
{
	uint64		nappends = pg_atomic_read_u64(&worker->slot->nappends);

	ConditionVariableBroadcast(&worker->slot->waiters);
	if (!run_step(worker, announce, "announcing appends"))
	{
		sleep_until_woken(RETRY_AFTER);
		return;
	}
	worker->nappends = nappends;

	/* Those who commit meanwhile need not wake us. */
	(void) WaitLatch(NULL, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, PAUSE,
					 es_wake_wait_event(ES_WAIT_WORKER_PAUSE));
}

/*
 * Look after the store: tell of what was settled late, advance the watermark.
 */
static void
tend_store(EsWorker *worker)
{
	uint32		nrequests = pg_atomic_read_u32(&worker->slot->nrequests);
	int64		settled_before = worker->settled;
	bool		is_done;

	is_done = run_step(worker, look_again, "looking for settled events");
	if (worker->settled != settled_before)
		ConditionVariableBroadcast(&worker->slot->waiters);
	if (is_done && !worker->is_gone && worker->settled != worker->watermark)
		is_done = run_step(worker, advance_watermark, "advancing the watermark");

	worker->nrequests = nrequests;
	worker->tend_at = after_milliseconds(is_done ? es_watermark_interval : RETRY_AFTER);
}

/*
 * Sleep until somebody has something for us, or it is time to tend the store.
 */
static void
sleep_when_idle(EsWorker *worker)
{
	long		timeout = -1;

	if (has_work_left(worker))
		timeout = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), worker->tend_at);

	pg_atomic_exchange_u32(&worker->slot->worker_sleeps, true);
	if (!has_new_appends(worker) && !is_requested(worker))
		sleep_until_woken(timeout);
	pg_atomic_exchange_u32(&worker->slot->worker_sleeps, false);
}

static void
work(EsWorker *worker)
{
	if (has_new_appends(worker))
		announce_appends(worker);
	else if (!is_requested(worker) && !(has_work_left(worker) && has_passed(worker->tend_at)))
		sleep_when_idle(worker);
	if (is_requested(worker) || (has_work_left(worker) && has_passed(worker->tend_at)))
		tend_store(worker);
}

/* ---- the process ---- */

static void
at_exit(int code, Datum arg)
{
	es_wake_worker_stopped(me.slot, me.is_connected, me.nappends,
						   !me.is_gone && has_work_left(&me));
}

/*
 * What was set for the database must not keep the worker from its work.
 */
static void
set_option(const char *name, const char *value)
{
	SetConfigOption(name, value, PGC_SUSET, PGC_S_OVERRIDE);
}

static void
set_options(void)
{
	set_option("synchronous_commit", "off");
	set_option("search_path", "pg_catalog, pg_temp");
	set_option("default_transaction_isolation", "read committed");
	set_option("default_transaction_read_only", "off");
	set_option("statement_timeout", "0");
	set_option("lock_timeout", "0");
	set_option("idle_in_transaction_session_timeout", "0");
}

static void
connect_to_database(void)
{
	BackgroundWorkerInitializeConnectionByOid(pg_atomic_read_u32(&me.slot->database),
											  InvalidOid, BGWORKER_BYPASS_ALLOWCONN);
	set_options();
	me.is_connected = true;
	es_wake_worker_started(me.slot);
}

void
es_worker_main(Datum slot_number)
{
	pqsignal(SIGTERM, die);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();

	me.slot = es_wake_claim(slot_number);
	if (me.slot == NULL)
		return;
	/* Registered before the connection, so called after its end. */
	on_shmem_exit(at_exit, (Datum) 0);
	connect_to_database();

	/* Whatever the one before has left, begin by looking. */
	me.may_be_open = true;
	while (!me.is_gone && pg_atomic_read_u32(&me.slot->nholds) == 0)
	{
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		work(&me);
	}
}
