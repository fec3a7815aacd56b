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
#include "access/skey.h"
#include "access/table.h"
#include "access/xact.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

#include "eventstore.h"
#include "order/entry_scan.h"
#include "order/watermark.h"
#include "store/catalog.h"
#include "store/event_row.h"

PG_FUNCTION_INFO_V1(eventstore_tally);

/* What was found to have arrived whole, of the store with this events table. */
static Oid	checked_events = InvalidOid;
static int64 checked_position = 0;
static EsTally checked;

/* ---- the row ---- */

static int64
get_bigint(HeapTuple row, TupleDesc descriptor, enum EsWatermarkColumn column, int64 if_null)
{
	bool		isnull;
	Datum		value = heap_getattr(row, column, descriptor, &isnull);

	return isnull ? if_null : DatumGetInt64(value);
}

/*
 * Columns that are null: it is not known.
 */
static void
read_tally(EsTally *tally, HeapTuple row, TupleDesc descriptor,
		   enum EsWatermarkColumn events, enum EsWatermarkColumn checksum)
{
	tally->is_known = !heap_attisnull(row, events, descriptor) &&
		!heap_attisnull(row, checksum, descriptor);
	tally->events = get_bigint(row, descriptor, events, 0);
	tally->checksum = (uint64) get_bigint(row, descriptor, checksum, 0);
}

void
es_watermark_read_row(EsWatermark *watermark, HeapTuple row, TupleDesc descriptor)
{
	bool		isnull;

	watermark->exists = true;
	watermark->is_own =
		TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetRawXmin(row->t_data));
	watermark->settled_position = get_bigint(row, descriptor, Anum_es_watermark_settled_position, 0);
	read_tally(&watermark->settled, row, descriptor,
			   Anum_es_watermark_events, Anum_es_watermark_checksum);
	watermark->is_replica =
		DatumGetBool(heap_getattr(row, Anum_es_watermark_is_replica, descriptor, &isnull));
	watermark->published_position =
		get_bigint(row, descriptor, Anum_es_watermark_published_position, ES_NO_WATERMARK);
	read_tally(&watermark->published, row, descriptor,
			   Anum_es_watermark_published_events, Anum_es_watermark_published_checksum);
}

/*
 * What a store has where there is no row: up to position 0 there are no events.
 */
void
es_watermark_read_no_row(EsWatermark *watermark)
{
	memset(watermark, 0, sizeof(EsWatermark));
	watermark->settled.is_known = true;
	watermark->published_position = ES_NO_WATERMARK;
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
 * Read the row that is committed by now, or written by this transaction.
 */
void
es_watermark_get_now(EsWatermark *watermark)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());

	es_watermark_get(watermark, snapshot);
	UnregisterSnapshot(snapshot);
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

/* ---- tallies ---- */

bool
es_tally_equals(const EsTally *a, const EsTally *b)
{
	return a->is_known == b->is_known && a->events == b->events && a->checksum == b->checksum;
}

/*
 * The last step of MurmurHash3 for 64 bits, by Austin Appleby (public domain).
 */
static uint64
mix(uint64 h)
{
	h ^= h >> 33;
	h *= UINT64CONST(0xff51afd7ed558ccd);
	h ^= h >> 33;
	h *= UINT64CONST(0xc4ceb9fe1a85ec53);
	h ^= h >> 33;
	return h;
}

/*
 * The checksum is of which event is where, alike on machines of either byte
 * order.
 */
static void
add_to_tally(EsTally *tally, HeapTuple row, TupleDesc descriptor)
{
	bool		isnull;
	Datum		id = heap_getattr(row, Anum_es_events_event_id, descriptor, &isnull);
	uint64		hash = mix((uint64) es_event_position(row, descriptor));
	uint64		halves[2] = {0};

	if (!isnull)
		memcpy(halves, DatumGetUUIDP(id)->data, UUID_LEN);
	tally->events++;
	tally->checksum += mix(mix(hash + pg_ntoh64(halves[0])) + pg_ntoh64(halves[1]));
}

/*
 * Add the events that the snapshot sees behind "after", up to "up_to", but not
 * more than "max_events".  Returns the position up to which all are added.
 */
