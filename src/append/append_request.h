/*-------------------------------------------------------------------------
 *
 * append_request.h
 *	  From the arguments of an append function to an EsAppendRequest.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_APPEND_REQUEST_H
#define ES_APPEND_REQUEST_H

#include "fmgr.h"
#include "utils/array.h"
#include "utils/uuid.h"

/* One event as the caller gave it; a null pointer means "not given". */
typedef struct EsEvent
{
	text	   *event_type;
	int32		schema_version;
	pg_uuid_t	event_id;
	pg_uuid_t	correlation_id;
	pg_uuid_t	causation_id;
	bool		has_event_id;	/* by the caller, not made here */
	bool		has_correlation_id;
	bool		has_causation_id;
	text	   *data;
	bytea	   *binary_data;
	text	   *content_type;
	text	   *metadata;
	ArrayType  *tags;
} EsEvent;

/* One call of an append function. */
typedef struct EsAppendRequest
{
	text	   *stream_id;
	text	   *stream_type;	/* NULL: the stream's own, or derived */
	bool		has_expected_version;
	int64		expected_version;
	int			nevents;
	EsEvent    *events;
	int		   *by_event_id;	/* indexes of events, ordered by event id */
	bool		has_given_ids;	/* is any event id the caller's? */
	int			current_event;	/* for error context: 1 .. nevents, or 0 */
} EsAppendRequest;

extern void es_append_request_from_json(EsAppendRequest *request,
										FunctionCallInfo fcinfo);
extern void es_append_request_from_arguments(EsAppendRequest *request,
											 FunctionCallInfo fcinfo);
extern text *es_append_request_derive_type(const EsAppendRequest *request);

#endif							/* ES_APPEND_REQUEST_H */
