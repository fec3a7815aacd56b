/*-------------------------------------------------------------------------
 *
 * retries.c
 *	  Events that are handed out again: those that failed, with what has come
 *	  behind them in their streams, and parked events that are replayed.
 *
 * A stream one of whose events failed waits: nack_event() puts it into
 * subscription_streams, and from the failed event on its events are passed
 * over (partition_scan.c).  When the time has come the event is handed out
 * again, alone.  When it is acknowledged, or parked, the stream catches up:
 * its events up to the partition's checkpoint are handed out here, and once
 * there are none the stream goes on with the others.  That a stream waits is
 * found out before new events are looked for, under the partition's lock.
 *
 * A stream is served here only once the checkpoint has passed the event that
 * failed, so all that comes from here lies at or below the checkpoint.
 *
 * What was in the hand of a consumer that did not answer is suspect: it may be
 * what has killed it.  As long as there are suspects, they are handed out one
 * at a time, and nothing else, so that each is judged by itself.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/skey.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"

#include "eventstore.h"
#include "order/entry_scan.h"
#include "store/as_owner.h"
#include "store/catalog.h"
#include "store/event_row.h"
#include "subscription/delivery.h"
#include "subscription/partition_scan.h"
#include "subscription/retries.h"

/* A stream that catches up gets so many events at a time. */
#define MAX_CATCH_UP 10

/* What a batch is bounded by, whatever the consumer wants. */
#define MAX_RETRIES 1000

/* A position that no event has. */
#define NEVER PG_INT64_MAX

/* ---- statements ---- */

static EsStatement suspect_streams = {
	.text = "UPDATE eventstore.subscription_streams w"
	" SET is_suspect = true, delivered_to = NULL"
	" WHERE w.subscription_id = $1 AND w.partition = $2 AND w.delivered_to IS NOT NULL",
	.types = {TEXTOID, INT4OID}
};

static EsStatement suspect_parked = {
	.text = "UPDATE eventstore.subscription_parked d"
	" SET is_suspect = true, is_delivered = false"
	" WHERE d.subscription_id = $1 AND d.partition = $2 AND d.is_delivered",
	.types = {TEXTOID, INT4OID}
};

static EsStatement load_streams = {
	.text = "SELECT w.stream_id, w.position, w.version, coalesce(w.failed_position, 0), w.attempts,"
	"		coalesce(w.retry_at > clock_timestamp(), false), w.is_suspect"
	" FROM eventstore.subscription_streams w"
	" WHERE w.subscription_id = $1 AND w.partition = $2"
	" ORDER BY w.stream_id",
	.types = {TEXTOID, INT4OID}
};

static EsStatement load_parked = {
	.text = "SELECT d.position FROM eventstore.subscription_parked d"
	" WHERE d.subscription_id = $1 AND d.partition = $2 AND d.position > $3"
	" ORDER BY d.position",
	.types = {TEXTOID, INT4OID, INT8OID}
};

/* Of each stream the first; suspects in front. */
static EsStatement load_replays = {
	.text = "SELECT r.position, r.replay_attempts, r.is_suspect"
	" FROM (SELECT DISTINCT ON (d.stream_id)"
	"			   d.position, d.replay_attempts, d.is_suspect, d.retry_at"
	"		FROM eventstore.subscription_parked d"
	"		WHERE d.subscription_id = $1 AND d.partition = $2 AND d.is_replayed"
	"			AND d.position <= $3"
	"		ORDER BY d.stream_id, d.position) r"
	" WHERE r.retry_at <= clock_timestamp()"
	" ORDER BY r.is_suspect DESC, r.position"
	" LIMIT $4",
	.types = {TEXTOID, INT4OID, INT8OID, INT4OID}
};

static EsStatement park_stream_event = {
	.text = "SELECT eventstore.park_event(w.subscription_id, w.partition, w.position, w.attempts,"
	"		CASE WHEN w.failed_position = w.position THEN w.reason END,"
	"		CASE WHEN w.failed_position = w.position THEN w.first_failed_at END)"
	" FROM eventstore.subscription_streams w"
	" WHERE w.subscription_id = $1 AND w.partition = $2 AND w.stream_id = $3",
	.types = {TEXTOID, INT4OID, TEXTOID}
};

static EsStatement save_stream = {
	.text = "UPDATE eventstore.subscription_streams w"
	" SET position = $4, version = $5, failed_position = nullif($6, 0), attempts = $7,"
	"	is_suspect = $8, delivered_to = nullif($9, 0)"
	" WHERE w.subscription_id = $1 AND w.partition = $2 AND w.stream_id = $3",
	.types = {TEXTOID, INT4OID, TEXTOID, INT8OID, INT8OID, INT8OID, INT4OID, BOOLOID, INT8OID}
};

