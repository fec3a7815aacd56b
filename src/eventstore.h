/*-------------------------------------------------------------------------
 *
 * eventstore.h
 *	  Types and functions that the files of the event store share, grouped
 *	  under the file that defines them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EVENTSTORE_H
#define EVENTSTORE_H

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relscan.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "nodes/pg_list.h"
#include "storage/buf.h"
#include "storage/lock.h"
#include "utils/array.h"
#include "utils/rel.h"
#include "utils/snapshot.h"
#include "utils/tuplestore.h"
#include "utils/uuid.h"

#define ES_SCHEMA "eventstore"
#define ES_EVENTS "events"

/* The columns of eventstore.events. */
enum EsEventsColumn
{
	Anum_es_events_global_position = 1,
	Anum_es_events_version,
	Anum_es_events_created_at,
	Anum_es_events_event_id,
	Anum_es_events_stream_id,
	Anum_es_events_stream_type,
	Anum_es_events_event_type,
	Anum_es_events_schema_version,
	Anum_es_events_correlation_id,
	Anum_es_events_causation_id,
	Anum_es_events_data,
	Anum_es_events_binary_data,
	Anum_es_events_content_type,
	Anum_es_events_metadata,
	Anum_es_events_tags
};

#define Natts_es_events Anum_es_events_tags

/*
 * A name (stream, stream type, event type) is at most this many bytes long,
 * so that every index entry fits into its page.
 */
#define ES_MAX_NAME_LENGTH 2048

/* ---- eventstore.c ---- */

extern PGDLLEXPORT void _PG_init(void);

/* ---- settings.c ---- */

/* Who notifies the listeners of an append? */
typedef enum EsNotify
{
	ES_NOTIFY_OFF,
	ES_NOTIFY_TRANSACTION,
	ES_NOTIFY_WORKER
} EsNotify;

extern bool es_serialize_appends;
extern int	es_notify;			/* EsNotify */
extern int	es_watermark_interval;	/* milliseconds */
extern int	es_worker_idle_limit;	/* milliseconds */

extern void es_settings_define(void);

/* ---- catalog.c ---- */

/* What an index of eventstore.events is to the extension. */
typedef enum EsIndexKind
{
	ES_POSITION_INDEX,			/* unique, on (global_position) */
	ES_STREAM_INDEX,			/* unique, on (stream_id, version) */
	ES_EVENT_ID_INDEX,			/* unique, on (event_id) */
	ES_CATEGORY_INDEX,			/* on (stream_type, global_position) */
	ES_FOREIGN_INDEX			/* any other */
} EsIndexKind;

#define ES_OWN_INDEXES ES_FOREIGN_INDEX

typedef struct EsIndex
{
	Oid			oid;
	EsIndexKind kind;
} EsIndex;

/* The extension's relations. */
typedef struct EsCatalog
{
	Oid			events;
	Oid			watermark;
	Oid			position_sequence;
	Oid			indexes[ES_OWN_INDEXES];
	int			nindexes;		/* of eventstore.events, users' own as well */
	EsIndex    *all_indexes;
	bool		has_foreign_constraints;	/* CHECK or NOT NULL not of ours */
} EsCatalog;

extern const EsCatalog *es_catalog_get(void);
extern EsIndexKind es_catalog_classify_index(Relation index);
extern Relation es_catalog_open_events_for_writing(LOCKMODE lockmode);
extern Relation es_catalog_open_events(void);
extern Relation es_catalog_open_events_for_reading(void);
extern Relation es_catalog_open_index(EsIndexKind kind);
extern Relation es_catalog_open_events_for_verification(void);
extern bool es_catalog_has_event_columns(TupleDesc desc);

/* ---- rights.c ---- */

extern void es_rights_check_read(Oid events);
extern void es_rights_check_append(Oid events);
extern void es_rights_check_own_tables(void);

/* ---- lock.c ---- */

extern void es_lock_acquire(const LOCKTAG *tag, LOCKMODE mode);
extern bool es_lock_acquire_at_once(const LOCKTAG *tag, LOCKMODE mode);
extern LockAcquireResult es_lock_acquire_if_room(const LOCKTAG *tag, LOCKMODE mode);
extern void es_lock_release(const LOCKTAG *tag, LOCKMODE mode);
extern void es_lock_relation(Oid relation, LOCKMODE mode);
extern void es_lock_release_relation(Oid relation, LOCKMODE mode);

