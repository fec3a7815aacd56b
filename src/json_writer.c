/*-------------------------------------------------------------------------
 *
 * json_writer.c
 *	  Objects of JSON, written member by member to the end of a string.
 *
 * Names of members are the caller's own and need no escaping; strings are in
 * the server's encoding.  Times are in ISO 8601 and UTC, as RFC 3339 wants
 * them, whatever the session's settings say.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/base64.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "output.h"

/* So many bytes are encoded at a time: a multiple of 3. */
#define BASE64_CHUNK (3 * 1024 * 1024)

#define append_literal(out, literal) \
	appendBinaryStringInfo(out, literal, sizeof(literal) - 1)

static void
append_char(StringInfo out, char c)
{
	appendStringInfoCharMacro(out, c);
}

static void
append_escaped(StringInfo out, unsigned char c)
{
	switch (c)
	{
		case '"':
			append_literal(out, "\\\"");
			break;
		case '\\':
			append_literal(out, "\\\\");
			break;
		case '\b':
			append_literal(out, "\\b");
			break;
		case '\f':
			append_literal(out, "\\f");
			break;
		case '\n':
			append_literal(out, "\\n");
			break;
		case '\r':
			append_literal(out, "\\r");
			break;
		case '\t':
			append_literal(out, "\\t");
			break;
		default:
			appendStringInfo(out, "\\u%04x", c);
			break;
	}
}

/*
 * A JSON string.  No byte of a multibyte character looks like ASCII in a
 * server encoding, so bytes can be looked at one by one.
 */
void
es_json_append_string(StringInfo out, const char *value, int length)
{
	const char *end = value + length;
	const char *run = value;

	append_char(out, '"');
	for (const char *p = value; p < end; p++)
	{
		unsigned char c = *p;

		if (likely(c >= ' ' && c != '"' && c != '\\'))
			continue;
		appendBinaryStringInfo(out, run, p - run);
		append_escaped(out, c);
		run = p + 1;
	}
	appendBinaryStringInfo(out, run, end - run);
	append_char(out, '"');
}

static void
begin_member(EsJsonWriter *writer, const char *name)
{
	append_char(writer->out, writer->separator);
	append_char(writer->out, '"');
	appendStringInfoString(writer->out, name);
	append_literal(writer->out, "\":");
	writer->separator = ',';
}

void
es_json_writer_begin(EsJsonWriter *writer, StringInfo out)
{
	writer->out = out;
	writer->separator = '{';
}

void
es_json_writer_end(EsJsonWriter *writer)
{
	if (writer->separator == '{')
		append_char(writer->out, '{');
	append_char(writer->out, '}');
}

void
es_json_writer_string(EsJsonWriter *writer, const char *name,
					  const char *value, int length)
{
	begin_member(writer, name);
	es_json_append_string(writer->out, value, length);
}

void
es_json_writer_cstring(EsJsonWriter *writer, const char *name, const char *value)
{
	es_json_writer_string(writer, name, value, strlen(value));
}

/*
 * A member whose value is JSON already.
 */
void
es_json_writer_raw(EsJsonWriter *writer, const char *name,
				   const char *value, int length)
{
	begin_member(writer, name);
	appendBinaryStringInfo(writer->out, value, length);
}

static void
append_int64(StringInfo out, int64 value)
{
	char		digits[MAXINT8LEN + 1];

	appendBinaryStringInfo(out, digits, pg_lltoa(value, digits));
}

void
es_json_writer_number(EsJsonWriter *writer, const char *name, int64 value)
{
	begin_member(writer, name);
	append_int64(writer->out, value);
}

void
es_json_writer_number_as_string(EsJsonWriter *writer, const char *name,
								int64 value)
{
	begin_member(writer, name);
	append_char(writer->out, '"');
	append_int64(writer->out, value);
	append_char(writer->out, '"');
}

void
es_json_writer_uuid(EsJsonWriter *writer, const char *name,
					const pg_uuid_t *value)
{
	static const char hex[] = "0123456789abcdef";
	char text[	2 * UUID_LEN + 6];
	char	   *p = text;

	*p++ = '"';
	for (int i = 0; i < UUID_LEN; i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*p++ = '-';
		*p++ = hex[value->data[i] >> 4];
		*p++ = hex[value->data[i] & 0xf];
	}
	*p++ = '"';
	es_json_writer_raw(writer, name, text, p - text);
}

/*
 * "2025-01-31T23:59:59.000000Z".  Years before 1 BC have a minus sign.
 */
static char *
format_time(char *p, TimestampTz value)
{
	struct pg_tm tm;
	fsec_t		microseconds;

	if (timestamp2tm(value, NULL, &tm, &microseconds, NULL, NULL) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("timestamp out of range"),
				 errdetail("The time of an event is no valid timestamp."),
				 errhint("Look for data corruption.")));
	if (tm.tm_year < 0)
		*p++ = '-';
	p = pg_ultostr_zeropad(p, abs(tm.tm_year), 4);
	*p++ = '-';
	p = pg_ultostr_zeropad(p, tm.tm_mon, 2);
	*p++ = '-';
	p = pg_ultostr_zeropad(p, tm.tm_mday, 2);
	*p++ = 'T';
	p = pg_ultostr_zeropad(p, tm.tm_hour, 2);
	*p++ = ':';
	p = pg_ultostr_zeropad(p, tm.tm_min, 2);
	*p++ = ':';
	p = pg_ultostr_zeropad(p, tm.tm_sec, 2);
	*p++ = '.';
	p = pg_ultostr_zeropad(p, microseconds, 6);
	*p++ = 'Z';
	return p;
}

void
es_json_writer_time(EsJsonWriter *writer, const char *name, TimestampTz value)
{
	char text[	MAXDATELEN + 1];

	if (TIMESTAMP_IS_NOBEGIN(value))
		es_json_writer_cstring(writer, name, "-infinity");
	else if (TIMESTAMP_IS_NOEND(value))
		es_json_writer_cstring(writer, name, "infinity");
	else
		es_json_writer_string(writer, name, text, format_time(text, value) - text);
}

static void
append_base64(StringInfo out, const char *value, int length)
{
	int			room = pg_b64_enc_len(length);
	int			written;

	enlargeStringInfo(out, room);
	/* up to 17 it takes chars, then unsigned ones */
	written = pg_b64_encode((const void *) value, length, out->data + out->len, room);
	Assert(written >= 0);
	out->len += written;
	out->data[out->len] = '\0';
}

void
es_json_writer_base64(EsJsonWriter *writer, const char *name, const bytea *value)
{
	const char *p = VARDATA_ANY(value);
	int			remaining = VARSIZE_ANY_EXHDR(value);

	begin_member(writer, name);
	append_char(writer->out, '"');
	while (remaining > 0)
	{
		int			length = Min(remaining, BASE64_CHUNK);

		append_base64(writer->out, p, length);
		p += length;
		remaining -= length;
	}
	append_char(writer->out, '"');
}
