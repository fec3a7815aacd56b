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

#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/rls.h"
#include "utils/syscache.h"

#include "store/rights.h"

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

#define MAX_TABLES 32

/* The role for which all was found to be right, until something changes. */
static Oid	checked_owner = InvalidOid;
static uint64 changes = 0;
static Oid	checked_tables[MAX_TABLES];
static int	nchecked_tables = 0;

static void
forget_table(Datum arg, Oid relation)
{
	bool		is_one = !OidIsValid(relation);

	changes++;
	for (int i = 0; i < nchecked_tables && !is_one; i++)
		is_one = checked_tables[i] == relation;
	if (is_one)
		checked_owner = InvalidOid;
}

static void
forget_function(Datum arg, int cacheid, uint32 hashvalue)
{
	changes++;
	checked_owner = InvalidOid;
}

static void
report_code_of_others(const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("the event store is not in the hand of its owner alone"),
			 errdetail("%s, and would run with the owner's rights.", detail),
			 errhint("Give it to the event store's owner, or remove it.")));
}

/*
 * Report what belongs to others, if anything does, and note the tables whose
 * changes are to be heeded from now on.
 */
static void
look_for_code_of_others(void)
{
	bool		isnull;
	Datum		value;

	if (SPI_execute("SELECT (SELECT detail FROM eventstore.code_of_others() LIMIT 1),"
					" array_agg(oid) FROM pg_catalog.pg_class"
					" WHERE relnamespace = 'eventstore'::regnamespace AND relkind = 'r'",
					true, 1) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "could not look for code of others");
	value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	if (!isnull)
		report_code_of_others(TextDatumGetCString(value));

	value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull);
	nchecked_tables = 0;
	if (!isnull)
	{
		ArrayType  *tables = DatumGetArrayTypeP(value);

		nchecked_tables = Min(ARR_DIMS(tables)[0], MAX_TABLES);
		memcpy(checked_tables, ARR_DATA_PTR(tables), nchecked_tables * sizeof(Oid));
	}
}

/*
 * Refuse to go on as the owner of the event store where a table belongs to
 * somebody else, or where what has been hung on a table does: his code would run
 * with the owner's rights.  It is looked up once, and again when a table or a
 * function has changed.
 */
void
es_rights_check_own_tables(void)
{
	static bool is_watching = false;
	uint64		changes_before;

	if (!is_watching)
	{
		CacheRegisterRelcacheCallback(forget_table, (Datum) 0);
		CacheRegisterSyscacheCallback(PROCOID, forget_function, (Datum) 0);
		is_watching = true;
	}
	if (checked_owner == GetUserId())
		return;

	changes_before = changes;
	SPI_connect();
	look_for_code_of_others();
	SPI_finish();
	if (changes == changes_before)
		checked_owner = GetUserId();
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
