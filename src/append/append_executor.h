/*-------------------------------------------------------------------------
 *
 * append_executor.h
 *	  What an append leaves to PostgreSQL's executor.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_APPEND_EXECUTOR_H
#define ES_APPEND_EXECUTOR_H

#include "executor/tuptable.h"
#include "utils/relcache.h"

#include "store/index_set.h"

typedef struct EsAppendExecutor EsAppendExecutor;

extern void es_append_executor_check(Relation events);
extern EsAppendExecutor *es_append_executor_open(Relation events,
												 const EsIndexSet *indexes);
extern void es_append_executor_run(EsAppendExecutor *executor, TupleTableSlot *slot);
extern void es_append_executor_close(EsAppendExecutor *executor);

#endif							/* ES_APPEND_EXECUTOR_H */
