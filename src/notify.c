/*-------------------------------------------------------------------------
 *
 * notify.c
 *	  The appender's side of notifications.
 *
 * An append notes its last position and how the setting eventstore.notify has
 * it announced (transaction.c).  At commit
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

#include "commands/async.h"
#include "miscadmin.h"

#include "eventstore.h"
#include "wake.h"

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

void
es_notify_before_commit(const EsTransactionNote *note)
{
	if (note->for_listeners > 0)
		es_notify_send(note->for_listeners);
}

void
es_notify_after_commit(const EsTransactionNote *note)
{
	if (note->store_is_dropped)
		es_wake_store_dropped(MyDatabaseId);
	if (note->for_worker > 0)
		es_wake_publish(es_wake_get_slot(), note->for_worker);
}

/* ---- notes ---- */

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
	switch (choose_announcer())
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

/*
 * This transaction drops the extension.
 */
void
es_notify_store_dropped(void)
{
	es_transaction_note()->store_is_dropped = true;
}
