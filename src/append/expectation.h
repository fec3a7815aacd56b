/*-------------------------------------------------------------------------
 *
 * expectation.h
 *	  Is the stream what the appender believes it to be?
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_EXPECTATION_H
#define ES_EXPECTATION_H

#include "append/append_request.h"
#include "store/stream.h"

extern void es_expectation_check(const EsAppendRequest *request, const EsStream *stream);
extern void es_expectation_resolve_type(EsAppendRequest *request, const EsStream *stream);

#endif							/* ES_EXPECTATION_H */
