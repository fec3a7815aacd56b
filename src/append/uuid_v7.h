/*-------------------------------------------------------------------------
 *
 * uuid_v7.h
 *	  Time-ordered event ids, for callers that bring none.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_UUID_V7_H
#define ES_UUID_V7_H

#include "utils/uuid.h"

extern void es_uuid_v7_generate(pg_uuid_t *uuid);

#endif							/* ES_UUID_V7_H */
