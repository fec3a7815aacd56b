/*-------------------------------------------------------------------------
 *
 * append_request.c
 *	  From the arguments of an append function to an EsAppendRequest.
 *
 * Every mistake in the input is raised here, before a lock is taken.  The
 * request and all that it points to live in the current memory context; the
 * request may point into the function's arguments.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/uuid.h"

#include "append/append_request.h"
#include "append/event_check.h"
#include "append/json_reader.h"
#include "append/uuid_v7.h"

/* Expected versions below zero have one meaning: the stream must exist. */
#define EXPECT_STREAM_EXISTS (-1)

/* An event while it is being read from its JSON object. */
typedef struct EventParse
{
	EsEvent    *event;
	uint32		keys_seen;
} EventParse;

typedef struct EventKey
{
	const char *name;
	EsJsonKind	kind;			/* what its value must be */
	bool		any_kind;		/* ... or any value at all */
	void		(*read) (EsEvent *event, const EsJsonValue *value);
	const char *hint;
	bool		explains_itself;	/* when "read" refuses the value? */
} EventKey;

/*
 * The stream's category when none is given: its id up to the first "-".
 */
text *
es_append_request_derive_type(const EsAppendRequest *request)
{
	const char *id = VARDATA_ANY(request->stream_id);
	int			length = VARSIZE_ANY_EXHDR(request->stream_id);
	const char *dash = memchr(id, '-', length);

	if (dash == id)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("stream_id begins with \"-\" and no stream_type is given"),
				 errdetail("The stream type would be what precedes the first \"-\", which is nothing."),
				 errhint("Pass stream_type, or begin stream_id with it.")));
	return cstring_to_text_with_len(id, dash ? dash - id : length);
}

/* ---- the keys of an event object ---- */

static void
read_event_type(EsEvent *event, const EsJsonValue *value)
{
	event->event_type = es_json_value_string(value);
}

static void
read_content_type(EsEvent *event, const EsJsonValue *value)
{
	event->content_type = es_json_value_string(value);
}

static void
read_data(EsEvent *event, const EsJsonValue *value)
{
	event->data = es_json_value_slice(value);
}

static void
read_metadata(EsEvent *event, const EsJsonValue *value)
{
	event->metadata = es_json_value_slice(value);
}

static void
read_binary_data(EsEvent *event, const EsJsonValue *value)
{
	event->binary_data =
		DatumGetByteaPP(DirectFunctionCall2(binary_decode,
											PointerGetDatum(es_json_value_string(value)),
											PointerGetDatum(cstring_to_text("base64"))));
}

static pg_uuid_t
read_uuid(const EsJsonValue *value)
{
	char	   *string = text_to_cstring(es_json_value_string(value));

	return *DatumGetUUIDP(DirectFunctionCall1(uuid_in, CStringGetDatum(string)));
}

static void
read_event_id(EsEvent *event, const EsJsonValue *value)
{
	event->event_id = read_uuid(value);
	event->has_event_id = true;
}

static void
read_correlation_id(EsEvent *event, const EsJsonValue *value)
{
	event->correlation_id = read_uuid(value);
	event->has_correlation_id = true;
}

static void
read_causation_id(EsEvent *event, const EsJsonValue *value)
{
	event->causation_id = read_uuid(value);
	event->has_causation_id = true;
}

static void
read_schema_version(EsEvent *event, const EsJsonValue *value)
{
	char	   *digits = text_to_cstring(es_json_value_slice(value));

	event->schema_version = DatumGetInt32(DirectFunctionCall1(int4in, CStringGetDatum(digits)));
}

/*
 * An array of strings.  The array itself has been cut out already; walk it.
 */
static void
read_tags(EsEvent *event, const EsJsonValue *value)
{
	EsJsonReader reader = {value->start, value->start + value->length};
	ArrayBuildState *tags = initArrayResult(TEXTOID, CurrentMemoryContext, false);

	es_json_reader_enter(&reader);
	while (es_json_reader_next(&reader))
	{
		EsJsonValue tag;

		es_json_reader_value(&reader, &tag);
		if (tag.kind != ES_JSON_STRING)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("tags must be an array of strings"),
					 errdetail("It holds %s.", es_json_kind_name(tag.kind)),
					 errhint("Write each tag as a string.")));
		tags = accumArrayResult(tags, PointerGetDatum(es_json_value_string(&tag)),
								false, TEXTOID, CurrentMemoryContext);
	}
	event->tags = DatumGetArrayTypeP(makeArrayResult(tags, CurrentMemoryContext));
}

