/*-------------------------------------------------------------------------
 *
 * fetch.c
 *	  fetch_events(): hands out the events of a subscription to competing
 *	  consumers.
 *
 * The streams of a subscription are spread over partitions.  Of a partition,
 * "checkpoint" is where all at or below is done with: acknowledged, parked, or
 * kept in subscription_streams for a further attempt.  A consumer takes a
 * partition by taking its row's lock and writing its name and the end of its
 * lease into it; whoever comes meanwhile skips locked rows.  It gets
 *	- first, events that failed before and are due (retries.c), all of them at
 *	  or below the checkpoint;
 *	- then the events behind the checkpoint (partition_scan.c), but for those
 *	  of streams that wait.
 * The positions in one batch ascend, so that ack_events() can speak of "all up
 * to here".
 *
 * The partition is the consumer's until it has acknowledged all, or until its
 * lease has ended and another one takes the partition.  It need not come
 * back: what it had in hand is handed out again, one event at a time since
 * one of them may be what has killed it, and an event that this happens to
 * "max_attempts" times is parked.
 *
 * When the number of partitions is changed, all of the new ones begin at the
 * lowest of the old checkpoints.  The old layout is kept until the last one
 * has passed the highest of them, to tell which events are done with.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "eventstore.h"
#include "store/as_owner.h"
#include "store/catalog.h"
#include "store/name_set.h"
#include "subscription/delivery.h"
#include "subscription/partition_scan.h"
#include "subscription/retries.h"

PG_FUNCTION_INFO_V1(eventstore_fetch_events);

#define MAX_PARTITIONS 1024

/* ---- statements ---- */

static EsStatement load_subscription = {
	.text = "SELECT s.revision, s.partitions, s.max_attempts, s.stream_types, s.event_types"
	" FROM eventstore.subscriptions s"
	" WHERE s.subscription_id = $1",
	.types = {TEXTOID}
};

/* Own partitions first, then those that have waited longest. */
static EsStatement list_candidates = {
	.text = "SELECT p.partition"
	" FROM eventstore.subscription_partitions p"
	" WHERE p.subscription_id = $1 AND p.revision = $3"
	"	AND (p.consumer IS NULL OR p.consumer = $2 OR p.lease_until <= clock_timestamp())"
	"	AND (p.fetched_to IS NOT NULL"
	"		 OR p.checkpoint < (SELECT max(e.global_position) FROM eventstore.events e)"
	"		 OR EXISTS (SELECT FROM eventstore.subscription_streams w"
	"					WHERE w.subscription_id = p.subscription_id AND w.partition = p.partition"
	"						AND (w.failed_position IS DISTINCT FROM w.position"
	"							 OR w.retry_at <= clock_timestamp()))"
	"		 OR EXISTS (SELECT FROM eventstore.subscription_parked d"
	"					WHERE d.subscription_id = p.subscription_id AND d.partition = p.partition"
	"						AND d.is_replayed AND d.retry_at <= clock_timestamp())"
	"		 OR (p.partition = 0 AND EXISTS ("	/* it tidies up */
	"				SELECT FROM eventstore.subscription_layouts l"
	"				WHERE l.subscription_id = p.subscription_id"
	"					AND (SELECT max(c) FROM unnest(l.checkpoints) AS c)"
	"						<= (SELECT min(q.checkpoint) FROM eventstore.subscription_partitions q"
	"							WHERE q.subscription_id = p.subscription_id))))"
	" ORDER BY p.consumer IS NOT DISTINCT FROM $2 DESC, p.fetched_at NULLS FIRST, p.partition",
	.types = {TEXTOID, TEXTOID, INT8OID}
};

static EsStatement take_partition = {
	.text = "SELECT p.checkpoint, p.scanned_to, coalesce(p.fetched_to, 0), p.tried_to, p.attempts,"
	"		p.consumer IS NOT NULL"
	" FROM eventstore.subscription_partitions p"
	" WHERE p.subscription_id = $1 AND p.revision = $3 AND p.partition = $4"
	"	AND (p.consumer IS NULL OR p.consumer = $2 OR p.lease_until <= clock_timestamp())"
	" FOR NO KEY UPDATE SKIP LOCKED",
	.types = {TEXTOID, TEXTOID, INT8OID, INT4OID}
};

