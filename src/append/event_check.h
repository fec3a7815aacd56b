/*-------------------------------------------------------------------------
 *
 * event_check.h
 *	  What an event has to be before it is appended, in whichever form it was
 *	  given.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_EVENT_CHECK_H
#define ES_EVENT_CHECK_H

#include "append/append_request.h"

extern void es_event_check_name(const char *what, text *name);
extern void es_event_check(const EsEvent *event);

#endif							/* ES_EVENT_CHECK_H */
