/*-------------------------------------------------------------------------
 *
 * json_reader.c
 *	  Cuts a JSON document into slices, in one pass and without a copy.
 *
 * A datum of type json has been validated by the server's parser when it was
 * made, so this only has to find where values begin and end.  It never
 * unescapes what it passes over: a payload keeps every byte.  The server's own
 * parser with semantic actions is of no use here: it hands out the names of
 * members only when it unescapes every string of the document, and its errors
 * would not say in which event.
 *
 * To walk a container: es_json_reader_enter(), then for each item, while
 * es_json_reader_next() is true, read the key (in an object) and either read
 * the value or enter it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "append/json_reader.h"
#include "compat.h"

/*
 * The next byte, or an error where a valid document can't end.
 */
static inline char
current(const EsJsonReader *reader)
{
	if (unlikely(reader->at >= reader->end))
		elog(ERROR, "unexpected end of json value");
	return *reader->at;
}

static inline void
skip_white_space(EsJsonReader *reader)
{
	while (reader->at < reader->end &&
		   (*reader->at == ' ' || *reader->at == '\t' ||
			*reader->at == '\n' || *reader->at == '\r'))
		reader->at++;
}

void
es_json_reader_init(EsJsonReader *reader, text *document)
{
	reader->at = VARDATA_ANY(document);
	reader->end = reader->at + VARSIZE_ANY_EXHDR(document);
}

/*
 * The kind of the value that comes next.
 */
EsJsonKind
es_json_reader_peek(EsJsonReader *reader)
{
	skip_white_space(reader);
	switch (current(reader))
	{
		case '{':
			return ES_JSON_OBJECT;
		case '[':
			return ES_JSON_ARRAY;
		case '"':
			return ES_JSON_STRING;
		case 't':
		case 'f':
			return ES_JSON_BOOLEAN;
		case 'n':
			return ES_JSON_NULL;
		default:
			return ES_JSON_NUMBER;
	}
}

/*
 * Step into the array or object that comes next.
 */
void
es_json_reader_enter(EsJsonReader *reader)
{
	skip_white_space(reader);
	Assert(current(reader) == '[' || current(reader) == '{');
	reader->at++;
}

/*
 * Is there a further item in the container that was entered?  If not, steps
 * out of it.
 */
bool
es_json_reader_next(EsJsonReader *reader)
{
	skip_white_space(reader);
	if (current(reader) == ',')
	{
		reader->at++;
		skip_white_space(reader);
	}
	else if (current(reader) == ']' || current(reader) == '}')
	{
		reader->at++;
		return false;
	}
	return true;
}

static void
skip_string(EsJsonReader *reader)
{
	reader->at++;
	while (current(reader) != '"')
		reader->at += *reader->at == '\\' ? 2 : 1;
	reader->at++;
}

static void
skip_container(EsJsonReader *reader)
{
	int			depth = 0;

	do
	{
		switch (current(reader))
		{
			case '"':
				skip_string(reader);
				continue;
			case '[':
			case '{':
				depth++;
				break;
			case ']':
			case '}':
				depth--;
				break;
		}
		reader->at++;
	} while (depth > 0);
}

static void
skip_bare_word(EsJsonReader *reader)
{
	while (reader->at < reader->end &&
		   strchr(",]} \t\n\r", *reader->at) == NULL)
		reader->at++;
}

/*
 * Read the value that comes next, whatever its kind.
 */
void
es_json_reader_value(EsJsonReader *reader, EsJsonValue *value)
{
	value->kind = es_json_reader_peek(reader);
	value->start = reader->at;

	switch (value->kind)
	{
		case ES_JSON_OBJECT:
		case ES_JSON_ARRAY:
			skip_container(reader);
			break;
		case ES_JSON_STRING:
			skip_string(reader);
			break;
		case ES_JSON_NUMBER:
		case ES_JSON_BOOLEAN:
		case ES_JSON_NULL:
			skip_bare_word(reader);
			break;
	}

	value->length = reader->at - value->start;
}

/*
 * Read the key of an object's next member, up to its value.
 */
void
es_json_reader_key(EsJsonReader *reader, EsJsonValue *key)
{
	es_json_reader_value(reader, key);
	skip_white_space(reader);
	Assert(current(reader) == ':');
	reader->at++;
}

/*
 * Read the next string, number, boolean or null, keys included, in whatever
 * container it is.  Returns false when there is none before the end.
 */
bool
es_json_reader_scalar(EsJsonReader *reader, EsJsonValue *scalar)
{
	while (reader->at < reader->end &&
		   strchr("{}[],: \t\n\r", *reader->at) != NULL)
		reader->at++;
	if (reader->at == reader->end)
		return false;
	es_json_reader_value(reader, scalar);
	return true;
}

/*
 * The value's own bytes.
 */
text *
es_json_value_slice(const EsJsonValue *value)
{
	return cstring_to_text_with_len(value->start, value->length);
}

/*
 * What a JSON string says.  Escapes are left to the server, which raises
 * 22P05 for a character that text can't hold.
 */
text *
es_json_value_string(const EsJsonValue *value)
{
	StringInfoData array;
	Datum		element;

	Assert(value->kind == ES_JSON_STRING);

	if (memchr(value->start, '\\', value->length) == NULL)
		return cstring_to_text_with_len(value->start + 1, value->length - 2);

	initStringInfo(&array);
	appendStringInfoChar(&array, '[');
	appendBinaryStringInfo(&array, value->start, value->length);
	appendStringInfoChar(&array, ']');
	element = DirectFunctionCall2(json_array_element_text,
								  PointerGetDatum(cstring_to_text_with_len(array.data, array.len)),
								  Int32GetDatum(0));
	return DatumGetTextPP(element);
}

const char *
es_json_kind_name(EsJsonKind kind)
{
	switch (kind)
	{
		case ES_JSON_OBJECT:
			return "an object";
		case ES_JSON_ARRAY:
			return "an array";
		case ES_JSON_STRING:
			return "a string";
		case ES_JSON_NUMBER:
			return "a number";
		case ES_JSON_BOOLEAN:
			return "a boolean";
		case ES_JSON_NULL:
			return "null";
	}
	pg_unreachable();
}
