/*-------------------------------------------------------------------------
 *
 * watermark.c
 *	  The watermark: one row that says up to which position all is settled, and
 *	  how many events there are up to it.
 *
 * Whoever sees the row sees all events up to its position, on a physical replica,
 * too.  On a logical one it is not so simple.  The row and the events arrive by
 * the same subscription in the order of their commits, but their initial copies
 * are made side by side, and an operator can have events left out: by a
 * subscription without a copy, or by a publication that lacked the table for
 * some time.  Replicas can have replicas, which believe what they see.
 *
 * So a trigger stands where the row arrives.  It keeps what the publisher
 * says apart (published_position, published_events) and raises the settled
 * position of the replica to it only when the apply worker is in charge of the
 * events, too, and as many are here as the publisher has counted.  The count
 * is made of what was added since the last time.  Else the watermark is held
 * back.  It is raised with the next one that arrives; or, when nothing is
 * appended, by write_watermark(), which the background worker calls (the
 * trigger asks for it).  Readers, who see the row and the events under one
 * snapshot, need not wait for that: they count themselves, and refuse to
 * go on where events are missing.
 *
 * Where the count is not published, since the publication has a part of the
 * events only, there is nothing to compare.
 *
 * A row of a replica says so (is_replica), from the creation of the
 * subscription on, which an event trigger notices, until continue_positions()
 * declares the store to be one of its own.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "commands/event_trigger.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "replication/logicalworker.h"
#include "replication/worker_internal.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "eventstore.h"
#include "watermark.h"

PG_FUNCTION_INFO_V1(eventstore_receive_watermark);
PG_FUNCTION_INFO_V1(eventstore_next_watermark);
PG_FUNCTION_INFO_V1(eventstore_note_subscription);

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

static void
read_row(EsWatermark *watermark, HeapTuple row, TupleDesc descriptor)
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
static void
read_no_row(EsWatermark *watermark)
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
		read_row(watermark, row, RelationGetDescr(table));
	else
		read_no_row(watermark);
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
int64
es_count_events(Relation events, Snapshot snapshot, int64 after, int64 up_to)
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
static int64
count_up_to(const EsWatermark *watermark, Relation events, Snapshot snapshot, int64 position)
{
	if (watermark->events == ES_NOT_COUNTED)
		return es_count_events(events, snapshot, 0, position);
	return watermark->events +
		es_count_events(events, snapshot, watermark->settled_position, position);
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

	count = count_up_to(watermark, events, snapshot, watermark->published_position);
	if (count != watermark->published_events)
		report_missing(watermark, count);
	checked_events = RelationGetRelid(events);
	checked_position = watermark->published_position;
	checked_count = watermark->published_events;
	return watermark->published_position;
}

/* ---- where the watermark arrives ---- */

/*
 * Are all events here that the publisher has seen?
 *
 * A worker that makes an initial copy can't tell, nor one that applies a
 * transaction before others that were committed earlier.
 */
static bool
has_arrived(const EsWatermark *watermark)
{
	Relation	events;
	Snapshot	snapshot;
	bool		has_all;

	if (am_tablesync_worker() || es_am_parallel_apply_worker() ||
		!es_replica_events_are_ready(MyLogicalRepWorker->subid))
		return false;
	if (watermark->published_events == ES_NOT_COUNTED)
		return true;

	events = es_catalog_open_events();
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	has_all = watermark->published_events ==
		count_up_to(watermark, events, snapshot, watermark->published_position);
	UnregisterSnapshot(snapshot);
	table_close(events, AccessShareLock);
	return has_all;
}

/*
 * Make of a row that has arrived, and of the one that was here, the one to
 * keep.
 */
static void
receive(EsWatermark *watermark, const EsWatermark *old)
{
	watermark->is_replica = true;
	watermark->published_position = watermark->settled_position;
	watermark->published_events = watermark->events;
	watermark->settled_position = watermark->events = 0;
	if (old->settled_position <= watermark->published_position)
	{
		watermark->settled_position = old->settled_position;
		watermark->events = old->events;
	}
	if (watermark->published_events == ES_NOT_COUNTED)
		watermark->events = ES_NOT_COUNTED;

	if (has_arrived(watermark))
	{
		watermark->settled_position = watermark->published_position;
		watermark->events = watermark->published_events;
	}
	else
		es_notify_stopped();
}