static EsStatement release_stream = {
	.text = "DELETE FROM eventstore.subscription_streams w"
	" WHERE w.subscription_id = $1 AND w.partition = $2 AND w.stream_id = $3",
	.types = {TEXTOID, INT4OID, TEXTOID}
};

static EsStatement deliver_parked = {
	.text = "UPDATE eventstore.subscription_parked d"
	" SET is_delivered = true, is_suspect = false, attempts = d.attempts + 1,"
	"	replay_attempts = d.replay_attempts + 1"
	" WHERE d.subscription_id = $1 AND d.partition = $2 AND d.position = $3",
	.types = {TEXTOID, INT4OID, INT8OID}
};

static EsStatement park_again = {
	.text = "UPDATE eventstore.subscription_parked d"
	" SET is_replayed = false, is_suspect = false, reason = 'a consumer that had it did not answer',"
	"	last_failed_at = clock_timestamp(), parked_at = clock_timestamp()"
	" WHERE d.subscription_id = $1 AND d.partition = $2 AND d.position = $3",
	.types = {TEXTOID, INT4OID, INT8OID}
};

/* ---- a batch of retries ---- */

/* An event to be handed out. */
typedef struct Retry
{
	int64		position;
	int			attempt;
	HeapTuple	row;
} Retry;

typedef struct RetryBatch
{
	EsFetch    *fetch;
	Retry	   *retries;
	int			nretries;
	int			limit;
} RetryBatch;

static void
add_retry(RetryBatch *batch, HeapTuple row, int attempt)
{
	Retry	   *retry = &batch->retries[batch->nretries++];

	retry->position = es_delivery_position(batch->fetch, row);
	retry->attempt = attempt;
	retry->row = row;
}

static int
compare_retries(const void *a, const void *b)
{
	int64		left = ((const Retry *) a)->position;
	int64		right = ((const Retry *) b)->position;

	return (left > right) - (left < right);
}

static int
run_for_partition(EsFetch *fetch, EsStatement *statement, Datum third)
{
	Datum		arguments[] = {
		fetch->subscription_id, Int32GetDatum(fetch->selection.partition), third
	};

	return es_as_owner_run(statement, arguments, NULL);
}

/* ---- streams that wait or catch up ---- */

/*
 * The wanted events of the stream between its position and "upper", at most
 * "limit" of them, as copies.
 */
static int
collect_events(EsFetch *fetch, const EsWaitingStream *stream, int64 upper,
			   HeapTuple *rows, int limit)
{
	Relation	index = es_catalog_open_index(ES_STREAM_INDEX);
	EsEntryScan *scan = es_entry_scan_begin(fetch->events, index, fetch->snapshot, 2);
	ScanKeyData keys[2];
	EsEntry    *entry;
	int			nrows = 0;

	ScanKeyEntryInitialize(&keys[0], 0, 1, BTEqualStrategyNumber, InvalidOid,
						   C_COLLATION_OID, F_TEXTEQ, PointerGetDatum(stream->stream_id));
	ScanKeyEntryInitialize(&keys[1], 0, 2, BTGreaterEqualStrategyNumber, InvalidOid,
						   InvalidOid, F_INT8GE, Int64GetDatum(stream->version));
	es_entry_scan_position(scan, keys, ForwardScanDirection);

	while (nrows < limit &&
		   (entry = es_entry_scan_next(scan, ES_MAX_COLLECTED_ENTRIES)) != NULL)
	{
		int64		position;

		if (!entry->is_seen)
			continue;
		position = es_delivery_position(fetch, &entry->row);
		if (position > upper)
			break;
		if (position >= stream->position &&
			es_selection_wants(&fetch->selection, &entry->row, RelationGetDescr(fetch->events)))
			rows[nrows++] = heap_copytuple(&entry->row);
	}

	es_entry_scan_end(scan);
	index_close(index, AccessShareLock);
	return nrows;
}

static void
save(EsFetch *fetch, EsWaitingStream *stream, int64 delivered_to)
{
	Datum		arguments[] = {
		fetch->subscription_id, Int32GetDatum(fetch->selection.partition),
		PointerGetDatum(stream->stream_id), Int64GetDatum(stream->position),
		Int64GetDatum(stream->version), Int64GetDatum(stream->failed_position), Int32GetDatum(stream->attempts),
		BoolGetDatum(stream->is_suspect), Int64GetDatum(delivered_to)
	};

	(void) es_as_owner_run(&save_stream, arguments, NULL);
}

/*
 * Go on behind the first event that waits: it was handed out too many times
 * without an answer.
 */
