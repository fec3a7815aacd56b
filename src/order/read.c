/*-------------------------------------------------------------------------
 *
 * read.c
 *	  The read functions.
 *
 * Each reads along one fixed index under the calling query's snapshot.  A
 * stream's events are settled by the stream lock, so a stream is read as it
 * is.  Whatever follows the global order goes through walk.c, or does not
 * pass the position up to which walk.c says that all is settled.
 *
 * Rows go into a tuplestore, which spills to disk beyond work_mem.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/skey.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_collation.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"
#include "utils/uuid.h"

#include "order/entry_scan.h"
#include "order/walk.h"
#include "store/catalog.h"
#include "store/event_row.h"
#include "store/stream.h"

PG_FUNCTION_INFO_V1(eventstore_read_stream);
PG_FUNCTION_INFO_V1(eventstore_read_stream_backwards);
PG_FUNCTION_INFO_V1(eventstore_read_all);
PG_FUNCTION_INFO_V1(eventstore_read_all_backwards);
PG_FUNCTION_INFO_V1(eventstore_read_category);
PG_FUNCTION_INFO_V1(eventstore_read_visible);
PG_FUNCTION_INFO_V1(eventstore_read_event);
PG_FUNCTION_INFO_V1(eventstore_stream_version);
PG_FUNCTION_INFO_V1(eventstore_settled_position);

/* Of the memory that rows are returned in. */
#define ROWS_BLOCK_SIZE (1024 * 1024)

/* A read in progress: where rows come from and where they go. */
typedef struct EsRead
{
	Relation	events;
	Snapshot	snapshot;
	int64		remaining;		/* rows still to be returned */
	Tuplestorestate *rows;
} EsRead;

/* ---- arguments ---- */

static Datum
required_argument(FunctionCallInfo fcinfo, int argument, const char *name)
{
	if (PG_ARGISNULL(argument))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", name),
				 errdetail("It says what to read, or from where."),
				 errhint("Pass a value for %s.", name)));
	return PG_GETARG_DATUM(argument);
}

static int64
checked_number(int64 value, int64 minimum, const char *name)
{
	if (value < minimum)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s is out of range", name),
				 errdetail("It is %lld.", (long long) value),
				 errhint("Pass at least %lld.", (long long) minimum)));
	return value;
}

static int64
required_number(FunctionCallInfo fcinfo, int argument, int64 minimum, const char *name)
{
	return checked_number(DatumGetInt64(required_argument(fcinfo, argument, name)),
						  minimum, name);
}

/*
 * A number, or "otherwise" for null.
 */
static int64
optional_number(FunctionCallInfo fcinfo, int argument, int64 minimum,
				int64 otherwise, const char *name)
{
	if (PG_ARGISNULL(argument))
		return otherwise;
	return checked_number(PG_GETARG_INT64(argument), minimum, name);
}

static int64
max_count_argument(FunctionCallInfo fcinfo, int argument)
{
	return optional_number(fcinfo, argument, 0, PG_INT64_MAX, "max_count");
}

/* ---- rows ---- */

/*
 * The memory that rows are returned in: a context for all calls that one
 * query makes from one place, with large blocks.  A page of events soon fills
 * half a megabyte, and the C library would give small blocks back to the
 * kernel after each query.
 */
static MemoryContext
rows_context(FmgrInfo *function)
{
	if (function->fn_extra == NULL)
		function->fn_extra = AllocSetContextCreate(function->fn_mcxt, "eventstore rows",
												   0, ROWS_BLOCK_SIZE,
												   ALLOCSET_DEFAULT_MAXSIZE);
	return function->fn_extra;
}

