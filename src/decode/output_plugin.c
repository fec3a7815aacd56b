/*-------------------------------------------------------------------------
 *
 * output_plugin.c
 *	  The output plugin "eventstore" of logical decoding: one message per
 *	  event, in commit order.
 *
 * Only rows that were inserted into eventstore.events make messages, and on
 * demand what pg_logical_emit_message() has written.  What
 * relation that is gets looked up under the historic snapshot of the
 * decoding, once: the verdict is kept until an invalidation, which decoding
 * replays at the place of the change that caused it.  Any other table costs
 * a comparison of names.
 *
 * A transaction's events are handed over together when it is decoded at its
 * commit, so there is one transaction at a time, and whether it has made a
 * message is one flag.  Its begin and commit get messages of their own only
 * on demand and only around others.  What was emitted outside of transactions
 * comes between them, when it is met in the WAL.
 *
 * Everything hangs under the decoding context.  What a change needs (values
 * out of TOAST, the message's copy in the SQL interface) goes into a context
 * that is reset after it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "replication/logical.h"
#include "replication/origin.h"
#include "replication/output_plugin.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "compat.h"
#include "decode/event_format.h"
#include "decode/message_encoding.h"
#include "decode/message_format.h"
#include "decode/output_options.h"
#include "decode/past_events.h"
#include "eventstore.h"
#include "store/name_set.h"

/* The state of one decoding. */
typedef struct EsOutputPlugin
{
	EsOutputOptions options;
	MemoryContext change_context;
	bool		has_written;	/* a message of the current transaction? */
#ifdef ES_PLUGIN_KEEPS_CLIENT_ALIVE
	int			nskipped;		/* changes since the server heard from us */
#endif
} EsOutputPlugin;

/*
 * Which relation is eventstore.events?
 */

static Oid	judged_relation = InvalidOid;
static bool judged_to_be_events = false;

static void
forget_relation(Datum arg, Oid relid)
{
	if (!OidIsValid(relid) || relid == judged_relation)
		judged_relation = InvalidOid;
}

static void
forget_schema(Datum arg, int cacheid, uint32 hashvalue)
{
	judged_relation = InvalidOid;
}

static void
reset_judgement(void)
{
	static bool callbacks_are_registered = false;

	judged_relation = InvalidOid;
	if (!callbacks_are_registered)
	{
		CacheRegisterRelcacheCallback(forget_relation, (Datum) 0);
		CacheRegisterSyscacheCallback(NAMESPACEOID, forget_schema, (Datum) 0);
		callbacks_are_registered = true;
	}
}

/*
 * Nothing is invalidated when a table becomes a part of the extension, or is
 * taken out of it.  So that no event is missed, the verdict on a table of our
 * name that is no part of it is not kept.
 */
static bool
is_events(Relation relation)
{
	bool		verdict;

	if (RelationGetRelid(relation) == judged_relation)
		return judged_to_be_events;
	if (strcmp(RelationGetRelationName(relation), ES_EVENTS) != 0)
		return false;

	verdict = es_past_events_has_name(relation);
	if (verdict)
	{
		if (!es_past_events_is_member(relation))
			return false;
		es_past_events_check_columns(relation);
	}
	judged_to_be_events = verdict;
	judged_relation = RelationGetRelid(relation);
	return verdict;
}

/*
 * Messages
 */

static EsTransaction
transaction_of(const ReorderBufferTXN *txn)
{
	EsTransaction transaction = {
		.xid = txn->xid,
		.commit_lsn = txn->final_lsn,
		.end_lsn = txn->end_lsn,
		.commit_time = es_commit_time(txn),
	};

	return transaction;
}

/* A message that is being written. */
typedef struct OutgoingMessage
{
	ErrorContextCallback callback;
	int			start;			/* in ctx->out */
} OutgoingMessage;

static void
describe_message(void *arg)
{
	const EsTransaction *transaction = arg;

	if (transaction != NULL)
		errcontext("transaction that ends at %X/%X", LSN_FORMAT_ARGS(transaction->end_lsn));
	if (geterrcode() == ERRCODE_PROGRAM_LIMIT_EXCEEDED)
		errhint("A message has at most 1 GB.  Leave it out by a filter, or move the slot past its whole transaction with pg_replication_slot_advance().");
}

