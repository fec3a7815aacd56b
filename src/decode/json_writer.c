/*-------------------------------------------------------------------------
 *
 * json_writer.c
 *	  Objects of JSON, written member by member to the end of a string.
 *
 * Names of members are the caller's own and need no escaping; strings are in
 * the server's encoding.  Attributes are the strings of CloudEvents, which have
 * no control characters and no noncharacters of Unicode.  Times are in ISO 8601
 * and UTC, as RFC 3339 wants them, whatever the session's settings say.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/base64.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "decode/json_writer.h"

/* So many bytes are encoded at a time: a multiple of 3. */
#define BASE64_CHUNK (3 * 1024 * 1024)

#define append_literal(out, literal) \
	appendBinaryStringInfo(out, literal, sizeof(literal) - 1)

static void
append_char(StringInfo out, char c)
{
	appendStringInfoCharMacro(out, c);
}

static const char hex[] = "0123456789abcdef";

static void
append_code_unit(StringInfo out, pg_wchar unit)
{
	char		escape[] = {
		'\\', 'u', hex[unit >> 12], hex[unit >> 8 & 0xf], hex[unit >> 4 & 0xf], hex[unit & 0xf]
	};

	appendBinaryStringInfo(out, escape, sizeof(escape));
}

/*
 * The escape of any character, in UTF-16.  In JSON that is in a string itself,
 * backslashes are doubled.
 */
