/*-------------------------------------------------------------------------
 *
 * two_phase.c
 *	  Notices that a prepared transaction was committed or rolled back.
 *
 * Whoever decides it need not be who has appended, and no callback tells of it.
 * A session that never loaded this library is not noticed; then the worker
 * finds out, which looks again as long as anything is open.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "nodes/parsenodes.h"
#include "tcop/utility.h"

#include "wake/notify.h"
#include "wake/two_phase.h"

static ProcessUtility_hook_type previous_hook = NULL;

static bool
is_decision(Node *stmt)
{
	return IsA(stmt, TransactionStmt) &&
		(((TransactionStmt *) stmt)->kind == TRANS_STMT_COMMIT_PREPARED ||
		 ((TransactionStmt *) stmt)->kind == TRANS_STMT_ROLLBACK_PREPARED);
}

static void
process_utility(PlannedStmt *statement, const char *query_string, bool read_only_tree,
				ProcessUtilityContext context, ParamListInfo params,
				QueryEnvironment *environment, DestReceiver *receiver,
				QueryCompletion *completion)
{
	ProcessUtility_hook_type run = previous_hook ? previous_hook : standard_ProcessUtility;

	/* Asked before: a decision can't be undone, so nothing may fail after it. */
	bool		decides = is_decision(statement->utilityStmt) && es_notify_wants_decisions();

	run(statement, query_string, read_only_tree, context, params, environment, receiver,
		completion);
	if (decides)
		es_notify_decided();
}

/*
 * Called when the library is loaded.
 */
void
es_two_phase_install(void)
{
	previous_hook = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
}
