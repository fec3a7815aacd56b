/*-------------------------------------------------------------------------
 *
 * verify_digests.c
 *	  Are the events those that their digests were made of?
 *
 * Each range is computed again from the digest before it, as that is stored, so
 * that a fault shows in its own range only.  What differs within a range the
 * digest can't tell; the number of events can, and the rows' headers: a row
 * that was updated, or that was inserted after the digest of its range.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/transam.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "nodes/pg_list.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "store/catalog.h"
#include "store/event_row.h"
#include "verify/digest.h"
#include "verify/event_digest.h"
#include "verify/verify_faults.h"

PG_FUNCTION_INFO_V1(eventstore_broken_digests);

#define MAX_NAMED_RANGES	100
#define MAX_NAMED_EVENTS	10
#define PROGRESS_EVERY		10000	/* milliseconds */

typedef struct DigestCheck
{
	ReturnSetInfo *result;
	Snapshot	snapshot;
	Relation	events;
	Relation	position_index;
	Relation	digests;
	Relation	digests_index;
	EsDigester *digester;

	SysScanDesc scan;			/* of the events */
	HeapTuple	row;			/* the next one, or NULL */
	uint8		computed[ES_DIGEST_LENGTH]; /* of the last range */
	int64		nevents;		/* that were read */
	int64		nbroken;		/* ranges */
	TimestampTz told_at;
} DigestCheck;

static void
report(DigestCheck *check, char *detail)
{
	es_fault_report("the events of a range are those that its digest was made of", detail,
					check->result);
}

static void
tell_of_progress(DigestCheck *check, int64 position)
{
	TimestampTz now = GetCurrentTimestamp();

	if (!TimestampDifferenceExceeds(check->told_at, now, PROGRESS_EVERY))
		return;
	check->told_at = now;
	ereport(NOTICE,
			(errmsg("%lld events are checked, up to position %lld",
					(long long) check->nevents, (long long) position)));
}

/* ---- within a range ---- */

static bool
was_updated(HeapTuple row)
{
	return (row->t_data->t_infomask & HEAP_UPDATED) != 0;
}

/*
 * Was the row inserted after the digest, as far as can be told?
 */
static bool
is_younger(HeapTuple row, const EsDigest *digest)
{
	TransactionId inserter = es_row_inserter(row);

	return TransactionIdIsNormal(inserter) && TransactionIdIsNormal(digest->inserter) &&
		TransactionIdFollows(inserter, digest->inserter);
}

/* Events that were changed in one way. */
typedef struct Suspects
{
	const char *how;
	int64		count;
	StringInfoData named;
} Suspects;

static void
add_suspect(Suspects *suspects, int64 position)
{
	if (suspects->count++ < MAX_NAMED_EVENTS)
		appendStringInfo(&suspects->named, "; the event at position %lld was %s afterwards",
						 (long long) position, suspects->how);
}

static void
name_suspects(StringInfo detail, const Suspects *suspects)
{
	appendStringInfoString(detail, suspects->named.data);
	if (suspects->count > MAX_NAMED_EVENTS)
		appendStringInfo(detail, "; so were %lld more",
						 (long long) (suspects->count - MAX_NAMED_EVENTS));
}

/*
 * Say which rows of a range look as if they had been changed.  Where most were
 * inserted afterwards, they were restored or copied, and that tells nothing.
 */
static void
name_events(DigestCheck *check, StringInfo detail, const EsDigest *before,
			const EsDigest *digest, int64 nevents)
{
	SysScanDesc scan = es_digest_scan_behind(check->events, check->position_index,
											 check->snapshot, before->up_to_position);
	TupleDesc	descriptor = RelationGetDescr(check->events);
	Suspects	updated = {.how = "updated"};
	Suspects	inserted = {.how = "inserted"};
	HeapTuple	row;

	initStringInfo(&updated.named);
	initStringInfo(&inserted.named);
	while (HeapTupleIsValid(row = systable_getnext_ordered(scan, ForwardScanDirection)) &&
		   es_event_position(row, descriptor) <= digest->up_to_position)
	{
		CHECK_FOR_INTERRUPTS();
		if (was_updated(row))
			add_suspect(&updated, es_event_position(row, descriptor));
		else if (is_younger(row, digest))
			add_suspect(&inserted, es_event_position(row, descriptor));
	}
	systable_endscan_ordered(scan);

	name_suspects(detail, &updated);
	if (inserted.count <= nevents / 2)
		name_suspects(detail, &inserted);
}

static void
report_range(DigestCheck *check, const EsDigest *before, const EsDigest *digest, int64 nevents)
{
	StringInfoData detail;

	if (++check->nbroken > MAX_NAMED_RANGES)
		return;
	initStringInfo(&detail);
	appendStringInfo(&detail, "positions %lld to %lld: ",
					 (long long) before->up_to_position + 1, (long long) digest->up_to_position);
	if (!digest->is_complete)
		appendStringInfoString(&detail, "the digest itself is not one that was made here");
	else if (nevents != digest->events)
		appendStringInfo(&detail, "%lld events instead of %lld",
						 (long long) nevents, (long long) digest->events);
	else
		appendStringInfoString(&detail, "an event, or the digest itself or the one before, was changed");
	name_events(check, &detail, before, digest, nevents);
	report(check, detail.data);
}

/* ---- the ranges ---- */

static void
read_next_event(DigestCheck *check)
{
	check->row = systable_getnext_ordered(check->scan, ForwardScanDirection);
}

/*
 * Compute a range anew.
 */