/* ---- transaction.c ---- */

/* What a transaction has done up to here, in its subtransactions as well. */
typedef struct EsTransactionNote
{
	struct EsTransactionNote *outer;
	int			nest_level;		/* of the subtransaction */
	int			nstream_locks;	/* taken, and not let go of */
	int64		for_listeners;	/* last position to be sent by this
								 * transaction, or 0 */
	int64		for_worker;		/* ... by the worker, or 0 */
} EsTransactionNote;

typedef enum EsTransactionEnd
{
	ES_COMMITTED,
	ES_PREPARED,
	ES_ABORTED
} EsTransactionEnd;

/* What is to be done at the end of a transaction. */
typedef struct EsTransactionEnds
{
	void		(*before_commit) (const EsTransactionNote *note);
	void		(*before_prepare) (const EsTransactionNote *note);

	/* "note" is NULL if there is none; no error may be raised */
	void		(*at_end) (EsTransactionEnd end, const EsTransactionNote *note);
} EsTransactionEnds;

extern EsTransactionNote *es_transaction_note(void);
extern void es_transaction_set_ends(const EsTransactionEnds *wanted);
extern int	es_transaction_stream_locks(void);

/* ---- append_request.c ---- */

/* One event as the caller gave it; a null pointer means "not given". */
typedef struct EsEvent
{
	text	   *event_type;
	int32		schema_version;
	pg_uuid_t	event_id;
	pg_uuid_t	correlation_id;
	pg_uuid_t	causation_id;
	bool		has_event_id;	/* by the caller, not made here */
	bool		has_correlation_id;
	bool		has_causation_id;
	text	   *data;
	bytea	   *binary_data;
	text	   *content_type;
	text	   *metadata;
	ArrayType  *tags;
} EsEvent;

/* One call of an append function. */
typedef struct EsAppendRequest
{
	text	   *stream_id;
	text	   *stream_type;	/* NULL: the stream's own, or derived */
	bool		has_expected_version;
	int64		expected_version;
	int			nevents;
	EsEvent    *events;
	int		   *by_event_id;	/* indexes of events, ordered by event id */
	bool		has_given_ids;	/* is any event id the caller's? */
	int			current_event;	/* for error context: 1 .. nevents, or 0 */
} EsAppendRequest;

extern void es_append_request_from_json(EsAppendRequest *request,
										FunctionCallInfo fcinfo);
extern void es_append_request_from_arguments(EsAppendRequest *request,
											 FunctionCallInfo fcinfo);
extern text *es_append_request_derive_type(const EsAppendRequest *request);

/* ---- json_reader.c ---- */

typedef enum EsJsonKind
{
	ES_JSON_OBJECT,
	ES_JSON_ARRAY,
	ES_JSON_STRING,
	ES_JSON_NUMBER,
	ES_JSON_BOOLEAN,
	ES_JSON_NULL
} EsJsonKind;

/* A place in the text of a valid JSON document. */
typedef struct EsJsonReader
{
	const char *at;
	const char *end;
} EsJsonReader;

/* One JSON value: a slice of the document. */
typedef struct EsJsonValue
{
	EsJsonKind	kind;
	const char *start;
	int			length;
} EsJsonValue;

extern void es_json_reader_init(EsJsonReader *reader, text *document);
extern EsJsonKind es_json_reader_peek(EsJsonReader *reader);
extern void es_json_reader_enter(EsJsonReader *reader);
extern bool es_json_reader_next(EsJsonReader *reader);
extern void es_json_reader_key(EsJsonReader *reader, EsJsonValue *key);
extern void es_json_reader_value(EsJsonReader *reader, EsJsonValue *value);
extern bool es_json_reader_scalar(EsJsonReader *reader, EsJsonValue *scalar);
extern text *es_json_value_slice(const EsJsonValue *value);
extern text *es_json_value_string(const EsJsonValue *value);
extern const char *es_json_kind_name(EsJsonKind kind);

/* ---- payload_check.c ---- */

extern void es_payload_check(const char *name, const text *payload);
extern void es_payload_check_size(const EsEvent *event);

