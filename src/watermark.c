/*-------------------------------------------------------------------------
 *
 * watermark.c
 *	  The watermark: one row that says up to which position all is settled, and
 *	  how many events there are up to it.
 *
 * Whoever sees the row sees all events up to its position, on a physical replica,
 * too.  On a logical one the row also has what the publisher says
 * (published_position, published_events), which can be ahead of what is there:
 * watermark_writer.c tells why, and when the one is raised to the other.
 * Readers, who see the row and the events under one snapshot, need not wait for
 * that: they count the events themselves, and refuse to go on where some are
 * missing.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "utils/fmgroids.h"

#include "eventstore.h"
#include "watermark.h"

/* What was found to have arrived whole, of the store with this events table. */
static Oid	checked_events = InvalidOid;
static int64 checked_position = 0;
static int64 checked_count = 0;

/* ---- the row ---- */

static int64
get_bigint(HeapTuple row, TupleDesc descriptor, enum EsWatermarkColumn column, int64 if_null)
{
	bool		isnull;
	Datum		value = heap_getattr(row, column, descriptor, &isnull);

	return isnull ? if_null : DatumGetInt64(value);
}

void
es_watermark_read_row(EsWatermark *watermark, HeapTuple row, TupleDesc descriptor)
{
	bool		isnull;

	watermark->exists = true;
	watermark->is_own =
		TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetRawXmin(row->t_data));
	watermark->settled_position = get_bigint(row, descriptor, Anum_es_watermark_settled_position, 0);
	watermark->events = get_bigint(row, descriptor, Anum_es_watermark_events, ES_NOT_COUNTED);
	watermark->is_replica =
		DatumGetBool(heap_getattr(row, Anum_es_watermark_is_replica, descriptor, &isnull));
	watermark->published_position =
		get_bigint(row, descriptor, Anum_es_watermark_published_position, ES_NO_WATERMARK);
	watermark->published_events =
		get_bigint(row, descriptor, Anum_es_watermark_published_events, ES_NOT_COUNTED);
}

/*
 * What a store has where there is no row.
 */
void
es_watermark_read_no_row(EsWatermark *watermark)
{
	memset(watermark, 0, sizeof(EsWatermark));
	watermark->published_position = ES_NO_WATERMARK;
	watermark->published_events = ES_NOT_COUNTED;
}

/*
 * Read the row that the snapshot sees.
 */
void
es_watermark_get(EsWatermark *watermark, Snapshot snapshot)
{
	Relation	table = table_open(es_catalog_get()->watermark, AccessShareLock);
	SysScanDesc scan = systable_beginscan(table, InvalidOid, false, snapshot, 0, NULL);
	HeapTuple	row = systable_getnext(scan);

	if (HeapTupleIsValid(row))
		es_watermark_read_row(watermark, row, RelationGetDescr(table));
	else
		es_watermark_read_no_row(watermark);
	systable_endscan(scan);
	table_close(table, AccessShareLock);
}

/*
 * The settled position that the snapshot sees, or ES_NO_WATERMARK.
 */
int64
es_watermark_read(Snapshot snapshot)
{
	EsWatermark watermark;

	es_watermark_get(&watermark, snapshot);
	return watermark.exists ? watermark.settled_position : ES_NO_WATERMARK;
}

/* ---- counting ---- */

/*
 * How many events does the snapshot see behind "after", up to "up_to"?
 */
static int64
count_events(Relation events, Snapshot snapshot, int64 after, int64 up_to)
{
	Relation	index = es_catalog_open_index(ES_POSITION_INDEX);
	EsEntryScan *scan = es_entry_scan_begin(events, index, snapshot, 1);
	int64		last = after;
	int64		count = 0;
	ScanKeyData key;
	EsEntry    *entry;

	ScanKeyEntryInitialize(&key, 0, 1, BTGreaterStrategyNumber, InvalidOid,
						   InvalidOid, F_INT8GT, Int64GetDatum(after));
	es_entry_scan_want_positions(scan);
	scan->want_rows = false;
	es_entry_scan_position(scan, &key, ForwardScanDirection);
	while (last < up_to && (entry = es_entry_scan_next(scan, up_to - last)) != NULL &&
		   entry->position <= up_to)
	{
		if (entry->is_seen && entry->position > last)
		{
			last = entry->position;
			count++;
		}
	}
	es_entry_scan_end(scan);
	index_close(index, AccessShareLock);
	return count;
}

/*
 * How many up to a position that is not below the settled one?
 */
int64
es_watermark_count_up_to(const EsWatermark *watermark, Relation events, Snapshot snapshot, int64 position)
{
	if (watermark->events == ES_NOT_COUNTED)
		return count_events(events, snapshot, 0, position);
	return watermark->events +
		count_events(events, snapshot, watermark->settled_position, position);
}

/* ---- replicas ---- */

/*
 * Is the replica's settled position behind that of its publisher?
 */
bool
es_watermark_is_held(const EsWatermark *watermark)
{
	return watermark->published_position > watermark->settled_position;
}

static void
report_missing(const EsWatermark *watermark, int64 count)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the events on this logical replica are not those of its publisher"),
			 errdetail("Up to position %lld the publisher has %lld events, and %lld are here.",
					   (long long) watermark->published_position,
					   (long long) watermark->published_events, (long long) count),
			 errhint("Drop subscription and extension here, create them again, and have everything copied. If only a part of the events is published, publish eventstore.watermark (only_row, settled_position).")));
}

/*
 * The position up to which all is here, on a replica whose apply worker is in
 * charge of events and watermark, as the snapshot sees it.
 */
int64
es_watermark_arrived(const EsWatermark *watermark, Relation events, Snapshot snapshot)
{
	int64		count;

	if (!es_watermark_is_held(watermark))
		return watermark->settled_position;
	if (watermark->published_events == ES_NOT_COUNTED ||
		(checked_events == RelationGetRelid(events) &&
		 checked_position == watermark->published_position &&
		 checked_count == watermark->published_events))
		return watermark->published_position;

	count = es_watermark_count_up_to(watermark, events, snapshot, watermark->published_position);
	if (count != watermark->published_events)
		report_missing(watermark, count);
	checked_events = RelationGetRelid(events);
	checked_position = watermark->published_position;
	checked_count = watermark->published_events;
	return watermark->published_position;
}
