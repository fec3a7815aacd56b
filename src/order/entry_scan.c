/*-------------------------------------------------------------------------
 *
 * entry_scan.c
 *	  A scan along an index of eventstore.events that looks at the rows behind
 *	  its entries a heap page at a time.
 *
 * An index scan of the executor pins, locks and unlocks the heap page for
 * every single row.  Here entries are collected first, then all rows of a
 * run of entries on one page are looked at under one lock, and handed out
 * under the pin alone: what the snapshot has been found to see does not
 * change.  Entries are never collected while a heap page is locked, since
 * those who insert into a unique index lock pages in the other order.
 *
 * Collecting ahead means that a row may be vacuumed away, and its place
 * taken by another one, between the reading of the entry and the look at the
 * row.  To a row that the snapshot sees this can't happen.  Whoever cares for
 * the others has to compare (walk.c does).  The visibility map is asked
 * while the scan still holds its pin on the index page.
 *
 * It also means that the index can't be told which entries are dead.  Behind a
 * row that is not seen, entries are therefore fetched one by one, in the way
 * of the server, which itself sees to it that the entries of dead rows are
 * passed over from then on.  Otherwise every follower who polls at the end of
 * the store would walk a long stretch of rolled-back rows again and again,
 * until vacuum comes: 300,000 of them take 40 ms instead of 1 ms.  What is
 * dead is never decided here.
 *
 * The scan bypasses the table access method's interface, so the table must
 * be a heap; catalog.c sees to that.  Serializable transactions get the same
 * predicate locks and conflict checks as in any index scan.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/itup.h"
#include "access/relscan.h"
#include "access/skey.h"
#include "access/tableam.h"
#include "access/visibilitymap.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/predicate.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "order/entry_scan.h"
#include "store/catalog.h"

struct EsEntryScan
{
	Relation	events;
	Snapshot	snapshot;
	IndexScanDesc index_scan;
	int			nkeys;
	ScanDirection direction;
	bool		want_positions;
	bool		want_rows;
	Buffer		heap_buffer;
	Buffer		vm_buffer;
	TupleTableSlot *slot;		/* the row of an entry fetched alone */
	int			nentries;		/* collected */
	int			nlooked_at;		/* ... of which the rows were looked at */
	int			next;			/* ... of which were handed out */
	bool		at_end;			/* has the index said so? */
	EsEntry		entries[ES_MAX_COLLECTED_ENTRIES];
};

static void
forget_entries(EsEntryScan *scan)
{
	scan->nentries = scan->nlooked_at = scan->next = 0;
	scan->at_end = false;
}

/*
 * Begin a scan.  The snapshot must be an MVCC snapshot that stays active or
 * registered until es_entry_scan_end(), the index must be locked, and keys
 * be given by es_entry_scan_position().
 */
EsEntryScan *
es_entry_scan_begin(Relation events, Relation index, Snapshot snapshot, int nkeys)
{
	EsEntryScan *scan = palloc(sizeof(EsEntryScan));

	Assert(IsMVCCSnapshot(snapshot));
	Assert(snapshot->regd_count + snapshot->active_count > 0);

	scan->events = events;
	scan->snapshot = snapshot;
	scan->direction = ForwardScanDirection;
	scan->index_scan = es_index_beginscan(events, index, snapshot, nkeys);
	scan->nkeys = nkeys;
	scan->want_positions = false;
	scan->want_rows = true;
	scan->heap_buffer = InvalidBuffer;
	scan->vm_buffer = InvalidBuffer;
	scan->slot = NULL;
	forget_entries(scan);
	return scan;
}

/*
 * Let each entry tell the first column of the index, a global position.
 */
void
es_entry_scan_want_positions(EsEntryScan *scan)
{
	scan->want_positions = true;
	scan->index_scan->xs_want_itup = true;
}

/*
 * The caller is content with positions, and with whether rows are seen.
 */
void
es_entry_scan_want_no_rows(EsEntryScan *scan)
{
	scan->want_rows = false;
}

