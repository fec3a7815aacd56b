/*-------------------------------------------------------------------------
 *
 * event_check.c
 *	  What an event has to be before it is appended, in whichever form it was
 *	  given.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "append/append_request.h"
#include "append/event_check.h"
#include "append/payload_check.h"
#include "eventstore.h"

/*
 * Raise an error if this can't be the name of a stream, a type or the like.
 */
void
es_event_check_name(const char *what, text *name)
{
	int			length = VARSIZE_ANY_EXHDR(name);

	if (length == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must not be empty", what),
				 errdetail("A name has at least one character."),
				 errhint("Pass a name such as \"Order-7f3a\".")));
	if (length > ES_MAX_NAME_LENGTH)
		ereport(ERROR,
				(errcode(ERRCODE_STRING_DATA_RIGHT_TRUNCATION),
				 errmsg("%s is too long", what),
				 errdetail("It has %d bytes, and at most %d are allowed.",
						   length, ES_MAX_NAME_LENGTH),
				 errhint("Use a shorter name, such as a UUID or a hash of the long one.")));
}

/*
 * A media type.  Clients put it into headers, where other characters do harm.
 */
static void
check_content_type(text *content_type)
{
	const unsigned char *p = (const unsigned char *) VARDATA_ANY(content_type);
	int			length = VARSIZE_ANY_EXHDR(content_type);

	es_event_check_name("content_type", content_type);
	for (int i = 0; i < length; i++)
	{
		if (p[i] >= ' ' && p[i] <= '~')
			continue;
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("content_type must consist of printable ASCII characters"),
				 errdetail("Its byte %d is 0x%02x.", i + 1, p[i]),
				 errhint("Pass a media type, such as \"image/png\".")));
	}
}

/*
 * Checks of an event that hold for JSON and typed input alike.
 */
void
es_event_check(const EsEvent *event)
{
	if (event->event_type == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("event_type is missing"),
				 errdetail("It was not given, or is null."),
				 errhint("Name what happened, such as \"OrderPlaced\".")));
	es_event_check_name("event_type", event->event_type);

	if ((event->data == NULL) == (event->binary_data == NULL))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("an event carries exactly one of data and binary_data"),
				 event->data == NULL ?
				 errdetail("This one carries neither.") :
				 errdetail("This one carries both."),
				 errhint("Use data for JSON (an empty object if there is nothing to say) and binary_data for everything else.")));

	if (event->schema_version < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("schema_version must be at least 1"),
				 errdetail("It is %d.", event->schema_version),
				 errhint("Leave it out for the first version of an event's schema.")));

	if (event->content_type != NULL)
		check_content_type(event->content_type);

	es_payload_check_size(event);
	if (event->data != NULL)
		es_payload_check("data", event->data);
	if (event->metadata != NULL)
		es_payload_check("metadata", event->metadata);
}
