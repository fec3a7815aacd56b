/*-------------------------------------------------------------------------
 *
 * verify_key.h
 *	  The key of an index entry, and the one that a row should have.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_VERIFY_KEY_H
#define ES_VERIFY_KEY_H

#include "access/htup.h"
#include "access/itup.h"
#include "access/tupdesc.h"
#include "storage/itemptr.h"
#include "utils/relcache.h"

#include "store/name_set.h"

#define ES_MAX_KEY_COLUMNS 2

/* The bytes of an index's columns, in a row or in an entry. */
typedef struct EsIndexKey
{
	int			ncolumns;
	EsName		columns[ES_MAX_KEY_COLUMNS];	/* start is NULL where null */
	Datum		values[ES_MAX_KEY_COLUMNS]; /* those that have no address */
} EsIndexKey;

extern void es_index_key_of_row(EsIndexKey *key, Relation index,
								HeapTuple row, TupleDesc descriptor);
extern bool es_index_key_of_entry(EsIndexKey *key, Relation index,
								  IndexTuple entry, Size size);
extern uint64 es_index_key_hash(const EsIndexKey *key, ItemPointer tid);
extern bool es_index_key_equals(const EsIndexKey *a, const EsIndexKey *b);

#endif							/* ES_VERIFY_KEY_H */
