/*-------------------------------------------------------------------------
 *
 * worker_hooks.c
 *	  The commands that the worker has to be told of.
 *
 * DROP DATABASE, ALTER DATABASE ... RENAME or SET TABLESPACE, and CREATE
 * DATABASE ... TEMPLATE fail while anybody is connected to the database, a
 * background worker too.  So before such a command its worker is stopped, and
 * none is started until the command has ended.  If the database is still there
 * then, it gets its worker back.  Whether the user may do what he asks for is
 * found out by the command: one that is refused has but restarted a worker.
 *
 * COMMIT PREPARED and ROLLBACK PREPARED can settle events; DROP EXTENSION
 * leaves the worker nothing to do.  Both make it look.
 *
 * Only when preloaded.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/objectaccess.h"
#include "catalog/pg_extension.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/ipc.h"
#include "tcop/utility.h"

#include "eventstore.h"
#include "wake.h"

static ProcessUtility_hook_type previous_ProcessUtility_hook = NULL;
static object_access_hook_type previous_object_access_hook = NULL;

/* The arguments of a utility command. */
typedef struct EsUtilityCall
{
	PlannedStmt *statement;
	const char *query_string;
	bool		read_only_tree;
	ProcessUtilityContext context;
	ParamListInfo params;
	QueryEnvironment *environment;
	DestReceiver *receiver;
	QueryCompletion *completion;
} EsUtilityCall;

static void
run_utility(EsUtilityCall *call)
{
	ProcessUtility_hook_type run = previous_ProcessUtility_hook ?
	previous_ProcessUtility_hook : standard_ProcessUtility;

	run(call->statement, call->query_string, call->read_only_tree, call->context,
		call->params, call->environment, call->receiver, call->completion);
}

/* ---- commands on a database that nobody may be connected to ---- */

static DefElem *
find_option(List *options, const char *name)
{
	ListCell   *lc;

	foreach(lc, options)
	{
		DefElem    *option = lfirst_node(DefElem, lc);

		if (strcmp(option->defname, name) == 0)
			return option;
	}
	return NULL;
}

static const char *
template_name(CreatedbStmt *stmt)
{
	DefElem    *option = find_option(stmt->options, "template");

	return option != NULL && option->arg != NULL ? defGetString(option) : "template1";
}

/*
 * The database that the command wants for itself, or NULL.
 */
static const char *
lonely_database(Node *stmt)
{
	switch (nodeTag(stmt))
	{
		case T_DropdbStmt:
			return ((DropdbStmt *) stmt)->dbname;
		case T_CreatedbStmt:
			return template_name((CreatedbStmt *) stmt);
		case T_RenameStmt:
			if (((RenameStmt *) stmt)->renameType == OBJECT_DATABASE)
				return ((RenameStmt *) stmt)->subname;
			return NULL;
		case T_AlterDatabaseStmt:
			if (find_option(((AlterDatabaseStmt *) stmt)->options, "tablespace"))
				return ((AlterDatabaseStmt *) stmt)->dbname;
			return NULL;
		default:
			return NULL;
	}
}

typedef struct EsHold
{
	EsWakeSlot *slot;
	bool		had_worker;
} EsHold;

static void
release_hold(int code, Datum arg)
{
	EsHold	   *hold = (EsHold *) DatumGetPointer(arg);

	es_wake_release(hold->slot, hold->had_worker);
}

static void
run_without_worker(EsUtilityCall *call, EsWakeSlot *slot)
{
	EsHold		hold = {.slot = slot};

	hold.had_worker = es_wake_hold(slot);
	PG_ENSURE_ERROR_CLEANUP(release_hold, PointerGetDatum(&hold));
	{
		es_wake_wait_until_stopped(slot);
		run_utility(call);
	}
	PG_END_ENSURE_ERROR_CLEANUP(release_hold, PointerGetDatum(&hold));

	if (IsA(call->statement->utilityStmt, DropdbStmt))
		es_wake_free_slot(slot);
	else
		es_wake_release(slot, hold.had_worker);
}

/* ---- the hooks ---- */

static bool
is_decision(Node *stmt)
{
	return IsA(stmt, TransactionStmt) &&
		(((TransactionStmt *) stmt)->kind == TRANS_STMT_COMMIT_PREPARED ||
		 ((TransactionStmt *) stmt)->kind == TRANS_STMT_ROLLBACK_PREPARED);
}

/*
 * A prepared transaction was decided: if this database has a store, let its
 * worker look whether that has settled events, or dropped the store.
 */
static void
announce_decision(void)
{
	EsWakeSlot *slot = es_wake_find_slot(MyDatabaseId);

	if (slot == NULL && OidIsValid(get_extension_oid("eventstore", true)))
		slot = es_wake_get_slot();
	if (slot != NULL && es_notify == ES_NOTIFY_WORKER)
		es_wake_request_look(slot);
}

static void
process_utility(PlannedStmt *statement, const char *query_string, bool read_only_tree,
				ProcessUtilityContext context, ParamListInfo params,
				QueryEnvironment *environment, DestReceiver *receiver,
				QueryCompletion *completion)
{
	EsUtilityCall call = {
		.statement = statement,
		.query_string = query_string,
		.read_only_tree = read_only_tree,
		.context = context,
		.params = params,
		.environment = environment,
		.receiver = receiver,
		.completion = completion
	};
	bool		decides = is_decision(statement->utilityStmt);
	const char *database = lonely_database(statement->utilityStmt);
	EsWakeSlot *slot = NULL;

	if (database != NULL)
		slot = es_wake_find_slot(get_database_oid(database, true));
	if (slot != NULL)
		run_without_worker(&call, slot);
	else
		run_utility(&call);
	if (decides)
		announce_decision();
}

static void
note_object_access(ObjectAccessType access, Oid class_id, Oid object_id, int sub_id, void *arg)
{
	if (previous_object_access_hook)
		previous_object_access_hook(access, class_id, object_id, sub_id, arg);

	if (access == OAT_DROP && class_id == ExtensionRelationId &&
		object_id == get_extension_oid("eventstore", true))
		es_notify_store_dropped();
}

/*
 * Called when the library is preloaded.
 */
void
es_worker_hooks_install(void)
{
	previous_ProcessUtility_hook = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
	previous_object_access_hook = object_access_hook;
	object_access_hook = note_object_access;
}
