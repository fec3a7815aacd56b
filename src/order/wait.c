/*-------------------------------------------------------------------------
 *
 * wait.c
 *	  wait_for_events(): the long poll.
 *
 * It is a procedure, since a query can't let go of its own snapshot, which
 * would keep vacuum from all that is deleted while it waits.  A procedure
 * can: it commits, and waits in a transaction that has no snapshot but for
 * the moments in which it looks.
 *
 * It sleeps until the worker says that there is something new, but POLL_EVERY
 * at most: nobody is told of everything (eventstore.notify = off), and there
 * may be no worker.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/int.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "order/walk.h"
#include "store/catalog.h"
#include "wake/wake.h"

PG_FUNCTION_INFO_V1(eventstore_wait_for_events);

/* Milliseconds */
#define POLL_EVERY 50

/* ---- arguments ---- */

static int64
position_argument(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("after_position must not be null"),
				 errdetail("It says behind which position to wait for events."),
				 errhint("Pass the last position that was handled, or 0.")));
	if (PG_GETARG_INT64(0) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("after_position is out of range"),
				 errdetail("It is %lld.", (long long) PG_GETARG_INT64(0)),
				 errhint("Pass at least 0.")));
	return PG_GETARG_INT64(0);
}

/*
 * The length of an interval in microseconds, a day being 24 hours.  Returns
 * false if it has none: months differ, and infinite intervals are made of
 * them.
 */
static bool
interval_length(const Interval *interval, int64 *length)
{
	int64		days;

	return interval->month == 0 &&
		!pg_mul_s64_overflow(interval->day, USECS_PER_DAY, &days) &&
		!pg_add_s64_overflow(interval->time, days, length);
}

static TimestampTz
deadline_argument(FunctionCallInfo fcinfo)
{
	int64		length;
	TimestampTz deadline;

	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("timeout must not be null"),
				 errdetail("It says how long to wait for events."),
				 errhint("Pass an interval, or leave it out.")));
	if (!interval_length(PG_GETARG_INTERVAL_P(1), &length) || length < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("timeout is out of range"),
				 errdetail("It is negative, infinite, too long, or counted in months or years."),
				 errhint("Pass an interval of days, hours, minutes or seconds.")));
	if (pg_add_s64_overflow(GetCurrentTimestamp(), length, &deadline))
		return PG_INT64_MAX;
	return deadline;
}

static void
check_context(FunctionCallInfo fcinfo)
{
	CallContext *context = (CallContext *) fcinfo->context;

	if (context == NULL || !IsA(context, CallContext) || context->atomic)
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("cannot wait for events inside a transaction block"),
				 errdetail("The wait would keep the transaction's snapshot and locks."),
				 errhint("CALL it outside BEGIN and COMMIT, with the client's autocommit on.")));
}

/* ---- waiting ---- */

/*
 * Commit, and begin another transaction.
 */
static void
begin_anew(void)
{
	SPI_connect_ext(SPI_OPT_NONATOMIC);
	SPI_commit();
	SPI_finish();
}

/*
 * How far a follower could read now.
 */
static int64
look(int64 after_position)
{
	Relation	events;
	int64		settled;

	AcceptInvalidationMessages();	/* is the store still there? */
	events = es_catalog_open_events_for_reading();
	PushActiveSnapshot(GetLatestSnapshot());
	settled = es_settled_position(events, GetActiveSnapshot(), after_position, NULL);
	PopActiveSnapshot();
	table_close(events, AccessShareLock);
	InvalidateCatalogSnapshot();
	return settled;
}

/*
 * What the worker signals; where there is no room for it, something that
 * nobody does.  After an error it is still known as what is slept on, so it
 * must live on.
 */
static ConditionVariable *
find_news(void)
{
	static ConditionVariable unused;
	ConditionVariable *news = es_wake_find_waiters();

	if (news != NULL)
		return news;
	ConditionVariableInit(&unused);
	return &unused;
}

/*
 * Wait until all is settled up to a position behind "after_position".
 * Returns 0 at the deadline.
 */
static int64
wait_for_events(int64 after_position, TimestampTz deadline, MemoryContext look_context)
{
	for (;;)
	{
		ConditionVariable *news = find_news();
		int64		settled;
		long		rest;

		/* From here on, no news is lost. */
		ConditionVariablePrepareToSleep(news);

		MemoryContextReset(look_context);
		settled = look(after_position);
		if (settled > after_position)
			return settled;

		rest = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline);
		if (rest <= 0)
			return 0;
		(void) ConditionVariableTimedSleep(news, Min(rest, POLL_EVERY),
										   es_wake_wait_event(ES_WAIT_FOR_EVENTS));
		CHECK_FOR_INTERRUPTS();
	}
}

/*
 * The row that a procedure with one output argument returns.
 */
static Datum
form_result(int64 settled)
{
	TupleDesc	descriptor = CreateTemplateTupleDesc(1);
	Datum		value = Int64GetDatum(settled);
	bool		isnull = settled == 0;

	TupleDescInitEntry(descriptor, 1, "settled_position", INT8OID, -1, 0);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), &value, &isnull));
}

/*
 * wait_for_events(after_position bigint, timeout interval,
 *				   INOUT settled_position bigint)
 *
 * Sets "settled_position" to the settled position, as soon as that is behind
 * "after_position"; to null when it is not within the timeout.
 */
Datum
eventstore_wait_for_events(PG_FUNCTION_ARGS)
{
	int64		after_position = position_argument(fcinfo);
	TimestampTz deadline = deadline_argument(fcinfo);
	MemoryContext context;
	MemoryContext old;
	int64		settled;

	check_context(fcinfo);
	begin_anew();
	XactIsoLevel = XACT_READ_COMMITTED; /* else it would keep a snapshot */
	context = AllocSetContextCreate(CurrentMemoryContext, "eventstore look",
									ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	settled = wait_for_events(after_position, deadline, context);
	ConditionVariableCancelSleep();
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	begin_anew();				/* as the caller expects it */
	return form_result(settled);
}
