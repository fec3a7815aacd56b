/*-------------------------------------------------------------------------
 *
 * verify_table.c
 *	  A walk through the events that a snapshot sees, and a map of where
 *	  entries of an index may lead.
 *
 * An entry leads to a line pointer, and from there along the versions of a
 * row that share it (a HOT chain).  Where an index scan finds a row that way,
 * the walk does, with the server's own function.  A version that no line
 * pointer leads to is an orphan: no index finds it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/predicate.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "eventstore.h"
#include "verify/verify_map.h"
#include "verify/verify_table.h"

/*
 * Begin a walk.  The table must be locked, and the snapshot stay registered.
 */
EsTableWalk *
es_table_walk_begin(Relation events, Snapshot snapshot, BufferAccessStrategy strategy)
{
	EsTableWalk *walk = palloc0(sizeof(EsTableWalk));

	PredicateLockRelation(events, snapshot);
	walk->events = events;
	walk->snapshot = snapshot;
	walk->strategy = strategy;
	walk->map = es_place_map_create(RelationGetNumberOfBlocks(events));
	walk->buffer = InvalidBuffer;
	return walk;
}

static void
release_block(EsTableWalk *walk)
{
	if (BufferIsValid(walk->buffer))
		ReleaseBuffer(walk->buffer);
	walk->buffer = InvalidBuffer;
	walk->nrows = 0;
}

void
es_table_walk_end(EsTableWalk *walk)
{
	release_block(walk);
	es_place_map_free(walk->map);
	pfree(walk);
}

/*
 * Begin the next part.  Returns false when there is none; an empty table has
 * one, too.
 */
bool
es_table_walk_next_part(EsTableWalk *walk)
{
	if (walk->has_begun && walk->next_block >= walk->map->table_blocks)
		return false;
	walk->has_begun = true;
	walk->nseen = 0;
	es_place_map_begin_part(walk->map, walk->next_block);
	return true;
}

static bool
is_heap_only(Page page, ItemId line_pointer)
{
	return ItemIdIsNormal(line_pointer) &&
		HeapTupleHeaderIsHeapOnly((HeapTupleHeader) PageGetItem(page, line_pointer));
}

/*
 * May an entry lead here?  What is removed keeps its line pointer until the
 * entries are gone, but for a version that never had any.
 */
static bool
may_have_entry(Page page, OffsetNumber offset)
{
	ItemId		line_pointer;

	if (offset < FirstOffsetNumber || offset > PageGetMaxOffsetNumber(page))
		return false;
	line_pointer = PageGetItemId(page, offset);
	return ItemIdIsUsed(line_pointer) && !is_heap_only(page, line_pointer);
}

/*
 * Note the row that an entry for this line pointer leads to.
 */
static void
look_at_root(EsTableWalk *walk, ItemPointer tid)
{
	EsSeenRow  *row = &walk->rows[walk->nrows];
	ItemPointerData found = *tid;
	EsPlace		place = ES_PLACE_HIDDEN;

	if (heap_hot_search_buffer(&found, walk->events, walk->buffer, walk->snapshot,
							   &row->tuple, NULL, true))
	{
		row->root = *tid;
		place = ES_PLACE_SEEN;
		walk->nrows++;
		walk->nseen++;
	}
	es_place_map_set(walk->map, tid, place);
}

static bool
is_noted(EsTableWalk *walk, ItemPointer tid)
{
	for (int i = 0; i < walk->nrows; i++)
	{
		if (ItemPointerEquals(&walk->rows[i].tuple.t_self, tid))
			return true;
	}
	return false;
}

/*
 * Note the version of a row that is a part of no chain, if the snapshot sees
 * it.
 */
static void
look_for_orphan(EsTableWalk *walk, Page page, ItemPointer tid)
{
	EsSeenRow  *row = &walk->rows[walk->nrows];
	ItemId		line_pointer = PageGetItemId(page, ItemPointerGetOffsetNumber(tid));

	if (!is_heap_only(page, line_pointer) || is_noted(walk, tid))
		return;

	row->tuple.t_data = (HeapTupleHeader) PageGetItem(page, line_pointer);
	row->tuple.t_len = ItemIdGetLength(line_pointer);
	row->tuple.t_tableOid = RelationGetRelid(walk->events);
	row->tuple.t_self = *tid;
	if (!HeapTupleSatisfiesVisibility(&row->tuple, walk->snapshot, walk->buffer))
		return;
	ItemPointerSetInvalid(&row->root);
	row->is_alive = HeapTupleSatisfiesVisibility(&row->tuple, SnapshotSelf, walk->buffer);
	walk->nrows++;
}