static void
release_rows(EsEntryScan *scan)
{
	if (BufferIsValid(scan->heap_buffer))
		ReleaseBuffer(scan->heap_buffer);
	scan->heap_buffer = InvalidBuffer;
	if (scan->slot != NULL)
		ExecClearTuple(scan->slot);
}

/*
 * (Re)start the scan.  It keeps no pin until the next entry is asked for.
 */
void
es_entry_scan_position(EsEntryScan *scan, ScanKey keys, ScanDirection direction)
{
	release_rows(scan);
	scan->direction = direction;
	forget_entries(scan);
	index_rescan(scan->index_scan, keys, scan->nkeys, NULL, 0);
}

void
es_entry_scan_end(EsEntryScan *scan)
{
	release_rows(scan);
	if (scan->slot != NULL)
		ExecDropSingleTupleTableSlot(scan->slot);
	if (BufferIsValid(scan->vm_buffer))
		ReleaseBuffer(scan->vm_buffer);
	index_endscan(scan->index_scan);
	pfree(scan);
}

/*
 * Where nobody wants the rows, a page that is visible to all need not be
 * looked at; for the order of the reads see IndexOnlyNext() in the server.
 */
static bool
page_is_all_visible(EsEntryScan *scan, BlockNumber block)
{
	if (scan->want_rows || !VM_ALL_VISIBLE(scan->events, block, &scan->vm_buffer))
		return false;
	PredicateLockPage(scan->events, block, scan->snapshot);
	return true;
}

static void
fill_entry(EsEntryScan *scan, EsEntry *entry, ItemPointer tid)
{
	IndexScanDesc index_scan = scan->index_scan;
	bool		isnull;

	entry->tid = *tid;
	entry->is_all_visible = page_is_all_visible(scan, ItemPointerGetBlockNumber(tid));
	if (scan->want_positions)
		entry->position = DatumGetInt64(index_getattr(index_scan->xs_itup, 1,
													  index_scan->xs_itupdesc,
													  &isnull));
}

/*
 * Take the next entry from the index, which must not be asked again once it
 * has said that there are no more.
 */
static bool
take_entry(EsEntryScan *scan)
{
	ItemPointer tid;

	if (scan->at_end)
		return false;
	tid = index_getnext_tid(scan->index_scan, scan->direction);
	scan->at_end = tid == NULL;
	if (!scan->at_end)
		fill_entry(scan, &scan->entries[scan->nentries++], tid);
	return !scan->at_end;
}

/*
 * Take one entry, and let the server look at its row.  If that is dead to
 * everybody, the index is told so when it is asked for the next entry.
 */
static void
fetch_entry(EsEntryScan *scan)
{
	EsEntry    *entry = &scan->entries[0];

	scan->nentries = scan->nlooked_at = scan->next = 0;
	if (!take_entry(scan))
		return;

	scan->nlooked_at = 1;
	entry->is_seen = entry->is_all_visible;
	if (entry->is_all_visible)
		return;

	if (scan->slot == NULL)
		scan->slot = table_slot_create(scan->events, NULL);
	entry->is_seen = index_fetch_heap(scan->index_scan, scan->slot);
	if (entry->is_seen)
		entry->row = *ExecFetchSlotHeapTuple(scan->slot, false, NULL);
}

/*
 * Collect entries, and look at their rows later.
 */
static void
collect_entries(EsEntryScan *scan, int64 max_entries)
{
	int			limit = Min(max_entries, ES_MAX_COLLECTED_ENTRIES);

	scan->nentries = scan->nlooked_at = scan->next = 0;
	while (scan->nentries < limit && take_entry(scan))
		 /* go on */ ;
}

/*
 * Was the row of the last entry one that the snapshot does not see?
 */
static bool
is_behind_unseen_row(const EsEntryScan *scan)
{
	return scan->nlooked_at > 0 && !scan->entries[scan->nlooked_at - 1].is_seen;
}

/*
 * Look at one row of the page that is locked.
 */
static void
look_at_row(EsEntryScan *scan, EsEntry *entry)
{
	ItemPointerData tid = entry->tid;

	entry->is_seen = heap_hot_search_buffer(&tid, scan->events, scan->heap_buffer,
											scan->snapshot, &entry->row, NULL, true);
}