/* ---- stream.c ---- */

/* What is stored of a stream. */
typedef struct EsStream
{
	int64		version;		/* 0: there is no such stream */
	text	   *stream_type;	/* NULL when there is no such stream */
} EsStream;

extern void es_stream_lock(const text *stream_id);
extern void es_stream_look_up(EsStream *stream, Relation events,
							  Relation stream_index, const text *stream_id,
							  Snapshot snapshot);

/* ---- expectation.c ---- */

extern void es_expectation_check(const EsAppendRequest *request, const EsStream *stream);
extern void es_expectation_resolve_type(EsAppendRequest *request, const EsStream *stream);

/* ---- dedup.c ---- */

/* What an append function returns. */
typedef struct EsAppendResult
{
	int64		first_version;
	int64		last_version;
	int64		first_position;
	int64		last_position;
	bool		deduplicated;
} EsAppendResult;

extern bool es_dedup_look_up(EsAppendRequest *request, Relation events,
							 Relation event_id_index, EsAppendResult *result);
extern void es_dedup_report(Relation events, Relation event_id_index,
							const pg_uuid_t *event_id);

/* ---- gate.c ---- */

extern void es_gate_enter(void);
extern void es_gate_leave(void);
extern bool es_gate_is_empty(void);
extern void es_gate_wait_until_left(void);
extern void es_gate_serialize(void);

/* ---- index_set.c ---- */

typedef struct EsOpenIndex
{
	Relation	relation;
	struct IndexInfo *info;		/* NULL for our own, which need none */
	EsIndexKind kind;
} EsOpenIndex;

typedef struct EsIndexSet
{
	int			nindexes;
	EsOpenIndex *indexes;		/* all that take entries, copies of ours as
								 * well */
	Relation	own[ES_OWN_INDEXES];	/* those of them to go along */
} EsIndexSet;

extern void es_index_set_open(EsIndexSet *set);
extern void es_index_set_close(EsIndexSet *set, bool foreign_are_closed);

/* ---- append_executor.c ---- */

typedef struct EsAppendExecutor EsAppendExecutor;

extern void es_append_executor_check(Relation events);
extern EsAppendExecutor *es_append_executor_open(Relation events,
												 const EsIndexSet *indexes);
extern void es_append_executor_run(EsAppendExecutor *executor, TupleTableSlot *slot);
extern void es_append_executor_close(EsAppendExecutor *executor);

/* ---- event_writer.c ---- */

extern void es_event_writer_write(EsAppendRequest *request, Relation events,
								  const EsIndexSet *indexes, int64 current_version,
								  EsAppendResult *result);

/* ---- entry_scan.c ---- */

#define ES_MAX_COLLECTED_ENTRIES 128

/* An entry of an index of the events table, and the row behind it. */
typedef struct EsEntry
{
	ItemPointerData tid;
	int64		position;		/* if the scan wants positions */
	bool		is_all_visible; /* ... everybody, says the visibility map */
	bool		is_seen;		/* does the snapshot see a row here? */
	HeapTupleData row;			/* the one that it sees */
} EsEntry;

typedef struct EsEntryScan
{
	Relation	events;
	Snapshot	snapshot;
	IndexScanDesc index_scan;
	int			nkeys;
	ScanDirection direction;
	bool		want_positions;
	bool		want_rows;
	Buffer		heap_buffer;
	Buffer		vm_buffer;
	TupleTableSlot *slot;		/* the row of an entry fetched alone */
	int			nentries;		/* collected */
	int			nlooked_at;		/* ... of which the rows were looked at */
	int			next;			/* ... of which were handed out */
	bool		at_end;			/* has the index said so? */
	EsEntry		entries[ES_MAX_COLLECTED_ENTRIES];
} EsEntryScan;

extern EsEntryScan *es_entry_scan_begin(Relation events, Relation index,
										Snapshot snapshot, int nkeys);
extern void es_entry_scan_want_positions(EsEntryScan *scan);
extern void es_entry_scan_position(EsEntryScan *scan, ScanKey keys,
								   ScanDirection direction);
extern EsEntry *es_entry_scan_next(EsEntryScan *scan, int64 max_entries);
extern void es_entry_scan_end(EsEntryScan *scan);
extern HeapTuple es_entry_scan_find_event(Relation events, Snapshot snapshot,
										  int64 position);
