/*-------------------------------------------------------------------------
 *
 * verify_leaves.c
 *	  A walk along the leaves of a btree, from the first to the last.
 *
 * It meets the entries that an index scan without a condition would return,
 * which are those that are not killed; a standby does not heed killing.  The
 * index scan itself would evict the server's other pages for a large index,
 * and fall over a damaged one.
 *
 * Each page is copied under its lock and stays pinned until the next one is
 * read.  The copy has the link to the right that belongs to its entries, so
 * an entry that a split moves is met once.  A page that was deleted leads
 * further to the right; it is not used again while the caller's snapshot is
 * there.
 *
 * The pin keeps VACUUM from finishing with the index, since it needs each
 * leaf for itself.  So the line pointer that an entry in hand leads to has
 * not been given back to the table; see also "Making concurrent TID recycling
 * safe" and what precedes it in the server's nbtree/README.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/itup.h"
#include "access/nbtree.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"

#include "verify/verify_key.h"
#include "verify/verify_leaves.h"
#include "wait_point.h"

/*
 * Begin a walk.  The index must be locked.
 */
EsLeafWalk *
es_leaf_walk_begin(Relation index, BufferAccessStrategy strategy)
{
	EsLeafWalk *walk = palloc0(sizeof(EsLeafWalk));

	walk->index = index;
	walk->strategy = strategy;
	walk->skip_killed = !RecoveryInProgress();
	walk->buffer = InvalidBuffer;
	walk->next_item = FirstOffsetNumber;
	return walk;
}

static void
release_page(EsLeafWalk *walk)
{
	if (BufferIsValid(walk->buffer))
		ReleaseBuffer(walk->buffer);
	walk->buffer = InvalidBuffer;
}

void
es_leaf_walk_end(EsLeafWalk *walk)
{
	release_page(walk);
	pfree(walk);
}

/*
 * Note what is wrong with the page.  The walk ends here.
 */
static bool
find_damage(EsLeafWalk *walk, const char *damage)
{
	walk->damage = damage;
	return false;
}

static BTPageOpaque
page_opaque(EsLeafWalk *walk)
{
	return BTPageGetOpaque((Page) walk->page.data);
}

/*
 * Could there be such a page, and so many?  The index may have grown.
 */
static bool
is_within_index(EsLeafWalk *walk, BlockNumber block)
{
	if (block >= walk->nblocks || walk->nread >= walk->nblocks)
		walk->nblocks = RelationGetNumberOfBlocks(walk->index);
	return block < walk->nblocks && walk->nread < walk->nblocks;
}

/*
 * Read a page, instead of the one that is in hand.
 */
static bool
read_page(EsLeafWalk *walk, BlockNumber block)
{
	Page		page = (Page) walk->page.data;

	CHECK_FOR_INTERRUPTS();
	release_page(walk);
	walk->block = block;
	if (!is_within_index(walk, block))
		return find_damage(walk, "is behind the end, or linked twice");

	walk->nread++;
	walk->buffer = ReadBufferExtended(walk->index, MAIN_FORKNUM, block,
									  RBM_NORMAL, walk->strategy);
	LockBuffer(walk->buffer, BUFFER_LOCK_SHARE);
	memcpy(page, BufferGetPage(walk->buffer), BLCKSZ);
	LockBuffer(walk->buffer, BUFFER_LOCK_UNLOCK);

	if (PageIsNew(page) ||
		PageGetSpecialSize(page) != MAXALIGN(sizeof(BTPageOpaqueData)))
		return find_damage(walk, "is not a page of a btree");
	return true;
}

/*
 * The item of the page, or NULL if it is none.
 */
static IndexTuple
get_item(EsLeafWalk *walk, OffsetNumber offset)
{
	Page		page = (Page) walk->page.data;
	ItemId		item = PageGetItemId(page, offset);
	Size		room = ItemIdGetLength(item);

	if (room < sizeof(IndexTupleData) ||
		ItemIdGetOffset(item) != MAXALIGN(ItemIdGetOffset(item)) ||
		ItemIdGetOffset(item) + room > ((PageHeader) page)->pd_special ||
		IndexTupleSize((IndexTuple) PageGetItem(page, item)) > room)
		return NULL;
	return (IndexTuple) PageGetItem(page, item);
}

/*
 * The page below that an inner page leads to first, or P_NONE.
 */