static void
look_at_page(EsEntryScan *scan, BlockNumber block, int first, int last)
{
	Buffer		previous = scan->heap_buffer;

	scan->heap_buffer = ReleaseAndReadBuffer(previous, scan->events, block);
	if (scan->heap_buffer != previous)
		es_heap_page_prune_opt(scan->events, scan->heap_buffer, &scan->vm_buffer);

	LockBuffer(scan->heap_buffer, BUFFER_LOCK_SHARE);
	for (int i = first; i < last; i++)
		look_at_row(scan, &scan->entries[i]);
	LockBuffer(scan->heap_buffer, BUFFER_LOCK_UNLOCK);
}

/*
 * Does the entry go with the run that begins with "first"?
 */
static bool
is_in_run(const EsEntry *first, const EsEntry *entry)
{
	return ItemPointerGetBlockNumber(&entry->tid) == ItemPointerGetBlockNumber(&first->tid) &&
		entry->is_all_visible == first->is_all_visible;
}

/*
 * Look at the rows of the next run of entries that point to one page.
 */
static void
look_at_run(EsEntryScan *scan)
{
	int			first = scan->nlooked_at;
	int			last = first;
	EsEntry    *entry = &scan->entries[first];

	while (last < scan->nentries && is_in_run(entry, &scan->entries[last]))
		last++;

	if (!entry->is_all_visible)
		look_at_page(scan, ItemPointerGetBlockNumber(&entry->tid), first, last);
	else
		for (int i = first; i < last; i++)
			scan->entries[i].is_seen = true;
	scan->nlooked_at = last;
}

/*
 * The next entry, or NULL at the end.  Its row is valid, if the entry is seen
 * and rows are wanted, until the next call.  At most "max_entries" are
 * collected ahead: what the caller can use.
 */
EsEntry *
es_entry_scan_next(EsEntryScan *scan, int64 max_entries)
{
	CHECK_FOR_INTERRUPTS();

	if (scan->next == scan->nentries)
	{
		if (is_behind_unseen_row(scan))
			fetch_entry(scan);
		else
			collect_entries(scan, max_entries);
	}
	if (scan->next == scan->nentries)
		return NULL;
	if (scan->next == scan->nlooked_at)
		look_at_run(scan);
	return &scan->entries[scan->next++];
}

/*
 * The next entry whose row the snapshot sees, for a caller who wants just one.
 */
static EsEntry *
next_seen(EsEntryScan *scan)
{
	EsEntry    *entry;

	do
	{
		entry = es_entry_scan_next(scan, 1);
	} while (entry != NULL && !entry->is_seen);
	return entry;
}

/*
 * A copy of the event at the position, or NULL if the snapshot sees none.
 */
HeapTuple
es_entry_scan_find_event(Relation events, Snapshot snapshot, int64 position)
{
	Relation	index = es_catalog_open_index(ES_POSITION_INDEX);
	EsEntryScan *scan = es_entry_scan_begin(events, index, snapshot, 1);
	ScanKeyData key;
	EsEntry    *entry;
	HeapTuple	row;

	ScanKeyEntryInitialize(&key, 0, 1, BTEqualStrategyNumber, InvalidOid,
						   InvalidOid, F_INT8EQ, Int64GetDatum(position));
	es_entry_scan_position(scan, &key, ForwardScanDirection);
	entry = next_seen(scan);
	row = entry != NULL ? heap_copytuple(&entry->row) : NULL;
	es_entry_scan_end(scan);
	index_close(index, AccessShareLock);
	return row;
}

/*
 * The last position in the position index whose event the snapshot sees, 0
 * when there is none.
 */
int64
es_entry_scan_last_position(Relation events, Relation position_index, Snapshot snapshot)
{
	EsEntryScan *scan = es_entry_scan_begin(events, position_index, snapshot, 0);
	EsEntry    *entry;
	int64		position = 0;

	es_entry_scan_want_positions(scan);
	es_entry_scan_position(scan, NULL, BackwardScanDirection);
	entry = next_seen(scan);
	if (entry != NULL)
		position = entry->position;
	es_entry_scan_end(scan);
	return position;
}
