/*-------------------------------------------------------------------------
 *
 * event_writer.c
 *	  Writes the events of an append: positions, rows, index entries,
 *	  triggers.
 *
 * The caller holds the stream lock.  Events are written in turns.  In a turn
 * the writer passes the append gate (gate.c): inside it takes the positions
 * from the sequence, sees that they are above all that the position index
 * has, inserts the rows and their entries in that index, and nothing else,
 * since nobody may wait in there.  Then follow, for the same rows, the entries of all other indexes, where a unique check can
 * wait for another transaction, and the queueing of AFTER triggers.
 *
 * A follower on a standby can't see the gate.  There, a transaction must be
 * known as running before it takes a position, see announce_transaction().
 *
 * After COPY's CopyMultiInsertBufferFlush(), with the difference that the
 * extension's own four indexes are served directly: each needs another order
 * or another way to check uniqueness.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heaptoast.h"
#include "access/tableam.h"
#include "access/toast_internals.h"
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "access/xloginsert.h"
#include "catalog/pg_control.h"
#include "commands/sequence.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "append/append_executor.h"
#include "append/append_request.h"
#include "append/dedup.h"
#include "append/event_writer.h"
#include "eventstore.h"
#include "order/gate.h"
#include "order/position_index.h"
#include "order/replica.h"
#include "store/catalog.h"
#include "store/index_set.h"
#include "store/lock.h"
#include "wait_point.h"

/* What one turn in the gate is bounded by. */
#define MAX_TURN_EVENTS 1000
#define MAX_TURN_BYTES	(1024 * 1024)

/* What header, fixed-width columns and padding take of a row. */
#define MAX_FIXED_SIZE	200

typedef struct EventWriter
{
	EsAppendRequest *request;
	Relation	events;
	Oid			position_sequence;
	const EsIndexSet *indexes;
	int64		version_before; /* of the first event */
	TimestampTz created_at;
	TupleTableSlot **slots;		/* the rows of a turn */
	int64	   *positions;		/* ... and their positions */
	int			nslots;
	ItemPointerData *tids;		/* of all events, for the event-id index */
	MemoryContext turn_context;
	EsAppendExecutor *executor; /* NULL where there is nothing for it to do */
} EventWriter;

/* ---- opening and closing ---- */

static void
open_writer(EventWriter *writer, EsAppendRequest *request, Relation events,
			const EsIndexSet *indexes, int64 current_version)
{
	es_append_executor_check(events);

	memset(writer, 0, sizeof(EventWriter));
	writer->request = request;
	writer->events = events;
	writer->position_sequence = es_catalog_get()->position_sequence;
	writer->version_before = current_version;
	writer->created_at = GetCurrentTimestamp();

	writer->indexes = indexes;
	writer->nslots = Min(request->nevents, MAX_TURN_EVENTS);
	writer->slots = palloc(writer->nslots * sizeof(TupleTableSlot *));
	for (int i = 0; i < writer->nslots; i++)
		writer->slots[i] = table_slot_create(events, NULL);
	writer->positions = palloc(writer->nslots * sizeof(int64));
	writer->tids = MemoryContextAllocHuge(CurrentMemoryContext,
										  request->nevents * sizeof(ItemPointerData));
	writer->turn_context = AllocSetContextCreate(CurrentMemoryContext,
												 "eventstore append turn",
												 ALLOCSET_DEFAULT_SIZES);
	writer->executor = es_append_executor_open(events, indexes);
}

static void
close_writer(EventWriter *writer)
{
	if (writer->executor != NULL)
		es_append_executor_close(writer->executor);
	for (int i = 0; i < writer->nslots; i++)
		ExecDropSingleTupleTableSlot(writer->slots[i]);
	MemoryContextDelete(writer->turn_context);
}

/* ---- rows ---- */

static void
set_column(TupleTableSlot *slot, int column, bool is_given, Datum value)
{
	slot->tts_values[column - 1] = value;
	slot->tts_isnull[column - 1] = !is_given;
}

/*
 * A large value is compressed here already, as the toaster would do it, so
 * that the work is not done inside the gate.
 */
