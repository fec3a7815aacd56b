/*-------------------------------------------------------------------------
 *
 * output_options.c
 *	  The options of the output plugin.
 *
 * Each option is one line of a table: its name, what it may be set to, and
 * how its value is read.  An option that isn't there, one that is given
 * twice and one with a wrong value are refused, so that no client ever gets
 * less or other than it asked for.
 *
 * A list of names is separated by commas.  A name that holds a comma, a
 * double quote or white space at its ends is put into double quotes, where
 * a double quote is written twice: Order-1, "a ""b"", c".
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "nodes/parsenodes.h"
#include "nodes/pg_list.h"
#include "parser/scansup.h"
#include "utils/builtins.h"

#include "decode/event_source.h"
#include "decode/output_options.h"
#include "store/name_set.h"

typedef struct OutputOption OutputOption;

struct OutputOption
{
	const char *name;
	const char *allowed;		/* for the hint: "Allowed is ..." */
	bool		has_default_value;	/* when named without one: "on" */
	void		(*parse) (const OutputOption *option, const char *value, void *target);
	size_t		target;			/* where the result goes in EsOutputOptions */
};

static void parse_format(const OutputOption *option, const char *value, void *target);
static void parse_switch(const OutputOption *option, const char *value, void *target);
static void parse_origin(const OutputOption *option, const char *value, void *target);
static void parse_source(const OutputOption *option, const char *value, void *target);
static void parse_names(const OutputOption *option, const char *value, void *target);
static void parse_prefixes(const OutputOption *option, const char *value, void *target);

#define A_LIST "a list of names, separated by commas, in double quotes where needed"

static const OutputOption output_options[] = {
	{"format", "json or cloudevents", false,
	parse_format, offsetof(EsOutputOptions, format)},
	{"stream_types", A_LIST, false,
	parse_names, offsetof(EsOutputOptions, stream_types.names)},
	{"stream_type_prefixes", A_LIST, false,
	parse_prefixes, offsetof(EsOutputOptions, stream_types.prefixes)},
	{"event_types", A_LIST, false,
	parse_names, offsetof(EsOutputOptions, event_types.names)},
	{"event_type_prefixes", A_LIST, false,
	parse_prefixes, offsetof(EsOutputOptions, event_types.prefixes)},
	{"streams", A_LIST, false,
	parse_names, offsetof(EsOutputOptions, streams.names)},
	{"stream_prefixes", A_LIST, false,
	parse_prefixes, offsetof(EsOutputOptions, streams.prefixes)},
	{"message_prefixes", A_LIST, false,
	parse_names, offsetof(EsOutputOptions, message_prefixes)},
	{"transactions", "on or off", true,
	parse_switch, offsetof(EsOutputOptions, transactions)},
	{"transaction_details", "on or off", true,
	parse_switch, offsetof(EsOutputOptions, transaction_details)},
	{"origin", "any or none", false,
	parse_origin, offsetof(EsOutputOptions, local_only)},
	{"source", "a URI reference", false,
	parse_source, offsetof(EsOutputOptions, source)},
};

static void
refuse_value(const OutputOption *option, const char *value, const char *why)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for option \"%s\": \"%s\"", option->name, value),
			 errdetail("%s", why),
			 errhint("Allowed is %s.", option->allowed)));
}

/*
 * Words
 */

static void
parse_format(const OutputOption *option, const char *value, void *target)
{
	EsOutputFormat *format = target;

	if (strcmp(value, "json") == 0)
		*format = ES_FORMAT_JSON;
	else if (strcmp(value, "cloudevents") == 0)
		*format = ES_FORMAT_CLOUDEVENTS;
	else
		refuse_value(option, value, "There is no such format.");
}

static void
parse_switch(const OutputOption *option, const char *value, void *target)
{
	if (!parse_bool(value, (bool *) target))
		refuse_value(option, value, "This is not a Boolean value.");
}

static void
parse_origin(const OutputOption *option, const char *value, void *target)
{
	bool	   *local_only = target;

	if (strcmp(value, "none") == 0)
		*local_only = true;
	else if (strcmp(value, "any") == 0)
		*local_only = false;
	else
		refuse_value(option, value, "Events cannot be selected by the name of their origin.");
}

static void
parse_source(const OutputOption *option, const char *value, void *target)
{
	const char *fault = es_event_source_fault(value);

	if (fault != NULL)
		refuse_value(option, value, fault);
	*(const char **) target = pstrdup(value);
}

/*
 * Lists of names
 */

/* A list that is being read; names are written over what was read. */
typedef struct ListReader
{
	const OutputOption *option;
	const char *list;			/* for errors */
	char	   *at;
} ListReader;

static void
skip_space(ListReader *reader)
{
	while (scanner_isspace(*reader->at))
		reader->at++;
}

/*
 * A name in double quotes.
 */
