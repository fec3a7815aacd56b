/*-------------------------------------------------------------------------
 *
 * event_writer.c
 *	  Writes the events of an append: positions, rows, index entries,
 *	  triggers.
 *
 * The caller holds the stream lock.  Events are written in turns.  In a turn
 * the writer passes the append gate (gate.c): inside it takes the positions
 * from the sequence, inserts the rows and their entries in the position
 * index, and nothing else, since nobody may wait in there.  Then follow, for
 * the same rows, the entries of all other indexes, where a unique check can
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

#include "access/heaptoast.h"
#include "access/tableam.h"
#include "access/toast_internals.h"
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "access/xloginsert.h"
#include "catalog/index.h"
#include "catalog/pg_control.h"
#include "commands/sequence.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "eventstore.h"
#include "wait_point.h"

/* What one turn in the gate is bounded by. */
#define MAX_TURN_EVENTS 1000
#define MAX_TURN_BYTES	(1024 * 1024)

/* One of the extension's own indexes, open for insertion. */
typedef struct OwnIndex
{
	Relation	relation;
	IndexInfo  *info;
} OwnIndex;

typedef struct EventWriter
{
	EsAppendRequest *request;
	Relation	events;
	EsCatalog	catalog;
	OwnIndex	position_index;
	OwnIndex	stream_index;
	OwnIndex	event_id_index;
	OwnIndex	category_index;
	int64		version_before; /* of the first event */
	TimestampTz created_at;
	TupleTableSlot **slots;		/* the rows of a turn */
	int64	   *positions;		/* ... and their positions */
	int			nslots;
	ItemPointerData *tids;		/* of all events, for the event-id index */
	MemoryContext turn_context;

	/* Only where the table has triggers, or indexes or checks not our own. */
	EState	   *estate;
	ResultRelInfo *result_relation;
	TransitionCaptureState *transition_capture;
} EventWriter;

/* ---- opening and closing ---- */

static void
open_own_index(OwnIndex *index, Oid oid)
{
	index->relation = index_open(oid, RowExclusiveLock);
	index->info = BuildIndexInfo(index->relation);
}

static void
close_own_index(OwnIndex *index)
{
	index_close(index->relation, NoLock);
}

static bool
is_own_index(const EsCatalog *catalog, Oid oid)
{
	return oid == catalog->position_index || oid == catalog->stream_index ||
		oid == catalog->event_id_index || oid == catalog->category_index;
}

/*
 * The indexes that users have added, to be served by the executor.
 */
static List *
list_foreign_indexes(EventWriter *writer)
{
	List	   *indexes = RelationGetIndexList(writer->events);
	List	   *foreign = NIL;
	ListCell   *lc;

	foreach(lc, indexes)
	{
		if (!is_own_index(&writer->catalog, lfirst_oid(lc)))
			foreign = lappend_oid(foreign, lfirst_oid(lc));
	}
	list_free(indexes);
	return foreign;
}

static bool
has_insert_triggers(const TriggerDesc *triggers)
{
	return triggers != NULL &&
		(triggers->trig_insert_before_statement ||
		 triggers->trig_insert_after_row ||
		 triggers->trig_insert_after_statement ||
		 triggers->trig_insert_new_table);
}

static void
open_foreign_indexes(ResultRelInfo *result_relation, List *indexes)
{
	int			nindexes = list_length(indexes);
	ListCell   *lc;
	int			i = 0;

	result_relation->ri_NumIndices = nindexes;
	result_relation->ri_IndexRelationDescs = palloc(nindexes * sizeof(Relation));
	result_relation->ri_IndexRelationInfo = palloc(nindexes * sizeof(IndexInfo *));
	foreach(lc, indexes)
	{
		Relation	index = index_open(lfirst_oid(lc), RowExclusiveLock);

		result_relation->ri_IndexRelationDescs[i] = index;
		result_relation->ri_IndexRelationInfo[i] = BuildIndexInfo(index);
		i++;
	}
}

/*
 * Set up what the executor needs to run triggers, checks and further indexes
 * on the table, and fire BEFORE STATEMENT triggers.
 */
