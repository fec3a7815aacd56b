/*-------------------------------------------------------------------------
 *
 * watermark_writer.c
 *	  What is written to the row of eventstore.watermark: how far the store is
 *	  settled, or what has arrived of another one.
 *
 * On a logical replica the row and the events arrive by the same subscription,
 * in the order of their commits.  But their initial copies are made side by side,
 * and an operator can have events left out: by a subscription without a copy, or
 * by a publication that lacked the table for some time.  Replicas can have
 * replicas, which believe what they see.
 *
 * So a trigger stands where the row arrives.  It keeps what the publisher
 * says apart (published_position, published_events) and raises the settled
 * position of the replica to it only when the apply worker is in charge of the
 * events, too, and as many are here as the publisher has counted.  The count
 * is made of what was added since the last time.  Else the watermark is held
 * back.  It is raised with the next one that arrives; or, when nothing is
 * appended, by write_watermark(), which the background worker calls (the
 * trigger asks for it).
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
#include "commands/event_trigger.h"
#include "commands/trigger.h"
#include "funcapi.h"
#include "replication/logicalworker.h"
#include "replication/worker_internal.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "eventstore.h"
#include "watermark.h"

PG_FUNCTION_INFO_V1(eventstore_receive_watermark);
PG_FUNCTION_INFO_V1(eventstore_next_watermark);
PG_FUNCTION_INFO_V1(eventstore_note_subscription);

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
		es_watermark_count_up_to(watermark, events, snapshot, watermark->published_position);
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

	es_watermark_read_no_row(old);
	while (HeapTupleIsValid(row = systable_getnext(scan)))
	{
		es_watermark_read_row(old, row, RelationGetDescr(table));
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
		es_watermark_read_row(&old, trigger->tg_trigtuple, RelationGetDescr(table));
	else
		take_away_row(&old, table);
	es_watermark_read_row(&watermark, row, RelationGetDescr(table));
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
		count = es_watermark_count_up_to(&watermark, events, snapshot, settled);
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
