/*-------------------------------------------------------------------------
 *
 * watermark.h
 *	  The row of eventstore.watermark; see watermark.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_WATERMARK_H
#define ES_WATERMARK_H

#include "utils/rel.h"
#include "utils/snapshot.h"

enum EsWatermarkColumn
{
	Anum_es_watermark_only_row = 1,
	Anum_es_watermark_settled_position,
	Anum_es_watermark_events,
	Anum_es_watermark_is_replica,
	Anum_es_watermark_published_position,
	Anum_es_watermark_published_events
};

#define Natts_es_watermark Anum_es_watermark_published_events

/* There is no such position; and the events up to it were not counted. */
#define ES_NO_WATERMARK (-1)
#define ES_NOT_COUNTED (-1)

typedef struct EsWatermark
{
	bool		exists;
	bool		is_own;			/* written by this transaction */
	int64		settled_position;
	int64		events;			/* at or below settled_position */
	bool		is_replica;		/* do the events come from another store? */
	int64		published_position; /* the publisher's watermark */
	int64		published_events;
} EsWatermark;

extern void es_watermark_read_row(EsWatermark *watermark, HeapTuple row, TupleDesc descriptor);
extern void es_watermark_read_no_row(EsWatermark *watermark);
extern void es_watermark_get(EsWatermark *watermark, Snapshot snapshot);
extern int64 es_watermark_read(Snapshot snapshot);
extern bool es_watermark_is_held(const EsWatermark *watermark);
extern int64 es_watermark_arrived(const EsWatermark *watermark, Relation events,
								  Snapshot snapshot);
extern int64 es_watermark_count_up_to(const EsWatermark *watermark, Relation events,
									  Snapshot snapshot, int64 position);

#endif							/* ES_WATERMARK_H */