static void
park_first_of_stream(EsFetch *fetch, EsWaitingStream *stream, int64 position)
{
	stream->position = position;
	save(fetch, stream, 0);
	(void) run_for_partition(fetch, &park_stream_event, PointerGetDatum(stream->stream_id));
	stream->position = position + 1;
	stream->failed_position = 0;
	stream->attempts = 0;
	stream->is_suspect = false;
	save(fetch, stream, 0);
}

/*
 * Nothing of the stream waits at or below the checkpoint, so it can go on with
 * the others; but not while events above may be taken for done with, because
 * the number of partitions was changed.
 */
static void
release(EsFetch *fetch, EsWaitingStream *stream)
{
	if (fetch->selection.nlayouts > 0)
		return;
	(void) run_for_partition(fetch, &release_stream, PointerGetDatum(stream->stream_id));
	stream->position = NEVER;
}

/*
 * Let the consumer have these events of the stream.
 */
static void
deliver(RetryBatch *batch, EsWaitingStream *stream, HeapTuple *rows, int nrows)
{
	bool		counts = stream->failed_position <= stream->position;

	if (counts)
		stream->attempts++;
	stream->is_suspect = false;
	stream->position = es_delivery_position(batch->fetch, rows[0]);
	stream->version = es_event_bigint(rows[0], RelationGetDescr(batch->fetch->events),
									  Anum_es_events_version);
	save(batch->fetch, stream, es_delivery_position(batch->fetch, rows[nrows - 1]));
	for (int i = 0; i < nrows; i++)
		add_retry(batch, rows[i], i == 0 && counts ? stream->attempts : 1);
}

/*
 * Add events of a stream to the batch, if any are due.
 */
static void
add_stream(RetryBatch *batch, EsWaitingStream *stream)
{
	EsFetch    *fetch = batch->fetch;
	HeapTuple	rows[MAX_CATCH_UP];
	int			nrows;

	/* An event in front of the one that failed is suspect: that comes first. */
	if (stream->is_suspect && stream->failed_position > stream->position)
		stream->failed_position = stream->attempts = 0;

	while (stream->position <= fetch->checkpoint)
	{
		int			limit = Min(MAX_CATCH_UP, batch->limit - batch->nretries);
		bool		has_failed = stream->failed_position == stream->position;
		int64		upper = fetch->checkpoint;

		if (has_failed && stream->is_early)
			return;
		if (has_failed)
			upper = stream->position;
		else if (stream->failed_position > 0)
			upper = stream->failed_position - 1;

		nrows = collect_events(fetch, stream, upper, rows, stream->is_suspect ? 1 : limit);
		if (nrows > 0 && stream->attempts >= fetch->max_attempts &&
			(has_failed || (stream->failed_position == 0 && stream->is_suspect)))
			park_first_of_stream(fetch, stream, es_delivery_position(fetch, rows[0]));
		else if (nrows > 0)
		{
			deliver(batch, stream, rows, nrows);
			return;
		}
		else if (stream->failed_position > stream->position)
			stream->position = stream->failed_position;
		else if (has_failed)
			stream->failed_position = 0;	/* is not wanted any more */
		else
			break;
	}
	if (stream->position <= fetch->checkpoint + 1 && stream->failed_position == 0)
		release(fetch, stream);
}

/* ---- parked events that are replayed ---- */

/*
 * Add the replays that are due, at most "max_count" of them.
 */
static void
add_replays(RetryBatch *batch, int max_count)
{
	EsFetch    *fetch = batch->fetch;
	Datum		arguments[] = {
		fetch->subscription_id, Int32GetDatum(fetch->selection.partition),
		Int64GetDatum(fetch->checkpoint), Int32GetDatum(max_count)
	};
	int			nreplays = es_as_owner_run(&load_replays, arguments, NULL);
	int64	   *positions = palloc(Max(nreplays, 1) * sizeof(int64));
	int		   *attempts = palloc(Max(nreplays, 1) * sizeof(int));
	bool		isnull;

	for (int i = 0; i < nreplays; i++)
	{
		positions[i] = DatumGetInt64(es_as_owner_get(i, 1, &isnull));
		attempts[i] = DatumGetInt32(es_as_owner_get(i, 2, &isnull));
	}

	for (int i = 0; i < nreplays; i++)
	{
		HeapTuple	row = es_entry_scan_find_event(fetch->events, fetch->snapshot, positions[i]);

		if (row != NULL && attempts[i] < fetch->max_attempts)
		{
			(void) run_for_partition(fetch, &deliver_parked, Int64GetDatum(positions[i]));
			add_retry(batch, row, attempts[i] + 1);
		}
		else
			(void) run_for_partition(fetch, &park_again, Int64GetDatum(positions[i]));
	}
}

