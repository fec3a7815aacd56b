/*-------------------------------------------------------------------------
 *
 * message_format.c
 *	  What the output plugin sends beside events, as JSON: where a transaction
 *	  begins and ends, and what pg_logical_emit_message() has written.
 *
 * In format "cloudevents" these are CloudEvents, too, with the message of
 * format "json" as their data.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"

#include "decode/event_format.h"
#include "decode/json_writer.h"
#include "decode/message_format.h"
#include "decode/output_options.h"

static void
write_boolean(EsJsonWriter *json, const char *name, bool value)
{
	const char *word = value ? "true" : "false";

	es_json_writer_raw(json, name, word, strlen(word));
}

static void
begin_cloudevent(EsJsonWriter *json, StringInfo out, const EsOutputOptions *options,
				 const char *id, const char *type)
{
	es_json_writer_begin(json, out);
	es_json_writer_cstring(json, "specversion", "1.0");
	es_json_writer_cstring(json, "id", id);
	es_json_writer_cstring(json, "source", options->source);
	es_json_writer_cstring(json, "type", type);
}

static void
end_cloudevent(EsJsonWriter *json, StringInfo data)
{
	es_json_writer_cstring(json, "datacontenttype", "application/json");
	es_json_writer_raw(json, "data", data->data, data->len);
	es_json_writer_end(json);
}

/*
 * Transactions
 */

static const char *
mark_name(bool is_commit)
{
	return is_commit ? "commit" : "begin";
}

static void
format_mark(StringInfo out, const EsTransaction *transaction, bool is_commit)
{
	EsJsonWriter json;

	es_json_writer_begin(&json, out);
	es_json_writer_cstring(&json, "transaction", mark_name(is_commit));
	es_json_writer_number(&json, "xid", transaction->xid);
	es_json_writer_lsn(&json, "commit_lsn", transaction->commit_lsn);
	es_json_writer_lsn(&json, "end_lsn", transaction->end_lsn);
	es_json_writer_time(&json, "commit_time", transaction->commit_time);
	es_json_writer_end(&json);
}

static void
format_mark_as_cloudevent(StringInfo out, const EsOutputOptions *options,
						  const EsTransaction *transaction, bool is_commit)
{
	EsJsonWriter json;
	StringInfoData data;

	initStringInfo(&data);
	format_mark(&data, transaction, is_commit);

	begin_cloudevent(&json, out, options,
					 psprintf("%X/%X-%s", LSN_FORMAT_ARGS(transaction->commit_lsn),
							  mark_name(is_commit)),
					 psprintf("eventstore.transaction.%s", mark_name(is_commit)));
	es_json_writer_time(&json, "time", transaction->commit_time);
	end_cloudevent(&json, &data);
}

/*
 * Append the message of a transaction's beginning or end.
 */
void
es_message_format_mark(StringInfo out, const EsOutputOptions *options,
					   const EsTransaction *transaction, bool is_commit)
{
	switch (options->format)
	{
		case ES_FORMAT_JSON:
			format_mark(out, transaction, is_commit);
			break;
		case ES_FORMAT_CLOUDEVENTS:
			format_mark_as_cloudevent(out, options, transaction, is_commit);
			break;
	}
}

/*
 * Emitted messages
 */

static bool
is_ascii(const char *string, Size length)
{
	for (Size i = 0; i < length; i++)
		if (IS_HIGHBIT_SET(string[i]) || string[i] == '\0')
			return false;
	return true;
}

/*
 * In most encodings other than UTF8 any bytes are valid, and need be no text.
 */
static bool
is_text(const char *content, Size length)
{
	return is_ascii(content, length) ||
		(GetDatabaseEncoding() == PG_UTF8 && pg_verify_mbstr(PG_UTF8, content, length, true));
}

/*
 * Text if it is known to be text, or else base64.
 */
static void
write_content(EsJsonWriter *json, const EsEmittedMessage *message)
{
	if (is_text(message->content, message->length))
		es_json_writer_string(json, "content", message->content, message->length);
	else
		es_json_writer_base64(json, "content_base64", message->content, message->length);
}

static void
format_emitted(StringInfo out, const EsEmittedMessage *message)
{
	EsJsonWriter json;

	es_json_writer_begin(&json, out);
	es_json_writer_cstring(&json, "message", message->prefix);
	write_boolean(&json, "transactional", message->transactional);
	es_json_writer_lsn(&json, "lsn", message->lsn);
	write_content(&json, message);
	es_json_writer_end(&json);
}

static void
format_emitted_as_cloudevent(StringInfo out, const EsOutputOptions *options,
							 const EsEmittedMessage *message)
{
	EsJsonWriter json;
	StringInfoData data;

	initStringInfo(&data);
	format_emitted(&data, message);

	begin_cloudevent(&json, out, options,
					 psprintf("%X/%X-message", LSN_FORMAT_ARGS(message->lsn)),
					 "eventstore.message");
	end_cloudevent(&json, &data);
}

/*
 * Append a message that was emitted.
 */
void
es_message_format_emitted(StringInfo out, const EsOutputOptions *options,
						  const EsEmittedMessage *message)
{
	switch (options->format)
	{
		case ES_FORMAT_JSON:
			format_emitted(out, message);
			break;
		case ES_FORMAT_CLOUDEVENTS:
			format_emitted_as_cloudevent(out, options, message);
			break;
	}
}
