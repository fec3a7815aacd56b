/*-------------------------------------------------------------------------
 *
 * verify.h
 *	  What the comparison of the events with their indexes consists of; see
 *	  verify_index.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_VERIFY_H
#define ES_VERIFY_H

#include "access/itup.h"
#include "nodes/execnodes.h"
#include "storage/bufmgr.h"
#include "utils/rel.h"

#include "eventstore.h"

/* ---- verify_map.c ---- */

/* What a line pointer of the table is to an index. */
typedef enum EsPlace
{
	ES_PLACE_EMPTY,				/* no entry may lead here */
	ES_PLACE_HIDDEN,			/* one may, but the snapshot sees no row */
	ES_PLACE_SEEN,				/* one has to */
	ES_PLACE_REACHED			/* one does */
} EsPlace;

/* The line pointers of consecutive blocks: a part of the table. */
typedef struct EsPlaceMap
{
	BlockNumber table_blocks;
	BlockNumber first_block;	/* of the part */
	BlockNumber nblocks;		/* in the part */
	BlockNumber max_blocks;
	uint32		max_places;
	uint32	   *starts;			/* by block: its first place, and the end */
	uint8	   *places;			/* two bits each */
} EsPlaceMap;

extern EsPlaceMap *es_place_map_create(BlockNumber table_blocks);
extern void es_place_map_free(EsPlaceMap *map);
extern void es_place_map_begin_part(EsPlaceMap *map, BlockNumber first_block);
extern bool es_place_map_add_block(EsPlaceMap *map, int nplaces);
extern bool es_place_map_covers(const EsPlaceMap *map, ItemPointer tid);
extern EsPlace es_place_map_get(const EsPlaceMap *map, ItemPointer tid);
extern void es_place_map_set(EsPlaceMap *map, ItemPointer tid, EsPlace place);
extern bool es_place_map_next_seen(const EsPlaceMap *map, ItemPointer tid);
extern void es_place_map_forget_reached(EsPlaceMap *map);

/* ---- verify_table.c ---- */

/* A row that the snapshot sees. */
typedef struct EsSeenRow
{
	HeapTupleData tuple;
	ItemPointerData root;		/* what an entry leads to; invalid: none can */
	bool		is_alive;		/* if none can: is the row still there? */
} EsSeenRow;

/* A walk through the table, in parts. */
typedef struct EsTableWalk
{
	Relation	events;
	Snapshot	snapshot;
	BufferAccessStrategy strategy;
	EsPlaceMap *map;
	bool		has_begun;
	BlockNumber next_block;
	uint64		nseen;			/* places of the part at which a row is seen */
	Buffer		buffer;			/* the block in hand, pinned */
	int			nrows;			/* ... and its rows */
	EsSeenRow	rows[MaxHeapTuplesPerPage];
} EsTableWalk;

extern EsTableWalk *es_table_walk_begin(Relation events, Snapshot snapshot,
										BufferAccessStrategy strategy);
extern bool es_table_walk_next_part(EsTableWalk *walk);
extern bool es_table_walk_next_block(EsTableWalk *walk);
extern void es_table_walk_end(EsTableWalk *walk);
extern bool es_table_walk_may_lead(EsTableWalk *walk, ItemPointer tid);
extern bool es_table_walk_fetch_live(EsTableWalk *walk, ItemPointer tid,
									 HeapTuple row, Buffer *buffer);
extern int64 es_table_walk_position(EsTableWalk *walk, HeapTuple row);

/* ---- verify_key.c ---- */

#define ES_MAX_KEY_COLUMNS 2

/* The bytes of an index's columns, in a row or in an entry. */
typedef struct EsIndexKey
{
	int			ncolumns;
	EsName		columns[ES_MAX_KEY_COLUMNS];	/* start is NULL where null */
	Datum		values[ES_MAX_KEY_COLUMNS]; /* those that have no address */
} EsIndexKey;

extern void es_index_key_of_row(EsIndexKey *key, Relation index,
								HeapTuple row, TupleDesc descriptor);
extern bool es_index_key_of_entry(EsIndexKey *key, Relation index,
								  IndexTuple entry, Size size);
extern uint64 es_index_key_hash(const EsIndexKey *key, ItemPointer tid);
extern bool es_index_key_equals(const EsIndexKey *a, const EsIndexKey *b);

/* ---- verify_leaves.c ---- */

/* A walk along the leaves of a btree. */
typedef struct EsLeafWalk
{
	Relation	index;
	BufferAccessStrategy strategy;
	bool		skip_killed;
	BlockNumber nblocks;		/* of the index, when last asked */
	BlockNumber nread;
	BlockNumber block;			/* the one in "page" */
	Buffer		buffer;			/* ... pinned */
	OffsetNumber next_item;
	OffsetNumber last_item;
	IndexTuple	entry;			/* the item in hand */
	Size		entry_size;		/* without the list of rows behind its key */
	ItemPointer tids;			/* the rows that it leads to */
	int			ntids;
	int			next_tid;
	const char *damage;			/* what is wrong with the block, or NULL */
	PGAlignedBlock page;
} EsLeafWalk;

extern EsLeafWalk *es_leaf_walk_begin(Relation index, BufferAccessStrategy strategy);
extern ItemPointer es_leaf_walk_next(EsLeafWalk *walk);
extern bool es_leaf_walk_get_key(EsLeafWalk *walk, EsIndexKey *key);
extern void es_leaf_walk_end(EsLeafWalk *walk);

/* ---- verify_faults.c ---- */

typedef enum EsFaultKind
{
	ES_FAULT_MISSING,			/* no entry leads to an event */
	ES_FAULT_OTHER_KEY,			/* an entry leads to an event of another key */
	ES_FAULT_TWICE,				/* two entries lead to an event */
	ES_FAULT_NOWHERE			/* an entry leads to no row */
} EsFaultKind;

#define ES_FAULT_KINDS (ES_FAULT_NOWHERE + 1)
#define ES_MAX_NAMED_FAULTS 100

typedef struct EsFault
{
	int64		position;		/* 0: not known */
	ItemPointerData tid;
} EsFault;

/* The first faults of a kind, by position, and how many there are. */
typedef struct EsFaultList
{
	int64		total;
	int			nnamed;
	EsFault		named[ES_MAX_NAMED_FAULTS];
} EsFaultList;

extern void es_fault_report(const char *invariant, char *detail, ReturnSetInfo *result);
extern void es_fault_list_add(EsFaultList *list, int64 position, ItemPointer tid);
extern void es_fault_list_report(const EsFaultList *list, EsFaultKind kind,
								 const char *index, ReturnSetInfo *result);
extern void es_fault_report_damage(const char *index, BlockNumber block,
								   const char *damage, ReturnSetInfo *result);

#endif							/* ES_VERIFY_H */