static const EventKey event_keys[] = {
	{"event_type", ES_JSON_STRING, false, read_event_type,
	"Name what happened, such as \"OrderPlaced\".", false},
	{"data", 0, true, read_data,
	"Write any JSON value.", false},
	{"event_id", ES_JSON_STRING, false, read_event_id,
	"Write a UUID, or leave the key out to have one made.", false},
	{"metadata", 0, true, read_metadata,
	"Write any JSON value.", false},
	{"binary_data", ES_JSON_STRING, false, read_binary_data,
	"Write the payload as a base64 string.", false},
	{"content_type", ES_JSON_STRING, false, read_content_type,
	"Write a media type, such as \"image/png\".", false},
	{"correlation_id", ES_JSON_STRING, false, read_correlation_id,
	"Write a UUID.", false},
	{"causation_id", ES_JSON_STRING, false, read_causation_id,
	"Write a UUID.", false},
	{"schema_version", ES_JSON_NUMBER, false, read_schema_version,
	"Write a whole number from 1 on.", false},
	{"tags", ES_JSON_ARRAY, false, read_tags,
	"Write an array of strings.",.explains_itself = true},
};

/*
 * Error context for the value of a key.  Where an input function of the
 * server refuses the value, it says what is wrong; add where, and what to do.
 */
static void
describe_value(void *arg)
{
	const EventKey *key = arg;
	int			code = geterrcode();

	errcontext("key \"%s\"", key->name);
	if (code == ERRCODE_INVALID_PARAMETER_VALUE && key->explains_itself)
		return;
	errhint("%s", key->hint);
	if (code != ERRCODE_UNTRANSLATABLE_CHARACTER)
		errdetail("The value of the key \"%s\" is not accepted.", key->name);
}

static bool
slice_equals(const char *slice, int length, const char *string)
{
	return length == (int) strlen(string) && memcmp(slice, string, length) == 0;
}

static const char *const unknown_key_hint = "Put what is your own into data or metadata.";

static void
describe_key(void *arg)
{
	errhint("%s", unknown_key_hint);
}

/*
 * A key with escapes in it; the server refuses what text can't hold.
 */
static text *
unescape_key(const EsJsonValue *key)
{
	ErrorContextCallback callback = {
		.previous = error_context_stack,
		.callback = describe_key
	};
	text	   *name;

	error_context_stack = &callback;
	name = es_json_value_string(key);
	error_context_stack = callback.previous;
	return name;
}

/*
 * Which of event_keys this is; an error if it is none of them.
 */
static int
find_event_key(const EsJsonValue *key)
{
	text	   *name;

	for (int i = 0; i < lengthof(event_keys); i++)
		if (slice_equals(key->start + 1, key->length - 2, event_keys[i].name))
			return i;

	name = unescape_key(key);
	for (int i = 0; i < lengthof(event_keys); i++)
		if (slice_equals(VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name), event_keys[i].name))
			return i;

	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown key \"%.*s\" in an event",
					pg_mbcliplen(VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name), NAMEDATALEN),
					VARDATA_ANY(name)),
			 errdetail("The keys are event_type, data, binary_data, content_type, event_id, metadata, correlation_id, causation_id, schema_version and tags."),
			 errhint("%s", unknown_key_hint)));
}

static void
read_value(EsEvent *event, const EventKey *key, const EsJsonValue *value)
{
	ErrorContextCallback callback = {
		.previous = error_context_stack,
		.callback = describe_value,
		.arg = unconstify(EventKey *, key)
	};

	error_context_stack = &callback;
	key->read(event, value);
	error_context_stack = callback.previous;
}

/*
 * Read one member of an event object.  A null value means the same as
 * leaving the key out.
 */
