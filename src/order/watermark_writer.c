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
 * events, too, and all are here that the publisher has, by their number and a
 * checksum of their positions and ids.  Both are made of what was added since
 * the last time.  Else the watermark is held back.  It is raised with the next
 * one that arrives; or, when nothing is appended, by write_watermark(), which the
 * background worker calls (the trigger asks for it).
 *
 * Where these are not published, since the publication has a part of the
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
#include "access/relation.h"
#include "access/table.h"
#include "catalog/pg_am.h"
#include "catalog/pg_type.h"
#include "commands/event_trigger.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "funcapi.h"
#include "nodes/makefuncs.h"
#include "postmaster/bgworker.h"
#include "replication/logicalworker.h"
#include "replication/worker_internal.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "eventstore.h"
#include "order/replica.h"
#include "order/walk.h"
#include "order/watermark.h"
#include "store/as_owner.h"
#include "store/catalog.h"
#include "store/guard.h"
#include "wake/notify.h"

PG_FUNCTION_INFO_V1(eventstore_receive_watermark);
PG_FUNCTION_INFO_V1(eventstore_next_watermark);
PG_FUNCTION_INFO_V1(eventstore_note_subscription);

/*
 * How far a worker has tallied what is behind a settled position that it could
 * not raise; and when it may tally all of that again.
 */
static Oid	tallied_events = InvalidOid;
static int64 tallied_after = 0;
static int64 tallied_up_to = 0;
static EsTally tallied;
static TimestampTz tally_again_at = 0;

/* Tallying everything again is to take a twentieth of the time. */
#define TALLY_AGAIN_AFTER	10000	/* milliseconds, at least */
#define TALLY_SHARE			20

/* What the background worker tallies at once. */
#define MAX_TALLIED_AT_ONCE 100000

/* ---- where the watermark arrives ---- */

/*
 * Tally all that is behind the settled position.
 */
static void
tally_anew(const EsWatermark *watermark, Relation events, Snapshot snapshot)
{
	TimestampTz start = GetCurrentTimestamp();
	int64		milliseconds;

	es_watermark_tally_up_to(&tallied, watermark, events, snapshot, watermark->published_position);
	milliseconds = TimestampDifferenceMilliseconds(start, GetCurrentTimestamp());
	tally_again_at = TimestampTzPlusMilliseconds(start,
												 Max(TALLY_AGAIN_AFTER, milliseconds * TALLY_SHARE));
}

/*
 * Is the tally up to the publisher's watermark the publisher's?
 *
 * When an event is missing, all watermarks from there on are held back, and what
 * was tallied for one serves for the next.  But what was tallied can have
 * changed, when a transaction was rolled back or an event was put in by hand; so
 * now and then it is not relied on.
 */
static bool
tally_is_publishers(const EsWatermark *watermark, Relation events, Snapshot snapshot)
{
	int64		up_to = watermark->published_position;
	bool		is_known = tallied_events == RelationGetRelid(events) &&
	tallied_after == watermark->settled_position && tallied_up_to <= up_to;

	if (is_known)
		(void) es_tally_add(&tallied, events, snapshot, tallied_up_to, up_to, PG_INT64_MAX);
	if (!is_known ||
		(!es_tally_equals(&tallied, &watermark->published) && GetCurrentTimestamp() >= tally_again_at))
		tally_anew(watermark, events, snapshot);
	tallied_events = RelationGetRelid(events);
	tallied_after = watermark->settled_position;
	tallied_up_to = up_to;
	return es_tally_equals(&tallied, &watermark->published);
}

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
	if (!watermark->published.is_known)
		return true;

	events = es_catalog_open_events();
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	has_all = tally_is_publishers(watermark, events, snapshot);
	UnregisterSnapshot(snapshot);
	table_close(events, AccessShareLock);
	return has_all;
}

/*
 * An update that brings nothing but the position leaves the tally of the replica
 * as it is.  The publisher's is never the same at another position.
 */
static void
ignore_own_tally(EsWatermark *watermark, const EsWatermark *old)
{
	if (watermark->settled_position != old->settled_position &&
		es_tally_equals(&watermark->settled, &old->settled))
		watermark->settled.is_known = false;
}

/*
 * Make of a row that has arrived, and of the one that was here, the one to
 * keep.  The first one that arrives is compared with all events: those that are
 * here already were tallied by a store of its own, if at all.
 */
static void
receive(EsWatermark *watermark, const EsWatermark *old)
{
	EsWatermark none;

	es_watermark_read_no_row(&none);
	if (old->published_position == ES_NO_WATERMARK ||
		old->settled_position > watermark->settled_position)
		old = &none;

	watermark->is_replica = true;
	watermark->published_position = watermark->settled_position;
	watermark->published = watermark->settled;
	watermark->settled_position = old->settled_position;
	watermark->settled = old->settled;
	if (!watermark->published.is_known)
		watermark->settled.is_known = false;

	if (has_arrived(watermark))
	{
		watermark->settled_position = watermark->published_position;
		watermark->settled = watermark->published;
	}
	else
		es_notify_stopped();
}

