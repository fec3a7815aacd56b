/*-------------------------------------------------------------------------
 *
 * payload_check.c
 *	  Refuses JSON that PostgreSQL could store, but not read.
 *
 * The type json takes what no ->>, cast or index can read later: "\u0000",
 * half of a surrogate pair, numbers outside the range of numeric.  An event
 * can't be changed, so it would stay in the way of every query for good.
 * What jsonb could not hold is therefore refused.  Whether it could is for the
 * server's own code to say, which also picks the SQLSTATE; here it is only
 * found what to ask about:
 *
 * - an escape that stands for no character, or, in a database whose encoding
 *	 is not UTF8, for one beyond ASCII;
 * - a number with a long exponent, or with very many digits;
 * - so many exponents that jsonb could not be printed;
 * - text so large that a part of it may exceed what jsonb allows.
 *
 * Deep nesting is refused as well.  How deep the server's recursive parsers
 * can go depends on the session and on what has called them, so that the same
 * event could be appended and not be read by a function.
 *
 * For nearly all payloads all this comes to a memchr() for a backslash and a
 * look at every fifth byte, and no jsonb value is built.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"

#include "append/json_reader.h"
#include "append/payload_check.h"

/*
 * What takes a number out of the range of numeric is an exponent of no fewer
 * digits than this, or no fewer digits in a row than that: 6,000 digits on
 * either side of the point and an exponent of 9999 are well within it.
 */
#define LONG_EXPONENT 5
#define MANY_DIGITS 6000

/*
 * Smaller text always has a jsonb: text grows six-fold at most, in [1,1,...],
 * and a container may have 256 MB; and the server's parser has room for 2^24
 * items in an array, which take two bytes each.
 */
#define HUGE_SIZE (32 * 1024 * 1024)

/*
 * So many arrays and objects within one another take the parsers less than a
 * third of the 2 MB that max_stack_depth is by default.
 */
#define MAX_NESTING 4000

/*
 * What jsonb prints has less than 1 GB, and is written to a row with others.
 * Where the text is smaller than LONG_TEXT_FROM and no exponent is long, a
 * number being 1e9999 at most, that is not reached.
 */
#define MAX_PRINTED_SIZE (512 * 1024 * 1024)
#define LONG_TEXT_FROM (256 * 1024)

/*
 * A row is copied as text, which has less than 1 GB.  bytea takes two characters
 * a byte there, and so do the backslashes and line breaks of JSON; those in an
 * array four.  Names, and what else is in the row, have the rest.
 */
#define MAX_EVENT_SIZE (MaxAllocSize / 2 - 64 * 1024)

/* What the server is being asked about, for error context. */
typedef struct PayloadCheck
{
	const char *name;			/* of the payload */
	const char *start;
	const char *end;
	const char *place;			/* NULL: the whole */
	const char *detail;			/* NULL: the server's own */
} PayloadCheck;

static const char *const unreadable_hint =
"Take it out, or append as binary_data what PostgreSQL cannot read as JSON.";

static void
describe_check(void *arg)
{
	const PayloadCheck *check = arg;

	if (check->detail != NULL)
		errdetail("%s", check->detail);
	errhint("%s", unreadable_hint);
	if (check->place != NULL)
		errcontext("%s, character %d", check->name,
				   pg_mbstrlen_with_len(check->start, check->place - check->start) + 1);
	else
		errcontext("%s", check->name);
}

/* ---- escapes ---- */

/*
 * The code unit of \uXXXX.
 */
static pg_wchar
code_unit(const char *escape)
{
	pg_wchar	unit = 0;

	for (int i = 2; i < 6; i++)
	{
		char		digit = escape[i];

		unit = unit * 16 + (digit <= '9' ? digit - '0' : (digit | 0x20) - 'a' + 10);
	}
	return unit;
}

/*
 * The character that \uXXXX stands for, together with the next escape if need
 * be, or 0.
 */
static pg_wchar
escaped_character(const char *escape, int *length)
{
	pg_wchar	unit = code_unit(escape);
	const char *next = escape + 6;

	*length = 6;
	if (is_utf16_surrogate_second(unit))
		return 0;
	if (!is_utf16_surrogate_first(unit))
		return unit;
	if (next[0] != '\\' || next[1] != 'u' || !is_utf16_surrogate_second(code_unit(next)))
		return 0;
	*length = 12;
	return surrogate_pair_to_codepoint(unit, code_unit(next));
}

