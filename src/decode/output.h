/*-------------------------------------------------------------------------
 *
 * output.h
 *	  What the files of the output plugin share, grouped under the file that
 *	  defines it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_OUTPUT_H
#define ES_OUTPUT_H

#include "access/xlogdefs.h"
#include "datatype/timestamp.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "nodes/pg_list.h"
#include "utils/uuid.h"

#include "eventstore.h"

/* ---- past_events.c ---- */

#define ES_EXTENSION "eventstore"

extern bool es_past_events_has_name(Relation relation);
extern bool es_past_events_is_member(Relation relation);
extern void es_past_events_check_columns(Relation events);

/* ---- output_options.c ---- */

typedef enum EsOutputFormat
{
	ES_FORMAT_JSON,
	ES_FORMAT_CLOUDEVENTS
} EsOutputFormat;

/* Which values of a column are wanted: all, or one in either set. */
typedef struct EsNameFilter
{
	EsNameSet  *names;			/* NULL: not given */
	EsNameSet  *prefixes;		/* NULL: not given */
} EsNameFilter;

/* What the client of a logical replication slot asked for. */
typedef struct EsOutputOptions
{
	EsOutputFormat format;
	EsNameFilter stream_types;
	EsNameFilter event_types;
	EsNameFilter streams;
	EsNameSet  *message_prefixes;	/* of messages to pass on; NULL: none */
	bool		transactions;	/* a message for each begin and commit, too? */
	bool		transaction_details;	/* the transaction in each event? */
	bool		local_only;		/* no events that came by replication? */
	const char *source;			/* of CloudEvents: a URI reference */
} EsOutputOptions;

extern void es_output_options_parse(EsOutputOptions *options, List *given);

/* ---- event_source.c ---- */

extern const char *es_event_source_fault(const char *value);
extern const char *es_event_source_default(void);

/* ---- event_format.c ---- */

/* The transaction that has appended an event. */
typedef struct EsTransaction
{
	TransactionId xid;
	XLogRecPtr	commit_lsn;
	XLogRecPtr	end_lsn;
	TimestampTz commit_time;
} EsTransaction;

extern void es_event_format(StringInfo out, const EsOutputOptions *options,
							const Datum *values, const bool *nulls,
							const EsTransaction *details);

/* ---- message_format.c ---- */

/* What pg_logical_emit_message() has written. */
typedef struct EsEmittedMessage
{
	const char *prefix;
	bool		transactional;
	XLogRecPtr	lsn;
	const char *content;
	int			length;
} EsEmittedMessage;

extern void es_message_format_mark(StringInfo out, const EsOutputOptions *options,
								   const EsTransaction *transaction, bool is_commit);
extern void es_message_format_emitted(StringInfo out, const EsOutputOptions *options,
									  const EsEmittedMessage *message);

/* ---- message_encoding.c ---- */

extern void es_message_encoding_convert(StringInfo out, int start);

/* ---- json_writer.c ---- */

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

#endif							/* ES_OUTPUT_H */
