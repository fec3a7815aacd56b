/*-------------------------------------------------------------------------
 *
 * worker_watermark.c
 *	  How the background worker advances the watermark.
 *
 * It calls advance_watermark().  That table can have triggers, so it is touched
 * as its owner, in a security-restricted operation, like by autovacuum; for
 * PATIENCE at the longest; and what they leave behind in the session is undone.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/parse_func.h"
#include "storage/lock.h"
#include "storage/procarray.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"

#include "eventstore.h"
#include "wake.h"

#define PATIENCE		1000	/* milliseconds */

/* See pace_watermark(). */
#define KEPT_VERSIONS	64
#define MAX_INTERVALS	30

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
 * Advance the watermark, in a transaction of its own, and say when to do so
 * next.  The transaction goes on as the owner of the table.
 */
void
es_watermark_advance(EsPace *pace)
{
	Relation	watermark = table_open(es_catalog_get()->watermark, RowExclusiveLock);
	List	   *name = list_make2(makeString("eventstore"), makeString("advance_watermark"));
	int			nest_level = NewGUCNestLevel();

	SetUserIdAndSecContext(watermark->rd_rel->relowner, SECURITY_RESTRICTED_OPERATION);
	enable_timeout_after(STATEMENT_TIMEOUT, PATIENCE);
	PushActiveSnapshot(GetTransactionSnapshot());
	(void) OidFunctionCall0(LookupFuncName(name, 0, NULL, false));
	PopActiveSnapshot();

	AtEOXact_GUC(false, nest_level);
	LockReleaseAll(USER_LOCKMETHOD, true);
	pace_watermark(pace, watermark);
	table_close(watermark, NoLock);
}
