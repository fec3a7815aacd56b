/*-------------------------------------------------------------------------
 *
 * event_source.h
 *	  The source of CloudEvents.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_EVENT_SOURCE_H
#define ES_EVENT_SOURCE_H

extern const char *es_event_source_fault(const char *value);
extern const char *es_event_source_default(void);

#endif							/* ES_EVENT_SOURCE_H */
