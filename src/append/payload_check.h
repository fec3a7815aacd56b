/*-------------------------------------------------------------------------
 *
 * payload_check.h
 *	  Refuses JSON that PostgreSQL could store, but not read.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_PAYLOAD_CHECK_H
#define ES_PAYLOAD_CHECK_H

#include "append/append_request.h"

extern void es_payload_check(const char *name, const text *payload);
extern void es_payload_check_size(const EsEvent *event);

#endif							/* ES_PAYLOAD_CHECK_H */
