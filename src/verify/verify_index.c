/*-------------------------------------------------------------------------
 *
 * verify_index.c
 *	  Compares the events with the extension's own indexes, both ways.
 *
 * What has to hold, for each event that the snapshot sees and each index:
 * an index scan reaches the event by just one entry, and that entry has the
 * event's key.  And every entry leads to a line pointer that may have one;
 * else the next event that comes to that place would get a stray entry.
 *
 * For this the table is read once, and each index once.  A map tells of each
 * line pointer (verify_map.c): may an entry lead here, and does the snapshot
 * see a row at the end of that?  If the table doesn't fit into the map, it is
 * done in parts, and each index is read once for each part.  While an index
 * is read,
 *
 * - an entry that leads to a row marks its place as reached: a place that is
 *	 marked already, and one that is unmarked at the end, are faults;
 * - the keys are compared by sums of 64-bit hashes, each of a key and a line
 *	 pointer: of the rows on one side, and of their entries on the other.  The
 *	 line pointers being the same, different keys have equal sums with a
 *	 chance of 1 in 2^64; that is all that can be overlooked;
 * - an entry that leads to a hidden place, of a dead or unfinished row, is
 *	 fine;
 * - an entry that leads to an empty place is one of a row that came after the
 *	 map was made, or leads nowhere.  The table is asked.
 *
 * This costs two bits of memory for a row, and no visit to the table for an
 * entry.  Only when it finds a difference, the index is read again, and its
 * entries are compared with the rows one by one, in order to name the faults.
 * (contrib/amcheck's Bloom filter takes eight times the memory, overlooks up to
 * one lost entry in fifty, and knows nothing of the other direction.)
 *
 * Nothing is reported because of what happens at the same time:
 *
 * - What the snapshot sees was committed, hence in the index, before any page
 *	 of it is read, and can't go: neither is the row removed, nor are its
 *	 entries, killed or not, while the snapshot is there.  An update gives the
 *	 row another version, which the snapshot doesn't see.  The line pointer at
 *	 which a row's chain of versions begins stays as long as the row.
 * - Entries are met once; see verify_leaves.c, also for why the line pointer
 *	 of an entry in hand can't have been given back.  A standby does not wait
 *	 for the pin that this relies on, so there no entry is said to lead
 *	 nowhere.
 * - The table does not get shorter while it is locked.
 * - The index may be newer than the snapshot, and lack rows, or have another
 *	 key of rows, that were deleted or updated before it was made.  So a fault
 *	 of a row that is not alive any more is none.
 * - REINDEX CONCURRENTLY fills an index before it swaps it in, and keeps the
 *	 other one up to date until all who have locked the table are done.
 *
 * The inner pages of the indexes and the order of their entries are not
 * checked; contrib/amcheck does that.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "nodes/pg_list.h"
#include "storage/bufmgr.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "store/catalog.h"
#include "verify/verify_faults.h"
#include "verify/verify_key.h"
#include "verify/verify_leaves.h"
#include "verify/verify_map.h"
#include "verify/verify_table.h"
#include "wait_point.h"

/* An index, and what is known of it in the part that is looked at. */
typedef struct EsCheckedIndex
{
	Relation	relation;
	uint64		row_sum;		/* of the hashes of the rows' keys */
	uint64		entry_sum;		/* ... and of those of their entries */
	uint64		nreached;		/* rows that have an entry */
	const char *damage;			/* it can't be read; or NULL */
	BlockNumber damaged_block;
	EsFaultList faults[ES_FAULT_KINDS];
} EsCheckedIndex;

typedef struct EsIndexCheck
{
	EsTableWalk *table;
	BufferAccessStrategy strategy;
	MemoryContext scratch;		/* for keys */
	int			nindexes;
	EsCheckedIndex *indexes;
} EsIndexCheck;

PG_FUNCTION_INFO_V1(eventstore_broken_index_entries);

/*
 * Lock all indexes first, then look which of them to check: so it is either
 * the one that REINDEX CONCURRENTLY swaps out or the one that it swaps in.
 */
static void
open_indexes(EsIndexCheck *check, Relation events)
{
	List	   *oids = RelationGetIndexList(events);
	int			nindexes = list_length(oids);
	Relation   *indexes = palloc(nindexes * sizeof(Relation));

	for (int i = 0; i < nindexes; i++)
		indexes[i] = index_open(list_nth_oid(oids, i), AccessShareLock);

	check->indexes = palloc0(nindexes * sizeof(EsCheckedIndex));
	for (int i = 0; i < nindexes; i++)
	{
		if (indexes[i]->rd_index->indisvalid &&
			es_catalog_classify_index(indexes[i]) != ES_USER_INDEX)
			check->indexes[check->nindexes++].relation = indexes[i];
		else
			index_close(indexes[i], AccessShareLock);
	}
	pfree(indexes);
	list_free(oids);
}

