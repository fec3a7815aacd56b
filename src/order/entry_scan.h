/*-------------------------------------------------------------------------
 *
 * entry_scan.h
 *	  A scan along an index of eventstore.events that looks at the rows behind
 *	  its entries a heap page at a time.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_ENTRY_SCAN_H
#define ES_ENTRY_SCAN_H

#include "access/htup.h"
#include "access/sdir.h"
#include "access/skey.h"
#include "storage/itemptr.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

/* So many are collected ahead at the most. */
#define ES_MAX_COLLECTED_ENTRIES 128

/* An entry of an index of the events table, and the row behind it. */
typedef struct EsEntry
{
	ItemPointerData tid;
	int64		position;		/* if the scan wants positions */
	bool		is_all_visible; /* ... everybody, says the visibility map */
	bool		is_seen;		/* does the snapshot see a row here? */
	HeapTupleData row;			/* the one that it sees */
} EsEntry;

typedef struct EsEntryScan EsEntryScan;

extern EsEntryScan *es_entry_scan_begin(Relation events, Relation index,
										Snapshot snapshot, int nkeys);
extern void es_entry_scan_want_positions(EsEntryScan *scan);
extern void es_entry_scan_want_no_rows(EsEntryScan *scan);
extern void es_entry_scan_position(EsEntryScan *scan, ScanKey keys,
								   ScanDirection direction);
extern EsEntry *es_entry_scan_next(EsEntryScan *scan, int64 max_entries);
extern void es_entry_scan_end(EsEntryScan *scan);
extern HeapTuple es_entry_scan_find_event(Relation events, Snapshot snapshot,
										  int64 position);
extern int64 es_entry_scan_last_position(Relation events, Relation position_index,
										 Snapshot snapshot);

#endif							/* ES_ENTRY_SCAN_H */
