/*-------------------------------------------------------------------------
 *
 * verify_leaves.h
 *	  A walk along the leaves of a btree, from the first to the last.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_VERIFY_LEAVES_H
#define ES_VERIFY_LEAVES_H

#include "access/itup.h"
#include "storage/block.h"
#include "storage/buf.h"
#include "storage/itemptr.h"
#include "storage/off.h"
#include "utils/relcache.h"

#include "verify/verify_key.h"

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

#endif							/* ES_VERIFY_LEAVES_H */
