/*-------------------------------------------------------------------------
 *
 * event_json.c
 *	  Events as JSON in SQL: byte for byte what the output plugin sends.
 *
 * A row can have been made by hand, so a null may be in any column; and its
 * type can have been altered since the extension was created.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "utils/builtins.h"
#include "utils/typcache.h"

#include "decode/event_format.h"
#include "decode/event_source.h"
#include "decode/output_options.h"
#include "eventstore.h"
#include "store/catalog.h"

PG_FUNCTION_INFO_V1(eventstore_event_json);
PG_FUNCTION_INFO_V1(eventstore_event_cloudevent);

static void
check_row_type(TupleDesc descriptor)
{
	if (!es_catalog_has_event_columns(descriptor))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("the columns of \"%s.%s\" were altered", ES_SCHEMA, ES_EVENTS),
				 errdetail("An event is written as JSON by the table's original definition."),
				 errhint("Undo the change, and keep further columns in a table of their own.")));
}

/*
 * The event as json: text behind the header of a varlena.
 */
static Datum
format_event(HeapTupleHeader event, const EsOutputOptions *options)
{
	TupleDesc	descriptor = lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(event),
													HeapTupleHeaderGetTypMod(event));
	Datum	   *values = palloc(descriptor->natts * sizeof(Datum));
	bool	   *nulls = palloc(descriptor->natts * sizeof(bool));
	HeapTupleData row;
	StringInfoData json;

	check_row_type(descriptor);
	row.t_len = HeapTupleHeaderGetDatumLength(event);
	row.t_tableOid = InvalidOid;
	row.t_data = event;
	ItemPointerSetInvalid(&row.t_self);
	heap_deform_tuple(&row, descriptor, values, nulls);

	pq_begintypsend(&json);
	es_event_format(&json, options, values, nulls, NULL);
	ReleaseTupleDesc(descriptor);
	return PointerGetDatum(pq_endtypsend(&json));
}

/*
 * event_json(event eventstore.events) returns json
 */
Datum
eventstore_event_json(PG_FUNCTION_ARGS)
{
	EsOutputOptions options = {.format = ES_FORMAT_JSON};

	return format_event(PG_GETARG_HEAPTUPLEHEADER(0), &options);
}

static const char *
check_source(const char *source)
{
	const char *fault = es_event_source_fault(source);

	if (fault != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid source of a CloudEvent: \"%s\"", source),
				 errdetail("%s", fault),
				 errhint("Pass a URI reference, or leave it out for one with the name of the database.")));
	return source;
}

/*
 * event_cloudevent(event eventstore.events, source text) returns json
 */
Datum
eventstore_event_cloudevent(PG_FUNCTION_ARGS)
{
	EsOutputOptions options = {.format = ES_FORMAT_CLOUDEVENTS};

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	options.source = PG_ARGISNULL(1) ? es_event_source_default() :
		check_source(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	return format_event(PG_GETARG_HEAPTUPLEHEADER(0), &options);
}