static EsIndexCheck *
begin_check(Relation events, Snapshot snapshot)
{
	EsIndexCheck *check = palloc0(sizeof(EsIndexCheck));

	check->strategy = GetAccessStrategy(BAS_BULKREAD);
	check->scratch = AllocSetContextCreate(CurrentMemoryContext, "keys of index entries",
										   ALLOCSET_SMALL_SIZES);
	check->table = es_table_walk_begin(events, snapshot, check->strategy);
	open_indexes(check, events);
	return check;
}

static void
end_check(EsIndexCheck *check)
{
	for (int i = 0; i < check->nindexes; i++)
		index_close(check->indexes[i].relation, AccessShareLock);
	es_table_walk_end(check->table);
	FreeAccessStrategy(check->strategy);
	MemoryContextDelete(check->scratch);
	pfree(check->indexes);
	pfree(check);
}

static void
get_row_key(EsIndexCheck *check, EsCheckedIndex *index, HeapTuple row, EsIndexKey *key)
{
	MemoryContext caller = MemoryContextSwitchTo(check->scratch);

	es_index_key_of_row(key, index->relation, row, RelationGetDescr(check->table->events));
	MemoryContextSwitchTo(caller);
}

static bool
get_entry_key(EsIndexCheck *check, EsLeafWalk *walk, EsIndexKey *key)
{
	MemoryContext caller = MemoryContextSwitchTo(check->scratch);
	bool		is_sound = es_leaf_walk_get_key(walk, key);

	MemoryContextSwitchTo(caller);
	return is_sound;
}

static void
add_fault(EsIndexCheck *check, EsCheckedIndex *index, EsFaultKind kind,
		  HeapTuple row, ItemPointer tid)
{
	int64		position = row == NULL ? 0 : es_table_walk_position(check->table, row);

	es_fault_list_add(&index->faults[kind], position, tid);
}

/*
 * Add a row to what is expected of the index.
 */
static void
expect_entry(EsIndexCheck *check, EsCheckedIndex *index, EsSeenRow *row)
{
	EsIndexKey	key;

	if (ItemPointerIsValid(&row->root))
	{
		get_row_key(check, index, &row->tuple, &key);
		index->row_sum += es_index_key_hash(&key, &row->root);
	}
	else if (row->is_alive)
		add_fault(check, index, ES_FAULT_MISSING, &row->tuple, &row->tuple.t_self);
}

/*
 * Read the part of the table that was begun.
 */
static void
read_events(EsIndexCheck *check)
{
	EsTableWalk *table = check->table;

	for (int i = 0; i < check->nindexes; i++)
		check->indexes[i].row_sum = 0;
	while (es_table_walk_next_block(table))
	{
		for (int i = 0; i < table->nrows; i++)
			for (int j = 0; j < check->nindexes; j++)
				expect_entry(check, &check->indexes[j], &table->rows[i]);
		MemoryContextReset(check->scratch);
	}
	ES_WAIT_POINT("events-mapped");
}

/*
 * Take an entry that should be the only one of a row.
 */
static bool
count_entry(EsIndexCheck *check, EsCheckedIndex *index, EsLeafWalk *walk, ItemPointer tid)
{
	EsIndexKey	key;

	if (!get_entry_key(check, walk, &key))
		return false;
	index->entry_sum += es_index_key_hash(&key, tid);
	index->nreached++;
	MemoryContextReset(check->scratch);
	es_place_map_set(check->table->map, tid, ES_PLACE_REACHED);
	return true;
}

/*
 * Is the entry as it should be, as far as can be told by itself?
 */
static bool
is_plausible(EsIndexCheck *check, EsCheckedIndex *index, EsLeafWalk *walk, ItemPointer tid)
{
	switch (es_place_map_get(check->table->map, tid))
	{
		case ES_PLACE_EMPTY:
			return es_table_walk_may_lead(check->table, tid);
		case ES_PLACE_HIDDEN:
			return true;
		case ES_PLACE_SEEN:
			return count_entry(check, index, walk, tid);
		case ES_PLACE_REACHED:
			return false;
	}
	return false;				/* keep the compiler quiet */
}

static void
end_walk(EsCheckedIndex *index, EsLeafWalk *walk)
{
	index->damage = walk->damage;
	index->damaged_block = walk->block;
	es_leaf_walk_end(walk);
}

/*
 * Does the index agree with the part of the table that is in the map?
 */
