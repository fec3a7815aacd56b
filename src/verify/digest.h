/*-------------------------------------------------------------------------
 *
 * digest.h
 *	  The digests of what is settled.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_DIGEST_H
#define ES_DIGEST_H

#include "access/genam.h"
#include "access/htup.h"
#include "access/tupdesc.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

#include "verify/event_digest.h"

/* The columns of eventstore.digests. */
enum EsDigestsColumn
{
	Anum_es_digests_up_to_position = 1,
	Anum_es_digests_events,
	Anum_es_digests_digest,
	Anum_es_digests_made_at
};

#define Natts_es_digests Anum_es_digests_made_at

/* A row of eventstore.digests. */
typedef struct EsDigest
{
	int64		up_to_position; /* 0: before the first one */
	int64		events;
	uint8		digest[ES_DIGEST_LENGTH];
	TransactionId inserter;		/* invalid if it is not known any more */
	bool		is_complete;	/* is it one that can have been made here? */
} EsDigest;

extern Relation es_digests_open(void);
extern Relation es_digests_open_index(Relation digests);
extern void es_digest_read(EsDigest *digest, HeapTuple row, TupleDesc descriptor);
extern void es_digest_find_before(EsDigest *digest, Relation digests, Relation index,
								  Snapshot snapshot, int64 position);
extern SysScanDesc es_digest_scan_behind(Relation table, Relation index,
										 Snapshot snapshot, int64 position);
extern TransactionId es_row_inserter(HeapTuple row);

#endif							/* ES_DIGEST_H */
