/*-------------------------------------------------------------------------
 *
 * wait.c
 *	  wait_for_events(): the long poll.
 *
 * It looks under a fresh snapshot, and sleeps until the worker says that there
 * is something new, but POLL_EVERY at most: the worker need not be told of
 * everything (eventstore.notify = off), and there may be none.  Between the
 * looks it holds no lock.  The calling statement's own snapshot can't be let
 * go of.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "common/int.h"
#include "miscadmin.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "eventstore.h"
#include "wake.h"

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

/*
 * Where the transaction keeps its first snapshot, it could not read what was
 * waited for.
 */
static void
check_isolation(void)
{
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("can't wait for events in a transaction that keeps its snapshot"),
				 errdetail("Under REPEATABLE READ and SERIALIZABLE, it would not see the events that it waits for."),
				 errhint("Wait under READ COMMITTED, best in a transaction of its own.")));
}

/*
 * A statement does not see what it appends itself, and nothing behind that is
 * settled before it ends.
 */
static void
check_statement(void)
{
	if (es_transaction_appends_now())
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("can't wait for events in the statement that appends some"),
				 errdetail("They are settled when the statement has ended, so it would wait for itself."),
				 errhint("Wait in a statement of its own, best after the commit.")));
}

/* ---- waiting ---- */

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
	return settled;
}

/*
 * What the worker signals; where there is none, something that nobody does.
 * After an error it is still known as what is slept on, so it must live on.
 */
static ConditionVariable *
find_news(void)
{
	static ConditionVariable nobodys;
	EsWakeSlot *slot = es_wake_get_slot();

	if (slot != NULL)
		return &slot->waiters;
	ConditionVariableInit(&nobodys);
	return &nobodys;
}

/*
 * Wait until all is settled up to a position behind "after_position".
 * Returns 0 at the deadline.
 */
static int64
wait_for_events(int64 after_position, TimestampTz deadline, ConditionVariable *news,
				MemoryContext look_context)
{
	for (;;)
	{
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
 * wait_for_events(after_position bigint, timeout interval) returns bigint
 *
 * The settled position, as soon as it is behind "after_position"; null when it
 * is not within the timeout.
 */
Datum
eventstore_wait_for_events(PG_FUNCTION_ARGS)
{
	int64		after_position = position_argument(fcinfo);
	TimestampTz deadline = deadline_argument(fcinfo);
	MemoryContext context;
	MemoryContext old;
	int64		settled;

	check_isolation();
	check_statement();
	context = AllocSetContextCreate(CurrentMemoryContext, "eventstore look",
									ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	settled = wait_for_events(after_position, deadline, find_news(), context);
	ConditionVariableCancelSleep();
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);

	if (settled == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT64(settled);
}
