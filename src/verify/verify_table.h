/*-------------------------------------------------------------------------
 *
 * verify_table.h
 *	  A walk through the events that a snapshot sees, and a map of where
 *	  entries of an index may lead.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_VERIFY_TABLE_H
#define ES_VERIFY_TABLE_H

#include "access/htup_details.h"
#include "storage/block.h"
#include "storage/buf.h"
#include "storage/itemptr.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

#include "verify/verify_map.h"

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

#endif							/* ES_VERIFY_TABLE_H */
