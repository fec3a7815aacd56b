/*-------------------------------------------------------------------------
 *
 * append.c
 *	  append_events() and append_event().
 *
 * An append goes through the same steps in the same order each time: parse
 * (append_request.c), lock the stream and look up its version (stream.c),
 * deduplicate (dedup.c), check the expected version, write (event_writer.c),
 * note what to notify the listeners of (notify.c).
 *
 * Whoever may execute the functions may append, see rights.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "append/append_request.h"
#include "append/dedup.h"
#include "append/event_writer.h"
#include "append/expectation.h"
#include "order/gate.h"
#include "order/replica.h"
#include "settings.h"
#include "store/catalog.h"
#include "store/index_set.h"
#include "store/rights.h"
#include "store/stream.h"
#include "wake/notify.h"

#define NATTS_RESULT 5

PG_FUNCTION_INFO_V1(eventstore_append_events);
PG_FUNCTION_INFO_V1(eventstore_append_event);

typedef void (*ReadRequest) (EsAppendRequest *request, FunctionCallInfo fcinfo);

/*
 * Error context: which stream, and which of its events.
 */
static void
describe_request(void *arg)
{
	const EsAppendRequest *request = arg;

	if (request->stream_id == NULL)
		return;
	if (request->current_event > 0)
		errcontext("append to stream \"%s\", event %d",
				   text_to_cstring(request->stream_id), request->current_event);
	else
		errcontext("append to stream \"%s\"", text_to_cstring(request->stream_id));
}

static void
check_transaction_can_append(void)
{
	PreventCommandIfReadOnly("append to an event store");
	PreventCommandIfParallelMode("append to an event store");

	es_rights_check_append(es_catalog_get()->events);
}

/*
 * The row type of the result, made once: the functions' own declaration
 * would have to be looked up at every call.
 */
static TupleDesc
result_descriptor(void)
{
	static TupleDesc descriptor = NULL;

	if (descriptor == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
		TupleDesc	desc = CreateTemplateTupleDesc(NATTS_RESULT);

		TupleDescInitEntry(desc, 1, "first_version", INT8OID, -1, 0);
		TupleDescInitEntry(desc, 2, "last_version", INT8OID, -1, 0);
		TupleDescInitEntry(desc, 3, "first_position", INT8OID, -1, 0);
		TupleDescInitEntry(desc, 4, "last_position", INT8OID, -1, 0);
		TupleDescInitEntry(desc, 5, "deduplicated", BOOLOID, -1, 0);
		descriptor = BlessTupleDesc(desc);
		MemoryContextSwitchTo(old);
	}
	return descriptor;
}

static Datum
form_result(const EsAppendResult *result)
{
	Datum		values[NATTS_RESULT] = {
		Int64GetDatum(result->first_version),
		Int64GetDatum(result->last_version),
		Int64GetDatum(result->first_position),
		Int64GetDatum(result->last_position),
		BoolGetDatum(result->deduplicated)
	};
	bool		isnull[NATTS_RESULT] = {0};

	return HeapTupleGetDatum(heap_form_tuple(result_descriptor(), values, isnull));
}

static void
append(EsAppendRequest *request, EsAppendResult *result)
{
	Relation	events;
	EsIndexSet	indexes = {0};
	EsStream	stream;

	if (es_serialize_appends)
		es_gate_serialize();
	es_stream_lock(request->stream_id);

	events = es_catalog_open_events_for_writing(RowExclusiveLock);
	es_replica_check_append(events);
	es_index_set_open(&indexes);

	es_stream_look_up(&stream, events, indexes.own[ES_STREAM_INDEX], request->stream_id,
					  SnapshotSelf);
	if (!es_dedup_look_up(request, events, indexes.own[ES_EVENT_ID_INDEX], result))
	{
		es_expectation_check(request, &stream);
		es_expectation_resolve_type(request, &stream);
		es_event_writer_write(request, events, &indexes, stream.version, result);
	}

	es_index_set_close(&indexes, !result->deduplicated);
	table_close(events, NoLock);
}

/*
 * An append in a memory context of its own: one statement can make any
 * number of them.
 */
static Datum
run_append(FunctionCallInfo fcinfo, ReadRequest read_request)
{
	EsAppendRequest request = {0};
	EsAppendResult result = {0};
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "eventstore append",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	ErrorContextCallback callback = {
		.previous = error_context_stack,
		.callback = describe_request,
		.arg = &request
	};

	error_context_stack = &callback;
	read_request(&request, fcinfo);
	check_transaction_can_append();
	append(&request, &result);
	if (!result.deduplicated)
		es_notify_appended(result.last_position);
	error_context_stack = callback.previous;

	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return form_result(&result);
}

/*
 * append_events(stream_id text, events json, expected_version bigint,
 *				 stream_type text)
 *
 * Append a JSON array of events to a stream, all or none.
 */
Datum
eventstore_append_events(PG_FUNCTION_ARGS)
{
	return run_append(fcinfo, es_append_request_from_json);
}

/*
 * append_event(stream_id text, event_type text, data json, ...)
 *
 * Append one event, given by typed arguments.
 */
Datum
eventstore_append_event(PG_FUNCTION_ARGS)
{
	return run_append(fcinfo, es_append_request_from_arguments);
}