static bool
agrees(EsIndexCheck *check, EsCheckedIndex *index)
{
	EsPlaceMap *map = check->table->map;
	EsLeafWalk *walk = es_leaf_walk_begin(index->relation, check->strategy);
	bool		is_sound = true;
	ItemPointer tid;

	index->entry_sum = index->nreached = 0;
	while (is_sound && (tid = es_leaf_walk_next(walk)) != NULL)
	{
		if (es_place_map_covers(map, tid))
			is_sound = is_plausible(check, index, walk, tid);
	}
	end_walk(index, walk);
	es_place_map_forget_reached(map);
	return is_sound && index->nreached == check->table->nseen &&
		index->entry_sum == index->row_sum;
}

/*
 * Compare an entry with the row that it leads to.  One of another key does
 * not count as the row's.
 */
static void
compare_entry(EsIndexCheck *check, EsCheckedIndex *index, ItemPointer tid,
			  const EsIndexKey *entry_key, bool is_again)
{
	HeapTupleData row;
	Buffer		buffer;
	EsIndexKey	row_key;

	if (es_table_walk_fetch_live(check->table, tid, &row, &buffer))
	{
		get_row_key(check, index, &row, &row_key);
		if (!es_index_key_equals(entry_key, &row_key))
			add_fault(check, index, ES_FAULT_OTHER_KEY, &row, tid);
		else if (is_again)
			add_fault(check, index, ES_FAULT_TWICE, &row, tid);
		else
			es_place_map_set(check->table->map, tid, ES_PLACE_REACHED);
		ReleaseBuffer(buffer);
	}
}

static void
name_fault_of_entry(EsIndexCheck *check, EsCheckedIndex *index, EsLeafWalk *walk,
					ItemPointer tid)
{
	EsPlace		place = es_place_map_get(check->table->map, tid);
	EsIndexKey	key;

	if (place == ES_PLACE_EMPTY && !es_table_walk_may_lead(check->table, tid))
		add_fault(check, index, ES_FAULT_NOWHERE, NULL, tid);
	if (place != ES_PLACE_SEEN && place != ES_PLACE_REACHED)
		return;

	if (get_entry_key(check, walk, &key))
		compare_entry(check, index, tid, &key, place == ES_PLACE_REACHED);
	MemoryContextReset(check->scratch);
}

static void
name_missing(EsIndexCheck *check, EsCheckedIndex *index)
{
	ItemPointerData tid;

	ItemPointerSetInvalid(&tid);
	while (es_place_map_next_seen(check->table->map, &tid))
	{
		HeapTupleData row;
		Buffer		buffer;

		if (es_table_walk_fetch_live(check->table, &tid, &row, &buffer))
		{
			add_fault(check, index, ES_FAULT_MISSING, &row, &tid);
			ReleaseBuffer(buffer);
		}
	}
}

/*
 * Read the index once more, to say in what it differs from the part of the
 * table that is in the map.
 */
static void
name_faults(EsIndexCheck *check, EsCheckedIndex *index)
{
	EsPlaceMap *map = check->table->map;
	EsLeafWalk *walk = es_leaf_walk_begin(index->relation, check->strategy);
	ItemPointer tid;

	while ((tid = es_leaf_walk_next(walk)) != NULL)
	{
		if (es_place_map_covers(map, tid))
			name_fault_of_entry(check, index, walk, tid);
	}
	end_walk(index, walk);
	if (index->damage == NULL)
		name_missing(check, index);
	es_place_map_forget_reached(map);
}

static void
check_index(EsIndexCheck *check, EsCheckedIndex *index)
{
	if (index->damage == NULL && !agrees(check, index) && index->damage == NULL)
		name_faults(check, index);
}

static void
report_index(EsCheckedIndex *index, ReturnSetInfo *result)
{
	const char *name = RelationGetRelationName(index->relation);

	if (index->damage != NULL)
	{
		es_fault_report_damage(name, index->damaged_block, index->damage, result);
		return;
	}
	for (EsFaultKind kind = 0; kind < ES_FAULT_KINDS; kind++)
		es_fault_list_report(&index->faults[kind], kind, name, result);
}

/*
 * broken_index_entries() returns table (invariant text, detail text)
 */
Datum
eventstore_broken_index_entries(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Relation	events;
	Snapshot	snapshot;
	EsIndexCheck *check;

	InitMaterializedSRF(fcinfo, 0);
	events = es_catalog_open_events_for_verification();
	snapshot = RegisterSnapshot(GetActiveSnapshot());
	check = begin_check(events, snapshot);

	while (es_table_walk_next_part(check->table))
	{
		read_events(check);
		for (int i = 0; i < check->nindexes; i++)
			check_index(check, &check->indexes[i]);
	}
	for (int i = 0; i < check->nindexes; i++)
		report_index(&check->indexes[i], result);

	end_check(check);
	UnregisterSnapshot(snapshot);
	table_close(events, AccessShareLock);
	return (Datum) 0;
}