static void
set_large_column(EventWriter *writer, TupleTableSlot *slot, int column, void *value)
{
	Form_pg_attribute attr = TupleDescAttr(slot->tts_tupleDescriptor, column - 1);

	if (value != NULL && attr->attstorage == TYPSTORAGE_EXTENDED &&
		!VARATT_IS_EXTENDED(value) && VARSIZE(value) > TOAST_TUPLE_TARGET)
	{
		MemoryContext old = MemoryContextSwitchTo(writer->turn_context);
		Datum		compressed = toast_compress_datum(PointerGetDatum(value),
													  attr->attcompression);

		MemoryContextSwitchTo(old);
		if (DatumGetPointer(compressed) != NULL)
			value = DatumGetPointer(compressed);
	}
	set_column(slot, column, value != NULL, PointerGetDatum(value));
}

/*
 * Put the event into the slot; its position follows inside the gate.
 */
static void
fill_slot(EventWriter *writer, TupleTableSlot *slot, const EsEvent *event, int64 version)
{
	const EsAppendRequest *request = writer->request;

	ExecClearTuple(slot);
	/* Columns that were added and dropped again stay null. */
	memset(slot->tts_isnull, true, slot->tts_tupleDescriptor->natts * sizeof(bool));
	set_column(slot, Anum_es_events_global_position, true, Int64GetDatum(0));
	set_column(slot, Anum_es_events_version, true, Int64GetDatum(version));
	set_column(slot, Anum_es_events_created_at, true, TimestampTzGetDatum(writer->created_at));
	set_column(slot, Anum_es_events_event_id, true, UUIDPGetDatum(&event->event_id));
	set_column(slot, Anum_es_events_stream_id, true, PointerGetDatum(request->stream_id));
	set_column(slot, Anum_es_events_stream_type, true, PointerGetDatum(request->stream_type));
	set_column(slot, Anum_es_events_event_type, true, PointerGetDatum(event->event_type));
	set_column(slot, Anum_es_events_schema_version, true, Int32GetDatum(event->schema_version));
	set_column(slot, Anum_es_events_correlation_id, event->has_correlation_id,
			   UUIDPGetDatum(&event->correlation_id));
	set_column(slot, Anum_es_events_causation_id, event->has_causation_id,
			   UUIDPGetDatum(&event->causation_id));
	set_large_column(writer, slot, Anum_es_events_data, event->data);
	set_large_column(writer, slot, Anum_es_events_binary_data, event->binary_data);
	set_column(slot, Anum_es_events_content_type, event->content_type != NULL,
			   PointerGetDatum(event->content_type));
	set_large_column(writer, slot, Anum_es_events_metadata, event->metadata);
	set_large_column(writer, slot, Anum_es_events_tags, event->tags);
	ExecStoreVirtualTuple(slot);
}

static Size
size_of(const void *value)
{
	return value ? VARSIZE_ANY(value) : 0;
}

/*
 * About how large the event's row is, uncompressed; never less.
 */
static Size
row_size(const EsAppendRequest *request, const EsEvent *event)
{
	return MAX_FIXED_SIZE + size_of(request->stream_id) + size_of(request->stream_type) +
		size_of(event->event_type) + size_of(event->data) + size_of(event->binary_data) +
		size_of(event->content_type) + size_of(event->metadata) + size_of(event->tags);
}

/*
 * How many of the events from "first" on make a turn.
 */
static int
size_turn(const EsAppendRequest *request, int first)
{
	int			last = Min(request->nevents, first + MAX_TURN_EVENTS);
	Size		size = row_size(request, &request->events[first]);
	int			next = first + 1;

	while (next < last && size < MAX_TURN_BYTES)
		size += row_size(request, &request->events[next++]);
	return next - first;
}

/* ---- inside the gate ---- */

/*
 * See to it that a standby knows this transaction as running before it can
 * see a position above one that we are about to take.
 *
 * A standby learns of a transaction from the first WAL record that carries
 * its id, or a later id.  Whoever takes a later position logs a record with
 * his own id before he commits; so if every transaction older than ours has
 * ended, his id is later than ours, and there is nothing to do.  That the
 * oldest running transaction is ours shows in any snapshot that saw none
 * running and none beyond us to come.  Otherwise write a record that says
 * nothing; it has one byte, as a record must not be empty.
 */
