/*-------------------------------------------------------------------------
 *
 * json_writer.h
 *	  Objects of JSON, written member by member to the end of a string.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_JSON_WRITER_H
#define ES_JSON_WRITER_H

#include "access/xlogdefs.h"
#include "datatype/timestamp.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/uuid.h"

/* An object of JSON that is being written, member by member. */
typedef struct EsJsonWriter
{
	StringInfo	out;
	char		separator;		/* what precedes the next member */
} EsJsonWriter;

extern void es_json_writer_begin(EsJsonWriter *writer, StringInfo out);
extern void es_json_writer_end(EsJsonWriter *writer);
extern void es_json_writer_string(EsJsonWriter *writer, const char *name,
								  const char *value, int length);
extern void es_json_writer_attribute(EsJsonWriter *writer, const char *name,
									 const char *value, int length);
extern void es_json_writer_json_attribute(EsJsonWriter *writer, const char *name,
										  const char *value, int length);
extern void es_json_writer_cstring(EsJsonWriter *writer, const char *name,
								   const char *value);
extern void es_json_writer_raw(EsJsonWriter *writer, const char *name,
							   const char *value, int length);
extern void es_json_writer_number(EsJsonWriter *writer, const char *name,
								  int64 value);
extern void es_json_writer_number_as_string(EsJsonWriter *writer,
											const char *name, int64 value);
extern void es_json_writer_number_as_digits(EsJsonWriter *writer,
											const char *name, int64 value);
extern void es_json_writer_uuid(EsJsonWriter *writer, const char *name,
								const pg_uuid_t *value);
extern void es_json_writer_time(EsJsonWriter *writer, const char *name,
								TimestampTz value);
extern void es_json_writer_base64(EsJsonWriter *writer, const char *name,
								  const char *value, int length);
extern void es_json_writer_lsn(EsJsonWriter *writer, const char *name,
							   XLogRecPtr lsn);
extern void es_json_append_escape(StringInfo out, pg_wchar character,
								  bool is_inner);
extern void es_json_append_string(StringInfo out, const char *value, int length);

#endif							/* ES_JSON_WRITER_H */
