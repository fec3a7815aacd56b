/*-------------------------------------------------------------------------
 *
 * as_owner.c
 *	  Runs statements on the extension's tables as their owner.
 *
 * Whoever may use subscriptions has no rights on their tables, so their
 * statements run as the tables' owner, like those of foreign keys.  They are
 * planned once in a session.  They find operators and functions by the
 * search_path that the calling SQL function pins.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "store/as_owner.h"
#include "store/rights.h"

static Oid
find_owner(void)
{
	Oid			schema = get_namespace_oid("eventstore", true);
	Oid			table = InvalidOid;
	HeapTuple	tuple;
	Oid			owner;

	if (OidIsValid(schema))
		table = get_relname_relid("subscription_partitions", schema);
	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(table));
	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation \"eventstore.subscription_partitions\" does not exist"),
				 errdetail("It was dropped, renamed or moved to another schema."),
				 errhint("Re-create the extension: its relations must keep their schema and names.")));
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

/*
 * Become the owner of the tables until es_as_owner_end(), or until an error
 * ends the (sub)transaction.  Memory that is allocated meanwhile goes at
 * es_as_owner_end().
 */
void
es_as_owner_begin(EsAsOwner *previous)
{
	Oid			owner = find_owner();

	GetUserIdAndSecContext(&previous->user, &previous->security_context);
	SetUserIdAndSecContext(owner, previous->security_context |
						   SECURITY_LOCAL_USERID_CHANGE | SECURITY_NOFORCE_RLS);
	es_rights_check_own_tables();
	SPI_connect();
}

void
es_as_owner_end(EsAsOwner *previous)
{
	SPI_finish();
	SetUserIdAndSecContext(previous->user, previous->security_context);
}

/*
 * Run a statement.  "nulls" may be NULL, or has an 'n' for each argument that
 * is null.  Returns the number of rows, which es_as_owner_get() reads until the
 * next statement is run.
 */
int
es_as_owner_run(EsStatement *statement, Datum *arguments, const char *nulls)
{
	if (statement->plan == NULL)
	{
		int			nargs = 0;

		while (nargs < lengthof(statement->types) && OidIsValid(statement->types[nargs]))
			nargs++;
		statement->plan = SPI_prepare(statement->text, nargs, statement->types);
		if (statement->plan == NULL)
			elog(ERROR, "could not plan \"%s\": %s", statement->text,
				 SPI_result_code_string(SPI_result));
		SPI_keepplan(statement->plan);
	}
	if (SPI_execute_plan(statement->plan, arguments, nulls, false, 0) < 0)
		elog(ERROR, "could not run \"%s\": %s", statement->text,
			 SPI_result_code_string(SPI_result));
	return SPI_processed;
}

/*
 * A value of the result: row and column count from 0 and 1.
 */
Datum
es_as_owner_get(int row, int column, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, isnull);
}
