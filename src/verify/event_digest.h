/*-------------------------------------------------------------------------
 *
 * event_digest.h
 *	  The digest of an event, and that of a range of events.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_EVENT_DIGEST_H
#define ES_EVENT_DIGEST_H

#include "access/htup.h"
#include "access/tupdesc.h"
#include "common/sha2.h"

#define ES_DIGEST_LENGTH PG_SHA256_DIGEST_LENGTH

typedef struct EsDigester EsDigester;

extern EsDigester *es_digester_begin(void);
extern void es_digester_begin_range(EsDigester *digester, const uint8 *previous);
extern Size es_digester_add(EsDigester *digester, HeapTuple row, TupleDesc descriptor);
extern void es_digester_end_range(EsDigester *digester, uint8 *digest);
extern void es_digester_end(EsDigester *digester);

#endif							/* ES_EVENT_DIGEST_H */
