/*-------------------------------------------------------------------------
 *
 * guard.c
 *	  Events are immutable, and come by appends only.
 *
 * The triggers that call this are ENABLE ALWAYS, so they fire for the owner,
 * for superusers and under session_replication_role = replica.  Statement
 * triggers refuse a command also where no row matches; row triggers refuse
 * what comes by way of a parent table.
 *
 * INSERT is for the owner, who restores a dump; the append functions don't
 * fire that trigger (append_executor.c).  Where a trigger has an argument,
 * everything is for the owner.
 *
 * A logical-replication worker repeats what was permitted on the publisher, and
 * passes.  But it also runs what users have hung on other tables, and that does
 * not pass, whoever owns it: while the worker itself changes a row, nothing is
 * on the error context stack but its own callback, and each function of a user
 * puts something there.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "commands/event_trigger.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "replication/logicalworker.h"
#include "replication/worker_internal.h"
#include "utils/acl.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "compat.h"
#include "errors.h"
#include "eventstore.h"
#include "store/guard.h"

PG_FUNCTION_INFO_V1(eventstore_guard);
PG_FUNCTION_INFO_V1(eventstore_guard_rewrite);

static const char *
command_name(TriggerEvent event)
{
	if (TRIGGER_FIRED_BY_INSERT(event))
		return "INSERT";
	if (TRIGGER_FIRED_BY_UPDATE(event))
		return "UPDATE";
	if (TRIGGER_FIRED_BY_DELETE(event))
		return "DELETE";
	return "TRUNCATE";
}

/*
 * What a BEFORE trigger returns to let the command go on.
 */
static HeapTuple
unchanged_row(const TriggerData *trigger)
{
	if (TRIGGER_FIRED_FOR_STATEMENT(trigger->tg_event))
		return NULL;
	return TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ?
		trigger->tg_newtuple : trigger->tg_trigtuple;
}

/*
 * Does the subscription of this worker bring the table?
 */
static bool
is_subscribed_to(Relation table)
{
	return SearchSysCacheExists2(SUBSCRIPTIONRELMAP,
								 ObjectIdGetDatum(RelationGetRelid(table)),
								 ObjectIdGetDatum(MyLogicalRepWorker->subid));
}

/*
 * Is this a row that a worker inserts or changes itself?  Then nothing is on the
 * error context stack but the callback of COPY, or that of what is applied.
 */
bool
es_guard_row_is_replicated(Relation table)
{
	if (!IsLogicalWorker() || !is_subscribed_to(table) || error_context_stack == NULL)
		return false;
	return am_tablesync_worker() ? error_context_stack->previous == NULL :
		es_is_apply_context(error_context_stack);
}

/*
 * Is this what a worker itself does?  One that makes an initial copy inserts,
 * with nothing at all on the stack; what it applies afterwards inserts, too, but
 * fires no statement trigger.
 */
static bool
is_replicated(const TriggerData *trigger)
{
	Relation	table = trigger->tg_relation;

	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		return IsLogicalWorker() && is_subscribed_to(table) &&
			am_tablesync_worker() && error_context_stack == NULL;
	return es_guard_row_is_replicated(table) && !am_tablesync_worker() &&
		(TRIGGER_FIRED_FOR_ROW(trigger->tg_event) ||
		 TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event));
}

/*
 * May the owner do this?  He may insert, and do anything where the trigger is
 * made with an argument.
 */
static bool
is_owners_right(const TriggerData *trigger)
{
	return TRIGGER_FIRED_BY_INSERT(trigger->tg_event) || trigger->tg_trigger->tgnargs > 0;
}

static bool
is_owner(const TriggerData *trigger)
{
	return has_privs_of_role(GetUserId(), trigger->tg_relation->rd_rel->relowner);
}

static void
report_not_owner(Relation table)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied to write to \"%s.%s\"", ES_SCHEMA, RelationGetRelationName(table)),
			 errdetail("Only its owner may, whatever other rights a role has."),
			 errhint("Append events by append_events() or append_event().")));
}

/*
 * Is this function guard()?
 */
bool
es_guard_is_called_by(Oid function)
{
	Oid			schema = get_func_namespace(function);
	char	   *name = get_func_name(function);

	return name != NULL && strcmp(name, "guard") == 0 &&
		schema == get_namespace_oid(ES_SCHEMA, true);
}

Datum
eventstore_guard(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"guard\" was not called by a trigger"),
				 errdetail("It refuses changes to stored events."),
				 errhint("Use it in a trigger only.")));

	if (is_replicated(trigger) || (is_owners_right(trigger) && is_owner(trigger)))
		return PointerGetDatum(unchanged_row(trigger));
	if (is_owners_right(trigger))
		report_not_owner(trigger->tg_relation);

	ereport(ERROR,
			(errcode(ERRCODE_ES_IMMUTABLE_EVENTS),
			 errmsg("events are immutable"),
			 errdetail("%s on \"%s.%s\" is refused for every user.",
					   command_name(trigger->tg_event),
					   get_namespace_name(RelationGetNamespace(trigger->tg_relation)),
					   RelationGetRelationName(trigger->tg_relation)),
			 TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event) ?
			 errhint("To discard the whole store, drop the extension and create it again.") :
			 errhint("Append an event that corrects or supersedes the earlier one.")));
}

/*
 * Is this the table of the events or of their digests?
 */
static bool
is_guarded(Oid table)
{
	char	   *schema = get_namespace_name(get_rel_namespace(table));
	char	   *name = get_rel_name(table);

	return schema != NULL && name != NULL && strcmp(schema, ES_SCHEMA) == 0 &&
		(strcmp(name, ES_EVENTS) == 0 || strcmp(name, "digests") == 0);
}

/*
 * Event trigger for table_rewrite: no ALTER TABLE computes new values for
 * events.  What moves them only may pass.
 */
Datum
eventstore_guard_rewrite(PG_FUNCTION_ARGS)
{
	Oid			table;
	int			reason;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"guard_rewrite\" was not called by an event trigger"),
				 errdetail("It refuses changes to stored events."),
				 errhint("Use it in an event trigger for table_rewrite only.")));

	table = DatumGetObjectId(DirectFunctionCall1(pg_event_trigger_table_rewrite_oid, (Datum) 0));
	reason = DatumGetInt32(DirectFunctionCall1(pg_event_trigger_table_rewrite_reason, (Datum) 0));
	if ((reason & AT_REWRITE_COLUMN_REWRITE) != 0 && is_guarded(table))
		ereport(ERROR,
				(errcode(ERRCODE_ES_IMMUTABLE_EVENTS),
				 errmsg("events are immutable"),
				 errdetail("An ALTER TABLE that computes the values of a column anew is refused on \"%s.%s\" for every user.",
						   ES_SCHEMA, get_rel_name(table)),
				 errhint("Keep what is computed in a table of its own.")));
	PG_RETURN_NULL();
}
