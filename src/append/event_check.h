/*-------------------------------------------------------------------------
 *
 * event_check.h
 *	  What an event has to be before it is appended.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_EVENT_CHECK_H
#define ES_EVENT_CHECK_H

#include "eventstore.h"

extern void es_event_check_name(const char *what, text *name);
extern void es_event_check(const EsEvent *event);

#endif							/* ES_EVENT_CHECK_H */
