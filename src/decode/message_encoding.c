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
 * an error if not.  It holds nothing that an error would have to let go of but
 * memory, which is in a context of its own here.  Asking without an error takes
 * catalogs, and an emitted message can come where there is no transaction.
 *
 * Two encodings have a yen sign or an overline where ASCII has a backslash or a
 * tilde, and PostgreSQL converts the one to the other.  In JSON that would be
 * another character, so these are escaped as well.
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

/* So many characters are tried between two looks at what else there is to do. */
#define CHARACTERS_AT_ONCE 1000

/* Characters that the client's encoding lacks, each at one place. */
#define MAX_KNOWN_LACKING 1024

static pg_wchar known_lacking[MAX_KNOWN_LACKING];
static int	known_encoding = -1;

static void
turn_to_encoding(int encoding)
{
	if (known_encoding == encoding)
		return;
	memset(known_lacking, 0, sizeof(known_lacking));
	known_encoding = encoding;
}

/*
 * Append a character that is not ASCII.
 */
static void
append_character(StringInfo out, const char *p, int length)
{
	pg_wchar	character = utf8_to_unicode((const unsigned char *) p);
	pg_wchar   *known = &known_lacking[character % MAX_KNOWN_LACKING];
	char	   *converted = *known == character ? NULL : try_to_convert(p, length);

	if (converted != NULL && IS_HIGHBIT_SET(*converted))
		appendStringInfoString(out, converted);
	else
	{
		*known = character;
		es_json_append_escape(out, character, false);
	}
}

/*
 * Append all of a string of UTF-8, character by character.
 */
static void
append_characters(StringInfo out, const char *string, int length)
{
	MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "characters being converted",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext context = MemoryContextSwitchTo(scratch);
	const char *end = string + length;
	int			ncharacters = 0;

	turn_to_encoding(pg_get_client_encoding());
	for (const char *p = string; p < end;)
	{
		const char *run = p;

		while (p < end && !IS_HIGHBIT_SET(*p))
			p++;
		appendBinaryStringInfo(out, run, p - run);
		if (p < end)
		{
			int			mblen = pg_encoding_mblen(PG_UTF8, p);

			append_character(out, p, mblen);
			p += mblen;
		}
		if (++ncharacters % CHARACTERS_AT_ONCE == 0)
		{
			MemoryContextReset(scratch);
			CHECK_FOR_INTERRUPTS();
		}
	}
	MemoryContextSwitchTo(context);
	MemoryContextDelete(scratch);
}

/*
 * Does the conversion make ASCII of what is not?
 */
static bool
makes_ascii(int encoding)
{
	return encoding == PG_SJIS || encoding == PG_SHIFT_JIS_2004;
}

/*
 * Convert what is in "out" from "start" on.
 */
void
es_message_encoding_convert(StringInfo out, int start)
{
	char	   *message = out->data + start;
	int			length = out->len - start;
	char	   *converted = NULL;

	if (GetDatabaseEncoding() != PG_UTF8 || !makes_ascii(pg_get_client_encoding()))
		converted = try_to_convert(message, length);
	if (converted == message)
		return;
	out->len = start;
	if (converted != NULL)
		appendStringInfoString(out, converted);
	else
		append_characters(out, pnstrdup(message, length), length);
}