static BlockNumber
first_downlink(EsLeafWalk *walk)
{
	OffsetNumber first = P_FIRSTDATAKEY(page_opaque(walk));
	IndexTuple	item = NULL;

	if (first <= PageGetMaxOffsetNumber((Page) walk->page.data))
		item = get_item(walk, first);
	return item == NULL ? P_NONE : BTreeTupleGetDownLink(item);
}

/*
 * The page is a leaf, or was one: be ready for its entries.
 */
static bool
enter_leaf(EsLeafWalk *walk)
{
	BTPageOpaque opaque = page_opaque(walk);

	if (!P_IGNORE(opaque) && !P_ISLEAF(opaque))
		return find_damage(walk, "is no leaf, but linked with them");
	walk->next_item = P_FIRSTDATAKEY(opaque);
	walk->last_item = P_IGNORE(opaque) ? InvalidOffsetNumber :
		PageGetMaxOffsetNumber((Page) walk->page.data);
	ES_WAIT_POINT("leaf-read");
	return true;
}

/*
 * Read the first leaf.  Returns false if there is none, as in an empty index.
 */
static bool
descend(EsLeafWalk *walk)
{
	BTMetaPageData *meta = BTPageGetMeta((Page) walk->page.data);
	BlockNumber block;

	if (!read_page(walk, BTREE_METAPAGE))
		return false;
	if (meta->btm_magic != BTREE_MAGIC)
		return find_damage(walk, "is not the first page of a btree");

	block = meta->btm_fastroot;
	if (block == P_NONE)
		return false;
	while (read_page(walk, block))
	{
		BTPageOpaque opaque = page_opaque(walk);

		if (!P_IGNORE(opaque) && P_ISLEAF(opaque))
			return enter_leaf(walk);
		block = P_IGNORE(opaque) ? opaque->btpo_next : first_downlink(walk);
		if (block == P_NONE)
			return find_damage(walk, "leads to no leaf");
	}
	return false;
}

static bool
read_next_leaf(EsLeafWalk *walk)
{
	if (walk->nread == 0)
		return descend(walk);
	if (P_RIGHTMOST(page_opaque(walk)))
		return false;
	return read_page(walk, page_opaque(walk)->btpo_next) && enter_leaf(walk);
}

/*
 * Take the rows that the entry in hand leads to; false if they don't fit.
 */
static bool
take_tids(EsLeafWalk *walk)
{
	IndexTuple	entry = walk->entry;

	walk->entry_size = IndexTupleSize(entry);
	walk->tids = &entry->t_tid;
	walk->ntids = 1;
	if (BTreeTupleIsPivot(entry))
		return false;
	if (BTreeTupleIsPosting(entry))
	{
		Size		size = walk->entry_size;

		walk->entry_size = BTreeTupleGetPostingOffset(entry);
		walk->ntids = BTreeTupleGetNPosting(entry);
		if (walk->entry_size + walk->ntids * sizeof(ItemPointerData) > size)
			return false;
		walk->tids = BTreeTupleGetPosting(entry);
	}
	return true;
}

/*
 * Take the next item of the page, if an index scan would.
 */
static bool
take_item(EsLeafWalk *walk)
{
	OffsetNumber offset = walk->next_item++;

	walk->ntids = walk->next_tid = 0;
	if (walk->skip_killed &&
		ItemIdIsDead(PageGetItemId((Page) walk->page.data, offset)))
		return true;

	walk->entry = get_item(walk, offset);
	if (walk->entry == NULL || !take_tids(walk))
	{
		walk->ntids = 0;
		return find_damage(walk, "has an entry that is none");
	}
	return true;
}

/*
 * The next row that an entry leads to, or NULL at the end and at a damage.
 */
ItemPointer
es_leaf_walk_next(EsLeafWalk *walk)
{
	while (walk->next_tid == walk->ntids)
	{
		if (walk->damage != NULL)
			return NULL;
		if (walk->next_item <= walk->last_item ? !take_item(walk) : !read_next_leaf(walk))
			return NULL;
	}
	return &walk->tids[walk->next_tid++];
}

/*
 * The key of the entry in hand; false if that is damaged.
 */
bool
es_leaf_walk_get_key(EsLeafWalk *walk, EsIndexKey *key)
{
	if (es_index_key_of_entry(key, walk->index, walk->entry, walk->entry_size))
		return true;
	walk->ntids = walk->next_tid = 0;
	return find_damage(walk, "has an entry that is not one of this index");
}
