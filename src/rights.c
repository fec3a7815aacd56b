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

#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/rls.h"

#include "eventstore.h"

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
