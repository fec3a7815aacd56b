/*-------------------------------------------------------------------------
 *
 * rights.c
 *	  What the direct path checks in the place of the executor.
 *
 * Reading needs SELECT on the events table.  Appending needs no right on it:
 * whoever may execute the functions may append.  Row-level security, which
 * could not be honoured, is refused by both.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_proc.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"
#include "utils/syscache.h"

#include "eventstore.h"

PG_FUNCTION_INFO_V1(eventstore_check_own_tables);

/*
 * Refuse a caller who may not read the events.
 */
void
es_rights_check_read(Oid events)
{
	if (pg_class_aclcheck(events, GetUserId(), ACL_SELECT) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to read events"),
				 errdetail("Reading needs the SELECT privilege on \"eventstore.events\"."),
				 errhint("Ask for eventstore.grant_reader() to be called for this role.")));

	if (check_enable_rls(events, InvalidOid, true) == RLS_ENABLED)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("row-level security applies to \"eventstore.events\""),
				 errdetail("The read functions do not evaluate its policies, and do not bypass them either."),
				 errhint("Query the table itself, or read as a role that bypasses row-level security.")));
}

/*
 * Refuse a caller whose appends would have to be checked row by row.
 */
void
es_rights_check_append(Oid events)
{
	if (check_enable_rls(events, InvalidOid, true) == RLS_ENABLED)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("row-level security applies to \"eventstore.events\""),
				 errdetail("Appends do not evaluate its policies, and do not bypass them either."),
				 errhint("Append as a role that bypasses row-level security, or check in the application.")));
}

/* ---- what runs as the owner ---- */

static void
report_foreign_code(const char *table, const char *what, Oid role)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("\"%s.%s\" is not in the hand of the event store's owner alone",
					ES_SCHEMA, table),
			 errdetail("%s belongs to \"%s\", and would run with the rights of \"%s\".",
					   what, GetUserNameFromId(role, true), GetUserNameFromId(GetUserId(), true)),
			 errhint("Give it to the event store's owner, or remove it.")));
}

static void
check_triggers(Relation table)
{
	TriggerDesc *triggers = table->trigdesc;

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		Trigger    *trigger = &triggers->triggers[i];
		HeapTuple	function = SearchSysCache1(PROCOID, ObjectIdGetDatum(trigger->tgfoid));
		Oid			owner;

		if (!HeapTupleIsValid(function))
			continue;
		owner = ((Form_pg_proc) GETSTRUCT(function))->proowner;
		ReleaseSysCache(function);
		if (owner != GetUserId() && !superuser_arg(owner))
			report_foreign_code(RelationGetRelationName(table),
								psprintf("The function of trigger \"%s\"", trigger->tgname), owner);
	}
}

/*
 * Refuse to go on as the owner of the event store where the tables of the
 * subscriptions, or triggers on them, belong to somebody else: his code would
 * run with the owner's rights.
 */
void
es_rights_check_own_tables(void)
{
	static const char *const names[] = {
		"checkpoints", "subscriptions", "subscription_partitions",
		"subscription_streams", "subscription_parked", "subscription_layouts"
	};
	Oid			schema = get_namespace_oid(ES_SCHEMA, false);

	for (int i = 0; i < lengthof(names); i++)
	{
		HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(get_relname_relid(names[i], schema)));
		FormData_pg_class form;

		if (!HeapTupleIsValid(tuple))
			continue;			/* whoever needs it will say so */
		form = *(Form_pg_class) GETSTRUCT(tuple);
		ReleaseSysCache(tuple);
		if (form.relowner != GetUserId())
			report_foreign_code(names[i], "It", form.relowner);
		if (form.relhastriggers)
		{
			Relation	table = table_open(form.oid, AccessShareLock);

			check_triggers(table);
			table_close(table, AccessShareLock);
		}
	}
}

/*
 * check_own_tables() returns void
 */
Datum
eventstore_check_own_tables(PG_FUNCTION_ARGS)
{
	es_rights_check_own_tables();
	PG_RETURN_VOID();
}
