/*-------------------------------------------------------------------------
 *
 * index_set.h
 *	  The indexes of eventstore.events, open for an append.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_INDEX_SET_H
#define ES_INDEX_SET_H

#include "utils/relcache.h"

#include "store/catalog.h"

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
extern void es_index_set_close(EsIndexSet *set, bool users_are_closed);

#endif							/* ES_INDEX_SET_H */
