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
 * committed.  For two streams nothing is locked in common: there the second
 * finds the first one's index entry when it inserts its own, waits for the
 * first one's transaction, and is refused or goes on.  It waits outside the
 * append gate, and entries are inserted in the order of the ids, so that two
 * batches with the same ids don't wait for each other.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/tableam.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "errors.h"
#include "eventstore.h"

/*
 * Find the event by its id; the slot then holds it.
 */
static bool
find_event(IndexScanDesc scan, const pg_uuid_t *event_id, TupleTableSlot *slot)
{
	ScanKeyData key;

	ScanKeyEntryInitialize(&key, 0, 1, BTEqualStrategyNumber, InvalidOid,
						   InvalidOid, F_UUID_EQ, UUIDPGetDatum(event_id));
	index_rescan(scan, &key, 1, NULL, 0);
	return index_getnext_slot(scan, ForwardScanDirection, slot);
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

	ereport(ERROR,
			(errcode(ERRCODE_ES_DUPLICATE_EVENT_ID),
			 errmsg("duplicate event id"),
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
 * Look the request's event ids up.  False: none is stored.  True: all are,
 * just as the request would store them, and "result" tells where.  Anything
 * else is an error, ST003.
 */
bool
es_dedup_look_up(EsAppendRequest *request, Relation events,
				 Relation event_id_index, EsAppendResult *result)
{
	IndexScanDesc scan;
	TupleTableSlot *slot;
	int			nstored = 0;

	if (!request->has_given_ids)
		return false;

	slot = table_slot_create(events, NULL);
	scan = es_index_beginscan(events, event_id_index, SnapshotSelf, 1);

	for (int i = 0; i < request->nevents; i++)
	{
		EsEvent    *event = &request->events[i];

		CHECK_FOR_INTERRUPTS();
		request->current_event = i + 1;

		if (event->has_event_id && find_event(scan, &event->event_id, slot))
		{
			result->last_version = int64_column(slot, Anum_es_events_version);
			result->last_position = int64_column(slot, Anum_es_events_global_position);
			if (i == 0)
			{
				result->first_version = result->last_version;
				result->first_position = result->last_position;
			}
			if (nstored != i || !repeats_request(request, i, result, slot))
				report_duplicate(&event->event_id, slot);
			nstored++;
		}
		else if (nstored > 0)
		{
			/* This one is new, so those before it were no repetition. */
			request->current_event = nstored;
			event = &request->events[nstored - 1];
			if (!find_event(scan, &event->event_id, slot))
				elog(ERROR, "stored event has vanished");
			report_duplicate(&event->event_id, slot);
		}
	}
	request->current_event = 0;

	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);

	result->deduplicated = nstored > 0;
	return result->deduplicated;
}

/*
 * An entry that was just inserted for the row at "tid" may have company.
 * Wait for the transactions that might yet commit another row with this id;
 * return when there is none, raise ST003 when there is one.
 */
void
es_dedup_check_inserted(Relation events, Relation event_id_index,
						const pg_uuid_t *event_id, ItemPointer tid)
{
	TupleTableSlot *slot = table_slot_create(events, NULL);
	ScanKeyData key;
	bool		conflict_is_open;

	ScanKeyEntryInitialize(&key, 0, 1, BTEqualStrategyNumber, InvalidOid,
						   InvalidOid, F_UUID_EQ, UUIDPGetDatum(event_id));
	do
	{
		SnapshotData dirty;
		IndexScanDesc scan;
		TransactionId inserter = InvalidTransactionId;
		ItemPointerData other;

		InitDirtySnapshot(dirty);
		scan = es_index_beginscan(events, event_id_index, &dirty, 1);
		index_rescan(scan, &key, 1, NULL, 0);
		while (index_getnext_slot(scan, ForwardScanDirection, slot))
		{
			if (ItemPointerEquals(&slot->tts_tid, tid))
				continue;
			if (!TransactionIdIsValid(dirty.xmin))
				report_duplicate(event_id, slot);
			inserter = dirty.xmin;
			other = slot->tts_tid;
			break;
		}
		index_endscan(scan);
		ExecClearTuple(slot);

		conflict_is_open = TransactionIdIsValid(inserter);
		if (conflict_is_open)
			XactLockTableWait(inserter, events, &other, XLTW_InsertIndex);
	} while (conflict_is_open);

	ExecDropSingleTupleTableSlot(slot);
}
