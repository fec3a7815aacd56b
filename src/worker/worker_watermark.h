/*-------------------------------------------------------------------------
 *
 * worker_watermark.h
 *	  How the background worker advances the watermark and makes digests.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_WORKER_WATERMARK_H
#define ES_WORKER_WATERMARK_H

#include "datatype/timestamp.h"

/* When the watermark is written. */
typedef struct EsPace
{
	TimestampTz next;			/* not before */
	TransactionId kept_xid;		/* that of the first version that may be kept */
	TimestampTz kept_since;
} EsPace;

extern void es_watermark_get_ready(void);
extern void es_watermark_clean_up(void);
extern int64 es_watermark_advance(EsPace *pace);
extern bool es_digest_advance(void);

#endif							/* ES_WORKER_WATERMARK_H */
