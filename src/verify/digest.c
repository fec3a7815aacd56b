/*-------------------------------------------------------------------------
 *
 * digest.c
 *	  The digests of what is settled: rows of eventstore.digests, of which each
 *	  covers the events since the one before it, and that one's digest.
 *
 * Below a settled position nothing is added, so a range is final when it is
 * made.  Whoever makes one holds a lock of its own until he commits, and then
 * looks, under the newest snapshot whatever his transaction's is, where the
 * last one ends; so ranges neither overlap nor leave anything out.  Appenders
 * have no part in it.
 *
 * A range is small: the background worker makes one at a time between its
 * notifications, and verify() names the first that differs.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/skey.h"
#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_am.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "nodes/makefuncs.h"
#include "postmaster/bgworker.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "compat.h"
#include "eventstore.h"
#include "order/replica.h"
#include "order/watermark.h"
#include "store/catalog.h"
#include "store/event_row.h"
#include "store/lock.h"
#include "store/lock_tags.h"
#include "verify/digest.h"
#include "verify/event_digest.h"

PG_FUNCTION_INFO_V1(eventstore_new_digests);

/* What a range holds at the most, but for its last event. */
#define MAX_EVENTS	1000
#define MAX_CONTENT (1024 * 1024)

/* ---- the table ---- */

/*
 * Open eventstore.digests, if it has the columns that it was made with.
 */
Relation
es_digests_open(void)
{
	static const Oid types[Natts_es_digests] = {INT8OID, INT8OID, BYTEAOID, TIMESTAMPTZOID};
	Relation	digests = table_openrv(makeRangeVar(ES_SCHEMA, "digests", -1), AccessShareLock);
	TupleDesc	descriptor = RelationGetDescr(digests);
	bool		is_sound = digests->rd_rel->relam == HEAP_TABLE_AM_OID;

	is_sound &= descriptor->natts >= Natts_es_digests;
	for (int i = 0; is_sound && i < Natts_es_digests; i++)
		is_sound = TupleDescAttr(descriptor, i)->atttypid == types[i];
	if (!is_sound || !OidIsValid(es_primary_key_index(digests)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
				 errmsg("the table \"%s.digests\" was altered", ES_SCHEMA),
				 errdetail("The event store reads it by its original definition, along its primary key."),
				 errhint("Undo the change.")));
	return digests;
}

Relation
es_digests_open_index(Relation digests)
{
	return index_open(es_primary_key_index(digests), AccessShareLock);
}

/*
 * Who inserted the row?  Invalid if that was so long ago that numbers tell
 * nothing.
 */
TransactionId
es_row_inserter(HeapTuple row)
{
	if (HeapTupleHeaderXminFrozen(row->t_data))
		return InvalidTransactionId;
	return HeapTupleHeaderGetXmin(row->t_data);
}

void
es_digest_read(EsDigest *digest, HeapTuple row, TupleDesc descriptor)
{
	bool		isnull[3];
	Datum		bytes = heap_getattr(row, Anum_es_digests_digest, descriptor, &isnull[0]);

	memset(digest, 0, sizeof(EsDigest));
	digest->up_to_position = DatumGetInt64(heap_getattr(row, Anum_es_digests_up_to_position,
														descriptor, &isnull[1]));
	digest->events = DatumGetInt64(heap_getattr(row, Anum_es_digests_events,
												descriptor, &isnull[2]));
	digest->inserter = es_row_inserter(row);
	if (!isnull[0] && !isnull[1] && !isnull[2])
	{
		bytea	   *value = DatumGetByteaPP(bytes);

		digest->is_complete = VARSIZE_ANY_EXHDR(value) == ES_DIGEST_LENGTH;
		if (digest->is_complete)
			memcpy(digest->digest, VARDATA_ANY(value), ES_DIGEST_LENGTH);
	}
}

/*
 * Read the last digest before a position.  If there is none, it is the one at
 * the very beginning.
 */
void
es_digest_find_before(EsDigest *digest, Relation digests, Relation index,
					  Snapshot snapshot, int64 position)
{
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	row;

	ScanKeyInit(&key, Anum_es_digests_up_to_position, BTLessStrategyNumber, F_INT8LT,
				Int64GetDatum(position));
	scan = systable_beginscan_ordered(digests, index, snapshot, 1, &key);
	row = systable_getnext_ordered(scan, BackwardScanDirection);
	if (HeapTupleIsValid(row))
		es_digest_read(digest, row, RelationGetDescr(digests));
	if (!HeapTupleIsValid(row) || digest->up_to_position <= 0)
		memset(digest, 0, sizeof(EsDigest));
	systable_endscan_ordered(scan);
}

/*
 * Begin a scan of the rows behind a position, of a table whose first column
 * that is, along an index on it.
 */
