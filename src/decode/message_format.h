/*-------------------------------------------------------------------------
 *
 * message_format.h
 *	  What the output plugin sends beside events, as JSON.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_MESSAGE_FORMAT_H
#define ES_MESSAGE_FORMAT_H

#include "access/xlogdefs.h"
#include "lib/stringinfo.h"

#include "decode/event_format.h"
#include "decode/output_options.h"

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

#endif							/* ES_MESSAGE_FORMAT_H */