static void
open_executor(EventWriter *writer)
{
	List	   *foreign_indexes = list_foreign_indexes(writer);
	TriggerDesc *triggers = writer->events->trigdesc;
	RangeTblEntry *rte;

	if (foreign_indexes == NIL && !has_insert_triggers(triggers) &&
		!writer->catalog.has_foreign_checks)
		return;

	rte = makeNode(RangeTblEntry);
	rte->rtekind = RTE_RELATION;
	rte->relid = RelationGetRelid(writer->events);
	rte->relkind = writer->events->rd_rel->relkind;
	rte->rellockmode = RowExclusiveLock;

	writer->estate = CreateExecutorState();
	es_init_range_table(writer->estate, rte);
	writer->estate->es_output_cid = GetCurrentCommandId(true);

	writer->result_relation = makeNode(ResultRelInfo);
	InitResultRelInfo(writer->result_relation, writer->events, 1, NULL, 0);
	writer->estate->es_opened_result_relations =
		lappend(writer->estate->es_opened_result_relations, writer->result_relation);
	open_foreign_indexes(writer->result_relation, foreign_indexes);

	AfterTriggerBeginQuery();
	writer->transition_capture =
		MakeTransitionCaptureState(triggers, RelationGetRelid(writer->events), CMD_INSERT);
	ExecBSInsertTriggers(writer->estate, writer->result_relation);
}

/*
 * Fire AFTER triggers, which run as for an INSERT, and clean up.
 */
static void
close_executor(EventWriter *writer)
{
	if (writer->estate == NULL)
		return;

	ExecASInsertTriggers(writer->estate, writer->result_relation,
						 writer->transition_capture);
	AfterTriggerEndQuery(writer->estate);
	ExecResetTupleTable(writer->estate->es_tupleTable, false);
	ExecCloseResultRelations(writer->estate);
	ExecCloseRangeTableRelations(writer->estate);
	FreeExecutorState(writer->estate);
}

/*
 * What an INSERT would honour and the direct path can't is refused, not
 * passed over.
 */
static void
check_table_is_appendable(Relation events)
{
	const TriggerDesc *triggers = events->trigdesc;

	if (triggers != NULL && triggers->trig_insert_before_row)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("\"eventstore.events\" has a BEFORE INSERT row trigger"),
				 errdetail("Such a trigger could change or suppress an event that the caller believes to be stored."),
				 errhint("Use an AFTER trigger; to refuse an event, raise an error in it.")));
	if (events->rd_rules != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("\"eventstore.events\" has a rewrite rule"),
				 errdetail("Appends do not pass the rewriter."),
				 errhint("Drop the rule and use an AFTER trigger.")));
}

static void
open_writer(EventWriter *writer, EsAppendRequest *request, Relation events,
			int64 current_version)
{
	check_table_is_appendable(events);

	memset(writer, 0, sizeof(EventWriter));
	writer->request = request;
	writer->events = events;
	writer->catalog = *es_catalog_get();
	writer->version_before = current_version;
	writer->created_at = GetCurrentTimestamp();

	open_own_index(&writer->position_index, writer->catalog.position_index);
	open_own_index(&writer->stream_index, writer->catalog.stream_index);
	open_own_index(&writer->event_id_index, writer->catalog.event_id_index);
	open_own_index(&writer->category_index, writer->catalog.category_index);

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
	open_executor(writer);
}

static void
close_writer(EventWriter *writer)
{
	close_executor(writer);
	for (int i = 0; i < writer->nslots; i++)
		ExecDropSingleTupleTableSlot(writer->slots[i]);
	close_own_index(&writer->position_index);
	close_own_index(&writer->stream_index);
	close_own_index(&writer->event_id_index);
	close_own_index(&writer->category_index);
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
set_payload_column(EventWriter *writer, TupleTableSlot *slot, int column, void *value)
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
	set_payload_column(writer, slot, Anum_es_events_data, event->data);
	set_payload_column(writer, slot, Anum_es_events_binary_data, event->binary_data);
	set_column(slot, Anum_es_events_content_type, event->content_type != NULL,
			   PointerGetDatum(event->content_type));
	set_payload_column(writer, slot, Anum_es_events_metadata, event->metadata);
	set_column(slot, Anum_es_events_tags, event->tags != NULL, PointerGetDatum(event->tags));
	ExecStoreVirtualTuple(slot);
}

static Size
payload_size(const EsEvent *event)
{
	return (event->data ? VARSIZE_ANY(event->data) : 0) +
		(event->binary_data ? VARSIZE_ANY(event->binary_data) : 0) +
		(event->metadata ? VARSIZE_ANY(event->metadata) : 0);
}

/*
 * How many of the events from "first" on make a turn.
 */
