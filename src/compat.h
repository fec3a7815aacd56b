/*-------------------------------------------------------------------------
 *
 * compat.h
 *	  What differs between the major versions of PostgreSQL, each with the
 *	  version and the change that made the difference.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_COMPAT_H
#define ES_COMPAT_H

#include "access/genam.h"
#include "executor/executor.h"
#include "parser/parse_relation.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "utils/wait_event.h"

/* 16: what varlena values consist of got a header of its own. */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/* 18: a module can say what it is. */
#if PG_VERSION_NUM >= 180000
#define ES_MODULE_MAGIC PG_MODULE_MAGIC_EXT(.name = "eventstore", .version = "0.1.0")
#else
#define ES_MODULE_MAGIC PG_MODULE_MAGIC
#endif

/* 18: index_beginscan() got an instrumentation argument. */
#if PG_VERSION_NUM >= 190000
#define es_index_beginscan(heap, index, snapshot, nkeys) \
	index_beginscan(heap, index, snapshot, NULL, nkeys, 0, 0)
#elif PG_VERSION_NUM >= 180000
#define es_index_beginscan(heap, index, snapshot, nkeys) \
	index_beginscan(heap, index, snapshot, NULL, nkeys, 0)
#else
#define es_index_beginscan(heap, index, snapshot, nkeys) \
	index_beginscan(heap, index, snapshot, nkeys, 0)
#endif

/* 17: no check for an old snapshot. */
#if PG_VERSION_NUM >= 170000
#define es_bt_get_last_leaf(index) _bt_get_endpoint(index, 0, true)
#else
#define es_bt_get_last_leaf(index) _bt_get_endpoint(index, 0, true, NULL)
#endif

/* 17: LockHeldByMe() got an argument for stronger locks. */
#if PG_VERSION_NUM >= 170000
#define es_lock_held_by_me(tag, mode) LockHeldByMe(tag, mode, false)
#else
#define es_lock_held_by_me(tag, mode) LockHeldByMe(tag, mode)
#endif

/* 18: LockAcquireExtended() got an argument for logging. */
#if PG_VERSION_NUM >= 180000
#define es_lock_acquire_quietly(tag, mode) \
	LockAcquireExtended(tag, mode, false, false, false, NULL, false)
#else
#define es_lock_acquire_quietly(tag, mode) \
	LockAcquireExtended(tag, mode, false, false, false, NULL)
#endif

/* 18: RelationGetPrimaryKeyIndex() got an argument for deferrable ones. */
#if PG_VERSION_NUM >= 180000
#define es_primary_key_index(table) RelationGetPrimaryKeyIndex(table, false)
#else
#define es_primary_key_index(table) RelationGetPrimaryKeyIndex(table)
#endif

/* 17: the number of a process got a variable of its own. */
#if PG_VERSION_NUM >= 170000
#define ES_MY_PROC_NUMBER MyProcNumber
#else
#define ES_MY_PROC_NUMBER (MyProc->pgprocno)
#endif

/* 17: and is what a virtual transaction id begins with. */
#if PG_VERSION_NUM >= 170000
#include "storage/procnumber.h"
#define ES_MY_VXID_NUMBER MyProcNumber
#define es_vxid_number(vxid) ((vxid).procNumber)
#else
#include "storage/backendid.h"
#define ES_MY_VXID_NUMBER MyBackendId
#define es_vxid_number(vxid) ((vxid).backendId)
#endif

/* 17: extensions can name what they wait for. */
#if PG_VERSION_NUM >= 170000
#define es_wait_event_new(name) WaitEventExtensionNew(name)
#else
#define es_wait_event_new(name) ((void) (name), PG_WAIT_EXTENSION)
#endif

/* 19: a tranche is named where it is made, and nowhere else. */
#if PG_VERSION_NUM >= 190000
#define es_lwlock_new_tranche(name) LWLockNewTrancheId(name)
#define es_lwlock_register_tranche(tranche, name) ((void) (tranche))
#else
#define es_lwlock_new_tranche(name) LWLockNewTrancheId()
#define es_lwlock_register_tranche(tranche, name) LWLockRegisterTranche(tranche, name)
#endif

