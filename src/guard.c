/*-------------------------------------------------------------------------
 *
 * guard.c
 *	  Events are immutable.
 *
 * The triggers on eventstore.events that call this are ENABLE ALWAYS, so
 * they fire for the owner, for superusers and under
 * session_replication_role = replica.  Statement triggers refuse a command
 * also where no row matches; row triggers refuse what comes by way of a
 * parent table.
 *
 * A logical-replication apply worker repeats what was permitted on the
 * publisher, and passes.  But it also runs what users have hung on other
 * tables, and that does not pass: a statement of theirs fires the statement
 * triggers, which the worker's own updates and deletes never do, and from
 * within a trigger it fires ours at a greater depth.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/trigger.h"
#include "replication/logicalworker.h"
#include "utils/fmgrprotos.h"

#include "errors.h"
#include "eventstore.h"

PG_FUNCTION_INFO_V1(eventstore_guard);

static const char *
command_name(TriggerEvent event)
{
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
 * Is this what an apply worker itself does?
 */
static bool
is_applied_change(const TriggerData *trigger)
{
	if (!IsLogicalWorker() ||
		DatumGetInt32(DirectFunctionCall1(pg_trigger_depth, (Datum) 0)) != 1)
		return false;
	return TRIGGER_FIRED_FOR_ROW(trigger->tg_event) ||
		TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event);
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

	if (is_applied_change(trigger))
		return PointerGetDatum(unchanged_row(trigger));

	ereport(ERROR,
			(errcode(ERRCODE_ES_IMMUTABLE_EVENTS),
			 errmsg("events are immutable"),
			 errdetail("%s on \"eventstore.events\" is refused for every user.",
					   command_name(trigger->tg_event)),
			 TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event) ?
			 errhint("To discard the whole store, drop the extension and create it again.") :
			 errhint("Append an event that corrects or supersedes the earlier one.")));
}
