/*-------------------------------------------------------------------------
 *
 * partition_scan.c
 *	  The events of one partition of a subscription, in the global order.
 *
 * The streams are spread over the partitions by a hash of their names that
 * is the same on every machine and in every version, since the checkpoints
 * of the partitions depend on it: FNV-1a of 64 bits (Fowler, Noll, Vo), mixed
 * by the finalizer of MurmurHash3 (Appleby), since its low bits are weak.
 *
 * A scan under one snapshot goes along the position index (walk.c), or,
 * where the subscription wants certain stream types only, along the category
 * index, one scan for each type, merged.  Either way it stops in front of the
 * first position that is not settled, and can tell how far it has looked, so
 * that what does not match is not looked at again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/skey.h"
#include "access/table.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "eventstore.h"
#include "order/entry_scan.h"
#include "order/walk.h"
#include "store/catalog.h"
#include "store/event_row.h"
#include "store/name_set.h"
#include "subscription/partition_scan.h"

PG_FUNCTION_INFO_V1(eventstore_stream_partition);

/* The scan of one stream type, and the event that it has reached. */
typedef struct TypeScan
{
	EsEntryScan *scan;
	HeapTuple	row;			/* NULL at the end */
	int64		position;
} TypeScan;

struct EsPartitionScan
{
	Relation	events;
	TupleDesc	descriptor;
	const EsSelection *selection;
	MemoryContext row_context;	/* reset for each row: names may be compressed */
	EsWalk	   *walk;
	Relation	category_index; /* NULL when the walk itself is followed */
	TypeScan   *types;
	int			ntypes;
	TypeScan   *current;		/* whose event was handed out last */
	int64		reached;
};

/* ---- partitions ---- */

#define FNV_OFFSET_BASIS UINT64CONST(0xcbf29ce484222325)
#define FNV_PRIME UINT64CONST(0x100000001b3)

static uint64
mix(uint64 hash)
{
	hash = (hash ^ (hash >> 33)) * UINT64CONST(0xff51afd7ed558ccd);
	hash = (hash ^ (hash >> 33)) * UINT64CONST(0xc4ceb9fe1a85ec53);
	return hash ^ (hash >> 33);
}

/*
 * The partition that a stream falls into, 0 .. partitions - 1.
 */
int
es_stream_partition(const text *stream_id, int partitions)
{
	const unsigned char *byte = (const unsigned char *) VARDATA_ANY(stream_id);
	const unsigned char *end = byte + VARSIZE_ANY_EXHDR(stream_id);
	uint64		hash = FNV_OFFSET_BASIS;

	while (byte < end)
		hash = (hash ^ *byte++) * FNV_PRIME;
	return mix(hash) % (uint64) partitions;
}

/*
 * stream_partition(stream_id text, partitions integer) returns integer
 */
Datum
eventstore_stream_partition(PG_FUNCTION_ARGS)
{
	int32		partitions = PG_GETARG_INT32(1);

	if (partitions < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("partitions is out of range"),
				 errdetail("It is %d.", partitions),
				 errhint("Pass at least 1.")));
	PG_RETURN_INT32(es_stream_partition(PG_GETARG_TEXT_PP(0), partitions));
}

/* ---- what belongs to the partition ---- */

static text *
text_column(HeapTuple row, TupleDesc descriptor, int column)
{
	bool		isnull;

	return DatumGetTextPP(heap_getattr(row, column, descriptor, &isnull));
}

/*
 * Had the stream's partition handled the position when the number of
 * partitions was changed?
 */
static bool
is_behind_former_checkpoint(const EsSelection *selection, const text *stream_id,
							int64 position)
{
	for (int i = 0; i < selection->nlayouts; i++)
	{
		const EsLayout *layout = &selection->layouts[i];

		if (position <= layout->checkpoints[es_stream_partition(stream_id, layout->partitions)])
			return true;
	}
	return false;
}

static int
compare_waiting(const void *key, const void *member)
{
	EsName		stream_id = es_name_of(((const EsWaitingStream *) member)->stream_id);

	return es_name_compare(key, &stream_id);
}

/*
 * Does the event's stream wait for this event, or for one before it?
 */
static bool
stream_waits(const EsSelection *selection, const text *stream_id, int64 position)
{
	const EsWaitingStream *waiting = NULL;
	EsName		name = es_name_of(stream_id);

	if (selection->nwaiting > 0)
		waiting = bsearch(&name, selection->waiting, selection->nwaiting,
						  sizeof(EsWaitingStream), compare_waiting);
	return waiting != NULL && position >= waiting->position;
}

static int
compare_positions(const void *a, const void *b)
{
	int64		left = *(const int64 *) a;
	int64		right = *(const int64 *) b;

	return (left > right) - (left < right);
}

static bool
is_parked(const EsSelection *selection, int64 position)
{
	return selection->nparked > 0 &&
		bsearch(&position, selection->parked, selection->nparked,
				sizeof(int64), compare_positions) != NULL;
}

/*
 * Is the event of a type that the subscription wants?
 */
bool
es_selection_wants(const EsSelection *selection, HeapTuple row, TupleDesc descriptor)
{
	return (selection->event_types == NULL ||
			es_name_set_contains(selection->event_types,
								 es_name_of(text_column(row, descriptor, Anum_es_events_event_type)))) &&
		(selection->stream_types == NULL ||
		 es_name_set_contains(selection->stream_types,
							  es_name_of(text_column(row, descriptor, Anum_es_events_stream_type))));
}

/*
 * Is the event one that the partition is to hand out in its turn?
 */
