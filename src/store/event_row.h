/*-------------------------------------------------------------------------
 *
 * event_row.h
 *	  The columns of a row of eventstore.events.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_EVENT_ROW_H
#define ES_EVENT_ROW_H

#include "access/htup_details.h"
#include "access/tupdesc.h"

#include "eventstore.h"

static inline int64
es_event_bigint(HeapTuple row, TupleDesc descriptor, int column)
{
	bool		isnull;

	return DatumGetInt64(heap_getattr(row, column, descriptor, &isnull));
}

static inline int64
es_event_position(HeapTuple row, TupleDesc descriptor)
{
	return es_event_bigint(row, descriptor, Anum_es_events_global_position);
}

#endif							/* ES_EVENT_ROW_H */