static void
read_quoted_name(ListReader *reader, EsName *name)
{
	char	   *to = ++reader->at;

	name->start = to;
	for (;; reader->at++)
	{
		if (*reader->at == '\0')
			refuse_value(reader->option, reader->list, "A double quote is not closed.");
		if (*reader->at == '"' && *++reader->at != '"')
			break;
		*to++ = *reader->at;
	}
	name->length = to - name->start;
}

static void
read_bare_name(ListReader *reader, EsName *name)
{
	char	   *end;

	name->start = reader->at;
	while (*reader->at != '\0' && *reader->at != ',')
	{
		if (*reader->at == '"')
			refuse_value(reader->option, reader->list,
						 "A double quote is inside a name that is not in double quotes.");
		reader->at++;
	}
	end = reader->at;
	while (end > name->start && scanner_isspace(end[-1]))
		end--;
	name->length = end - name->start;
}

/*
 * Read a name and what follows it.  Returns whether there is another one.
 */
static bool
read_name(ListReader *reader, EsName *name)
{
	skip_space(reader);
	if (*reader->at == '"')
		read_quoted_name(reader, name);
	else
		read_bare_name(reader, name);
	if (name->length == 0)
		refuse_value(reader->option, reader->list, "A name is empty.");

	skip_space(reader);
	if (*reader->at == '\0')
		return false;
	if (*reader->at != ',')
		refuse_value(reader->option, reader->list,
					 "A comma is missing behind a name in double quotes.");
	reader->at++;
	return true;
}

static int
count_commas(const char *list)
{
	int			ncommas = 0;

	for (const char *p = list; *p != '\0'; p++)
		ncommas += *p == ',';
	return ncommas;
}

/*
 * Some drivers send U+FFFD in the place of what they fail to encode: psycopg2
 * does so with options beyond ASCII.  No event would have such a name.
 */
static void
check_names_encoded(const OutputOption *option, const char *list)
{
	if (GetDatabaseEncoding() != PG_UTF8 || strstr(list, "\xef\xbf\xbd") == NULL)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for option \"%s\": \"%s\"", option->name, list),
			 errdetail("It has the replacement character, U+FFFD, in the place of what the client failed to encode."),
			 errhint("Have the driver send the characters themselves; psycopg2 does with start_replication_expert().")));
}

static EsNameSet *
read_names(const OutputOption *option, const char *value)
{
	ListReader	reader = {option, value, pstrdup(value)};
	EsNameSet  *set = palloc(offsetof(EsNameSet, names) +
							 mul_size(count_commas(value) + 1, sizeof(EsName)));

	check_names_encoded(option, value);
	set->nnames = 0;
	while (read_name(&reader, &set->names[set->nnames++]))
		;
	return set;
}

static void
parse_names(const OutputOption *option, const char *value, void *target)
{
	EsNameSet  *set = read_names(option, value);

	es_name_set_finish(set);
	*(EsNameSet **) target = set;
}

static void
parse_prefixes(const OutputOption *option, const char *value, void *target)
{
	EsNameSet  *set = read_names(option, value);

	es_name_set_finish_prefixes(set);
	*(EsNameSet **) target = set;
}

/*
 * Options
 */

static char *
list_options(void)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < lengthof(output_options); i++)
		appendStringInfo(&list, "%s%s", i > 0 ? ", " : "", output_options[i].name);
	return list.data;
}

static const OutputOption *
find_option(const char *name)
{
	for (int i = 0; i < lengthof(output_options); i++)
	{
		if (strcmp(output_options[i].name, name) == 0)
			return &output_options[i];
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unrecognized option \"%s\"", name),
			 errdetail("The options of output plugin \"eventstore\" are: %s.", list_options()),
			 errhint("Use one of these, in lower case, or leave the option out.")));
}

static void
parse_option(EsOutputOptions *options, const OutputOption *option, DefElem *given)
{
	const char *value = "on";

	if (given->arg != NULL)
		value = strVal(given->arg);
	else if (!option->has_default_value)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" has no value", option->name),
				 errdetail("Only an option that is on or off can do without."),
				 errhint("Allowed is %s.", option->allowed)));
	option->parse(option, value, (char *) options + option->target);
}

/*
 * Read the options that a client gave, a list of DefElem.  The result is in
 * the current memory context.
 */
void
es_output_options_parse(EsOutputOptions *options, List *given)
{
	Bitmapset  *seen = NULL;
	ListCell   *lc;

	memset(options, 0, sizeof(*options));
	foreach(lc, given)
	{
		DefElem    *element = lfirst(lc);
		const OutputOption *option = find_option(element->defname);

		if (bms_is_member(option - output_options, seen))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"%s\" is given twice", option->name),
					 errdetail("It cannot have two values."),
					 errhint("Give it once; lists take several names.")));
		seen = bms_add_member(seen, option - output_options);
		parse_option(options, option, element);
	}
	if (options->format == ES_FORMAT_CLOUDEVENTS && options->source == NULL)
		options->source = es_event_source_default();
}