/* 19: a background worker can make way for DROP DATABASE and the like. */
#if PG_VERSION_NUM >= 190000
#define ES_BGWORKER_INTERRUPTIBLE BGWORKER_INTERRUPTIBLE
#else
#define ES_BGWORKER_INTERRUPTIBLE 0
#define ES_MAKE_WAY_AS_AUTOVACUUM
#endif

/* 16: summarizing indexes; 19: flags instead of booleans. */
#if PG_VERSION_NUM >= 190000
#define es_insert_index_tuples(rri, slot, estate) \
	ExecInsertIndexTuples(rri, estate, 0, slot, NIL, NULL)
#elif PG_VERSION_NUM >= 160000
#define es_insert_index_tuples(rri, slot, estate) \
	ExecInsertIndexTuples(rri, slot, estate, false, false, NULL, NIL, false)
#else
#define es_insert_index_tuples(rri, slot, estate) \
	ExecInsertIndexTuples(rri, slot, estate, false, false, NULL, NIL)
#endif

/* 19: heap_page_prune_opt() can set bits of the visibility map. */
#if PG_VERSION_NUM >= 190000
#define es_heap_page_prune_opt(heap, buffer, vm_buffer) \
	heap_page_prune_opt(heap, buffer, vm_buffer, true)
#else
#define es_heap_page_prune_opt(heap, buffer, vm_buffer) \
	heap_page_prune_opt(heap, buffer)
#endif

/* 16: _PG_output_plugin_init() is declared by the server. */
#if PG_VERSION_NUM < 160000
struct OutputPluginCallbacks;
extern PGDLLEXPORT void _PG_output_plugin_init(struct OutputPluginCallbacks *cb);
#endif

/* 16: the server keeps clients alive during long transactions. */
#if PG_VERSION_NUM < 160000
#define ES_PLUGIN_KEEPS_CLIENT_ALIVE
#endif

/* 17: no struct around a decoded tuple. */
#if PG_VERSION_NUM >= 170000
#define es_decoded_tuple(tuple) (tuple)
#else
#define es_decoded_tuple(buffer) (&(buffer)->tuple)
#endif

/* 19: other names. */
#if PG_VERSION_NUM >= 190000
#define RepOriginId ReplOriginId
#define InvalidRepOriginId InvalidReplOriginId
#define es_commit_time(txn) ((txn)->commit_time)
#else
#define es_commit_time(txn) ((txn)->xact_time.commit_time)
#endif

/*
 * 16: permissions moved out of range table entries;
 * 18: unpruned relations.
 */
static inline void
es_init_range_table(EState *estate, RangeTblEntry *rte)
{
#if PG_VERSION_NUM >= 160000
	List	   *permissions = NIL;

	addRTEPermissionInfo(&permissions, rte);
#endif

#if PG_VERSION_NUM >= 180000
	ExecInitRangeTable(estate, list_make1(rte), permissions,
					   bms_make_singleton(1));
#elif PG_VERSION_NUM >= 160000
	ExecInitRangeTable(estate, list_make1(rte), permissions);
#else
	ExecInitRangeTable(estate, list_make1(rte));
#endif
}

/*
 * 16: the stack of an apply worker that runs nothing of a user's is known.
 * Before, there is nothing on it but the worker's own callback.
 */
#if PG_VERSION_NUM >= 160000
#define es_is_apply_context(stack) \
	((stack) == apply_error_context_stack && (stack)->previous == NULL)
#else
#define es_is_apply_context(stack) ((stack)->previous == NULL)
#endif

/* 16: an apply worker can have helpers, which run ahead of it. */
#if PG_VERSION_NUM >= 160000
#define es_am_parallel_apply_worker() am_parallel_apply_worker()
#else
#define es_am_parallel_apply_worker() false
#endif

#endif							/* ES_COMPAT_H */