static Tuplestorestate *
begin_rows(FunctionCallInfo fcinfo)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext old;

	if (result == NULL || !IsA(result, ReturnSetInfo) ||
		!(result->allowedModes & SFRM_Materialize) || result->expectedDesc == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("events cannot be returned here"),
				 errdetail("The function was called where a set of rows is not accepted."),
				 errhint("Call it in the FROM clause of a query.")));

	old = MemoryContextSwitchTo(rows_context(fcinfo->flinfo));
	result->returnMode = SFRM_Materialize;
	result->setDesc = CreateTupleDescCopy(result->expectedDesc);
	result->setResult = tuplestore_begin_heap(result->allowedModes & SFRM_Materialize_Random,
											  false, work_mem);
	MemoryContextSwitchTo(old);
	return result->setResult;
}

static void
begin_read(EsRead *read, FunctionCallInfo fcinfo, int64 max_count)
{
	read->events = es_catalog_open_events_for_reading();
	read->rows = begin_rows(fcinfo);
	read->snapshot = GetActiveSnapshot();
	read->remaining = max_count;
}

static Datum
end_read(EsRead *read)
{
	table_close(read->events, NoLock);	/* rows may point to its TOAST table */
	return (Datum) 0;
}

/* ---- along an index ---- */

/* May the row be returned, as far as the global order goes? */
typedef bool (*RowIsSettled) (void *arg, HeapTuple row);

/*
 * Return the rows that the snapshot sees under the keys, in the index's order
 * or against it, until there are enough or one is not settled.
 */
static void
read_index(EsRead *read, EsIndexKind kind, ScanKey keys, int nkeys,
		   ScanDirection direction, RowIsSettled row_is_settled, void *arg)
{
	Relation	index = es_catalog_open_index(kind);
	EsEntryScan *scan = es_entry_scan_begin(read->events, index, read->snapshot, nkeys);
	EsEntry    *entry;

	es_entry_scan_position(scan, keys, direction);
	while (read->remaining > 0 &&
		   (entry = es_entry_scan_next(scan, read->remaining)) != NULL)
	{
		if (!entry->is_seen)
			continue;
		if (row_is_settled != NULL && !row_is_settled(arg, &entry->row))
			break;
		tuplestore_puttuple(read->rows, &entry->row);
		read->remaining--;
	}
	es_entry_scan_end(scan);
	index_close(index, AccessShareLock);
}

static void
init_text_key(ScanKey key, AttrNumber column, Datum value)
{
	ScanKeyEntryInitialize(key, 0, column, BTEqualStrategyNumber, InvalidOid,
						   C_COLLATION_OID, F_TEXTEQ, value);
}

static void
init_bigint_key(ScanKey key, AttrNumber column, StrategyNumber strategy,
				RegProcedure comparison, int64 value)
{
	ScanKeyEntryInitialize(key, 0, column, strategy, InvalidOid, InvalidOid,
						   comparison, Int64GetDatum(value));
}

/*
 * read_stream(stream_id text, from_version bigint, max_count bigint)
 *
 * A stream's events in the order of their versions, "from_version" included.
 */
Datum
eventstore_read_stream(PG_FUNCTION_ARGS)
{
	Datum		stream_id = required_argument(fcinfo, 0, "stream_id");
	int64		from_version = required_number(fcinfo, 1, 1, "from_version");
	EsRead		read;
	ScanKeyData keys[2];

	begin_read(&read, fcinfo, max_count_argument(fcinfo, 2));
	init_text_key(&keys[0], 1, stream_id);
	init_bigint_key(&keys[1], 2, BTGreaterEqualStrategyNumber, F_INT8GE, from_version);
	read_index(&read, ES_STREAM_INDEX, keys, 2,
			   ForwardScanDirection, NULL, NULL);
	return end_read(&read);
}

/*
 * read_stream_backwards(stream_id text, from_version bigint, max_count bigint)
 *
 * The same, newest first; null for "from_version" begins at the end.
 */
