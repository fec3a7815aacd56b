/*-------------------------------------------------------------------------
 *
 * json_reader.h
 *	  Cuts a JSON document into slices, in one pass and without a copy.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_JSON_READER_H
#define ES_JSON_READER_H

typedef enum EsJsonKind
{
	ES_JSON_OBJECT,
	ES_JSON_ARRAY,
	ES_JSON_STRING,
	ES_JSON_NUMBER,
	ES_JSON_BOOLEAN,
	ES_JSON_NULL
} EsJsonKind;

/* A place in the text of a valid JSON document. */
typedef struct EsJsonReader
{
	const char *at;
	const char *end;
} EsJsonReader;

/* One JSON value: a slice of the document. */
typedef struct EsJsonValue
{
	EsJsonKind	kind;
	const char *start;
	int			length;
} EsJsonValue;

extern void es_json_reader_init(EsJsonReader *reader, text *document);
extern EsJsonKind es_json_reader_peek(EsJsonReader *reader);
extern void es_json_reader_enter(EsJsonReader *reader);
extern bool es_json_reader_next(EsJsonReader *reader);
extern void es_json_reader_key(EsJsonReader *reader, EsJsonValue *key);
extern void es_json_reader_value(EsJsonReader *reader, EsJsonValue *value);
extern bool es_json_reader_scalar(EsJsonReader *reader, EsJsonValue *scalar);
extern text *es_json_value_slice(const EsJsonValue *value);
extern text *es_json_value_string(const EsJsonValue *value);
extern const char *es_json_kind_name(EsJsonKind kind);

#endif							/* ES_JSON_READER_H */
