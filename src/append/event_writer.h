/*-------------------------------------------------------------------------
 *
 * event_writer.h
 *	  Writes the events of an append.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_EVENT_WRITER_H
#define ES_EVENT_WRITER_H

#include "utils/relcache.h"

#include "append/append_request.h"
#include "append/dedup.h"
#include "store/index_set.h"

extern void es_event_writer_write(EsAppendRequest *request, Relation events,
								  const EsIndexSet *indexes, int64 current_version,
								  EsAppendResult *result);

#endif							/* ES_EVENT_WRITER_H */