Datum
eventstore_read_stream_backwards(PG_FUNCTION_ARGS)
{
	Datum		stream_id = required_argument(fcinfo, 0, "stream_id");
	int64		from_version = optional_number(fcinfo, 1, 0, PG_INT64_MAX, "from_version");
	EsRead		read;
	ScanKeyData keys[2];

	begin_read(&read, fcinfo, max_count_argument(fcinfo, 2));
	init_text_key(&keys[0], 1, stream_id);
	init_bigint_key(&keys[1], 2, BTLessEqualStrategyNumber, F_INT8LE, from_version);
	read_index(&read, ES_STREAM_INDEX, keys, 2,
			   BackwardScanDirection, NULL, NULL);
	return end_read(&read);
}

/*
 * read_event(event_id uuid)
 *
 * The event with this id, or no row.
 */
Datum
eventstore_read_event(PG_FUNCTION_ARGS)
{
	Datum		event_id = required_argument(fcinfo, 0, "event_id");
	EsRead		read;
	ScanKeyData key;

	begin_read(&read, fcinfo, 1);
	ScanKeyEntryInitialize(&key, 0, 1, BTEqualStrategyNumber, InvalidOid,
						   InvalidOid, F_UUID_EQ, event_id);
	read_index(&read, ES_EVENT_ID_INDEX, &key, 1,
			   ForwardScanDirection, NULL, NULL);
	return end_read(&read);
}

/* ---- the global order ---- */

/*
 * read_all(after_position bigint, max_count bigint)
 *
 * The store's events in the order of their positions, from behind
 * "after_position" up to the first position that is not settled.
 */
Datum
eventstore_read_all(PG_FUNCTION_ARGS)
{
	int64		after_position = required_number(fcinfo, 0, 0, "after_position");
	EsRead		read;
	EsWalk	   *walk;
	HeapTuple	row;

	begin_read(&read, fcinfo, max_count_argument(fcinfo, 1));
	walk = es_walk_begin(read.events, read.snapshot, after_position);
	while (read.remaining > 0 &&
		   (row = es_walk_next_event(walk, read.remaining)) != NULL)
	{
		tuplestore_puttuple(read.rows, row);
		read.remaining--;
	}
	es_walk_end(walk);
	return end_read(&read);
}

/*
 * The position that a read backwards begins at, if not further below.
 *
 * On a standby, what could be told to be settled when one page was read can't
 * always be told when the next one is: a transaction has begun, and the
 * watermark is behind.  The next page must not begin below a hole then.  So the
 * position of an event is taken for what it is in the second page: the last
 * one of the page before.
 */
static int64
settle_for_reading_backwards(const EsRead *read, int64 before_position)
{
	EsWalk	   *walk = es_walk_begin_settling(read->events, read->snapshot, 0);
	int64		settled = es_walk_settle(walk, ES_WALK_TO_END);
	bool		may_fall_back = RecoveryInProgress() && !es_walk_is_on_replica(walk);

	es_walk_end(walk);
	if (may_fall_back && settled < before_position &&
		es_entry_scan_find_event(read->events, read->snapshot, before_position) != NULL)
		return before_position;
	return settled;
}

/*
 * read_all_backwards(before_position bigint, max_count bigint)
 *
 * The store's events, newest first, from before "before_position"; null
 * begins at the end.  It begins where read_all() would end, so whoever follows
 * the store from the newest event that this returns misses nothing.
 */
Datum
eventstore_read_all_backwards(PG_FUNCTION_ARGS)
{
	int64		before_position = optional_number(fcinfo, 0, 0, PG_INT64_MAX, "before_position");
	EsRead		read;
	ScanKeyData keys[2];

	begin_read(&read, fcinfo, max_count_argument(fcinfo, 1));
	init_bigint_key(&keys[0], 1, BTLessStrategyNumber, F_INT8LT, before_position);
	init_bigint_key(&keys[1], 1, BTLessEqualStrategyNumber, F_INT8LE,
					settle_for_reading_backwards(&read, before_position));
	read_index(&read, ES_POSITION_INDEX, keys, 2,
			   BackwardScanDirection, NULL, NULL);
	return end_read(&read);
}