SysScanDesc
es_digest_scan_behind(Relation table, Relation index, Snapshot snapshot, int64 position)
{
	ScanKeyData key;

	ScanKeyInit(&key, 1, BTGreaterStrategyNumber, F_INT8GT, Int64GetDatum(position));
	return systable_beginscan_ordered(table, index, snapshot, 1, &key);
}

/* ---- making digests ---- */

/*
 * See to it that nobody else makes digests until the transaction ends.  The
 * background worker has other things to do than to wait for somebody who does.
 */
static bool
lock_out_others(void)
{
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, 0, 0, ES_LOCKTAG_DIGEST);
	if (MyBgworkerEntry != NULL)
		return es_lock_acquire_at_once(&tag, ExclusiveLock);
	es_lock_acquire(&tag, ExclusiveLock);
	return true;
}

/*
 * Is all visible to the transaction that a digest would be made of, and the last
 * digest?  Where it has had its snapshot for longer, it could not verify what it
 * has made.
 */
static bool
is_up_to_date(Relation digests, Relation index, const EsDigest *last, int64 settled)
{
	Snapshot	snapshot = GetActiveSnapshot();
	EsDigest	seen;

	if (!IsolationUsesXactSnapshot())
		return true;
	es_digest_find_before(&seen, digests, index, snapshot, PG_INT64_MAX);
	return seen.up_to_position == last->up_to_position &&
		es_watermark_read(snapshot) >= settled;
}

static void
put_digest(ReturnSetInfo *result, const EsDigest *digest)
{
	bytea	   *bytes = palloc(VARHDRSZ + ES_DIGEST_LENGTH);
	Datum		values[3];
	bool		nulls[3] = {false, false, false};

	SET_VARSIZE(bytes, VARHDRSZ + ES_DIGEST_LENGTH);
	memcpy(VARDATA(bytes), digest->digest, ES_DIGEST_LENGTH);
	values[0] = Int64GetDatum(digest->up_to_position);
	values[1] = Int64GetDatum(digest->events);
	values[2] = PointerGetDatum(bytes);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/*
 * Take one range from the scan, which goes on behind "digest", and put the next
 * digest into its place.  Returns false if there is no event up to "settled".
 */
static bool
make_digest(EsDigest *digest, EsDigester *digester, SysScanDesc scan,
			TupleDesc descriptor, int64 settled)
{
	Size		content = 0;
	HeapTuple	row;

	digest->events = 0;
	es_digester_begin_range(digester, digest->digest);
	while (digest->events < MAX_EVENTS && content < MAX_CONTENT &&
		   digest->up_to_position < settled &&
		   HeapTupleIsValid(row = systable_getnext_ordered(scan, ForwardScanDirection)))
	{
		int64		position = es_event_position(row, descriptor);

		CHECK_FOR_INTERRUPTS();
		if (position > settled)
			break;
		content += es_digester_add(digester, row, descriptor);
		digest->up_to_position = position;
		digest->events++;
	}
	es_digester_end_range(digester, digest->digest);
	return digest->events > 0;
}

static void
make_digests(ReturnSetInfo *result, Relation events, Snapshot snapshot, int max_digests)
{
	Relation	digests = es_digests_open();
	Relation	index = es_digests_open_index(digests);
	Relation	position_index = es_catalog_open_index(ES_POSITION_INDEX);
	EsDigester *digester = es_digester_begin();
	int64		settled = es_watermark_read(snapshot);
	EsDigest	digest;
	SysScanDesc scan;

	es_digest_find_before(&digest, digests, index, snapshot, PG_INT64_MAX);
	scan = es_digest_scan_behind(events, position_index, snapshot, digest.up_to_position);
	if (!is_up_to_date(digests, index, &digest, settled))
		max_digests = 0;
	for (int i = 0; i < max_digests &&
		 make_digest(&digest, digester, scan, RelationGetDescr(events), settled); i++)
		put_digest(result, &digest);

	systable_endscan_ordered(scan);
	es_digester_end(digester);
	index_close(position_index, AccessShareLock);
	index_close(index, AccessShareLock);
	table_close(digests, AccessShareLock);
}

/*
 * new_digests(max_digests integer)
 * returns table (up_to_position bigint, events bigint, digest bytea)
 *
 * The next digests, up to the watermark, to be put into the table.  None on a
 * logical replica, to which they come.
 */
Datum
eventstore_new_digests(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	int			max_digests = PG_GETARG_INT32(0);
	Relation	events;
	Snapshot	snapshot;

	InitMaterializedSRF(fcinfo, 0);
	events = es_catalog_open_events_for_reading();
	if (lock_out_others() && !es_replica_is_one())
	{
		snapshot = RegisterSnapshot(GetLatestSnapshot());
		make_digests(result, events, snapshot, max_digests);
		UnregisterSnapshot(snapshot);
	}
	table_close(events, AccessShareLock);
	return (Datum) 0;
}
