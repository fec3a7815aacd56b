/*-------------------------------------------------------------------------
 *
 * partition_scan.h
 *	  The events of one partition of a subscription, in the global order.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_PARTITION_SCAN_H
#define ES_PARTITION_SCAN_H

#include "access/htup.h"
#include "access/tupdesc.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

#include "store/name_set.h"

/* Partitions as they were before their number was changed. */
typedef struct EsLayout
{
	int			partitions;
	int64	   *checkpoints;
} EsLayout;

/* A stream that waits for an event that failed, or catches up behind one. */
typedef struct EsWaitingStream
{
	text	   *stream_id;
	int64		position;		/* from here on its events wait */
	int64		version;		/* that at the position, or a lower one */
	int64		failed_position;	/* 0: none, it catches up */
	int			attempts;
	bool		is_early;		/* is it too early for another attempt? */
	bool		is_suspect;		/* has a consumer that had it not answered? */
} EsWaitingStream;

/* What a partition of a subscription consists of. */
typedef struct EsSelection
{
	EsNameSet  *stream_types;	/* NULL: all */
	EsNameSet  *event_types;	/* NULL: all */
	int			partition;
	int			partitions;
	EsLayout   *layouts;
	int			nlayouts;
	EsWaitingStream *waiting;	/* ordered by stream_id */
	int			nwaiting;
	int64	   *parked;			/* positions, ordered */
	int			nparked;
} EsSelection;

typedef struct EsPartitionScan EsPartitionScan;

extern int	es_stream_partition(const text *stream_id, int partitions);
extern bool es_selection_wants(const EsSelection *selection, HeapTuple row,
							   TupleDesc descriptor);
extern EsPartitionScan *es_partition_scan_begin(Relation events, Snapshot snapshot,
												const EsSelection *selection,
												int64 after_position);
extern HeapTuple es_partition_scan_next(EsPartitionScan *scan);
extern int64 es_partition_scan_reached(EsPartitionScan *scan);
extern void es_partition_scan_end(EsPartitionScan *scan);

#endif							/* ES_PARTITION_SCAN_H */