static void
announce_transaction(void)
{
	static FullTransactionId announced;
	char		nothing = 0;
	FullTransactionId xid = GetTopFullTransactionId();
	Snapshot	snapshot = GetActiveSnapshot();

	(void) GetCurrentTransactionId();

	if (!XLogStandbyInfoActive() || FullTransactionIdEquals(announced, xid))
		return;
	announced = xid;

	if (snapshot->xcnt == 0 && !snapshot->suboverflowed &&
		snapshot->xmax == XidFromFullTransactionId(xid))
		return;

	XLogBeginInsert();
	XLogRegisterData(&nothing, sizeof(nothing));
	(void) XLogInsert(RM_XLOG_ID, XLOG_NOOP);
}

/*
 * Insert an entry into each index of the kind.
 */
static void
insert_entries(EventWriter *writer, EsIndexKind kind, Datum *values, ItemPointer tid)
{
	static bool isnull[INDEX_MAX_KEYS];

	for (int i = 0; i < writer->indexes->nindexes; i++)
	{
		EsOpenIndex *index = &writer->indexes->indexes[i];

		if (index->kind == kind)
			(void) index_insert(index->relation, values, isnull, tid, writer->events,
								index->relation->rd_index->indisunique ?
								UNIQUE_CHECK_YES : UNIQUE_CHECK_NO,
								false, NULL);
	}
}

/*
 * Lock the TOAST table if a row of the turn may have to go there.
 */
static void
lock_toast_table(EventWriter *writer, int first, int nevents)
{
	const EsAppendRequest *request = writer->request;
	Oid			toast_table = writer->events->rd_rel->reltoastrelid;

	for (int i = first; i < first + nevents && OidIsValid(toast_table); i++)
	{
		if (row_size(request, &request->events[i]) > TOAST_TUPLE_THRESHOLD)
		{
			es_lock_relation(toast_table, RowExclusiveLock);
			return;
		}
	}
}

static void
insert_rows(EventWriter *writer, int nevents)
{
	CommandId	cid = GetCurrentCommandId(true);

	if (nevents == 1)
		table_tuple_insert(writer->events, writer->slots[0], cid, 0, NULL);
	else
	{
		MemoryContext old = MemoryContextSwitchTo(writer->turn_context);

		table_multi_insert(writer->events, writer->slots, nevents, cid, 0, NULL);
		MemoryContextSwitchTo(old);
	}
}

/*
 * Take positions, and insert the rows of the turn and their entries in the
 * position index.
 */
static void
pass_gate(EventWriter *writer, int first, int nevents)
{
	Oid			sequence = writer->position_sequence;
	int64		last_taken;

	/* What could make us wait in the gate is done in front of it. */
	announce_transaction();
	es_lock_relation(sequence, RowExclusiveLock);
	lock_toast_table(writer, first, nevents);

	es_gate_enter();
	last_taken = es_position_index_last(writer->events,
										writer->indexes->own[ES_POSITION_INDEX]);
	ES_WAIT_POINT("gate-entered");

	for (int i = 0; i < nevents; i++)
	{
		writer->positions[i] = nextval_internal(sequence, false);
		es_replica_check_next(last_taken, writer->positions[i]);
		last_taken = writer->positions[i];
		set_column(writer->slots[i], Anum_es_events_global_position, true,
				   Int64GetDatum(writer->positions[i]));
	}
	ES_WAIT_POINT("positions-taken");

	insert_rows(writer, nevents);
	ES_WAIT_POINT("rows-inserted");

	for (int i = 0; i < nevents; i++)
	{
		Datum		values[] = {Int64GetDatum(writer->positions[i])};

		insert_entries(writer, ES_POSITION_INDEX, values, &writer->slots[i]->tts_tid);
	}
	es_gate_leave();
	ES_WAIT_POINT("gate-left");
}

/* ---- behind the gate ---- */

