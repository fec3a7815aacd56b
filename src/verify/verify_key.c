/*-------------------------------------------------------------------------
 *
 * verify_key.c
 *	  The key of an index entry, and the one that a row should have.
 *
 * Keys are compared by their bytes, after decompression.  For the types and
 * the collation of the extension's indexes that is what equality means.
 *
 * An entry may be anything, if the index is damaged or its file is that of
 * another relation.  So it is taken apart by hand, and no step leaves it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/itup.h"
#include "access/toast_compression.h"
#include "access/tupmacs.h"
#include "common/hashfn.h"
#include "utils/rel.h"

#include "store/name_set.h"
#include "verify/verify_key.h"

/* Nothing that fits into an entry was longer than this before compression. */
#define MAX_KEY_SIZE (1024 * 1024)

/*
 * Note a column of the key.  A value that has no address is kept.
 */
static void
set_column(EsIndexKey *key, int i, Datum value, Form_pg_attribute attribute)
{
	EsName	   *column = &key->columns[i];

	key->values[i] = value;
	if (attribute->attbyval)
	{
		column->start = (const char *) &key->values[i];
		column->length = sizeof(Datum);
	}
	else if (attribute->attlen > 0)
	{
		column->start = DatumGetPointer(value);
		column->length = attribute->attlen;
	}
	else
		*column = es_name_of((text *) PG_DETOAST_DATUM_PACKED(value));
}

/*
 * The key that a row should have in the index.  The row must stay where it is
 * while the key is in use, and the memory context lives longer.
 */
void
es_index_key_of_row(EsIndexKey *key, Relation index, HeapTuple row,
					TupleDesc descriptor)
{
	TupleDesc	index_descriptor = RelationGetDescr(index);

	key->ncolumns = index_descriptor->natts;
	for (int i = 0; i < key->ncolumns; i++)
	{
		bool		isnull;
		Datum		value = heap_getattr(row, index->rd_index->indkey.values[i],
										 descriptor, &isnull);

		if (isnull)
			key->columns[i].start = NULL;
		else
			set_column(key, i, value, TupleDescAttr(index_descriptor, i));
	}
}

/*
 * The compressed value can be handed to the server: is it possible at all?
 */
static bool
is_compressed_key(const char *start)
{
	return VARSIZE_4B(start) > VARHDRSZ_COMPRESSED &&
		VARDATA_COMPRESSED_GET_EXTSIZE(start) <= MAX_KEY_SIZE &&
		VARDATA_COMPRESSED_GET_COMPRESS_METHOD(start) <= TOAST_LZ4_COMPRESSION_ID;
}

/*
 * The size of a variable-length value with so much room for it, at least one
 * byte; 0 if it can't be one of an index.
 */
static Size
varlena_size(const char *start, Size room)
{
	if (VARATT_IS_1B_E(start))
		return 0;
	if (VARATT_IS_1B(start))
		return VARSIZE_1B(start);
	if (room < VARHDRSZ || VARSIZE_4B(start) < VARHDRSZ || VARSIZE_4B(start) > room)
		return 0;
	if (VARATT_IS_4B_C(start) && !is_compressed_key(start))
		return 0;
	return VARSIZE_4B(start);
}

/*
 * The size of the entry's value at the offset, which is moved to where the
 * value begins; 0 if there is none.
 */
static Size
find_value(IndexTuple entry, Size entry_size, Form_pg_attribute attribute,
		   Size *offset)
{
	const char *start = (const char *) entry;
	Size		size = attribute->attlen;

	if (*offset >= entry_size)
		return 0;
	*offset = att_align_pointer(*offset, attribute->attalign, attribute->attlen,
								start + *offset);
	if (*offset >= entry_size)
		return 0;
	if (attribute->attlen < 0)
		size = varlena_size(start + *offset, entry_size - *offset);
	return size <= entry_size - *offset ? size : 0;
}

/*
 * The same as set_column() for a compressed value, which may be damaged; then
 * false.  Decompression holds nothing that would have to be given back.
 */
static bool
set_compressed_column(EsIndexKey *key, int i, Datum value, Form_pg_attribute attribute)
{
	MemoryContext context = CurrentMemoryContext;
	volatile bool is_sound = true;

	PG_TRY();
	{
		set_column(key, i, value, attribute);
	}
	PG_CATCH();
	{
		if (geterrcode() != ERRCODE_DATA_CORRUPTED)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
		is_sound = false;
	}
	PG_END_TRY();
	return is_sound;
}

/*
 * Take a column of an entry from where it begins.
 */
static bool
take_value(EsIndexKey *key, int i, char *start, Form_pg_attribute attribute)
{
	Datum		value = fetchatt(attribute, start);

	if (attribute->attlen < 0 && VARATT_IS_4B_C(start))
		return set_compressed_column(key, i, value, attribute);
	set_column(key, i, value, attribute);
	return true;
}

static bool
is_null(IndexTuple entry, int column)
{
	return IndexTupleHasNulls(entry) &&
		att_isnull(column, (uint8 *) entry + sizeof(IndexTupleData));
}

/*
 * The key of an entry, or false if it has none.  The entry must stay where it
 * is while the key is in use, and the memory context lives longer.
 */
bool
es_index_key_of_entry(EsIndexKey *key, Relation index, IndexTuple entry, Size size)
{
	TupleDesc	descriptor = RelationGetDescr(index);
	Size		offset = IndexInfoFindDataOffset(entry->t_info);

	key->ncolumns = descriptor->natts;
	for (int i = 0; i < key->ncolumns; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(descriptor, i);
		Size		value_size;

		key->columns[i].start = NULL;
		if (is_null(entry, i))
			continue;
		value_size = find_value(entry, size, attribute, &offset);
		if (value_size == 0 || !take_value(key, i, (char *) entry + offset, attribute))
			return false;
		offset += value_size;
	}
	return MAXALIGN(offset) == size;
}

/*
 * 64 bits that depend on the key and on the row that it belongs to.
 */
uint64
es_index_key_hash(const EsIndexKey *key, ItemPointer tid)
{
	uint64		hash = ItemPointerGetBlockNumber(tid);

	hash = hash << 16 | ItemPointerGetOffsetNumber(tid);
	for (int i = 0; i < key->ncolumns; i++)
	{
		const EsName *column = &key->columns[i];

		if (column->start != NULL)
			hash = hash_bytes_extended((const unsigned char *) column->start,
									   column->length, hash);
	}
	return hash;
}

static bool
columns_are_equal(const EsName *a, const EsName *b)
{
	if (a->start == NULL || b->start == NULL)
		return a->start == b->start;
	return es_name_compare(a, b) == 0;
}

bool
es_index_key_equals(const EsIndexKey *a, const EsIndexKey *b)
{
	for (int i = 0; i < a->ncolumns; i++)
	{
		if (!columns_are_equal(&a->columns[i], &b->columns[i]))
			return false;
	}
	return true;
}