static HeapTuple
change_row(HeapTuple row, TupleDesc descriptor, const EsWatermark *watermark)
{
	int			columns[] = {
		Anum_es_watermark_settled_position, Anum_es_watermark_events, Anum_es_watermark_is_replica,
		Anum_es_watermark_published_position, Anum_es_watermark_published_events
	};
	Datum		values[] = {
		Int64GetDatum(watermark->settled_position), Int64GetDatum(watermark->events), BoolGetDatum(true),
		Int64GetDatum(watermark->published_position), Int64GetDatum(watermark->published_events)
	};
	bool		nulls[] = {
		false, watermark->events == ES_NOT_COUNTED, false,
		false, watermark->published_events == ES_NOT_COUNTED
	};

	return heap_modify_tuple_by_cols(row, descriptor, lengthof(columns), columns, values, nulls);
}

/*
 * A row that is copied takes the place of the one that is here.
 */
static void
take_away_row(EsWatermark *old, Relation table)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	SysScanDesc scan = systable_beginscan(table, InvalidOid, false, snapshot, 0, NULL);
	HeapTuple	row;

	read_no_row(old);
	while (HeapTupleIsValid(row = systable_getnext(scan)))
	{
		read_row(old, row, RelationGetDescr(table));
		simple_heap_delete(table, &row->t_self);
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
}

/*
 * The trigger BEFORE INSERT OR UPDATE of eventstore.watermark, for each row.
 */
Datum
eventstore_receive_watermark(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	Relation	table;
	HeapTuple	row;
	EsWatermark watermark;
	EsWatermark old;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_FOR_ROW(trigger->tg_event) ||
		!TRIGGER_FIRED_BEFORE(trigger->tg_event) || TRIGGER_FIRED_BY_DELETE(trigger->tg_event) ||
		RelationGetRelid(trigger->tg_relation) != es_catalog_get()->watermark)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"receive_watermark\" was not called by its trigger"),
				 errdetail("It decides what becomes of a watermark that a subscription brings."),
				 errhint("Do not use it in triggers of your own.")));

	table = trigger->tg_relation;
	row = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_newtuple : trigger->tg_trigtuple;
	if (!IsLogicalWorker())
		return PointerGetDatum(row);

	if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
		read_row(&old, trigger->tg_trigtuple, RelationGetDescr(table));
	else
		take_away_row(&old, table);
	read_row(&watermark, row, RelationGetDescr(table));
	receive(&watermark, &old);
	return PointerGetDatum(change_row(row, RelationGetDescr(table), &watermark));
}

/* ---- where the watermark is advanced ---- */

/*
 * next_watermark(OUT settled_position bigint, OUT events bigint,
 *				  OUT is_replica boolean)
 *
 * What write_watermark() is to write: how far the store is settled as the
 * snapshot sees it; on a replica, how far what its publisher says has arrived.
 */
Datum
eventstore_next_watermark(PG_FUNCTION_ARGS)
{
	Snapshot	snapshot = GetActiveSnapshot();
	Relation	events = es_catalog_open_events_for_reading();
	EsWatermark watermark;
	TupleDesc	descriptor;
	int64		settled;
	int64		count;
	Datum		values[3];
	bool		nulls[3] = {false, false, false};

	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	es_watermark_get(&watermark, snapshot);
	watermark.is_replica |= es_replica_is_subscribed();
	if (!watermark.exists && watermark.is_replica)
		settled = 0;
	else
		settled = es_settled_position(events, snapshot, watermark.settled_position, NULL);
	if (settled == watermark.published_position)
		count = watermark.published_events;
	else
		count = count_up_to(&watermark, events, snapshot, settled);
	table_close(events, AccessShareLock);

	values[0] = Int64GetDatum(settled);
	values[1] = Int64GetDatum(count);
	values[2] = BoolGetDatum(watermark.is_replica);
	nulls[1] = count == ES_NOT_COUNTED;
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(descriptor, values, nulls)));
}

/* ---- where a subscription is created ---- */

/*
 * Event trigger for what is done to subscriptions: a store whose events one of
 * them brings is a replica from now on.
 */
Datum
eventstore_note_subscription(PG_FUNCTION_ARGS)
{
	static EsStatement note = {
		.text = "INSERT INTO eventstore.watermark AS w (settled_position, events, is_replica)"
		" VALUES (0, 0, true)"
		" ON CONFLICT (only_row) DO UPDATE SET is_replica = true WHERE NOT w.is_replica"
	};
	EsBooks		books;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"note_subscription\" was not called by an event trigger"),
				 errdetail("It notes that a subscription brings the events of another store."),
				 errhint("Use it in an event trigger for ddl_command_end only.")));

	if (es_replica_is_subscribed())
	{
		es_books_open(&books);
		es_books_run(&note, NULL, NULL);
		es_books_close(&books);
	}
	PG_RETURN_NULL();
}
