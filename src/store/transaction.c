/*-------------------------------------------------------------------------
 *
 * transaction.c
 *	  What this transaction has done so far, by subtransactions.
 *
 * A note belongs to the subtransaction that has appended.  It passes to the
 * parent when that commits, and is dropped when it aborts, as its events and
 * its locks are.  Each note counts what the outer ones count, too, so only the
 * innermost one needs to be looked at.
 *
 * Whoever has something to do when a transaction ends (notify.c) says so by
 * es_transaction_set_ends().
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/memutils.h"

#include "store/transaction.h"

/* The innermost; all are in TopTransactionContext. */
static EsTransactionNote *current = NULL;

static const EsTransactionEnds *ends = NULL;

static void
end_transaction(EsTransactionEnd end)
{
	if (ends != NULL)
		ends->at_end(end, current);
	current = NULL;
}

static void
at_end_of_transaction(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			if (current != NULL && ends != NULL)
				ends->before_commit(current);
			break;
		case XACT_EVENT_PRE_PREPARE:
			if (current != NULL && ends != NULL)
				ends->before_prepare(current);
			break;
		case XACT_EVENT_COMMIT:
			end_transaction(ES_COMMITTED);
			break;
		case XACT_EVENT_PREPARE:
			end_transaction(ES_PREPARED);
			break;
		case XACT_EVENT_ABORT:
			end_transaction(ES_ABORTED);
			break;
		default:
			break;
	}
}

/*
 * Let go of the innermost note, whose subtransaction has ended.
 */
static void
drop_note(void)
{
	EsTransactionNote *ended = current;

	current = ended->outer;
	pfree(ended);
}

/*
 * Hand the innermost note to the parent of its subtransaction.
 */
static void
hand_up_note(int parent_level)
{
	EsTransactionNote *outer = current->outer;

	if (outer == NULL || outer->nest_level < parent_level)
	{
		current->nest_level = parent_level;
		return;
	}
	Assert(outer->nest_level == parent_level);
	current->outer = outer->outer;
	current->nest_level = parent_level;
	pfree(outer);
}

static void
at_end_of_subtransaction(SubXactEvent event, SubTransactionId subid,
						 SubTransactionId parent_subid, void *arg)
{
	int			level = GetCurrentTransactionNestLevel();

	if (current == NULL || current->nest_level < level)
		return;
	Assert(current->nest_level == level);
	if (event == SUBXACT_EVENT_COMMIT_SUB)
		hand_up_note(level - 1);
	else if (event == SUBXACT_EVENT_ABORT_SUB)
		drop_note();
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

/*
 * What the transaction has done, to be written to: the note of the current
 * subtransaction.
 */
EsTransactionNote *
es_transaction_note(void)
{
	int			level = GetCurrentTransactionNestLevel();
	EsTransactionNote *note;

	if (current != NULL && current->nest_level == level)
		return current;

	register_callbacks();
	note = MemoryContextAllocZero(TopTransactionContext, sizeof(EsTransactionNote));
	if (current != NULL)
		*note = *current;
	note->outer = current;
	note->nest_level = level;
	current = note;
	return note;
}

/*
 * How many stream locks the transaction holds.
 */
int
es_transaction_stream_locks(void)
{
	return current != NULL ? current->nstream_locks : 0;
}

/*
 * What else is to be done at the end of each transaction of the session, once it
 * has made a note.  There is one who asks for it.
 */
void
es_transaction_set_ends(const EsTransactionEnds *wanted)
{
	Assert(ends == NULL || ends == wanted);
	ends = wanted;
}
