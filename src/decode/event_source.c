/*-------------------------------------------------------------------------
 *
 * event_source.c
 *	  The source of CloudEvents: a URI reference.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/dbcommands.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "decode/event_source.h"

static bool
is_unreserved(unsigned char c)
{
	return !IS_HIGHBIT_SET(c) && (isalnum(c) || (c != '\0' && strchr("-._~", c)));
}

/*
 * Does a URI reference consist of such characters (RFC 3986, section 2)?
 */
static bool
has_uri_characters(const char *value)
{
	for (const char *p = value; *p != '\0'; p++)
	{
		if (*p == '%')
		{
			if (!isxdigit((unsigned char) p[1]) || !isxdigit((unsigned char) p[2]))
				return false;
			p += 2;
		}
		else if (!is_unreserved(*p) && !strchr(":/?#[]@!$&'()*+,;=", *p))
			return false;
	}
	return true;
}

/*
 * What keeps this from being a source, or NULL.
 */
const char *
es_event_source_fault(const char *value)
{
	if (*value == '\0')
		return "The source of a CloudEvent is not empty.";
	if (!has_uri_characters(value))
		return "It has a character that is not part of a URI unless it is percent-encoded.";
	return NULL;
}

/*
 * The name of this database.  A walsender that starts to stream is not in a
 * transaction.
 */
static char *
database_name(void)
{
	MemoryContext context = CurrentMemoryContext;
	bool		is_outside = !IsTransactionState();
	char	   *name;

	if (is_outside)
		StartTransactionCommand();
	name = MemoryContextStrdup(context, get_database_name(MyDatabaseId));
	if (is_outside)
		CommitTransactionCommand();
	MemoryContextSwitchTo(context);
	return name;
}

/*
 * "/eventstore/", and the name of the database, percent-encoded.
 */
const char *
es_event_source_default(void)
{
	StringInfoData source;

	initStringInfo(&source);
	appendStringInfoString(&source, "/eventstore/");
	for (const char *p = database_name(); *p != '\0'; p++)
	{
		if (is_unreserved(*p))
			appendStringInfoChar(&source, *p);
		else
			appendStringInfo(&source, "%%%02X", (unsigned char) *p);
	}
	return source.data;
}