static void
check_range(DigestCheck *check, const EsDigest *before, const EsDigest *digest)
{
	TupleDesc	descriptor = RelationGetDescr(check->events);
	int64		nevents = 0;

	es_digester_begin_range(check->digester, before->digest);
	while (HeapTupleIsValid(check->row) &&
		   es_event_position(check->row, descriptor) <= digest->up_to_position)
	{
		CHECK_FOR_INTERRUPTS();
		(void) es_digester_add(check->digester, check->row, descriptor);
		nevents++;
		read_next_event(check);
	}
	es_digester_end_range(check->digester, check->computed);
	check->nevents += nevents;

	if (!digest->is_complete || nevents != digest->events ||
		memcmp(check->computed, digest->digest, ES_DIGEST_LENGTH) != 0)
		report_range(check, before, digest, nevents);
	tell_of_progress(check, digest->up_to_position);
}

/*
 * A range ends at an event, so at a position above 0.
 */
static void
check_first_digest(DigestCheck *check)
{
	SysScanDesc scan = es_digest_scan_behind(check->digests, check->digests_index,
											 check->snapshot, PG_INT64_MIN);
	HeapTuple	row = systable_getnext_ordered(scan, ForwardScanDirection);
	EsDigest	first = {.up_to_position = 1};

	if (HeapTupleIsValid(row))
		es_digest_read(&first, row, RelationGetDescr(check->digests));
	if (first.up_to_position <= 0)
		report(check, psprintf("there is a digest at position %lld", (long long) first.up_to_position));
	systable_endscan_ordered(scan);
}

/*
 * Is this the digest that the events up to the position have, as they are now?
 */
static void
check_known(DigestCheck *check, int64 position, int64 reached, const bytea *known)
{
	const char *invariant = "the store has the digest that is known";

	if (reached != position || position <= 0)
		es_fault_report(invariant, psprintf("there is none at position %lld", (long long) position),
						check->result);
	else if (VARSIZE_ANY_EXHDR(known) != ES_DIGEST_LENGTH ||
			 memcmp(check->computed, VARDATA_ANY(known), ES_DIGEST_LENGTH) != 0)
		es_fault_report(invariant, psprintf("the events up to position %lld have another one",
											(long long) position), check->result);
}

/*
 * Check the ranges that have events behind "from_position" and up to
 * "to_position".  Returns where the last one ends.
 */
static int64
check_ranges(DigestCheck *check, int64 from_position, int64 to_position)
{
	TupleDesc	descriptor = RelationGetDescr(check->digests);
	SysScanDesc scan;
	EsDigest	before;
	EsDigest	digest;
	HeapTuple	row;

	es_digest_find_before(&before, check->digests, check->digests_index, check->snapshot,
						  from_position < PG_INT64_MAX ? from_position + 1 : from_position);
	check->scan = es_digest_scan_behind(check->events, check->position_index, check->snapshot,
										before.up_to_position);
	read_next_event(check);
	scan = es_digest_scan_behind(check->digests, check->digests_index, check->snapshot,
								 before.up_to_position);
	while (before.up_to_position < to_position &&
		   HeapTupleIsValid(row = systable_getnext_ordered(scan, ForwardScanDirection)))
	{
		es_digest_read(&digest, row, descriptor);
		check_range(check, &before, &digest);
		before = digest;
	}
	systable_endscan_ordered(scan);
	systable_endscan_ordered(check->scan);

	if (check->nbroken > MAX_NAMED_RANGES)
		report(check, psprintf("the same goes for %lld more ranges",
							   (long long) (check->nbroken - MAX_NAMED_RANGES)));
	return before.up_to_position;
}

/*
 * The index on the positions, or NULL if there is none that can be used.
 */
static Relation
open_position_index(Relation events)
{
	Relation	found = NULL;
	ListCell   *lc;

	foreach(lc, RelationGetIndexList(events))
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);

		if (found == NULL && index->rd_index->indisvalid &&
			es_catalog_classify_index(index) == ES_POSITION_INDEX)
			found = index;
		else
			index_close(index, AccessShareLock);
	}
	return found;
}

/*
 * broken_digests(from_position bigint, to_position bigint, known bytea)
 * returns table (invariant text, detail text)
 *
 * The ranges of which the events are not those of the digest; and whether the
 * digest that is known, if one is, is that of the events up to "to_position".
 */
Datum
eventstore_broken_digests(PG_FUNCTION_ARGS)
{
	int64		from_position = PG_ARGISNULL(0) ? 0 : PG_GETARG_INT64(0);
	int64		to_position = PG_ARGISNULL(1) ? PG_INT64_MAX : PG_GETARG_INT64(1);
	DigestCheck check = {0};
	int64		reached;

	InitMaterializedSRF(fcinfo, 0);
	check.result = (ReturnSetInfo *) fcinfo->resultinfo;
	check.events = es_catalog_open_events_for_verification();
	check.position_index = open_position_index(check.events);
	if (check.position_index == NULL)
		report(&check, pstrdup("this cannot be checked: there is no valid index on (global_position)"));
	else
	{
		check.snapshot = RegisterSnapshot(GetActiveSnapshot());
		check.digests = es_digests_open();
		check.digests_index = es_digests_open_index(check.digests);
		check.digester = es_digester_begin();
		check.told_at = GetCurrentTimestamp();

		check_first_digest(&check);
		reached = check_ranges(&check, from_position, to_position);
		if (!PG_ARGISNULL(2))
			check_known(&check, to_position, reached, PG_GETARG_BYTEA_PP(2));

		es_digester_end(check.digester);
		index_close(check.digests_index, AccessShareLock);
		table_close(check.digests, AccessShareLock);
		UnregisterSnapshot(check.snapshot);
		index_close(check.position_index, AccessShareLock);
	}
	table_close(check.events, AccessShareLock);
	return (Datum) 0;
}
