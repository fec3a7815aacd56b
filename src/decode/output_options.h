/*-------------------------------------------------------------------------
 *
 * output_options.h
 *	  The options of the output plugin.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_OUTPUT_OPTIONS_H
#define ES_OUTPUT_OPTIONS_H

#include "nodes/pg_list.h"

#include "store/name_set.h"

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

#endif							/* ES_OUTPUT_OPTIONS_H */