/*
 * Have the server's parser look at an escape by itself.
 */
static void
ask_parser(PayloadCheck *check, const char *escape)
{
	char	   *string = psprintf("\"%.6s\"", escape);
	EsJsonValue value = {ES_JSON_STRING, string, strlen(string)};

	check->place = escape;
	check->detail = NULL;
	es_json_value_string(&value);
}

/*
 * Have the server look for a character in the database's encoding.
 */
static void
ask_encoding(PayloadCheck *check, const char *escape, int length, pg_wchar character)
{
	unsigned char converted[MAX_UNICODE_EQUIVALENT_STRING + 1];

	check->place = escape;
	check->detail = psprintf("The encoding of the database, %s, has no character for %.*s.",
							 GetDatabaseEncodingName(), length, escape);
	pg_unicode_to_server(character, converted);
}

/*
 * In JSON, a backslash always begins an escape, and behind it the string ends
 * with a quote at least: so looking ahead does not run past the end.
 */
static void
check_escapes(PayloadCheck *check)
{
	bool		is_utf8 = GetDatabaseEncoding() == PG_UTF8;
	const char *at = check->start;

	while ((at = memchr(at, '\\', check->end - at)) != NULL)
	{
		int			length = 2;

		if (at[1] == 'u')
		{
			pg_wchar	character = escaped_character(at, &length);

			if (character == 0)
				ask_parser(check, at);
			else if (character >= 0x80 && !is_utf8)
				ask_encoding(check, at, length, character);
		}
		at += length;
	}
}

/* ---- numbers ---- */

static inline bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_behind_exponent_mark(const char *start, const char *at)
{
	if (at > start && (at[-1] == '+' || at[-1] == '-'))
		at--;
	return at > start && (at[-1] == 'e' || at[-1] == 'E');
}

/*
 * Is a digit one of the first of an exponent that is long?
 */
static bool
is_in_long_exponent(const char *start, const char *digit, const char *end)
{
	const char *first = digit;
	const char *behind = digit + 1;

	while (first > start && is_digit(first[-1]) && digit - first < LONG_EXPONENT)
		first--;
	if (!is_behind_exponent_mark(start, first))
		return false;
	while (behind < end && is_digit(*behind))
		behind++;
	return behind - first >= LONG_EXPONENT;
}

/*
 * Of the first LONG_EXPONENT digits of an exponent, one is looked at.
 */
static bool
has_long_exponent(const char *start, const char *end)
{
	for (const char *at = start; at < end; at += LONG_EXPONENT)
	{
		if (is_digit(*at) && is_in_long_exponent(start, at, end))
			return true;
	}
	return false;
}

/*
 * Of MANY_DIGITS in a row, one is looked at.
 */
static bool
has_many_digits(const char *start, const char *end)
{
	for (const char *at = start; at < end; at += MANY_DIGITS)
	{
		const char *first = at;

		while (first > start && is_digit(first[-1]))
			first--;
		while (at < end && is_digit(*at))
			at++;
		if (at - first >= MANY_DIGITS)
			return true;
	}
	return false;
}

/*
 * Are there digits that may take a number out of the range of numeric?
 */
static bool
has_odd_digits(const char *start, const char *end)
{
	return has_long_exponent(start, end) || has_many_digits(start, end);
}

static void
check_number(PayloadCheck *check, const EsJsonValue *number)
{
	char	   *string = pnstrdup(number->start, number->length);

	check->place = number->start;
	check->detail = "A number has at most 131072 digits before the decimal point and 16383 after it.";
	DirectFunctionCall3(numeric_in, CStringGetDatum(string),
						ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
	pfree(string);
}

/*
 * About how long the number is without its exponent, as jsonb prints it.  The
 * number is within the range of numeric, so that its exponent is small.
 */
static int64
printed_length(const EsJsonValue *number)
{
	const char *end = number->start + number->length;
	const char *at = number->start;
	int64		exponent = 0;

	while (at < end && *at != 'e' && *at != 'E')
		at++;
	for (; at < end; at++)
	{
		if (is_digit(*at))
			exponent = exponent * 10 + (*at - '0');
	}
	return number->length + exponent;
}

static void
report_long_numbers(PayloadCheck *check)
{
	check->place = NULL;
	check->detail = NULL;
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("the numbers of %s are too long", check->name),
			 errdetail("Written out without their exponents, as jsonb prints them, they take more than 512 MB."),
			 errhint("%s", unreadable_hint)));
}