static bool
has_suspect_replays(EsFetch *fetch)
{
	Datum		arguments[] = {
		fetch->subscription_id, Int32GetDatum(fetch->selection.partition),
		Int64GetDatum(fetch->checkpoint), Int32GetDatum(1)
	};
	bool		isnull;

	return es_as_owner_run(&load_replays, arguments, NULL) > 0 &&
		DatumGetBool(es_as_owner_get(0, 3, &isnull));
}

/* ---- the whole ---- */

static void
load_waiting(EsFetch *fetch)
{
	EsSelection *selection = &fetch->selection;
	bool		isnull;

	selection->nwaiting = run_for_partition(fetch, &load_streams, (Datum) 0);
	selection->waiting = palloc(Max(selection->nwaiting, 1) * sizeof(EsWaitingStream));
	for (int i = 0; i < selection->nwaiting; i++)
	{
		EsWaitingStream *stream = &selection->waiting[i];

		stream->stream_id = DatumGetTextPCopy(es_as_owner_get(i, 1, &isnull));
		stream->position = DatumGetInt64(es_as_owner_get(i, 2, &isnull));
		stream->version = DatumGetInt64(es_as_owner_get(i, 3, &isnull));
		stream->failed_position = DatumGetInt64(es_as_owner_get(i, 4, &isnull));
		stream->attempts = DatumGetInt32(es_as_owner_get(i, 5, &isnull));
		stream->is_early = DatumGetBool(es_as_owner_get(i, 6, &isnull));
		stream->is_suspect = DatumGetBool(es_as_owner_get(i, 7, &isnull));
	}
}

/*
 * Load what waits and what is parked in the partition that was just taken.
 * If it was held until now, what the consumer had in hand becomes suspect.
 */
void
es_retries_load(EsFetch *fetch, bool was_held)
{
	EsSelection *selection = &fetch->selection;
	bool		isnull;

	if (was_held)
	{
		(void) run_for_partition(fetch, &suspect_streams, (Datum) 0);
		(void) run_for_partition(fetch, &suspect_parked, (Datum) 0);
	}

	load_waiting(fetch);
	selection->nparked = run_for_partition(fetch, &load_parked, Int64GetDatum(fetch->checkpoint));
	selection->parked = palloc(Max(selection->nparked, 1) * sizeof(int64));
	for (int i = 0; i < selection->nparked; i++)
		selection->parked[i] = DatumGetInt64(es_as_owner_get(i, 1, &isnull));
}

static int
compare_by_position(const void *a, const void *b)
{
	int64		left = (*(EsWaitingStream *const *) a)->position;
	int64		right = (*(EsWaitingStream *const *) b)->position;

	return (left > right) - (left < right);
}

/*
 * Add streams, the one with the lowest position first: all, or the suspects.
 */
static void
add_streams(RetryBatch *batch, bool only_suspects)
{
	EsSelection *selection = &batch->fetch->selection;
	EsWaitingStream **ordered = palloc(Max(selection->nwaiting, 1) * sizeof(EsWaitingStream *));

	for (int i = 0; i < selection->nwaiting; i++)
		ordered[i] = &selection->waiting[i];
	qsort(ordered, selection->nwaiting, sizeof(EsWaitingStream *), compare_by_position);

	for (int i = 0; i < selection->nwaiting && batch->nretries < batch->limit; i++)
	{
		if (ordered[i]->is_suspect || !only_suspects)
			add_stream(batch, ordered[i]);
	}
	pfree(ordered);
}

static void
hand_out_batch(RetryBatch *batch)
{
	qsort(batch->retries, batch->nretries, sizeof(Retry), compare_retries);
	for (int i = 0; i < batch->nretries; i++)
		es_delivery_add(batch->fetch, batch->retries[i].row, batch->retries[i].attempt);
}

/*
 * Hand out what is due: replays alone, since they are out of order anyway, or
 * streams, up to half of what the consumer wants.  Returns whether new events
 * may follow.
 */
bool
es_retries_hand_out(EsFetch *fetch)
{
	RetryBatch	batch = {.fetch = fetch,.limit = 1};
	int			max_retries = Min(fetch->max_count, MAX_RETRIES);
	bool		is_alone;

	batch.retries = palloc(max_retries * sizeof(Retry));

	add_streams(&batch, true);
	while (batch.nretries == 0 && has_suspect_replays(fetch))
		add_replays(&batch, 1);
	if (batch.nretries == 0)
		add_replays(&batch, max_retries);
	is_alone = batch.nretries > 0;
	if (!is_alone)
	{
		batch.limit = Max(max_retries / 2, 1);
		add_streams(&batch, false);
	}

	hand_out_batch(&batch);
	return !is_alone;
}