static void
insert_stream_entries(EventWriter *writer, int first, int nevents)
{
	for (int i = 0; i < nevents; i++)
	{
		Datum		values[] = {
			PointerGetDatum(writer->request->stream_id),
			Int64GetDatum(writer->version_before + first + i + 1)
		};

		insert_entries(writer, ES_STREAM_INDEX, values, &writer->slots[i]->tts_tid);
	}
}

static void
insert_category_entries(EventWriter *writer, int nevents)
{
	for (int i = 0; i < nevents; i++)
	{
		Datum		values[] = {
			PointerGetDatum(writer->request->stream_type),
			Int64GetDatum(writer->positions[i])
		};

		insert_entries(writer, ES_CATEGORY_INDEX, values, &writer->slots[i]->tts_tid);
	}
}

/*
 * Insert the entries of an event-id index for the whole batch, in the order of
 * the ids; see dedup.c.
 */
static void
insert_event_id_entries(EventWriter *writer, EsOpenIndex *index)
{
	EsAppendRequest *request = writer->request;

	for (int i = 0; i < request->nevents; i++)
	{
		int			event = request->by_event_id[i];
		Datum		values[] = {UUIDPGetDatum(&request->events[event].event_id)};
		bool		isnull[] = {false};

		CHECK_FOR_INTERRUPTS();
		request->current_event = event + 1;
		(void) index_insert(index->relation, values, isnull, &writer->tids[event],
							writer->events, UNIQUE_CHECK_YES, false, NULL);
	}
	request->current_event = 0;
}

/*
 * The same, with ST003 in the place of the index's own error.
 */
static void
insert_event_id_entries_or_report(EventWriter *writer, EsOpenIndex *index)
{
	EsAppendRequest *request = writer->request;
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		insert_event_id_entries(writer, index);
	}
	PG_CATCH();
	{
		if (geterrcode() == ERRCODE_UNIQUE_VIOLATION)
		{
			MemoryContextSwitchTo(context);
			es_dedup_report(writer->events, index->relation,
							&request->events[request->current_event - 1].event_id);
		}
		PG_RE_THROW();
	}
	PG_END_TRY();
}

static void
run_executor(EventWriter *writer, int first, int nevents)
{
	for (int i = 0; writer->executor != NULL && i < nevents; i++)
	{
		writer->request->current_event = first + i + 1;
		es_append_executor_run(writer->executor, writer->slots[i]);
	}
	writer->request->current_event = 0;
}

static void
write_turn(EventWriter *writer, int first, int nevents)
{
	MemoryContextReset(writer->turn_context);
	for (int i = 0; i < nevents; i++)
		fill_slot(writer, writer->slots[i], &writer->request->events[first + i],
				  writer->version_before + first + i + 1);

	pass_gate(writer, first, nevents);
	insert_stream_entries(writer, first, nevents);
	insert_category_entries(writer, nevents);
	run_executor(writer, first, nevents);

	for (int i = 0; i < nevents; i++)
	{
		writer->tids[first + i] = writer->slots[i]->tts_tid;
		ExecClearTuple(writer->slots[i]);
	}
}

/*
 * Write the request's events behind version "current_version" of their
 * stream, whose lock the caller holds.
 */
void
es_event_writer_write(EsAppendRequest *request, Relation events, const EsIndexSet *indexes,
					  int64 current_version, EsAppendResult *result)
{
	EventWriter writer;
	int			nevents;

	open_writer(&writer, request, events, indexes, current_version);

	for (int first = 0; first < request->nevents; first += nevents)
	{
		CHECK_FOR_INTERRUPTS();
		nevents = size_turn(request, first);
		write_turn(&writer, first, nevents);
		if (first == 0)
			result->first_position = writer.positions[0];
		result->last_position = writer.positions[nevents - 1];
	}
	for (int i = 0; i < indexes->nindexes; i++)
	{
		if (indexes->indexes[i].kind == ES_EVENT_ID_INDEX)
			insert_event_id_entries_or_report(&writer, &indexes->indexes[i]);
	}
	close_writer(&writer);

	result->first_version = current_version + 1;
	result->last_version = current_version + request->nevents;
	result->deduplicated = false;
}
