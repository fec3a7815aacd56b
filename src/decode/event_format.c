/*-------------------------------------------------------------------------
 *
 * event_format.c
 *	  An event as JSON.
 *
 * Format "json" is the row: its columns by name, those that are null left
 * out, data and metadata byte for byte as they are stored.
 *
 * Format "cloudevents" is CloudEvents 1.0 in structured mode.  What has no
 * attribute there becomes an extension attribute.  These have one type for
 * good: strings for what needs 64 bits, as the specification's Integer has
 * 32, and for metadata and tags, whose JSON is then inside the string.  The
 * specification keeps some characters out of attributes: in JSON they are
 * escaped, elsewhere U+FFFD takes their place.
 *
 * Values are detoasted here, into the memory context of the caller, who is
 * to reset it after each message.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "decode/event_format.h"
#include "decode/json_writer.h"
#include "decode/output_options.h"
#include "eventstore.h"

/* An event that is being written. */
typedef struct EventObject
{
	EsJsonWriter json;
	const Datum *values;
	const bool *nulls;
	const EsTransaction *details;	/* NULL: not wanted */
} EventObject;

/*
 * Each write_<type> writes a column as a member, unless it is null.
 */
static bool
is_null(const EventObject *writer, enum EsEventsColumn column)
{
	return writer->nulls[column - 1];
}

static Datum
get_value(const EventObject *writer, enum EsEventsColumn column)
{
	return writer->values[column - 1];
}

static struct varlena *
get_varlena(const EventObject *writer, enum EsEventsColumn column)
{
	return PG_DETOAST_DATUM_PACKED(get_value(writer, column));
}

static void
write_bigint(EventObject *writer, const char *name, enum EsEventsColumn column)
{
	if (!is_null(writer, column))
		es_json_writer_number(&writer->json, name,
							  DatumGetInt64(get_value(writer, column)));
}

static void
write_bigint_as_string(EventObject *writer, const char *name, enum EsEventsColumn column)
{
	if (!is_null(writer, column))
		es_json_writer_number_as_string(&writer->json, name,
										DatumGetInt64(get_value(writer, column)));
}

static void
write_bigint_as_digits(EventObject *writer, const char *name, enum EsEventsColumn column)
{
	if (!is_null(writer, column))
		es_json_writer_number_as_digits(&writer->json, name,
										DatumGetInt64(get_value(writer, column)));
}

static void
write_integer(EventObject *writer, const char *name, enum EsEventsColumn column)
{
	if (!is_null(writer, column))
		es_json_writer_number(&writer->json, name,
							  DatumGetInt32(get_value(writer, column)));
}

static void
write_time(EventObject *writer, const char *name, enum EsEventsColumn column)
{
	if (!is_null(writer, column))
		es_json_writer_time(&writer->json, name,
							DatumGetTimestampTz(get_value(writer, column)));
}

static void
write_uuid(EventObject *writer, const char *name, enum EsEventsColumn column)
{
	if (!is_null(writer, column))
		es_json_writer_uuid(&writer->json, name,
							DatumGetUUIDP(get_value(writer, column)));
}

/*
 * As a JSON string, whatever the text is.
 */
