/*-------------------------------------------------------------------------
 *
 * dedup.h
 *	  Was this append made before?
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_DEDUP_H
#define ES_DEDUP_H

#include "utils/relcache.h"
#include "utils/uuid.h"

#include "append/append_request.h"

/* What an append function returns. */
typedef struct EsAppendResult
{
	int64		first_version;
	int64		last_version;
	int64		first_position;
	int64		last_position;
	bool		deduplicated;
} EsAppendResult;

extern bool es_dedup_look_up(EsAppendRequest *request, Relation events,
							 Relation event_id_index, EsAppendResult *result);
extern void es_dedup_report(Relation events, Relation event_id_index,
							const pg_uuid_t *event_id);

#endif							/* ES_DEDUP_H */