static void
read_event_member(EventParse *parse, EsJsonReader *reader)
{
	EsJsonValue key;
	EsJsonValue value;
	const EventKey *event_key;
	int			index;

	es_json_reader_key(reader, &key);
	index = find_event_key(&key);
	event_key = &event_keys[index];
	es_json_reader_value(reader, &value);

	if (parse->keys_seen & (1U << index))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key \"%s\" appears twice in an event", event_key->name),
				 errdetail("Only one of the two values could be stored."),
				 errhint("Give each key once.")));
	parse->keys_seen |= 1U << index;

	if (value.kind == ES_JSON_NULL)
		return;
	if (!event_key->any_kind && value.kind != event_key->kind)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be %s", event_key->name,
						es_json_kind_name(event_key->kind)),
				 errdetail("It is %s.", es_json_kind_name(value.kind)),
				 errhint("%s", event_key->hint)));
	read_value(parse->event, event_key, &value);
}

static void
read_event(EsEvent *event, EsJsonReader *reader)
{
	EventParse	parse = {event, 0};
	EsJsonKind	kind = es_json_reader_peek(reader);

	if (kind != ES_JSON_OBJECT)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("an event must be a JSON object"),
				 errdetail("It is %s.", es_json_kind_name(kind)),
				 errhint("Pass events as [{\"event_type\": ..., \"data\": ...}, ...].")));

	memset(event, 0, sizeof(EsEvent));
	event->schema_version = 1;

	es_json_reader_enter(reader);
	while (es_json_reader_next(reader))
		read_event_member(&parse, reader);
	es_event_check(event);
}

/*
 * Read the array of events.
 */
static void
read_events(EsAppendRequest *request, text *events)
{
	EsJsonReader reader;
	EsJsonKind	kind;
	int			capacity = 8;

	es_json_reader_init(&reader, events);
	kind = es_json_reader_peek(&reader);
	if (kind != ES_JSON_ARRAY)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("events must be a JSON array"),
				 errdetail("It is %s.", es_json_kind_name(kind)),
				 errhint("Pass even a single event as [{...}].")));

	request->events = palloc(capacity * sizeof(EsEvent));
	es_json_reader_enter(&reader);
	while (es_json_reader_next(&reader))
	{
		if (request->nevents == capacity)
		{
			capacity *= 2;
			request->events = repalloc_huge(request->events,
											capacity * sizeof(EsEvent));
		}
		request->current_event = ++request->nevents;
		read_event(&request->events[request->nevents - 1], &reader);
		CHECK_FOR_INTERRUPTS();
	}
	request->current_event = 0;

	if (request->nevents == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("events must not be empty"),
				 errdetail("An append stores at least one event."),
				 errhint("Do not call append_events when nothing happened.")));
}

/* ---- what both functions have in common ---- */

static int
compare_event_ids(const void *a, const void *b, void *events)
{
	const EsEvent *left = (const EsEvent *) events + *(const int *) a;
	const EsEvent *right = (const EsEvent *) events + *(const int *) b;

	return memcmp(&left->event_id, &right->event_id, sizeof(pg_uuid_t));
}

/*
 * Give an id to each event that has none, order the events by id, and refuse
 * ids that are given twice.
 */
static void
assign_event_ids(EsAppendRequest *request)
{
	request->by_event_id = MemoryContextAllocHuge(CurrentMemoryContext,
												  request->nevents * sizeof(int));
	for (int i = 0; i < request->nevents; i++)
	{
		EsEvent    *event = &request->events[i];

		if (event->has_event_id)
			request->has_given_ids = true;
		else
			es_uuid_v7_generate(&event->event_id);
		request->by_event_id[i] = i;
	}

	qsort_arg(request->by_event_id, request->nevents, sizeof(int),
			  compare_event_ids, request->events);

	for (int i = 1; i < request->nevents; i++)
	{
		int			first = request->by_event_id[i - 1];
		int			second = request->by_event_id[i];

		if (compare_event_ids(&first, &second, request->events) != 0)
			continue;
		request->current_event = Max(first, second) + 1;
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("event id %s appears twice in the batch",
						DatumGetCString(DirectFunctionCall1(uuid_out,
															UUIDPGetDatum(&request->events[first].event_id)))),
				 errdetail("Events %d and %d have it.",
						   Min(first, second) + 1, Max(first, second) + 1),
				 errhint("Give each event an id of its own.")));
	}
}

