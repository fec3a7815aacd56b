/*-------------------------------------------------------------------------
 *
 * wait_point.c
 *	  Places where a test can hold a backend; see wait_point.h.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "nodes/pg_list.h"

#include "wait_point.h"

#ifdef ES_WAIT_POINTS

#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/varlena.h"

static char *wait_points = NULL;

void
es_wait_point_define(void)
{
	DefineCustomStringVariable("eventstore.wait_points",
							   "Names the points at which this session can be held by a test.",
							   NULL,
							   &wait_points,
							   "",
							   PGC_USERSET,
							   GUC_LIST_INPUT,
							   NULL, NULL, NULL);
}

/*
 * Is the point among those that this session stops at?
 */
static bool
wait_point_is_set(const char *name)
{
	char	   *names;
	List	   *list;
	ListCell   *lc;
	bool		found = false;

	if (wait_points == NULL || wait_points[0] == '\0')
		return false;

	names = pstrdup(wait_points);
	if (SplitIdentifierString(names, ',', &list))
		foreach(lc, list)
			found |= strcmp((char *) lfirst(lc), name) == 0;

	list_free(list);
	pfree(names);
	return found;
}

/*
 * Stop here for as long as another session holds the point's advisory lock,
 * whatever lock_timeout says.
 */
void
es_wait_point_reach(const char *name)
{
	LOCKTAG		tag;
	int64		key;
	int			lock_timeout = LockTimeout;

	if (!wait_point_is_set(name))
		return;

	key = DatumGetInt32(hash_any((const unsigned char *) name, strlen(name)));
	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId,
						 (uint32) (key >> 32), (uint32) key, 1);
	LockTimeout = 0;
	(void) LockAcquire(&tag, ShareLock, false, false);
	LockTimeout = lock_timeout;
	LockRelease(&tag, ShareLock, false);
}

#endif							/* ES_WAIT_POINTS */
