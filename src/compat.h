/*-------------------------------------------------------------------------
 *
 * compat.h
 *	  What differs between the supported major versions of PostgreSQL, each
 *	  with the upstream change that made the difference.
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

/* 18: index_beginscan() got an instrumentation argument (0fbceae841). */
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

/* 17: PGPROC's lxid moved into its vxid (ab355e3a88). */
#if PG_VERSION_NUM >= 170000
#define ES_MY_LXID (MyProc->vxid.lxid)
#else
#define ES_MY_LXID (MyProc->lxid)
#endif

/* 17: LockHeldByMe() got an argument for stronger locks (0bb2f3c8b8). */
#if PG_VERSION_NUM >= 170000
#define es_lock_held_by_me(tag, mode) LockHeldByMe(tag, mode, false)
#else
#define es_lock_held_by_me(tag, mode) LockHeldByMe(tag, mode)
#endif

/* 18: LockAcquireExtended() got an argument for logging (6d376c3b0d). */
#if PG_VERSION_NUM >= 180000
#define es_lock_acquire_if_room(tag, mode) \
	LockAcquireExtended(tag, mode, false, false, false, NULL, false)
#else
#define es_lock_acquire_if_room(tag, mode) \
	LockAcquireExtended(tag, mode, false, false, false, NULL)
#endif

/* 16: summarizing indexes (19d8e2308b); 19: flags instead of booleans. */
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

/*
 * 16: permissions moved out of range table entries (a61b1f7482);
 * 18: unpruned relations (525392d572).
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

#endif							/* ES_COMPAT_H */