static EsStatement load_layouts = {
	.text = "SELECT l.checkpoints FROM eventstore.subscription_layouts l"
	" WHERE l.subscription_id = $1",
	.types = {TEXTOID}
};

static EsStatement drop_layouts = {
	.text = "DELETE FROM eventstore.subscription_layouts l"
	" WHERE l.subscription_id = $1"
	"	AND (SELECT max(c) FROM unnest(l.checkpoints) AS c)"
	"		<= (SELECT min(p.checkpoint) FROM eventstore.subscription_partitions p"
	"			WHERE p.subscription_id = $1)",
	.types = {TEXTOID}
};

static EsStatement lease_partition = {
	.text = "UPDATE eventstore.subscription_partitions p"
	" SET consumer = $3, lease_until = clock_timestamp() + $4, fetched_at = clock_timestamp(),"
	"	checkpoint = $5, scanned_to = $6, fetched_to = nullif($7, 0), tried_to = $8, attempts = $9"
	" WHERE p.subscription_id = $1 AND p.partition = $2",
	.types = {TEXTOID, INT4OID, TEXTOID, INTERVALOID, INT8OID, INT8OID, INT8OID, INT8OID, INT4OID}
};

static EsStatement leave_partition = {
	.text = "UPDATE eventstore.subscription_partitions p"
	" SET consumer = NULL, lease_until = NULL, fetched_to = NULL,"
	"	checkpoint = $3, scanned_to = $4, tried_to = $5, attempts = $6"
	" WHERE p.subscription_id = $1 AND p.partition = $2",
	.types = {TEXTOID, INT4OID, INT8OID, INT8OID, INT8OID, INT4OID}
};

static EsStatement park_event = {
	.text = "SELECT eventstore.park_event($1, $2, $3, $4, NULL, NULL)",
	.types = {TEXTOID, INT4OID, INT8OID, INT4OID}
};

/* ---- the call ---- */

static void
check_argument(bool is_valid, const char *name, const char *detail, const char *hint)
{
	if (!is_valid)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s is not valid", name),
				 errdetail_internal("%s", detail),
				 errhint("%s", hint)));
}

static bool
is_name(FunctionCallInfo fcinfo, int argument)
{
	return !PG_ARGISNULL(argument) &&
		VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(argument)) > 0;
}

/*
 * Is this a length of time, and one that leads to a time?
 */
static bool
is_lease(FunctionCallInfo fcinfo, int argument)
{
	Interval	day = {.day = 1};
	Interval	nothing = {0};
	Datum		lease = PG_GETARG_DATUM(argument);
	Interval   *parts;

	if (PG_ARGISNULL(argument))
		return false;
	/* Parts of both signs compare as something else than they add up to. */
	parts = PG_GETARG_INTERVAL_P(argument);
	return parts->month >= 0 && parts->day >= 0 && parts->time >= 0 &&
		DatumGetBool(DirectFunctionCall2(interval_gt, lease, IntervalPGetDatum(&nothing))) &&
		DatumGetBool(DirectFunctionCall2(interval_le, lease, IntervalPGetDatum(&day)));
}

static void
read_arguments(EsFetch *fetch, FunctionCallInfo fcinfo)
{
	check_argument(is_name(fcinfo, 0), "subscription_id", "It is null or empty.",
				   "Pass the name given to create_subscription().");
	check_argument(is_name(fcinfo, 1), "consumer", "It is null or empty.",
				   "Pass a name that no other consumer has.");
	check_argument(!PG_ARGISNULL(2) && PG_GETARG_INT32(2) > 0, "max_count",
				   "It is null or less than 1.", "Pass how many events to fetch at the most.");
	check_argument(is_lease(fcinfo, 3), "lease", "It is null, not positive, or longer than a day.",
				   "Pass how long the consumer will take for the events at the most.");

	fetch->subscription_id = PG_GETARG_DATUM(0);
	fetch->consumer = PG_GETARG_DATUM(1);
	fetch->max_count = PG_GETARG_INT32(2);
	fetch->lease = PG_GETARG_DATUM(3);
}

static int64
get_int64(int row, int column)
{
	bool		isnull;

	return DatumGetInt64(es_as_owner_get(row, column, &isnull));
}

static int32
get_int32(int row, int column)
{
	bool		isnull;

	return DatumGetInt32(es_as_owner_get(row, column, &isnull));
}