/*
 * Is all up to this row's position settled?
 */
static bool
row_is_reached(void *arg, HeapTuple row)
{
	return es_walk_reaches(arg, row);
}

/*
 * read_category(stream_type text, after_position bigint, max_count bigint)
 *
 * The events of all streams of one type in the order of their positions, from
 * behind "after_position" up to the first position that is not settled.
 */
Datum
eventstore_read_category(PG_FUNCTION_ARGS)
{
	Datum		stream_type = required_argument(fcinfo, 0, "stream_type");
	int64		after_position = required_number(fcinfo, 1, 0, "after_position");
	EsRead		read;
	EsWalk	   *walk;
	ScanKeyData keys[2];

	begin_read(&read, fcinfo, max_count_argument(fcinfo, 2));
	walk = es_walk_begin_settling(read.events, read.snapshot, after_position);
	init_text_key(&keys[0], 1, stream_type);
	init_bigint_key(&keys[1], 2, BTGreaterStrategyNumber, F_INT8GT, after_position);
	read_index(&read, ES_CATEGORY_INDEX, keys, 2,
			   ForwardScanDirection, row_is_reached, walk);
	es_walk_end(walk);
	return end_read(&read);
}

/*
 * In another snapshot an event can turn up below a page that was read.
 */
static void
check_snapshot_is_kept(void)
{
	if (!IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_STATE),
				 errmsg("all visible events can be read under one snapshot only"),
				 errdetail("In a READ COMMITTED transaction each page would be read under another one, and events between them be missed."),
				 errhint("Begin the transaction with ISOLATION LEVEL REPEATABLE READ; to follow the store, use read_all().")));
}

/*
 * read_visible(after_position bigint, max_count bigint)
 *
 * The events that this transaction's snapshot sees, in the order of their
 * positions, settled or not.  With the snapshot of a replication slot, these
 * are the events that the slot will not send.
 */
Datum
eventstore_read_visible(PG_FUNCTION_ARGS)
{
	int64		after_position = required_number(fcinfo, 0, 0, "after_position");
	EsRead		read;
	ScanKeyData key;

	check_snapshot_is_kept();
	begin_read(&read, fcinfo, max_count_argument(fcinfo, 1));
	init_bigint_key(&key, 1, BTGreaterStrategyNumber, F_INT8GT, after_position);
	read_index(&read, ES_POSITION_INDEX, &key, 1,
			   ForwardScanDirection, NULL, NULL);
	return end_read(&read);
}

/*
 * settled_position(after_position bigint) returns bigint
 *
 * The position up to which a follower that has handled all up to
 * "after_position" could read now; at least "after_position".
 */
Datum
eventstore_settled_position(PG_FUNCTION_ARGS)
{
	int64		after_position = required_number(fcinfo, 0, 0, "after_position");
	Relation	events = es_catalog_open_events_for_reading();
	int64		settled = es_settled_position(events, GetActiveSnapshot(), after_position, NULL);

	table_close(events, AccessShareLock);
	PG_RETURN_INT64(settled);
}

/*
 * stream_version(stream_id text) returns bigint
 *
 * The version of the stream's last event, 0 when there is no such stream.
 */
Datum
eventstore_stream_version(PG_FUNCTION_ARGS)
{
	text	   *stream_id = DatumGetTextPP(required_argument(fcinfo, 0, "stream_id"));
	Relation	events = es_catalog_open_events_for_reading();
	Relation	stream_index = es_catalog_open_index(ES_STREAM_INDEX);
	EsStream	stream;

	es_stream_look_up(&stream, events, stream_index, stream_id, GetActiveSnapshot());
	index_close(stream_index, AccessShareLock);
	table_close(events, AccessShareLock);
	PG_RETURN_INT64(stream.version);
}
