/*-------------------------------------------------------------------------
 *
 * delivery.h
 *	  What a call of fetch_events() returns.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_DELIVERY_H
#define ES_DELIVERY_H

#include "access/htup.h"
#include "access/tupdesc.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"
#include "utils/tuplestore.h"

#include "subscription/partition_scan.h"

/* A call of fetch_events(), and the partition that it has taken. */
typedef struct EsFetch
{
	Datum		subscription_id;
	Datum		consumer;
	int			max_count;
	Datum		lease;
	int64		revision;
	int			max_attempts;
	EsSelection selection;

	int64		checkpoint;
	int64		scanned_to;
	int64		fetched_to;		/* 0: nothing behind the checkpoint in hand */
	int64		tried_to;
	int			attempts;

	Relation	events;
	Snapshot	snapshot;
	TupleDesc	result_descriptor;
	Tuplestorestate *result;
	int			nrows;			/* handed out */
} EsFetch;

extern void es_delivery_add(EsFetch *fetch, HeapTuple row, int attempt);
extern int64 es_delivery_position(EsFetch *fetch, HeapTuple row);

#endif							/* ES_DELIVERY_H */
