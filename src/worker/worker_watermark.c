/*-------------------------------------------------------------------------
 *
 * worker_watermark.c
 *	  How the background worker advances the watermark and makes digests.
 *
 * It does what advance_watermark() does, in steps.  The tables can have
 * triggers, so they are touched as their owner, in a security-restricted
 * operation, like by autovacuum; for some time at the longest, after which they
 * are cancelled or, if they carry on all the same, the worker ends; and what
 * the triggers leave behind in the session is undone.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/pg_list.h"
#include "parser/parse_func.h"
#include "storage/lock.h"
#include "storage/procarray.h"
#include "utils/guc.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"

#include "eventstore.h"
#include "settings.h"
#include "store/catalog.h"
#include "verify/digest.h"
#include "worker/worker_watermark.h"

/* Milliseconds.  A digest may be that of an event of a gigabyte. */
#define WATERMARK_PATIENCE	1000
#define DIGEST_PATIENCE		30000

#define DIGESTS_AT_ONCE		1

/* See pace_watermark(). */
#define KEPT_VERSIONS	64
#define MAX_INTERVALS	30

static TimeoutId end_of_patience;

/*
 * A trigger can catch its cancellation, but not the end of the process.
 */
static void
end_process(void)
{
	kill(MyProcPid, SIGTERM);
}

/*
 * Called once in the worker.
 */
void
es_watermark_get_ready(void)
{
	end_of_patience = RegisterTimeout(USER_TIMEOUT, end_process);
}

/*
 * Called at the end of each transaction of the worker.
 */
void
es_watermark_clean_up(void)
{
	disable_timeout(STATEMENT_TIMEOUT, false);
	disable_timeout(end_of_patience, false);
	LockReleaseSession(USER_LOCKMETHOD);
}

/*
 * When to write the next version of the watermark.
 *
 * A snapshot that is old keeps all versions written since it was taken, and
 * whoever reads the watermark passes them.  Pauses that grow with its age let
 * their number grow by the logarithm of the age only: KEPT_VERSIONS while it
 * ages by a factor of 2.7.  But those who rely on the watermark, on replicas,
 * wait for MAX_INTERVALS at the most.
 */
static void
pace_watermark(EsPace *pace, Relation watermark)
{
	TransactionId horizon = GetOldestNonRemovableTransactionId(watermark);
	TimestampTz now = GetCurrentTimestamp();
	int64		interval = (int64) es_watermark_interval * 1000;

	if (!TransactionIdIsValid(pace->kept_xid) ||
		TransactionIdPrecedes(pace->kept_xid, horizon))
	{
		pace->kept_xid = GetTopTransactionId();
		pace->kept_since = now;
	}
	pace->next = now + Min(Max(interval, (now - pace->kept_since) / KEPT_VERSIONS),
						   interval * MAX_INTERVALS);
}

/*
 * Call a function as the owner of its tables.  The transaction goes on as him.
 */
static int64
call_as_owner(const char *function, int nargs, int argument, Oid owner, int patience)
{
	Oid			types[] = {INT4OID};
	List	   *name = list_make2(makeString(ES_SCHEMA), makeString(pstrdup(function)));
	int			nest_level = NewGUCNestLevel();
	Oid			oid;
	Datum		result;

	SetUserIdAndSecContext(owner, SECURITY_RESTRICTED_OPERATION);
	enable_timeout_after(STATEMENT_TIMEOUT, patience);
	enable_timeout_after(end_of_patience, 2 * patience);
	PushActiveSnapshot(GetTransactionSnapshot());
	oid = LookupFuncName(name, nargs, types, false);
	result = nargs > 0 ? OidFunctionCall1(oid, Int32GetDatum(argument)) : OidFunctionCall0(oid);
	PopActiveSnapshot();

	AtEOXact_GUC(false, nest_level);
	return DatumGetInt64(result);
}

/*
 * Advance the watermark, in a transaction of its own, and say when to do so
 * next.  Returns where it is now.
 */
int64
es_watermark_advance(EsPace *pace)
{
	Relation	watermark = table_open(es_catalog_get()->watermark, RowExclusiveLock);
	int64		position = call_as_owner("write_watermark", 0, 0, watermark->rd_rel->relowner,
										 WATERMARK_PATIENCE);

	pace_watermark(pace, watermark);
	table_close(watermark, NoLock);
	return position;
}

/*
 * Make the next digests, in a transaction of their own.  Returns whether there
 * may be more to be made.
 */
bool
es_digest_advance(void)
{
	Relation	digests = es_digests_open();
	int64		ndigests = call_as_owner("write_digests", 1, DIGESTS_AT_ONCE, digests->rd_rel->relowner,
										 DIGEST_PATIENCE);

	table_close(digests, NoLock);
	return ndigests == DIGESTS_AT_ONCE;
}
