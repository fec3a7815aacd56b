/*-------------------------------------------------------------------------
 *
 * index_set.c
 *	  The indexes of eventstore.events, open for an append.
 *
 * They are opened once for all that an append does with them.  What kind each
 * is, catalog.c has found out before.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "catalog/index.h"
#include "utils/rel.h"

#include "store/catalog.h"
#include "store/index_set.h"

static void
open_index(EsIndexSet *set, const EsIndex *known, const Oid *valid)
{
	Relation	relation = index_open(known->oid, RowExclusiveLock);
	EsOpenIndex *index;

	if (!relation->rd_index->indisready)
	{
		index_close(relation, NoLock);
		return;
	}

	index = &set->indexes[set->nindexes++];
	index->relation = relation;
	index->kind = known->kind;
	index->info = known->kind == ES_USER_INDEX ? BuildIndexInfo(relation) : NULL;
	if (known->kind != ES_USER_INDEX && valid[known->kind] == known->oid)
		set->own[known->kind] = relation;
}

/*
 * Open all indexes that take entries, under the caller's lock on the table.
 */
void
es_index_set_open(EsIndexSet *set)
{
	EsCatalog	catalog = *es_catalog_get();
	EsIndex    *known = palloc(catalog.nindexes * sizeof(EsIndex));

	/* To open an index can overwrite what the catalog knows. */
	memcpy(known, catalog.all_indexes, catalog.nindexes * sizeof(EsIndex));
	set->nindexes = 0;
	set->indexes = palloc(catalog.nindexes * sizeof(EsOpenIndex));
	for (int i = 0; i < catalog.nindexes; i++)
		open_index(set, &known[i], catalog.indexes);
	pfree(known);
}

/*
 * Close them, but for those that users have added: the executor has done so
 * where it was in use.
 */
void
es_index_set_close(EsIndexSet *set, bool users_are_closed)
{
	for (int i = 0; i < set->nindexes; i++)
	{
		if (set->indexes[i].kind != ES_USER_INDEX || !users_are_closed)
			index_close(set->indexes[i].relation, NoLock);
	}
	pfree(set->indexes);
}