extern int64 es_entry_scan_last_position(Relation events, Relation position_index,
										 Snapshot snapshot);

/* ---- position_index.c ---- */

extern int64 es_position_index_last(Relation events, Relation position_index);
extern int64 es_position_last(Relation events);

/* ---- walk.c ---- */

/*
 * A walk up the global order under one snapshot.  "position" is the place
 * that has been reached: that of the last event handed out or, where events
 * were not wanted, passed.  All at or below it is settled.
 */
typedef struct EsWalk
{
	Relation	events;
	Relation	position_index;
	Snapshot	snapshot;
	EsEntryScan *scan;
	int64		after_position; /* where the walk began */
	int64		position;
	int64		covered;		/* the position of the last entry looked at */
	int64		last_gap;		/* the last position that was not in the index */
	bool		all_settled;	/* did the snapshot see nothing running? */
	bool		gaps_settled;	/* is every gap from here on settled? */
	int64		watermark;		/* in recovery: gaps up to here are settled */
	bool		is_replica;		/* do events arrive by a subscription? */
	int64		bound;			/* ... then all up to here is settled */
	bool		is_held;		/* ... and soon more than its watermark says */
	bool		stopped;		/* met a position that is not settled */
} EsWalk;

#define ES_WALK_TO_END PG_INT64_MAX

extern EsWalk *es_walk_begin(Relation events, Snapshot snapshot,
							 int64 after_position);
extern EsWalk *es_walk_begin_settling(Relation events, Snapshot snapshot,
									  int64 after_position);
extern HeapTuple es_walk_next_event(EsWalk *walk, int64 max_events);
extern int64 es_walk_settle(EsWalk *walk, int64 limit);
extern void es_walk_end(EsWalk *walk);
extern int64 es_settled_position(Relation events, Snapshot snapshot,
								 int64 after_position, bool *is_at_end);

/* ---- snapshot_mark.c ---- */

/* When a snapshot was taken, by what it saw as running. */
typedef struct EsSnapshotMark
{
	bool		is_set;
	bool		is_kept;		/* by its transaction, so it may be imported */
	TransactionId xmax;
	int			nrunning;		/* below xmax */
	int			capacity;
	TransactionId *running;		/* in TopMemoryContext */
} EsSnapshotMark;

extern void es_snapshot_mark_set(EsSnapshotMark *mark, Snapshot snapshot);
extern void es_snapshot_mark_forget(EsSnapshotMark *mark);
extern bool es_snapshot_mark_precedes(const EsSnapshotMark *mark, Snapshot snapshot);

/* ---- replica.c ---- */

extern bool es_replica_get_bound(Relation events, Snapshot snapshot, int64 *bound, bool *is_held);
extern bool es_replica_events_are_ready(Oid subscription);
extern void es_replica_check_own(int64 position);
extern void es_replica_check_append(Relation events);
extern void es_replica_check_next(int64 last_taken, int64 next);
extern uint64 es_replica_subscription_changes(void);
extern bool es_replica_is_subscribed(void);
extern bool es_replica_is_one(void);

/* ---- settled_floor.c ---- */

extern int64 es_settled_floor_get(Relation events, Snapshot snapshot, int64 after);
extern void es_settled_floor_raise(Relation events, Snapshot snapshot,
								   int64 after, int64 position);

/* ---- name_set.c ---- */

/* A name, somewhere in memory. */
typedef struct EsName
{
	const char *start;
	int			length;
} EsName;

/* Names, each once, ordered by their bytes. */
typedef struct EsNameSet
{
	int			nnames;
	EsName		names[FLEXIBLE_ARRAY_MEMBER];
} EsNameSet;

extern int	es_name_compare(const EsName *a, const EsName *b);
extern EsName es_name_of(const text *text);
extern EsNameSet *es_name_set_begin(int max_names);
extern void es_name_set_finish(EsNameSet *set);
extern EsNameSet *es_name_set_from_array(ArrayType *array);
extern bool es_name_set_contains(const EsNameSet *set, EsName name);
extern void es_name_set_finish_prefixes(EsNameSet *set);
extern bool es_name_set_has_prefix(const EsNameSet *set, EsName name);

