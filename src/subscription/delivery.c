/*-------------------------------------------------------------------------
 *
 * delivery.c
 *	  What a call of fetch_events() returns.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "utils/rel.h"
#include "utils/tuplestore.h"

#include "store/event_row.h"
#include "subscription/delivery.h"

/* partition and attempt */
#define NATTS_IN_FRONT 2

/*
 * Add an event to what the call returns.
 */
void
es_delivery_add(EsFetch *fetch, HeapTuple row, int attempt)
{
	TupleDesc	descriptor = RelationGetDescr(fetch->events);
	int			natts = NATTS_IN_FRONT + descriptor->natts;
	Datum	   *values = palloc(natts * sizeof(Datum));
	bool	   *isnull = palloc0(natts * sizeof(bool));

	values[0] = Int32GetDatum(fetch->selection.partition);
	values[1] = Int32GetDatum(attempt);
	heap_deform_tuple(row, descriptor, values + NATTS_IN_FRONT, isnull + NATTS_IN_FRONT);
	tuplestore_putvalues(fetch->result, fetch->result_descriptor, values, isnull);
	fetch->nrows++;

	pfree(values);
	pfree(isnull);
}

int64
es_delivery_position(EsFetch *fetch, HeapTuple row)
{
	return es_event_position(row, RelationGetDescr(fetch->events));
}