static text *
required_text(FunctionCallInfo fcinfo, int argument, const char *name)
{
	if (PG_ARGISNULL(argument))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", name),
				 errdetail("An append needs it."),
				 errhint("Pass a value for %s.", name)));
	return PG_GETARG_TEXT_PP(argument);
}

static text *
optional_text(FunctionCallInfo fcinfo, int argument)
{
	return PG_ARGISNULL(argument) ? NULL : PG_GETARG_TEXT_PP(argument);
}

/*
 * The stream and what is expected of it.  Fills the stream's name in first,
 * once it is known to be of a sensible length: from then on errors can say
 * which stream they are about.
 */
static void
read_stream_arguments(EsAppendRequest *request, FunctionCallInfo fcinfo,
					  int expected_version, int stream_type)
{
	text	   *stream_id = required_text(fcinfo, 0, "stream_id");

	es_event_check_name("stream_id", stream_id);
	request->stream_id = stream_id;

	request->stream_type = optional_text(fcinfo, stream_type);
	if (request->stream_type != NULL)
		es_event_check_name("stream_type", request->stream_type);

	request->has_expected_version = !PG_ARGISNULL(expected_version);
	if (!request->has_expected_version)
		return;
	request->expected_version = PG_GETARG_INT64(expected_version);
	if (request->expected_version < EXPECT_STREAM_EXISTS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("expected_version is out of range"),
				 errdetail("It is %lld.", (long long) request->expected_version),
				 errhint("Pass null for any version, 0 if the stream must not exist, -1 if it must, or the exact version.")));
}

/*
 * append_events(stream_id, events, expected_version, stream_type)
 */
void
es_append_request_from_json(EsAppendRequest *request, FunctionCallInfo fcinfo)
{
	read_stream_arguments(request, fcinfo, 2, 3);
	read_events(request, required_text(fcinfo, 1, "events"));
	assign_event_ids(request);
}

static void
check_tags(ArrayType *tags)
{
	if (ARR_NDIM(tags) > 1 || array_contains_nulls(tags))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("tags must be a one-dimensional array without nulls"),
				 errdetail("Each tag is one string."),
				 errhint("Pass tags such as ARRAY['customer:42'].")));
}

static bool
optional_uuid(FunctionCallInfo fcinfo, int argument, pg_uuid_t *uuid)
{
	if (PG_ARGISNULL(argument))
		return false;
	*uuid = *PG_GETARG_UUID_P(argument);
	return true;
}

/*
 * append_event(stream_id, event_type, data, expected_version, event_id,
 * metadata, correlation_id, causation_id, schema_version, tags, stream_type,
 * binary_data, content_type)
 */
void
es_append_request_from_arguments(EsAppendRequest *request, FunctionCallInfo fcinfo)
{
	EsEvent    *event = palloc0(sizeof(EsEvent));

	read_stream_arguments(request, fcinfo, 3, 10);
	request->nevents = 1;
	request->events = event;

	event->event_type = optional_text(fcinfo, 1);
	event->data = optional_text(fcinfo, 2);
	event->has_event_id = optional_uuid(fcinfo, 4, &event->event_id);
	event->metadata = optional_text(fcinfo, 5);
	event->has_correlation_id = optional_uuid(fcinfo, 6, &event->correlation_id);
	event->has_causation_id = optional_uuid(fcinfo, 7, &event->causation_id);
	event->schema_version = PG_ARGISNULL(8) ? 1 : PG_GETARG_INT32(8);
	if (!PG_ARGISNULL(9))
	{
		event->tags = PG_GETARG_ARRAYTYPE_P(9);
		check_tags(event->tags);
	}
	event->binary_data = PG_ARGISNULL(11) ? NULL : PG_GETARG_BYTEA_PP(11);
	event->content_type = optional_text(fcinfo, 12);

	es_event_check(event);
	assign_event_ids(request);
}
