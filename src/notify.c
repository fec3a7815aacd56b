/*-------------------------------------------------------------------------
 *
 * notify.c
 *	  The appender's side of notifications.
 *
 * An append notes its last position and how the setting eventstore.notify has
 * it announced.  The note belongs to the subtransaction: it passes to the
 * parent when that commits and is dropped when it aborts.  At commit
 *	- "transaction": a NOTIFY is queued before the server queues those of the
 *	  transaction (XACT_EVENT_PRE_COMMIT comes before PreCommit_Notify());
 *	- "worker": the position is published in shared memory when the commit is
 *	  visible to everybody (XACT_EVENT_COMMIT), see wake.c.  Nothing there may
 *	  raise an error.
 *
 * Queueing the NOTIFY at the append itself would be no good: a transaction
 * that has queued one can't be prepared.  A prepared transaction announces
 * nothing; the worker does when it is decided (worker_hooks.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/async.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "eventstore.h"
#include "wake.h"

#define CHANNEL "eventstore"

/* What a (sub)transaction has appended: the last positions, or 0. */
typedef struct EsNotice
{
	struct EsNotice *outer;
	int			nest_level;
	int64		for_listeners;	/* to be sent by this transaction */
	int64		for_worker;
} EsNotice;

static EsNotice *notice = NULL; /* in TopTransactionContext */
static bool store_is_dropped = false;

/*
 * Queue a NOTIFY that says: there are events up to here.
 */
void
es_notify_send(int64 position)
{
	char		payload[32];

	snprintf(payload, sizeof(payload), INT64_FORMAT, position);
	Async_Notify(CHANNEL, payload);
}

/* ---- the ends of (sub)transactions ---- */

static void
forget_all(void)
{
	notice = NULL;
	store_is_dropped = false;
}

static void
after_commit(void)
{
	if (store_is_dropped)
		es_wake_store_dropped(MyDatabaseId);
	if (notice != NULL && notice->for_worker > 0)
		es_wake_publish(es_wake_get_slot(), notice->for_worker);
	forget_all();
}

static void
at_end_of_transaction(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			if (notice != NULL && notice->for_listeners > 0)
				es_notify_send(notice->for_listeners);
			break;
		case XACT_EVENT_COMMIT:
			after_commit();
			break;
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			forget_all();
			break;
		default:
			break;
	}
}

/*
 * Hand the notice of a subtransaction to its parent.
 */
static void
hand_up(int parent_level)
{
	EsNotice   *outer = notice->outer;

	if (outer == NULL || outer->nest_level < parent_level)
	{
		notice->nest_level = parent_level;
		return;
	}
	outer->for_listeners = Max(outer->for_listeners, notice->for_listeners);
	outer->for_worker = Max(outer->for_worker, notice->for_worker);
	notice = outer;
}

static void
at_end_of_subtransaction(SubXactEvent event, SubTransactionId subid,
						 SubTransactionId parent_subid, void *arg)
{
	int			level = GetCurrentTransactionNestLevel();

	if (notice == NULL || notice->nest_level < level)
		return;
	if (event == SUBXACT_EVENT_COMMIT_SUB)
		hand_up(level - 1);
	else if (event == SUBXACT_EVENT_ABORT_SUB)
		notice = notice->outer;
}

static void
register_callbacks(void)
{
	static bool are_registered = false;

	if (are_registered)
		return;
	RegisterXactCallback(at_end_of_transaction, NULL);
	RegisterSubXactCallback(at_end_of_subtransaction, NULL);
	are_registered = true;
}

/* ---- notes ---- */

static EsNotice *
get_notice(void)
{
	int			level = GetCurrentTransactionNestLevel();

	if (notice == NULL || notice->nest_level < level)
	{
		EsNotice   *inner = MemoryContextAllocZero(TopTransactionContext, sizeof(EsNotice));

		inner->outer = notice;
		inner->nest_level = level;
		notice = inner;
	}
	return notice;
}

/*
 * Who is to announce this append?  The worker only if there is one, or is
 * soon to be.
 */
static EsNotify
choose_announcer(void)
{
	if (es_notify == ES_NOTIFY_WORKER && es_wake_ensure_worker() == NULL)
		return ES_NOTIFY_TRANSACTION;
	return es_notify;
}

/*
 * Events were appended, the last one at this position.
 */
void
es_notify_appended(int64 last_position)
{
	register_callbacks();
	switch (choose_announcer())
	{
		case ES_NOTIFY_OFF:
			break;
		case ES_NOTIFY_TRANSACTION:
			get_notice()->for_listeners = last_position;
			break;
		case ES_NOTIFY_WORKER:
			get_notice()->for_worker = last_position;
			break;
	}
}

/*
 * This transaction drops the extension.  Should it be rolled back to a
 * savepoint, the worker looks in vain.
 */
void
es_notify_store_dropped(void)
{
	register_callbacks();
	store_is_dropped = true;
}