static int
size_turn(const EsAppendRequest *request, int first)
{
	int			last = Min(request->nevents, first + MAX_TURN_EVENTS);
	Size		size = payload_size(&request->events[first]);
	int			next = first + 1;

	while (next < last && size < MAX_TURN_BYTES)
		size += payload_size(&request->events[next++]);
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
 * running and none beyond us to come.  Otherwise write an empty record.
 */
static void
announce_transaction(void)
{
	static FullTransactionId announced;
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
	(void) XLogInsert(RM_XLOG_ID, XLOG_NOOP);
}

static bool
insert_index_entry(EventWriter *writer, OwnIndex *index, Datum *values,
				   ItemPointer tid, IndexUniqueCheck check)
{
	static bool isnull[INDEX_MAX_KEYS];

	return index_insert(index->relation, values, isnull, tid, writer->events,
						check, false, index->info);
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
pass_gate(EventWriter *writer, int nevents)
{
	Oid			sequence = writer->catalog.position_sequence;

	/* What could make us wait in the gate is done in front of it. */
	announce_transaction();
	LockRelationOid(sequence, RowExclusiveLock);

	es_gate_enter();
	ES_WAIT_POINT("gate-entered");

	for (int i = 0; i < nevents; i++)
	{
		writer->positions[i] = nextval_internal(sequence, false);
		set_column(writer->slots[i], Anum_es_events_global_position, true,
				   Int64GetDatum(writer->positions[i]));
	}
	ES_WAIT_POINT("positions-taken");

	insert_rows(writer, nevents);
	ES_WAIT_POINT("rows-inserted");

	for (int i = 0; i < nevents; i++)
	{
		Datum		values[] = {Int64GetDatum(writer->positions[i])};

		(void) insert_index_entry(writer, &writer->position_index, values,
								  &writer->slots[i]->tts_tid, UNIQUE_CHECK_YES);
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

		(void) insert_index_entry(writer, &writer->stream_index, values,
								  &writer->slots[i]->tts_tid, UNIQUE_CHECK_YES);
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

		(void) insert_index_entry(writer, &writer->category_index, values,
								  &writer->slots[i]->tts_tid, UNIQUE_CHECK_NO);
	}
}

/*
 * Checks and indexes that users have added, and AFTER ROW triggers.
 */
static void
run_executor(EventWriter *writer, int first, int nevents)
{
	if (writer->estate == NULL)
		return;

	for (int i = 0; i < nevents; i++)
	{
		TupleTableSlot *slot = writer->slots[i];
		List	   *recheck_indexes;

		writer->request->current_event = first + i + 1;
		if (writer->catalog.has_foreign_checks)
			ExecConstraints(writer->result_relation, slot, writer->estate);
		recheck_indexes = es_insert_index_tuples(writer->result_relation, slot,
												 writer->estate);
		ExecARInsertTriggers(writer->estate, writer->result_relation, slot,
							 recheck_indexes, writer->transition_capture);
		list_free(recheck_indexes);
		ResetPerTupleExprContext(writer->estate);
	}
	writer->request->current_event = 0;
}

/*
 * Insert the entries of the event-id index for the whole batch, in the order
 * of the ids; see dedup.c.
 */
static void
insert_event_id_entries(EventWriter *writer)
{
	EsAppendRequest *request = writer->request;

	for (int i = 0; i < request->nevents; i++)
	{
		int			index = request->by_event_id[i];
		pg_uuid_t  *event_id = &request->events[index].event_id;
		Datum		values[] = {UUIDPGetDatum(event_id)};

		CHECK_FOR_INTERRUPTS();
		request->current_event = index + 1;
		if (!insert_index_entry(writer, &writer->event_id_index, values,
								&writer->tids[index], UNIQUE_CHECK_PARTIAL))
			es_dedup_check_inserted(writer->events, writer->event_id_index.relation,
									event_id, &writer->tids[index]);
	}
	request->current_event = 0;
}

static void
write_turn(EventWriter *writer, int first, int nevents)
{
	MemoryContextReset(writer->turn_context);
	for (int i = 0; i < nevents; i++)
		fill_slot(writer, writer->slots[i], &writer->request->events[first + i],
				  writer->version_before + first + i + 1);

	pass_gate(writer, nevents);
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
es_event_writer_write(EsAppendRequest *request, Relation events,
					  int64 current_version, EsAppendResult *result)
{
	EventWriter writer;
	int			nevents;

	open_writer(&writer, request, events, current_version);

	for (int first = 0; first < request->nevents; first += nevents)
	{
		CHECK_FOR_INTERRUPTS();
		nevents = size_turn(request, first);
		write_turn(&writer, first, nevents);
		if (first == 0)
			result->first_position = writer.positions[0];
		result->last_position = writer.positions[nevents - 1];
	}
	insert_event_id_entries(&writer);
	close_writer(&writer);

	result->first_version = current_version + 1;
	result->last_version = current_version + request->nevents;
	result->deduplicated = false;
}