/*
 * Digits are mostly those of strings, such as hashes: find the numbers.
 */
static void
check_numbers(PayloadCheck *check)
{
	EsJsonReader reader = {check->start, check->end};
	EsJsonValue scalar;
	int64		printed_size = 0;

	if (check->end - check->start < LONG_TEXT_FROM &&
		!has_odd_digits(check->start, check->end))
		return;
	while (es_json_reader_scalar(&reader, &scalar))
	{
		if (scalar.kind != ES_JSON_NUMBER)
			continue;
		if (has_odd_digits(scalar.start, scalar.start + scalar.length))
			check_number(check, &scalar);
		printed_size += printed_length(&scalar);
		if (printed_size > MAX_PRINTED_SIZE)
			report_long_numbers(check);
	}
}

/* ---- the whole ---- */

static void
check_size(PayloadCheck *check)
{
	char	   *string;

	if (check->end - check->start < HUGE_SIZE)
		return;

	check->place = NULL;
	check->detail = "Strings, arrays and objects of jsonb have at most 268435455 bytes, and some million items.";
	string = pnstrdup(check->start, check->end - check->start);
	pfree(DatumGetPointer(DirectFunctionCall1(jsonb_in, CStringGetDatum(string))));
	pfree(string);
}

/*
 * Does the byte occur at least this many times?
 */
static bool
occurs(const PayloadCheck *check, char byte, int times)
{
	const char *at = check->start;

	while (times > 0 && (at = memchr(at, byte, check->end - at)) != NULL)
	{
		at++;
		times--;
	}
	return times == 0;
}

/*
 * How many arrays and objects are within one another?
 */
static int
count_nesting(const PayloadCheck *check)
{
	EsJsonReader reader = {check->start, check->end};
	EsJsonValue string;
	int			depth = 0;
	int			deepest = 0;

	while (reader.at < reader.end)
	{
		switch (*reader.at)
		{
			case '"':
				es_json_reader_value(&reader, &string);
				continue;
			case '[':
			case '{':
				depth++;
				deepest = Max(deepest, depth);
				break;
			case ']':
			case '}':
				depth--;
				break;
		}
		reader.at++;
	}
	return deepest;
}

static void
check_nesting(const PayloadCheck *check)
{
	int			nesting;

	if (check->end - check->start <= 2 * MAX_NESTING ||
		(!occurs(check, '[', MAX_NESTING / 2) && !occurs(check, '{', MAX_NESTING / 2)))
		return;

	nesting = count_nesting(check);
	if (nesting > MAX_NESTING)
		ereport(ERROR,
				(errcode(ERRCODE_STATEMENT_TOO_COMPLEX),
				 errmsg("%s is nested too deeply", check->name),
				 errdetail("%d arrays and objects are within one another, and at most %d are allowed.",
						   nesting, MAX_NESTING),
				 errhint("Flatten it, or append as binary_data what PostgreSQL cannot read as JSON.")));
}

static Size
size_of(const void *value)
{
	return value != NULL ? VARSIZE_ANY(value) : 0;
}

/*
 * Raise an error if the event's row could be stored and not be read.
 */
void
es_payload_check_size(const EsEvent *event)
{
	Size		size = size_of(event->data) + size_of(event->binary_data) +
	size_of(event->metadata) + 2 * size_of(event->tags);

	if (size <= MAX_EVENT_SIZE)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("the event is too large"),
			 errdetail("Its payload, metadata and tags take %zu bytes, and at most %zu are allowed: more could not be copied out of the table, nor dumped.",
					   size, (Size) MAX_EVENT_SIZE),
			 errhint("Store large objects elsewhere and append what refers to them, or split the event.")));
}

/*
 * Raise an error if jsonb could not hold a payload, which is valid JSON.
 */
void
es_payload_check(const char *name, const text *payload)
{
	PayloadCheck check = {
		.name = name,
		.start = VARDATA_ANY(payload),
		.end = VARDATA_ANY(payload) + VARSIZE_ANY_EXHDR(payload)
	};
	ErrorContextCallback callback = {
		.previous = error_context_stack,
		.callback = describe_check,
		.arg = &check
	};

	check_nesting(&check);
	error_context_stack = &callback;
	check_escapes(&check);
	check_numbers(&check);
	check_size(&check);
	error_context_stack = callback.previous;
}
