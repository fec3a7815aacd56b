/*-------------------------------------------------------------------------
 *
 * message_encoding.c
 *	  Messages in the encoding of the client.
 *
 * A character that this encoding lacks would end the decoding, at the same
 * event each time.  But messages are JSON, and in JSON all that is not ASCII
 * is in strings, where an escape says the same.  So what can't be converted is
 * escaped, if the database's encoding is UTF8 and so tells the character's
 * number.
 *
 * Whether a character can be converted only the conversion knows, which raises
 * an error if not.  It holds nothing that an error would have to let go of.
 * Asking without an error takes catalogs, and an emitted message can come
 * where there is no transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "decode/json_writer.h"
#include "decode/message_encoding.h"

/*
 * Convert it, or return NULL if the client's encoding lacks a character.
 */
static char *
try_to_convert(const char *string, int length)
{
	MemoryContext context = CurrentMemoryContext;
	uint32		holdoff_count = InterruptHoldoffCount;
	char	   *volatile converted = NULL;

	PG_TRY();
	{
		converted = pg_server_to_client(string, length);
	}
	PG_CATCH();
	{
		if (geterrcode() != ERRCODE_UNTRANSLATABLE_CHARACTER ||
			GetDatabaseEncoding() != PG_UTF8)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
		InterruptHoldoffCount = holdoff_count;
	}
	PG_END_TRY();
	return converted;
}

/*
 * Append the next character, or all that is ASCII before it.  Returns how many
 * bytes that is.
 */
static int
append_converted(StringInfo out, const char *p, const char *end)
{
	const unsigned char *character = (const unsigned char *) p;
	int			length = 0;
	char	   *converted;

	while (p + length < end && !IS_HIGHBIT_SET(p[length]))
		length++;
	if (length > 0)
	{
		appendBinaryStringInfo(out, p, length);
		return length;
	}

	length = pg_encoding_mblen(PG_UTF8, p);
	converted = try_to_convert(p, length);
	if (converted != NULL)
	{
		appendStringInfoString(out, converted);
		pfree(converted);
	}
	else
		es_json_append_escape(out, utf8_to_unicode(character), false);
	return length;
}

/*
 * Convert what is in "out" from "start" on.
 */
void
es_message_encoding_convert(StringInfo out, int start)
{
	char	   *message = out->data + start;
	char	   *converted = try_to_convert(message, out->len - start);
	const char *end;

	if (converted == message)
		return;
	if (converted != NULL)
	{
		out->len = start;
		appendStringInfoString(out, converted);
		return;
	}

	message = pnstrdup(message, out->len - start);
	end = message + (out->len - start);
	out->len = start;
	for (const char *p = message; p < end;)
		p += append_converted(out, p, end);
}
