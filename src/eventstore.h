/*-------------------------------------------------------------------------
 *
 * eventstore.h
 *	  The names and the columns that all parts of the event store share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EVENTSTORE_H
#define EVENTSTORE_H

#define ES_SCHEMA "eventstore"
#define ES_EVENTS "events"

/* The columns of eventstore.events. */
enum EsEventsColumn
{
	Anum_es_events_global_position = 1,
	Anum_es_events_version,
	Anum_es_events_created_at,
	Anum_es_events_event_id,
	Anum_es_events_stream_id,
	Anum_es_events_stream_type,
	Anum_es_events_event_type,
	Anum_es_events_schema_version,
	Anum_es_events_correlation_id,
	Anum_es_events_causation_id,
	Anum_es_events_data,
	Anum_es_events_binary_data,
	Anum_es_events_content_type,
	Anum_es_events_metadata,
	Anum_es_events_tags
};

#define Natts_es_events Anum_es_events_tags

/*
 * A name (stream, stream type, event type) is at most this many bytes long,
 * so that every index entry fits into its page.
 */
#define ES_MAX_NAME_LENGTH 2048

#endif							/* EVENTSTORE_H */