int64
es_tally_add(EsTally *tally, Relation events, Snapshot snapshot, int64 after, int64 up_to,
			 int64 max_events)
{
	Relation	index = es_catalog_open_index(ES_POSITION_INDEX);
	EsEntryScan *scan = es_entry_scan_begin(events, index, snapshot, 1);
	int64		last = after;
	int64		limit = max_events < PG_INT64_MAX - tally->events ?
	tally->events + max_events : PG_INT64_MAX;
	ScanKeyData key;
	EsEntry    *entry;

	ScanKeyEntryInitialize(&key, 0, 1, BTGreaterStrategyNumber, InvalidOid,
						   InvalidOid, F_INT8GT, Int64GetDatum(after));
	es_entry_scan_want_positions(scan);
	es_entry_scan_position(scan, &key, ForwardScanDirection);
	while (last < up_to && tally->events < limit &&
		   (entry = es_entry_scan_next(scan, up_to - last)) != NULL &&
		   entry->position <= up_to)
	{
		if (!entry->is_seen || entry->position <= last)
			continue;
		last = entry->position;
		add_to_tally(tally, &entry->row, RelationGetDescr(events));
	}
	es_entry_scan_end(scan);
	index_close(index, AccessShareLock);
	return tally->events < limit ? up_to : last;
}

/*
 * tally(up_to_position bigint, OUT events bigint, OUT checksum bigint)
 *
 * All events up to a position, as they are in the table, for verify(); NULL where
 * the table was altered.
 */
Datum
eventstore_tally(PG_FUNCTION_ARGS)
{
	Relation	events = es_catalog_open_events_for_verification();
	TupleDesc	row_descriptor = RelationGetDescr(events);
	EsTally		tally = {0};
	TupleDesc	descriptor;
	SysScanDesc scan;
	HeapTuple	row;
	Datum		values[2];
	bool		nulls[2] = {false, false};

	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (!es_catalog_has_event_columns(row_descriptor))
	{
		table_close(events, AccessShareLock);
		PG_RETURN_NULL();
	}

	scan = systable_beginscan(events, InvalidOid, false, GetActiveSnapshot(), 0, NULL);
	while (HeapTupleIsValid(row = systable_getnext(scan)))
	{
		CHECK_FOR_INTERRUPTS();
		if (es_event_position(row, row_descriptor) <= PG_GETARG_INT64(0))
			add_to_tally(&tally, row, row_descriptor);
	}
	systable_endscan(scan);
	table_close(events, AccessShareLock);

	values[0] = Int64GetDatum(tally.events);
	values[1] = Int64GetDatum((int64) tally.checksum);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(descriptor, values, nulls)));
}

/*
 * The tally up to a position that is not below the settled one.
 */
void
es_watermark_tally_up_to(EsTally *tally, const EsWatermark *watermark,
						 Relation events, Snapshot snapshot, int64 position)
{
	int64		after = watermark->settled_position;

	*tally = watermark->settled;
	if (!tally->is_known)
	{
		memset(tally, 0, sizeof(EsTally));
		tally->is_known = true;
		after = 0;
	}
	(void) es_tally_add(tally, events, snapshot, after, position, PG_INT64_MAX);
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
report_other_events(const EsWatermark *watermark, const EsTally *here)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the events on this logical replica are not those of its publisher"),
			 errdetail("Up to position %lld the publisher has %lld events with checksum %llx, and here are %lld with checksum %llx.",
					   (long long) watermark->published_position,
					   (long long) watermark->published.events,
					   (unsigned long long) watermark->published.checksum,
					   (long long) here->events, (unsigned long long) here->checksum),
			 errhint("Drop subscription and extension here, create them again, and have everything copied. If only a part of the events is published, publish eventstore.watermark (only_row, settled_position).")));
}

/*
 * The position up to which all is here, on a replica whose apply worker is in
 * charge of events and watermark, as the snapshot sees it.
 */
int64
es_watermark_arrived(const EsWatermark *watermark, Relation events, Snapshot snapshot)
{
	EsTally		here;

	if (!es_watermark_is_held(watermark))
		return watermark->settled_position;
	if (!watermark->published.is_known ||
		(checked_events == RelationGetRelid(events) &&
		 checked_position == watermark->published_position &&
		 es_tally_equals(&checked, &watermark->published)))
		return watermark->published_position;

	es_watermark_tally_up_to(&here, watermark, events, snapshot, watermark->published_position);
	if (!es_tally_equals(&here, &watermark->published))
		report_other_events(watermark, &here);
	checked_events = RelationGetRelid(events);
	checked_position = watermark->published_position;
	checked = here;
	return watermark->published_position;
}