static void
write_text(EventObject *writer, const char *name, enum EsEventsColumn column)
{
	struct varlena *value;

	if (is_null(writer, column))
		return;
	value = get_varlena(writer, column);
	es_json_writer_string(&writer->json, name,
						  VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
}

/*
 * As an attribute of CloudEvents.
 */
static void
write_attribute(EventObject *writer, const char *name, enum EsEventsColumn column)
{
	struct varlena *value;

	if (is_null(writer, column))
		return;
	value = get_varlena(writer, column);
	es_json_writer_attribute(&writer->json, name,
							 VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
}

static void
write_json_attribute(EventObject *writer, const char *name, enum EsEventsColumn column)
{
	struct varlena *value;

	if (is_null(writer, column))
		return;
	value = get_varlena(writer, column);
	es_json_writer_json_attribute(&writer->json, name,
								  VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
}

/*
 * The text is JSON: as it is.
 */
static void
write_json(EventObject *writer, const char *name, enum EsEventsColumn column)
{
	struct varlena *value;

	if (is_null(writer, column))
		return;
	value = get_varlena(writer, column);
	es_json_writer_raw(&writer->json, name,
					   VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
}

static void
write_bytea(EventObject *writer, const char *name, enum EsEventsColumn column)
{
	struct varlena *value;

	if (is_null(writer, column))
		return;
	value = get_varlena(writer, column);
	es_json_writer_base64(&writer->json, name,
						  VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
}

static void
format_text_array(StringInfo out, ArrayType *array)
{
	Datum	   *elements;
	bool	   *nulls;
	int			nelements;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT,
					  &elements, &nulls, &nelements);
	appendStringInfoChar(out, '[');
	for (int i = 0; i < nelements; i++)
	{
		if (i > 0)
			appendStringInfoChar(out, ',');
		if (nulls[i])
			appendStringInfoString(out, "null");
		else
		{
			text	   *element = DatumGetTextPP(elements[i]);

			es_json_append_string(out, VARDATA_ANY(element),
								  VARSIZE_ANY_EXHDR(element));
		}
	}
	appendStringInfoChar(out, ']');
}

/*
 * A JSON array, or an attribute that holds one.
 */
static void
write_tags(EventObject *writer, bool as_attribute)
{
	StringInfoData array;

	if (is_null(writer, Anum_es_events_tags))
		return;
	initStringInfo(&array);
	format_text_array(&array, DatumGetArrayTypeP(get_value(writer, Anum_es_events_tags)));
	if (as_attribute)
		es_json_writer_json_attribute(&writer->json, "tags", array.data, array.len);
	else
		es_json_writer_raw(&writer->json, "tags", array.data, array.len);
}

static void
write_details(EventObject *writer)
{
	const EsTransaction *details = writer->details;

	if (details == NULL)
		return;
	es_json_writer_number(&writer->json, "xid", details->xid);
	es_json_writer_lsn(&writer->json, "commit_lsn", details->commit_lsn);
	es_json_writer_time(&writer->json, "commit_time", details->commit_time);
}

/*
 * The specification's Integer has 32 bits with a sign, an xid has none.
 */
static void
write_details_as_attributes(EventObject *writer)
{
	const EsTransaction *details = writer->details;

	if (details == NULL)
		return;
	es_json_writer_number_as_string(&writer->json, "xid", details->xid);
	es_json_writer_lsn(&writer->json, "commitlsn", details->commit_lsn);
	es_json_writer_time(&writer->json, "committime", details->commit_time);
}

static void
write_columns(EventObject *writer)
{
	write_bigint(writer, "global_position", Anum_es_events_global_position);
	write_bigint(writer, "version", Anum_es_events_version);
	write_time(writer, "created_at", Anum_es_events_created_at);
	write_uuid(writer, "event_id", Anum_es_events_event_id);
	write_text(writer, "stream_id", Anum_es_events_stream_id);
	write_text(writer, "stream_type", Anum_es_events_stream_type);
	write_text(writer, "event_type", Anum_es_events_event_type);
	write_integer(writer, "schema_version", Anum_es_events_schema_version);
	write_uuid(writer, "correlation_id", Anum_es_events_correlation_id);
	write_uuid(writer, "causation_id", Anum_es_events_causation_id);
	write_json(writer, "data", Anum_es_events_data);
	write_bytea(writer, "binary_data", Anum_es_events_binary_data);
	write_text(writer, "content_type", Anum_es_events_content_type);
	write_json(writer, "metadata", Anum_es_events_metadata);
	write_tags(writer, false);
	write_details(writer);
}

static void
write_cloudevent(EventObject *writer, const char *source)
{
	es_json_writer_cstring(&writer->json, "specversion", "1.0");
	write_uuid(writer, "id", Anum_es_events_event_id);
	es_json_writer_cstring(&writer->json, "source", source);
	write_attribute(writer, "type", Anum_es_events_event_type);
	write_attribute(writer, "subject", Anum_es_events_stream_id);
	write_time(writer, "time", Anum_es_events_created_at);

	write_attribute(writer, "streamtype", Anum_es_events_stream_type);
	write_bigint_as_string(writer, "streamversion", Anum_es_events_version);
	write_bigint_as_string(writer, "globalposition", Anum_es_events_global_position);
	write_bigint_as_digits(writer, "sequence", Anum_es_events_global_position);
	write_attribute(writer, "partitionkey", Anum_es_events_stream_id);
	write_integer(writer, "schemaversion", Anum_es_events_schema_version);
	write_uuid(writer, "correlationid", Anum_es_events_correlation_id);
	write_uuid(writer, "causationid", Anum_es_events_causation_id);
	write_json_attribute(writer, "metadata", Anum_es_events_metadata);
	write_tags(writer, true);
	write_details_as_attributes(writer);

	if (!is_null(writer, Anum_es_events_content_type))
		write_attribute(writer, "datacontenttype", Anum_es_events_content_type);
	else
		es_json_writer_cstring(&writer->json, "datacontenttype",
							   is_null(writer, Anum_es_events_binary_data) ?
							   "application/json" : "application/octet-stream");
	write_json(writer, "data", Anum_es_events_data);
	write_bytea(writer, "data_base64", Anum_es_events_binary_data);
}

/*
 * Append an event, given as the columns of eventstore.events, and its
 * transaction unless that is NULL.
 */
void
es_event_format(StringInfo out, const EsOutputOptions *options,
				const Datum *values, const bool *nulls,
				const EsTransaction *details)
{
	EventObject writer = {.values = values,.nulls = nulls,.details = details};

	es_json_writer_begin(&writer.json, out);
	switch (options->format)
	{
		case ES_FORMAT_JSON:
			write_columns(&writer);
			break;
		case ES_FORMAT_CLOUDEVENTS:
			write_cloudevent(&writer, options->source);
			break;
	}
	es_json_writer_end(&writer.json);
}