/*
 * Add the block in hand to the map, and note its rows.  Returns false if
 * there is no room for it.
 */
static bool
look_at_block(EsTableWalk *walk)
{
	Page		page = BufferGetPage(walk->buffer);
	int			nplaces = Min(PageGetMaxOffsetNumber(page), MaxHeapTuplesPerPage);
	ItemPointerData tid;

	if (!es_place_map_add_block(walk->map, nplaces))
		return false;
	for (int offset = FirstOffsetNumber; offset <= nplaces; offset++)
	{
		ItemPointerSet(&tid, walk->next_block, offset);
		if (may_have_entry(page, offset))
			look_at_root(walk, &tid);
	}
	for (int offset = FirstOffsetNumber; offset <= nplaces; offset++)
	{
		ItemPointerSet(&tid, walk->next_block, offset);
		look_for_orphan(walk, page, &tid);
	}
	return true;
}

/*
 * Look at the next block of the part.  Its rows stay where they are until the
 * next call.  Returns false at the end of the part.
 */
bool
es_table_walk_next_block(EsTableWalk *walk)
{
	bool		is_there;

	CHECK_FOR_INTERRUPTS();
	release_block(walk);
	if (walk->next_block >= walk->map->table_blocks)
		return false;

	walk->buffer = ReadBufferExtended(walk->events, MAIN_FORKNUM, walk->next_block,
									  RBM_NORMAL, walk->strategy);
	LockBuffer(walk->buffer, BUFFER_LOCK_SHARE);
	is_there = look_at_block(walk);
	LockBuffer(walk->buffer, BUFFER_LOCK_UNLOCK);
	if (is_there)
		walk->next_block++;
	else
		release_block(walk);
	return is_there;
}

/*
 * May an entry that is in hand lead here?  The table may have changed since
 * it was mapped.  In recovery nobody waits for who has the entry in hand, so
 * the line pointer may have been given back.
 */
bool
es_table_walk_may_lead(EsTableWalk *walk, ItemPointer tid)
{
	BlockNumber block = ItemPointerGetBlockNumberNoCheck(tid);
	Buffer		buffer;
	bool		may_lead;

	if (RecoveryInProgress())
		return true;
	if (block >= walk->map->table_blocks &&
		block >= RelationGetNumberOfBlocks(walk->events))
		return false;

	buffer = ReadBuffer(walk->events, block);
	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	may_lead = may_have_entry(BufferGetPage(buffer), ItemPointerGetOffsetNumberNoCheck(tid));
	UnlockReleaseBuffer(buffer);
	return may_lead;
}

/*
 * Fetch the row that an entry for this line pointer leads to, if it is still
 * alive; it stays until the caller releases the buffer.
 */
bool
es_table_walk_fetch_live(EsTableWalk *walk, ItemPointer tid, HeapTuple row,
						 Buffer *buffer)
{
	ItemPointerData found = *tid;
	bool		is_alive;

	CHECK_FOR_INTERRUPTS();
	*buffer = ReadBuffer(walk->events, ItemPointerGetBlockNumber(tid));
	LockBuffer(*buffer, BUFFER_LOCK_SHARE);
	is_alive = heap_hot_search_buffer(&found, walk->events, *buffer, walk->snapshot,
									  row, NULL, true) &&
		HeapTupleSatisfiesVisibility(row, SnapshotSelf, *buffer);
	LockBuffer(*buffer, BUFFER_LOCK_UNLOCK);
	if (!is_alive)
		ReleaseBuffer(*buffer);
	return is_alive;
}

/*
 * The event's position, or 0 if it can't be told.
 */
int64
es_table_walk_position(EsTableWalk *walk, HeapTuple row)
{
	TupleDesc	descriptor = RelationGetDescr(walk->events);
	Form_pg_attribute column = TupleDescAttr(descriptor, Anum_es_events_global_position - 1);
	bool		isnull;
	Datum		value;

	if (column->attisdropped || column->atttypid != INT8OID)
		return 0;
	value = heap_getattr(row, Anum_es_events_global_position, descriptor, &isnull);
	return isnull ? 0 : DatumGetInt64(value);
}