/* ---- partition_scan.c ---- */

/* Partitions as they were before their number was changed. */
typedef struct EsLayout
{
	int			partitions;
	int64	   *checkpoints;
} EsLayout;

/* A stream that waits for an event that failed, or catches up behind one. */
typedef struct EsWaitingStream
{
	text	   *stream_id;
	int64		position;		/* from here on its events wait */
	int64		version;		/* that at the position, or a lower one */
	int64		failed_position;	/* 0: none, it catches up */
	int			attempts;
	bool		is_early;		/* is it too early for another attempt? */
	bool		is_suspect;		/* has a consumer that had it not answered? */
} EsWaitingStream;

/* What a partition of a subscription consists of. */
typedef struct EsSelection
{
	EsNameSet  *stream_types;	/* NULL: all */
	EsNameSet  *event_types;	/* NULL: all */
	int			partition;
	int			partitions;
	EsLayout   *layouts;
	int			nlayouts;
	EsWaitingStream *waiting;	/* ordered by stream_id */
	int			nwaiting;
	int64	   *parked;			/* positions, ordered */
	int			nparked;
} EsSelection;

typedef struct EsPartitionScan EsPartitionScan;

extern int	es_stream_partition(const text *stream_id, int partitions);
extern bool es_selection_wants(const EsSelection *selection, HeapTuple row,
							   TupleDesc descriptor);
extern EsPartitionScan *es_partition_scan_begin(Relation events, Snapshot snapshot,
												const EsSelection *selection,
												int64 after_position);
extern HeapTuple es_partition_scan_next(EsPartitionScan *scan);
extern int64 es_partition_scan_reached(EsPartitionScan *scan);
extern void es_partition_scan_end(EsPartitionScan *scan);

/* ---- as_owner.c ---- */

typedef struct EsBooks
{
	Oid			user;
	int			security_context;
} EsBooks;

#define ES_MAX_STATEMENT_ARGUMENTS 10

typedef struct EsStatement
{
	const char *text;
	Oid			types[ES_MAX_STATEMENT_ARGUMENTS];	/* of the arguments */
	struct _SPI_plan *plan;
} EsStatement;

extern void es_books_open(EsBooks *books);
extern void es_books_close(EsBooks *books);
extern int	es_books_run(EsStatement *statement, Datum *arguments, const char *nulls);
extern Datum es_books_get(int row, int column, bool *isnull);

/* ---- delivery.c ---- */

/* A call of fetch_events(), and the partition that it has taken. */
typedef struct EsFetch
{
	Datum		subscription_id;
	Datum		consumer;
	int			max_count;
	Datum		lease;
	int64		revision;
	int			max_attempts;
	EsSelection selection;

	int64		checkpoint;
	int64		scanned_to;
	int64		fetched_to;		/* 0: nothing behind the checkpoint in hand */
	int64		tried_to;
	int			attempts;

	Relation	events;
	Snapshot	snapshot;
	TupleDesc	result_descriptor;
	Tuplestorestate *result;
	int			nrows;			/* handed out */
} EsFetch;

extern void es_delivery_add(EsFetch *fetch, HeapTuple row, int attempt);
extern int64 es_delivery_position(EsFetch *fetch, HeapTuple row);

/* ---- retries.c ---- */

extern void es_retries_load(EsFetch *fetch, bool was_held);
extern bool es_retries_hand_out(EsFetch *fetch);

/* ---- notify.c ---- */

extern void es_notify_send(int64 position);
extern void es_notify_appended(int64 last_position);
extern void es_notify_stopped(void);
extern bool es_notify_wants_decisions(void);
extern void es_notify_decided(void);

/* ---- uuid_v7.c ---- */

extern void es_uuid_v7_generate(pg_uuid_t *uuid);

/* ---- the columns of a row of events ---- */

static inline int64
es_event_bigint(HeapTuple row, TupleDesc descriptor, int column)
{
	bool		isnull;

	return DatumGetInt64(heap_getattr(row, column, descriptor, &isnull));
}

static inline int64
es_event_position(HeapTuple row, TupleDesc descriptor)
{
	return es_event_bigint(row, descriptor, Anum_es_events_global_position);
}

#endif							/* EVENTSTORE_H */
