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
	Anum_es_watermark_checksum,
	Anum_es_watermark_is_replica,
	Anum_es_watermark_published_position,
	Anum_es_watermark_published_events,
	Anum_es_watermark_published_checksum
};

#define ES_NO_WATERMARK (-1)

/* How many events there are up to a position, and which. */
typedef struct EsTally
{
	bool		is_known;
	int64		events;
	uint64		checksum;
} EsTally;

typedef struct EsWatermark
{
	bool		exists;
	bool		is_own;			/* written by this transaction */
	int64		settled_position;
	EsTally		settled;		/* at or below it */
	bool		is_replica;		/* do the events come from another store? */
	int64		published_position; /* the publisher's, or ES_NO_WATERMARK */
	EsTally		published;
} EsWatermark;

extern void es_watermark_read_row(EsWatermark *watermark, HeapTuple row, TupleDesc descriptor);
extern void es_watermark_read_no_row(EsWatermark *watermark);
extern void es_watermark_get(EsWatermark *watermark, Snapshot snapshot);
extern void es_watermark_get_now(EsWatermark *watermark);
extern int64 es_watermark_read(Snapshot snapshot);
extern bool es_watermark_is_held(const EsWatermark *watermark);
extern int64 es_watermark_arrived(const EsWatermark *watermark, Relation events,
								  Snapshot snapshot);
extern bool es_tally_equals(const EsTally *a, const EsTally *b);
extern int64 es_tally_add(EsTally *tally, Relation events, Snapshot snapshot, int64 after,
						  int64 up_to, int64 max_events);
extern void es_watermark_tally_up_to(EsTally *tally, const EsWatermark *watermark,
									 Relation events, Snapshot snapshot, int64 position);

#endif							/* ES_WATERMARK_H */
