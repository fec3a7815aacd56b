/*-------------------------------------------------------------------------
 *
 * stream.h
 *	  One stream.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_STREAM_H
#define ES_STREAM_H

#include "utils/relcache.h"
#include "utils/snapshot.h"

/* What is stored of a stream. */
typedef struct EsStream
{
	int64		version;		/* 0: there is no such stream */
	text	   *stream_type;	/* NULL when there is no such stream */
} EsStream;

extern void es_stream_lock(const text *stream_id);
extern void es_stream_look_up(EsStream *stream, Relation events,
							  Relation stream_index, const text *stream_id,
							  Snapshot snapshot);

#endif							/* ES_STREAM_H */