static EsNameSet *
get_names(int row, int column)
{
	bool		isnull;
	Datum		names = es_as_owner_get(row, column, &isnull);

	return isnull ? NULL : es_name_set_from_array(DatumGetArrayTypeP(names));
}

static void
look_up_subscription(EsFetch *fetch)
{
	Datum		arguments[] = {fetch->subscription_id};

	if (es_as_owner_run(&load_subscription, arguments, NULL) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("subscription \"%s\" does not exist",
						TextDatumGetCString(fetch->subscription_id)),
				 errdetail("There is no subscription of this name."),
				 errhint("Use create_subscription().")));

	fetch->revision = get_int64(0, 1);
	fetch->selection.partitions = get_int32(0, 2);
	fetch->max_attempts = get_int32(0, 3);
	fetch->selection.stream_types = get_names(0, 4);
	fetch->selection.event_types = get_names(0, 5);
}

/* ---- a partition ---- */

static void
look_up_layouts(EsFetch *fetch)
{
	EsSelection *selection = &fetch->selection;
	Datum		arguments[] = {fetch->subscription_id};

	selection->nlayouts = es_as_owner_run(&load_layouts, arguments, NULL);
	if (selection->nlayouts == 0)
		return;

	selection->layouts = palloc(selection->nlayouts * sizeof(EsLayout));
	for (int i = 0; i < selection->nlayouts; i++)
	{
		bool		isnull;
		ArrayType  *array = DatumGetArrayTypePCopy(es_as_owner_get(i, 1, &isnull));

		if (ARR_NDIM(array) != 1 || ARR_DIMS(array)[0] > MAX_PARTITIONS ||
			ARR_HASNULL(array))
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("\"%s.subscription_layouts\" has a row that was not made by alter_subscription()",
							ES_SCHEMA),
					 errdetail("Its checkpoints are not those of partitions."),
					 errhint("See eventstore.verify(), and remove the row.")));
		selection->layouts[i].partitions = ARR_DIMS(array)[0];
		selection->layouts[i].checkpoints = (int64 *) ARR_DATA_PTR(array);
	}

	/* One of the partitions tidies up. */
	if (selection->partition == 0)
		(void) es_as_owner_run(&drop_layouts, arguments, NULL);
}

/*
 * Take the partition, unless somebody else has it by now.
 */
static bool
take(EsFetch *fetch, int partition)
{
	Datum		arguments[] = {
		fetch->subscription_id, fetch->consumer, Int64GetDatum(fetch->revision),
		Int32GetDatum(partition)
	};
	bool		was_held;
	bool		isnull;

	if (es_as_owner_run(&take_partition, arguments, NULL) == 0)
		return false;

	fetch->selection.partition = partition;
	fetch->checkpoint = get_int64(0, 1);
	fetch->scanned_to = get_int64(0, 2);
	fetch->fetched_to = get_int64(0, 3);
	fetch->tried_to = get_int64(0, 4);
	fetch->attempts = get_int32(0, 5);
	was_held = DatumGetBool(es_as_owner_get(0, 6, &isnull));

	look_up_layouts(fetch);
	es_retries_load(fetch, was_held);
	return true;
}

/*
 * Write down what the consumer has got, or that it has got nothing.
 */
static void
leave(EsFetch *fetch)
{
	Datum		leased[] = {
		fetch->subscription_id, Int32GetDatum(fetch->selection.partition),
		fetch->consumer, fetch->lease,
		Int64GetDatum(fetch->checkpoint), Int64GetDatum(fetch->scanned_to),
		Int64GetDatum(fetch->fetched_to), Int64GetDatum(fetch->tried_to),
		Int32GetDatum(fetch->attempts)
	};
	Datum		left[] = {
		leased[0], leased[1], leased[4], leased[5], leased[7], leased[8]
	};

	if (fetch->nrows > 0)
		(void) es_as_owner_run(&lease_partition, leased, NULL);
	else
		(void) es_as_owner_run(&leave_partition, left, NULL);
}

/*
 * Park the first event behind the checkpoint: it was handed out too many
 * times without an answer.
 */
static void
park_first_behind_checkpoint(EsFetch *fetch, int64 position)
{
	Datum		arguments[] = {
		fetch->subscription_id, Int32GetDatum(fetch->selection.partition),
		Int64GetDatum(position), Int32GetDatum(fetch->attempts)
	};

	(void) es_as_owner_run(&park_event, arguments, NULL);
	fetch->checkpoint = position;
	fetch->attempts = 0;
}

