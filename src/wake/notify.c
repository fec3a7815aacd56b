/*-------------------------------------------------------------------------
 *
 * notify.c
 *	  The appender's side of notifications.
 *
 * An append notes its last position and how the setting eventstore.notify has
 * it announced (transaction.c).  At commit
 *	- "transaction": a NOTIFY is queued before the server queues those of the
 *	  transaction (XACT_EVENT_PRE_COMMIT comes before PreCommit_Notify());
 *	- "worker": the worker is told of it when the commit is visible to
 *	  everybody, see wake.c; but if no worker runs, like "transaction".
 *
 * Queueing the NOTIFY at the append itself would be no good: a transaction
 * that has queued one can't be prepared.  A prepared transaction announces
 * nothing; that is done when it is decided.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "commands/async.h"
#include "commands/extension.h"

#include "settings.h"
#include "store/transaction.h"
#include "wake/notify.h"
#include "wake/wake.h"

#define CHANNEL "eventstore"

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

/* ---- the ends of transactions ---- */

static void
before_commit(const EsTransactionNote *note)
{
	int64		for_listeners = note->for_listeners;

	if (note->for_worker > 0 && !es_wake_begin_commit())
		for_listeners = Max(for_listeners, note->for_worker);
	if (for_listeners > 0)
		es_notify_send(for_listeners);
}

/*
 * The worker is to know that something is left open.
 */
static void
before_prepare(const EsTransactionNote *note)
{
	if (note->for_worker > 0)
		(void) es_wake_begin_commit();
}

static void
at_end(EsTransactionEnd end, const EsTransactionNote *note)
{
	es_wake_end_commit(end, note != NULL ? note->for_worker : 0);
}

static const EsTransactionEnds ends = {before_commit, before_prepare, at_end};

/*
 * Events were appended, the last one at this position.
 */
void
es_notify_appended(int64 last_position)
{
	es_transaction_set_ends(&ends);
	switch ((EsNotify) es_notify)
	{
		case ES_NOTIFY_OFF:
			break;
		case ES_NOTIFY_TRANSACTION:
			es_transaction_note()->for_listeners = last_position;
			break;
		case ES_NOTIFY_WORKER:
			es_transaction_note()->for_worker = last_position;
			break;
	}
}

/* ---- prepared transactions ---- */

/*
 * Is the worker to be told that a prepared transaction is decided?
 */
bool
es_notify_wants_decisions(void)
{
	return es_notify == ES_NOTIFY_WORKER && OidIsValid(get_extension_oid("eventstore", true));
}

/*
 * A prepared transaction, of whatever kind, was decided.  That may have
 * committed events, settled others, or both.  Raises no error, and waits for no
 * lock.
 */
void
es_notify_decided(void)
{
	(void) es_wake_request_look();
}

/* ---- readers ---- */

/*
 * A reader has stopped in front of a position that is not settled.
 */
void
es_notify_stopped(void)
{
	if (es_notify == ES_NOTIFY_WORKER && !RecoveryInProgress())
		es_wake_request_watch();
}
