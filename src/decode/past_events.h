/*-------------------------------------------------------------------------
 *
 * past_events.h
 *	  Which relation was eventstore.events, when a change was made that is
 *	  being decoded?
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_PAST_EVENTS_H
#define ES_PAST_EVENTS_H

#include "utils/relcache.h"

#define ES_EXTENSION "eventstore"

extern bool es_past_events_has_name(Relation relation);
extern bool es_past_events_is_member(Relation relation);
extern void es_past_events_check_columns(Relation events);

#endif							/* ES_PAST_EVENTS_H */