/*
 * The first event behind the checkpoint that is not to be parked.  Events
 * that were handed out before are, at first, handed out alone.
 */
static HeapTuple
begin_batch(EsFetch *fetch, EsPartitionScan *scan, int *limit)
{
	HeapTuple	row;

	while ((row = es_partition_scan_next(scan)) != NULL &&
		   es_delivery_position(fetch, row) <= fetch->tried_to &&
		   fetch->attempts >= fetch->max_attempts)
		park_first_behind_checkpoint(fetch, es_delivery_position(fetch, row));
	if (row == NULL)
		return NULL;

	if (es_delivery_position(fetch, row) <= fetch->tried_to)
		*limit = 1;
	else
		fetch->attempts = 0;
	fetch->attempts++;
	return row;
}

/*
 * Hand out events behind the checkpoint.
 */
static void
hand_out_new(EsFetch *fetch)
{
	EsPartitionScan *scan = es_partition_scan_begin(fetch->events, fetch->snapshot,
													&fetch->selection, fetch->checkpoint);
	int			limit = fetch->max_count - fetch->nrows;
	HeapTuple	row = begin_batch(fetch, scan, &limit);
	int			nfetched = 0;

	while (row != NULL)
	{
		es_delivery_add(fetch, row, nfetched == 0 ? fetch->attempts : 1);
		fetch->fetched_to = es_delivery_position(fetch, row);
		row = ++nfetched < limit ? es_partition_scan_next(scan) : NULL;
	}
	fetch->scanned_to = es_partition_scan_reached(scan);
	es_partition_scan_end(scan);

	if (nfetched > 0)
		fetch->tried_to = Max(fetch->tried_to, fetch->fetched_to);
	else
	{
		fetch->checkpoint = fetch->scanned_to;
		fetch->attempts = 0;
	}
}

/*
 * Hand out events of the partition that was taken, if it has any.  When there
 * are no new ones the checkpoint moves, and may so pass some that wait.
 */
static void
serve(EsFetch *fetch)
{
	EsSelection *selection = &fetch->selection;
	int64		checkpoint;

	PushActiveSnapshot(GetTransactionSnapshot());
	fetch->snapshot = GetActiveSnapshot();

	fetch->fetched_to = 0;
	do
	{
		checkpoint = fetch->scanned_to = fetch->checkpoint;
		if (es_retries_hand_out(fetch) && fetch->nrows < fetch->max_count)
			hand_out_new(fetch);
	} while (fetch->nrows == 0 && fetch->checkpoint > checkpoint &&
			 selection->nwaiting + selection->nparked > 0);
	leave(fetch);

	PopActiveSnapshot();
}

static void
fetch_from_any_partition(EsFetch *fetch)
{
	Datum		arguments[] = {
		fetch->subscription_id, fetch->consumer, Int64GetDatum(fetch->revision)
	};
	int			ncandidates = es_as_owner_run(&list_candidates, arguments, NULL);
	int		   *candidates = palloc(Max(ncandidates, 1) * sizeof(int));

	for (int i = 0; i < ncandidates; i++)
		candidates[i] = get_int32(i, 1);

	for (int i = 0; i < ncandidates && fetch->nrows == 0; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (take(fetch, candidates[i]))
			serve(fetch);
	}
}

/*
 * fetch_events(subscription_id text, consumer text, max_count integer,
 *				lease interval)
 *
 * Take a partition that has events to hand out, and return up to "max_count"
 * of them; they are the consumer's for the time of the lease.  No rows when
 * there is nothing to do.
 */
Datum
eventstore_fetch_events(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	EsFetch		fetch = {0};
	EsAsOwner	previous;

	read_arguments(&fetch, fcinfo);
	PreventCommandIfReadOnly("fetch_events()");
	PreventCommandIfParallelMode("fetch_events()");

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	fetch.result = result->setResult;
	fetch.result_descriptor = result->setDesc;
	fetch.events = es_catalog_open_events_for_reading();

	es_as_owner_begin(&previous);
	look_up_subscription(&fetch);
	fetch_from_any_partition(&fetch);
	es_as_owner_end(&previous);

	table_close(fetch.events, NoLock);	/* rows may point to its TOAST table */
	return (Datum) 0;
}
