/*-------------------------------------------------------------------------
 *
 * event_format.h
 *	  An event as JSON.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_EVENT_FORMAT_H
#define ES_EVENT_FORMAT_H

#include "access/xlogdefs.h"
#include "datatype/timestamp.h"
#include "lib/stringinfo.h"

#include "decode/output_options.h"

/* The transaction that has appended an event. */
typedef struct EsTransaction
{
	TransactionId xid;
	XLogRecPtr	commit_lsn;
	XLogRecPtr	end_lsn;
	TimestampTz commit_time;
} EsTransaction;

extern void es_event_format(StringInfo out, const EsOutputOptions *options,
							const Datum *values, const bool *nulls,
							const EsTransaction *details);

#endif							/* ES_EVENT_FORMAT_H */