static bool
is_selected(const EsSelection *selection, HeapTuple row, TupleDesc descriptor)
{
	text	   *stream_id;
	int64		position;

	if (!es_selection_wants(selection, row, descriptor))
		return false;
	stream_id = text_column(row, descriptor, Anum_es_events_stream_id);
	if (es_stream_partition(stream_id, selection->partitions) != selection->partition)
		return false;

	position = es_event_position(row, descriptor);
	return !stream_waits(selection, stream_id, position) &&
		!is_parked(selection, position) &&
		!is_behind_former_checkpoint(selection, stream_id, position);
}

/* ---- the scan ---- */

static void
next_of_type(EsPartitionScan *scan, TypeScan *type)
{
	EsEntry    *entry;

	do
	{
		entry = es_entry_scan_next(type->scan, ES_MAX_COLLECTED_ENTRIES);
	} while (entry != NULL && !entry->is_seen);

	type->row = entry ? &entry->row : NULL;
	if (type->row != NULL)
		type->position = es_event_position(type->row, scan->descriptor);
}

static void
begin_type(EsPartitionScan *scan, TypeScan *type, const EsName *stream_type,
		   Snapshot snapshot, int64 after_position)
{
	ScanKeyData keys[2];

	ScanKeyEntryInitialize(&keys[0], 0, 1, BTEqualStrategyNumber, InvalidOid,
						   C_COLLATION_OID, F_TEXTEQ,
						   PointerGetDatum(cstring_to_text_with_len(stream_type->start,
																	stream_type->length)));
	ScanKeyEntryInitialize(&keys[1], 0, 2, BTGreaterStrategyNumber, InvalidOid,
						   InvalidOid, F_INT8GT, Int64GetDatum(after_position));
	type->scan = es_entry_scan_begin(scan->events, scan->category_index, snapshot, 2);
	es_entry_scan_position(type->scan, keys, ForwardScanDirection);
	next_of_type(scan, type);
}

/*
 * Begin a scan behind "after_position".  The snapshot must be an MVCC
 * snapshot that stays active or registered until es_partition_scan_end().
 */
EsPartitionScan *
es_partition_scan_begin(Relation events, Snapshot snapshot,
						const EsSelection *selection, int64 after_position)
{
	EsPartitionScan *scan = palloc0(sizeof(EsPartitionScan));
	EsNameSet  *stream_types = selection->stream_types;

	scan->events = events;
	scan->descriptor = RelationGetDescr(events);
	scan->selection = selection;
	scan->row_context = AllocSetContextCreate(CurrentMemoryContext, "eventstore row of a partition",
											  ALLOCSET_SMALL_SIZES);
	scan->reached = after_position;
	if (stream_types == NULL)
	{
		scan->walk = es_walk_begin(events, snapshot, after_position);
		return scan;
	}

	scan->walk = es_walk_begin_settling(events, snapshot, after_position);
	scan->category_index = es_catalog_open_index(ES_CATEGORY_INDEX);
	scan->ntypes = stream_types->nnames;
	scan->types = palloc0(scan->ntypes * sizeof(TypeScan));
	for (int i = 0; i < scan->ntypes; i++)
		begin_type(scan, &scan->types[i], &stream_types->names[i], snapshot, after_position);
	return scan;
}

void
es_partition_scan_end(EsPartitionScan *scan)
{
	for (int i = 0; i < scan->ntypes; i++)
		es_entry_scan_end(scan->types[i].scan);
	if (scan->category_index != NULL)
		index_close(scan->category_index, AccessShareLock);
	es_walk_end(scan->walk);
	MemoryContextDelete(scan->row_context);
	pfree(scan);
}

/*
 * The next event of the wanted stream types, NULL when there is none that is
 * settled.
 */
static HeapTuple
next_of_types(EsPartitionScan *scan)
{
	TypeScan   *first = NULL;

	if (scan->current != NULL)
		next_of_type(scan, scan->current);
	for (int i = 0; i < scan->ntypes; i++)
	{
		TypeScan   *type = &scan->types[i];

		if (type->row != NULL && (first == NULL || type->position < first->position))
			first = type;
	}

	scan->current = NULL;
	if (first == NULL || es_walk_settle(scan->walk, first->position) < first->position)
		return NULL;
	scan->current = first;
	return first->row;
}

/*
 * is_selected() in the memory of the row.
 */
static bool
is_row_selected(EsPartitionScan *scan, HeapTuple row)
{
	MemoryContext context = MemoryContextSwitchTo(scan->row_context);
	bool		selected = is_selected(scan->selection, row, scan->descriptor);

	MemoryContextSwitchTo(context);
	MemoryContextReset(scan->row_context);
	return selected;
}

/*
 * The next event of the partition, valid until the next call; NULL when there
 * is none that is settled.
 */
HeapTuple
es_partition_scan_next(EsPartitionScan *scan)
{
	HeapTuple	row;

	do
	{
		row = scan->types ? next_of_types(scan) :
			es_walk_next_event(scan->walk, ES_MAX_COLLECTED_ENTRIES);
	} while (row != NULL && !is_row_selected(scan, row));

	if (row != NULL)
		scan->reached = es_event_position(row, scan->descriptor);
	else if (scan->types)
		scan->reached = Max(scan->reached, es_walk_settle(scan->walk, ES_WALK_TO_END));
	else
		scan->reached = es_walk_position(scan->walk);
	return row;
}

/*
 * How far the scan has looked: to the event that it has returned, or else to
 * the end of what is settled.
 */
int64
es_partition_scan_reached(EsPartitionScan *scan)
{
	return scan->reached;
}