static HeapTuple
change_row(HeapTuple row, TupleDesc descriptor, const EsWatermark *watermark)
{
	int			columns[] = {
		Anum_es_watermark_settled_position, Anum_es_watermark_events,
		Anum_es_watermark_checksum, Anum_es_watermark_is_replica,
		Anum_es_watermark_published_position, Anum_es_watermark_published_events,
		Anum_es_watermark_published_checksum
	};
	Datum		values[] = {
		Int64GetDatum(watermark->settled_position), Int64GetDatum(watermark->settled.events),
		Int64GetDatum((int64) watermark->settled.checksum), BoolGetDatum(true),
		Int64GetDatum(watermark->published_position), Int64GetDatum(watermark->published.events),
		Int64GetDatum((int64) watermark->published.checksum)
	};
	bool		settled_is_null = !watermark->settled.is_known;
	bool		published_is_null = !watermark->published.is_known;
	bool		nulls[] = {
		false, settled_is_null, settled_is_null, false,
		false, published_is_null, published_is_null
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
	if (!es_guard_row_is_replicated(table))
		return PointerGetDatum(row);

	if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
		es_watermark_read_row(&old, trigger->tg_trigtuple, RelationGetDescr(table));
	else
		take_away_row(&old, table);
	es_watermark_read_row(&watermark, row, RelationGetDescr(table));
	if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
		ignore_own_tally(&watermark, &old);
	receive(&watermark, &old);
	return PointerGetDatum(change_row(row, RelationGetDescr(table), &watermark));
}

/* ---- where the watermark is advanced ---- */

/*
 * Tally up to the settled position.  The background worker, who has little time
 * for it, does that in portions, and leaves to others what has to be tallied from
 * the beginning.
 */
static void
raise_to(EsWatermark *watermark, Relation events, Snapshot snapshot, int64 settled)
{
	if (MyBgworkerEntry == NULL)
	{
		EsTally		tally;

		es_watermark_tally_up_to(&tally, watermark, events, snapshot, settled);
		watermark->settled_position = settled;
		watermark->settled = tally;
	}
	else if (watermark->settled.is_known)
		watermark->settled_position = es_tally_add(&watermark->settled, events, snapshot,
												   watermark->settled_position, settled,
												   MAX_TALLIED_AT_ONCE);
	else
		watermark->settled_position = settled;
}

/*
 * Up to where can the watermark be raised, and which events are there then?
 */
static void
find_next(EsWatermark *watermark, Relation events, Snapshot snapshot)
{
	int64		settled;

	if (!watermark->exists && watermark->is_replica)
	{
		/* a row that the publisher's can change */
		watermark->settled.is_known = false;
		return;
	}

	settled = es_settled_position(events, snapshot, watermark->settled_position, NULL);
	if (settled != watermark->published_position)
	{
		raise_to(watermark, events, snapshot, settled);
		return;
	}
	watermark->settled_position = settled;
	watermark->settled = watermark->published;
}

/*
 * next_watermark(OUT settled_position bigint, OUT events bigint,
 *				  OUT checksum bigint, OUT is_replica boolean)
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
	Datum		values[4];
	bool		nulls[4] = {false, false, false, false};

	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	es_watermark_get(&watermark, snapshot);
	watermark.is_replica |= es_replica_is_subscribed();
	find_next(&watermark, events, snapshot);
	table_close(events, AccessShareLock);

	values[0] = Int64GetDatum(watermark.settled_position);
	values[1] = Int64GetDatum(watermark.settled.events);
	values[2] = Int64GetDatum((int64) watermark.settled.checksum);
	values[3] = BoolGetDatum(watermark.is_replica);
	nulls[1] = nulls[2] = !watermark.settled.is_known;
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(descriptor, values, nulls)));
}

/* ---- where a subscription is created ---- */

/*
 * Can the command change which tables a subscription brings?
 */
static bool
can_bring_tables(Node *command)
{
	if (!IsA(command, AlterSubscriptionStmt))
		return true;
	switch (((AlterSubscriptionStmt *) command)->kind)
	{
		case ALTER_SUBSCRIPTION_ENABLED:
		case ALTER_SUBSCRIPTION_OPTIONS:
		case ALTER_SUBSCRIPTION_CONNECTION:
		case ALTER_SUBSCRIPTION_SKIP:
			return false;
		default:
			return true;
	}
}

static bool
row_is_noted(Relation table, AttrNumber column)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	SysScanDesc scan = systable_beginscan(table, InvalidOid, false, snapshot, 0, NULL);
	HeapTuple	row = systable_getnext(scan);
	bool		isnull;
	bool		is_noted = HeapTupleIsValid(row) &&
	DatumGetBool(heap_getattr(row, column, RelationGetDescr(table), &isnull));

	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	return is_noted;
}

/*
 * Does the row say so already?  An altered store must not keep anyone from doing
 * something about its subscription: where there is no such column, nothing can
 * be noted, and all else refuses to work.
 */
static bool
is_noted(void)
{
	Relation	table = relation_openrv(makeRangeVar(ES_SCHEMA, "watermark", -1), AccessShareLock);
	AttrNumber	column = get_attnum(RelationGetRelid(table), "is_replica");
	bool		is_noted = table->rd_rel->relam != HEAP_TABLE_AM_OID ||
	get_atttype(RelationGetRelid(table), column) != BOOLOID ||
	row_is_noted(table, column);

	relation_close(table, AccessShareLock);
	return is_noted;
}

static void
note_subscription(void)
{
	static EsStatement note = {
		.text = "INSERT INTO eventstore.watermark AS w (settled_position, is_replica)"
		" VALUES (0, true)"
		" ON CONFLICT (only_row) DO UPDATE SET is_replica = true WHERE NOT w.is_replica"
	};
	EsAsOwner	previous;

	es_as_owner_begin(&previous);
	es_as_owner_run(&note, NULL, NULL);
	es_as_owner_end(&previous);
}

/*
 * Event trigger for what is done to subscriptions: a store whose events one of
 * them brings is a replica from now on.
 */
Datum
eventstore_note_subscription(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"note_subscription\" was not called by an event trigger"),
				 errdetail("It notes that a subscription brings the events of another store."),
				 errhint("Use it in an event trigger for ddl_command_end only.")));

	if (can_bring_tables(((EventTriggerData *) fcinfo->context)->parsetree) &&
		es_replica_is_subscribed() && !is_noted())
		note_subscription();
	PG_RETURN_NULL();
}