static void
begin_message(LogicalDecodingContext *ctx, OutgoingMessage *message,
			  EsTransaction *transaction)
{
	message->callback.previous = error_context_stack;
	message->callback.callback = describe_message;
	message->callback.arg = transaction;
	error_context_stack = &message->callback;
	OutputPluginPrepareWrite(ctx, true);
	message->start = ctx->out->len;
}

/*
 * In a replication stream nobody else converts a message to the encoding of
 * the client; the SQL interface returns it as text, which is converted.  Only
 * the stream has a header in front of the message.
 */
static void
end_message(LogicalDecodingContext *ctx, OutgoingMessage *message)
{
	if (message->start > 0)
		es_message_encoding_convert(ctx->out, message->start);
	OutputPluginWrite(ctx, true);
	error_context_stack = message->callback.previous;
}

static void
write_mark(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, bool is_commit)
{
	EsOutputPlugin *plugin = ctx->output_plugin_private;
	EsTransaction transaction = transaction_of(txn);
	OutgoingMessage message;

	begin_message(ctx, &message, &transaction);
	es_message_format_mark(ctx->out, &plugin->options, &transaction, is_commit);
	end_message(ctx, &message);
}

/*
 * Before anything is written of a transaction
 */
static void
write_begin(LogicalDecodingContext *ctx, ReorderBufferTXN *txn)
{
	EsOutputPlugin *plugin = ctx->output_plugin_private;

	if (plugin->options.transactions && !plugin->has_written)
		write_mark(ctx, txn, false);
	plugin->has_written = true;
}

static void
write_event(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
			const Datum *values, const bool *nulls)
{
	EsOutputPlugin *plugin = ctx->output_plugin_private;
	EsTransaction transaction = transaction_of(txn);
	OutgoingMessage message;

	begin_message(ctx, &message, &transaction);
	es_event_format(ctx->out, &plugin->options, values, nulls,
					plugin->options.transaction_details ? &transaction : NULL);
	end_message(ctx, &message);
}

/*
 * Outside of transactions "txn" is NULL.
 */
static void
write_emitted(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, const EsEmittedMessage *emitted)
{
	EsOutputPlugin *plugin = ctx->output_plugin_private;
	EsTransaction transaction;
	OutgoingMessage message;

	if (txn != NULL)
		transaction = transaction_of(txn);
	begin_message(ctx, &message, txn != NULL ? &transaction : NULL);
	es_message_format_emitted(ctx->out, &plugin->options, emitted);
	end_message(ctx, &message);
}

/*
 * Tell the server's sender now and then that we are at work, so that it
 * looks after a client that gets nothing from a long transaction.
 */
static void
keep_client_alive(LogicalDecodingContext *ctx)
{
#ifdef ES_PLUGIN_KEEPS_CLIENT_ALIVE
	EsOutputPlugin *plugin = ctx->output_plugin_private;

	if (++plugin->nskipped >= 100)
	{
		OutputPluginUpdateProgress(ctx, false);
		plugin->nskipped = 0;
	}
#endif
}

static bool
is_selected(const EsNameFilter *filter, enum EsEventsColumn column,
			const Datum *values, const bool *nulls)
{
	EsName		name;

	if (filter->names == NULL && filter->prefixes == NULL)
		return true;
	if (nulls[column - 1])
		return false;
	name = es_name_of(DatumGetTextPP(values[column - 1]));
	return (filter->names != NULL && es_name_set_contains(filter->names, name)) ||
		(filter->prefixes != NULL && es_name_set_has_prefix(filter->prefixes, name));
}

/*
 * Does the client want this event?
 */
static bool
is_wanted(const EsOutputOptions *options, const Datum *values, const bool *nulls)
{
	return is_selected(&options->stream_types, Anum_es_events_stream_type, values, nulls) &&
		is_selected(&options->event_types, Anum_es_events_event_type, values, nulls) &&
		is_selected(&options->streams, Anum_es_events_stream_id, values, nulls);
}

/*
 * Returns whether the event was wanted.
 */