void
es_json_append_escape(StringInfo out, pg_wchar character, bool is_inner)
{
	if (character >= 0x10000)
	{
		es_json_append_escape(out, 0xd800 + ((character - 0x10000) >> 10), is_inner);
		character = 0xdc00 + (character & 0x3ff);
	}
	if (is_inner)
		append_char(out, '\\');
	append_code_unit(out, character);
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
			append_code_unit(out, c);
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

/*
 * Attributes
 */

/*
 * Are the bytes from 0x80 to 0x9f the control characters of these numbers?
 */
static bool
has_control_bytes(int encoding)
{
	switch (encoding)
	{
		case PG_LATIN1:
		case PG_LATIN2:
		case PG_LATIN3:
		case PG_LATIN4:
		case PG_LATIN5:
		case PG_LATIN6:
		case PG_LATIN7:
		case PG_LATIN8:
		case PG_LATIN9:
		case PG_LATIN10:
		case PG_ISO_8859_5:
		case PG_ISO_8859_6:
		case PG_ISO_8859_7:
		case PG_ISO_8859_8:
			return true;
		default:
			return false;
	}
}

static bool
is_forbidden(pg_wchar character)
{
	return character < ' ' || (character >= 0x7f && character <= 0x9f) ||
		(character >= 0xfdd0 && character <= 0xfdef) || (character & 0xfffe) == 0xfffe;
}

/*
 * If an attribute may not have this character, returns its length, else 0.
 * What an encoding other than UTF8 and ISO's has beyond ASCII is allowed.
 */
static int
forbidden_length(const char *p, const char *end, pg_wchar *character)
{
	unsigned char c = *p;
	int			encoding = GetDatabaseEncoding();
	int			length = 1;

	*character = c;
	if (c >= 0x80 && encoding == PG_UTF8)
	{
		/* what begins with other bytes is allowed, or not a beginning */
		if (c != 0xc2 && c < 0xef)
			return 0;
		length = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
		if (length > end - p)
			return 0;
		*character = utf8_to_unicode((const unsigned char *) p);
	}
	else if (c >= 0x80 && !has_control_bytes(encoding))
		return 0;
	return is_forbidden(*character) ? length : 0;
}

/*
 * Bytes that can be copied to an attribute without a second look.
 */
static inline bool
is_plain(unsigned char c)
{
	return c >= ' ' && c < 0x7f && c != '"' && c != '\\';
}

/*
 * A string with U+FFFD in the place of what is forbidden.
 */
static void
append_attribute(StringInfo out, const char *value, int length)
{
	const char *end = value + length;
	const char *run = value;

	append_char(out, '"');
	for (const char *p = value; p < end; p++)
	{
		pg_wchar	character;
		int			nbytes;

		if (likely(is_plain(*p)))
			continue;
		nbytes = forbidden_length(p, end, &character);
		if (nbytes == 0 && *p != '"' && *p != '\\')
			continue;
		appendBinaryStringInfo(out, run, p - run);
		if (nbytes == 0)
			append_escaped(out, *p);
		else
		{
			append_literal(out, "\\ufffd");
			p += nbytes - 1;
		}
		run = p + 1;
	}
	appendBinaryStringInfo(out, run, end - run);
	append_char(out, '"');
}

/*
 * Append what can't be copied of a string of JSON that goes into a string.
 * Returns how many bytes of it that is; 0: it can be copied.
 */
static int
append_inner_special(StringInfo out, const char *run, const char *p, const char *end)
{
	pg_wchar	character;
	int			nbytes = forbidden_length(p, end, &character);

	if (nbytes == 0 && *p != '\\')
		return 0;
	appendBinaryStringInfo(out, run, p - run);
	if (nbytes > 0)
	{
		es_json_append_escape(out, character, true);
		return nbytes;
	}
	append_literal(out, "\\\\");
	if (p + 1 < end && (p[1] == '"' || p[1] == '\\'))
	{
		append_escaped(out, p[1]);
		return 2;
	}
	return 1;
}

/*
 * A string of JSON that goes into a string.  Returns where it ends.
 */
static const char *
append_inner_string(StringInfo out, const char *value, const char *end)
{
	const char *p = value + 1;
	const char *run = p;

	append_literal(out, "\\\"");
	while (p < end && *p != '"')
	{
		int			nbytes = likely(is_plain(*p)) ? 0 : append_inner_special(out, run, p, end);

		if (nbytes == 0)
			p++;
		else
			run = p += nbytes;
	}
	appendBinaryStringInfo(out, run, p - run);
	append_literal(out, "\\\"");
	return p + 1;
}

/*
 * A string that holds JSON, without white space between its tokens, and with
 * escapes in the place of what is forbidden: so it says the same.
 */
static void
append_json_attribute(StringInfo out, const char *value, int length)
{
	const char *end = value + length;
	const char *p = value;

	append_char(out, '"');
	while (p < end)
	{
		if (*p == '"')
		{
			p = append_inner_string(out, p, end);
			continue;
		}
		if (*p != ' ' && *p != '\t' && *p != '\n' && *p != '\r')
			append_char(out, *p);
		p++;
	}
	append_char(out, '"');
}

/*
 * Members
 */

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
es_json_writer_attribute(EsJsonWriter *writer, const char *name,
						 const char *value, int length)
{
	begin_member(writer, name);
	append_attribute(writer->out, value, length);
}

/*
 * An attribute that holds JSON.
 */
void
es_json_writer_json_attribute(EsJsonWriter *writer, const char *name,
							  const char *value, int length)
{
	begin_member(writer, name);
	append_json_attribute(writer->out, value, length);
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

/*
 * A string of 19 digits, so that strings are in the order of the numbers,
 * which are not negative.
 */
void
es_json_writer_number_as_digits(EsJsonWriter *writer, const char *name,
								int64 value)
{
	static const char zeros[] = "0000000000000000000";
	char		digits[MAXINT8LEN + 1];
	int			length = pg_lltoa(value, digits);
	int			missing = (int) strlen(zeros) - length;

	begin_member(writer, name);
	append_char(writer->out, '"');
	appendBinaryStringInfo(writer->out, zeros, Max(missing, 0));
	appendBinaryStringInfo(writer->out, digits, length);
	append_char(writer->out, '"');
}

void
es_json_writer_uuid(EsJsonWriter *writer, const char *name,
					const pg_uuid_t *value)
{
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
es_json_writer_base64(EsJsonWriter *writer, const char *name,
					  const char *value, int length)
{
	begin_member(writer, name);
	append_char(writer->out, '"');
	while (length > 0)
	{
		int			chunk = Min(length, BASE64_CHUNK);

		append_base64(writer->out, value, chunk);
		value += chunk;
		length -= chunk;
	}
	append_char(writer->out, '"');
}

void
es_json_writer_lsn(EsJsonWriter *writer, const char *name, XLogRecPtr lsn)
{
	char		value[32];

	snprintf(value, sizeof(value), "%X/%X", LSN_FORMAT_ARGS(lsn));
	es_json_writer_cstring(writer, name, value);
}
