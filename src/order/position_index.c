/*-------------------------------------------------------------------------
 *
 * position_index.c
 *	  The end of the position index.
 *
 * Every append asks for it, so it has to cost next to nothing.  A scan that
 * begins at the end of a btree reads the whole last page: 26,000 instructions,
 * a quarter of an append.  To look at the last entry alone takes a tenth of
 * that.  Nothing is decided by it but the refusal of an append.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/itup.h"
#include "access/nbtree.h"
#include "access/relscan.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "order/position_index.h"
#include "store/catalog.h"

/*
 * The same by an ordinary scan.
 */
static int64
scan_for_last_entry(Relation events, Relation position_index)
{
	IndexScanDesc scan = es_index_beginscan(events, position_index, SnapshotAny, 0);
	int64		position = 0;

	scan->xs_want_itup = true;
	index_rescan(scan, NULL, 0, NULL, 0);
	if (index_getnext_tid(scan, BackwardScanDirection) != NULL)
	{
		bool		isnull;

		position = DatumGetInt64(index_getattr(scan->xs_itup, 1, scan->xs_itupdesc, &isnull));
	}
	index_endscan(scan);
	return position;
}

/*
 * The last position in the index, whatever has become of its row; 0 when there
 * is none.  No snapshot is asked, and no predicate lock taken, so that a
 * serializable transaction does not depend on who appends next.
 */
int64
es_position_index_last(Relation events, Relation position_index)
{
	Buffer		buffer = es_bt_get_last_leaf(position_index);
	Page		page;
	OffsetNumber last;
	int64		position = 0;

	if (!BufferIsValid(buffer))
		return 0;

	page = BufferGetPage(buffer);
	last = PageGetMaxOffsetNumber(page);
	if (last >= P_FIRSTDATAKEY(BTPageGetOpaque(page)))
	{
		IndexTuple	entry = (IndexTuple) PageGetItem(page, PageGetItemId(page, last));
		bool		isnull;

		position = DatumGetInt64(index_getattr(entry, 1, RelationGetDescr(position_index), &isnull));
	}
	UnlockReleaseBuffer(buffer);

	/* Vacuum may have left an empty page at the end. */
	return position > 0 ? position : scan_for_last_entry(events, position_index);
}

/*
 * The same for who has not opened the index.
 */
int64
es_position_last(Relation events)
{
	Relation	index = es_catalog_open_index(ES_POSITION_INDEX);
	int64		position = es_position_index_last(events, index);

	index_close(index, AccessShareLock);
	return position;
}
