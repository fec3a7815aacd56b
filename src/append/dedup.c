/*-------------------------------------------------------------------------
 *
 * dedup.c
 *	  Was this append made before?
 *
 * An append is repeated when its caller did not learn that it had succeeded.
 * A repeated append is answered with the versions and positions of the first
 * one; see "Deduplication" in docs/reference.md for the exact rule.
 *
 * The look-up runs under the stream lock, so of two sessions that send the
 * same events to one stream at once the second sees what the first has
 * committed.  For two streams nothing is locked in common.  There the second
 * finds the first one's uncommitted row and waits for its transaction before
 * it has written anything; or, if both were looking at the same moment, in
 * front of inserting its own index entry, where the index itself waits.  Then
 * it is refused or goes on.  Nobody waits with his own entry inserted already,
 * so no two wait for each other's.  Nobody waits inside the append gate, and
 * entries are inserted in the order of the ids, so that two batches with the
 * same ids don't wait for each other.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/skey.h"
#include "access/tableam.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

#include "append/append_request.h"
#include "append/dedup.h"
#include "compat.h"
#include "errors.h"
#include "eventstore.h"

/*
 * Find a row with this event id: committed, or of this transaction, or, then
 * "inserter" says so, of a transaction that is still running.  The slot then
 * holds it.
 */
static bool
find_row(Relation events, Relation event_id_index, const pg_uuid_t *event_id,
		 TupleTableSlot *slot, TransactionId *inserter)
{
	SnapshotData dirty;
	ScanKeyData key;
	IndexScanDesc scan;
	bool		found;

	InitDirtySnapshot(dirty);
	ScanKeyEntryInitialize(&key, 0, 1, BTEqualStrategyNumber, InvalidOid,
						   InvalidOid, F_UUID_EQ, UUIDPGetDatum(event_id));
	scan = es_index_beginscan(events, event_id_index, &dirty, 1);
	index_rescan(scan, &key, 1, NULL, 0);
	found = index_getnext_slot(scan, ForwardScanDirection, slot);
	*inserter = found ? dirty.xmin : InvalidTransactionId;
	index_endscan(scan);
	return found;
}

/*
 * The same, once every transaction has ended that might yet commit such a
 * row.
 */
static bool
find_decided_row(Relation events, Relation event_id_index, const pg_uuid_t *event_id,
				 TupleTableSlot *slot)
{
	TransactionId inserter;
	bool		found;

	while ((found = find_row(events, event_id_index, event_id, slot, &inserter)) &&
		   TransactionIdIsValid(inserter))
	{
		ItemPointerData tid = slot->tts_tid;

		ExecClearTuple(slot);
		XactLockTableWait(inserter, events, &tid, XLTW_InsertIndex);
	}
	return found;
}

static int64
int64_column(TupleTableSlot *slot, int column)
{
	bool		isnull;

	return DatumGetInt64(slot_getattr(slot, column, &isnull));
}

static bool
text_column_equals(TupleTableSlot *slot, int column, const text *value)
{
	bool		isnull;
	text	   *stored = DatumGetTextPP(slot_getattr(slot, column, &isnull));

	return VARSIZE_ANY_EXHDR(stored) == VARSIZE_ANY_EXHDR(value) &&
		memcmp(VARDATA_ANY(stored), VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)) == 0;
}

/*
 * Raise ST003 for the event in the slot.
 */
static void
report_duplicate(const pg_uuid_t *event_id, TupleTableSlot *slot)
{
	bool		isnull;
	Datum		stream_id = slot_getattr(slot, Anum_es_events_stream_id, &isnull);
	bool		may_know = pg_class_aclcheck(slot->tts_tableOid, GetUserId(), ACL_SELECT) == ACLCHECK_OK;

	ereport(ERROR,
			(errcode(ERRCODE_ES_DUPLICATE_EVENT_ID),
			 errmsg("duplicate event id"),
			 !may_know ? errdetail("Event id %s is stored already.",
								   DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(event_id)))) :
			 errdetail("Event id %s is stored in stream \"%s\" at version %lld.",
					   DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(event_id))),
					   TextDatumGetCString(stream_id),
					   (long long) int64_column(slot, Anum_es_events_version)),
			 errhint("Give new events new ids. To repeat an append, send the same events in the same order to the same stream.")));
}

/*
 * Is the stored event in the slot what a repetition of the request would find
 * for its event number "index"?
 */
static bool
repeats_request(const EsAppendRequest *request, int index,
				const EsAppendResult *result, TupleTableSlot *slot)
{
	return text_column_equals(slot, Anum_es_events_stream_id, request->stream_id) &&
		text_column_equals(slot, Anum_es_events_event_type, request->events[index].event_type) &&
		int64_column(slot, Anum_es_events_version) == result->first_version + index;
}

/*
 * Take the stored event in the slot for the request's event number "index",
 * or raise ST003.
 */
static void
note_repetition(const EsAppendRequest *request, int index,
				EsAppendResult *result, TupleTableSlot *slot)
{
	result->last_version = int64_column(slot, Anum_es_events_version);
	result->last_position = int64_column(slot, Anum_es_events_global_position);
	if (index == 0)
	{
		result->first_version = result->last_version;
		result->first_position = result->last_position;
		result->deduplicated = true;
	}
	if (!result->deduplicated || !repeats_request(request, index, result, slot))
		report_duplicate(&request->events[index].event_id, slot);
}

/*
 * Look the request's event ids up.  False: none is stored.  True: all are,
 * just as the request would store them, and "result" tells where.  Anything
 * else is an error, ST003.
 */
bool
es_dedup_look_up(EsAppendRequest *request, Relation events,
				 Relation event_id_index, EsAppendResult *result)
{
	TupleTableSlot *slot;

	if (!request->has_given_ids)
		return false;

	slot = table_slot_create(events, NULL);
	for (int i = 0; i < request->nevents; i++)
	{
		const EsEvent *event = &request->events[i];

		CHECK_FOR_INTERRUPTS();
		request->current_event = i + 1;

		if (event->has_event_id &&
			find_decided_row(events, event_id_index, &event->event_id, slot))
			note_repetition(request, i, result, slot);
		else if (result->deduplicated)
		{
			/* This one is new, so those before it were no repetition. */
			request->current_event = i;
			if (find_decided_row(events, event_id_index, &event[-1].event_id, slot))
				report_duplicate(&event[-1].event_id, slot);
			elog(ERROR, "stored event has vanished");
		}
	}
	request->current_event = 0;
	ExecDropSingleTupleTableSlot(slot);
	return result->deduplicated;
}

/*
 * In the place of the error that is being handled, a unique violation of the
 * event-id index, raise ST003.  The index has let go of its pages before it
 * has raised it, and the transaction fails in any case.
 */
void
es_dedup_report(Relation events, Relation event_id_index, const pg_uuid_t *event_id)
{
	ErrorData  *violation = CopyErrorData();
	TupleTableSlot *slot = table_slot_create(events, NULL);

	FlushErrorState();
	if (find_decided_row(events, event_id_index, event_id, slot))
		report_duplicate(event_id, slot);
	ReThrowError(violation);
}