static bool
decode_event(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
			 TupleDesc desc, HeapTuple tuple)
{
	EsOutputPlugin *plugin = ctx->output_plugin_private;
	Datum	   *values = palloc(desc->natts * sizeof(Datum));
	bool	   *nulls = palloc(desc->natts * sizeof(bool));

	heap_deform_tuple(tuple, desc, values, nulls);
	if (!is_wanted(&plugin->options, values, nulls))
		return false;

	write_begin(ctx, txn);
	write_event(ctx, txn, values, nulls);
	return true;
}

/*
 * Callbacks
 */

static void
startup(LogicalDecodingContext *ctx, OutputPluginOptions *plugin_options, bool is_init)
{
	EsOutputPlugin *plugin = palloc0(sizeof(EsOutputPlugin));

	es_output_options_parse(&plugin->options, ctx->output_plugin_options);
	plugin->change_context = AllocSetContextCreate(ctx->context,
												   "event being decoded",
												   ALLOCSET_DEFAULT_SIZES);
	reset_judgement();
	ctx->output_plugin_private = plugin;
	plugin_options->output_type = OUTPUT_PLUGIN_TEXTUAL_OUTPUT;
	plugin_options->receive_rewrites = false;
}

static void
begin(LogicalDecodingContext *ctx, ReorderBufferTXN *txn)
{
	EsOutputPlugin *plugin = ctx->output_plugin_private;

	plugin->has_written = false;
}

static void
decode_change(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
			  Relation relation, ReorderBufferChange *change)
{
	EsOutputPlugin *plugin = ctx->output_plugin_private;
	MemoryContext caller_context;
	bool		was_wanted;

	if (change->action != REORDER_BUFFER_CHANGE_INSERT || !is_events(relation))
	{
		keep_client_alive(ctx);
		return;
	}

	caller_context = MemoryContextSwitchTo(plugin->change_context);
	was_wanted = decode_event(ctx, txn, RelationGetDescr(relation),
							  es_decoded_tuple(change->data.tp.newtuple));
	MemoryContextSwitchTo(caller_context);
	MemoryContextReset(plugin->change_context);
	if (!was_wanted)
		keep_client_alive(ctx);
}

static bool
is_wanted_message(const EsOutputOptions *options, const char *prefix)
{
	EsName		name = {prefix, strlen(prefix)};

	return options->message_prefixes != NULL &&
		es_name_set_contains(options->message_prefixes, name);
}

static void
decode_message(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, XLogRecPtr lsn,
			   bool transactional, const char *prefix, Size length, const char *content)
{
	EsOutputPlugin *plugin = ctx->output_plugin_private;
	EsEmittedMessage emitted = {prefix, transactional, lsn, content, length};
	MemoryContext caller_context;

	if (!is_wanted_message(&plugin->options, prefix))
	{
		keep_client_alive(ctx);
		return;
	}

	caller_context = MemoryContextSwitchTo(plugin->change_context);
	if (transactional)
		write_begin(ctx, txn);
	write_emitted(ctx, transactional ? txn : NULL, &emitted);
	MemoryContextSwitchTo(caller_context);
	MemoryContextReset(plugin->change_context);
}

static void
commit(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, XLogRecPtr commit_lsn)
{
	EsOutputPlugin *plugin = ctx->output_plugin_private;
	MemoryContext caller_context;

	OutputPluginUpdateProgress(ctx, !plugin->has_written);
	if (!plugin->options.transactions || !plugin->has_written)
		return;

	caller_context = MemoryContextSwitchTo(plugin->change_context);
	write_mark(ctx, txn, true);
	MemoryContextSwitchTo(caller_context);
	MemoryContextReset(plugin->change_context);
}

static bool
filter_by_origin(LogicalDecodingContext *ctx, RepOriginId origin)
{
	EsOutputPlugin *plugin = ctx->output_plugin_private;

	return plugin->options.local_only && origin != InvalidRepOriginId;
}

void
_PG_output_plugin_init(OutputPluginCallbacks *callbacks)
{
	callbacks->startup_cb = startup;
	callbacks->begin_cb = begin;
	callbacks->change_cb = decode_change;
	callbacks->message_cb = decode_message;
	callbacks->commit_cb = commit;
	callbacks->filter_by_origin_cb = filter_by_origin;
}
