/*-------------------------------------------------------------------------
 *
 * name_set.c
 *	  Sets of names: streams, stream types, event types.  Sorted by their
 *	  bytes, as the collation "C" does it, and searched.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "store/name_set.h"

int
es_name_compare(const EsName *a, const EsName *b)
{
	int			order = memcmp(a->start, b->start, Min(a->length, b->length));

	return order != 0 ? order : a->length - b->length;
}

static int
compare_names(const void *a, const void *b)
{
	return es_name_compare(a, b);
}

/*
 * The name in a text, which stays where it is.
 */
EsName
es_name_of(const text *text)
{
	return (EsName)
	{
		VARDATA_ANY(text), VARSIZE_ANY_EXHDR(text)
	};
}

/*
 * An empty set.  Put names at its end, count them in nnames, and call
 * es_name_set_finish().
 */
EsNameSet *
es_name_set_begin(int max_names)
{
	EsNameSet  *set = palloc(offsetof(EsNameSet, names) + max_names * sizeof(EsName));

	set->nnames = 0;
	return set;
}

void
es_name_set_finish(EsNameSet *set)
{
	int			ndistinct = 0;

	qsort(set->names, set->nnames, sizeof(EsName), compare_names);
	for (int i = 0; i < set->nnames; i++)
	{
		if (ndistinct == 0 ||
			es_name_compare(&set->names[ndistinct - 1], &set->names[i]) != 0)
			set->names[ndistinct++] = set->names[i];
	}
	set->nnames = ndistinct;
}

/*
 * The names in an array of text without nulls, which has to stay.
 */
EsNameSet *
es_name_set_from_array(ArrayType *array)
{
	Datum	   *names;
	int			nnames;
	EsNameSet  *set;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &names, NULL, &nnames);
	set = es_name_set_begin(nnames);
	for (int i = 0; i < nnames; i++)
		set->names[set->nnames++] = es_name_of(DatumGetTextPP(names[i]));
	es_name_set_finish(set);
	return set;
}

bool
es_name_set_contains(const EsNameSet *set, EsName name)
{
	return bsearch(&name, set->names, set->nnames, sizeof(EsName), compare_names) != NULL;
}

/*
 * Prefixes
 */

static bool
begins_with(EsName name, EsName prefix)
{
	return name.length >= prefix.length &&
		memcmp(name.start, prefix.start, prefix.length) == 0;
}

/*
 * Like es_name_set_finish(), for names that are to be prefixes of others.  One
 * that begins with another one in the set adds nothing to it and is left out.
 */
void
es_name_set_finish_prefixes(EsNameSet *set)
{
	int			nkept = 0;

	es_name_set_finish(set);
	for (int i = 0; i < set->nnames; i++)
	{
		if (nkept == 0 || !begins_with(set->names[i], set->names[nkept - 1]))
			set->names[nkept++] = set->names[i];
	}
	set->nnames = nkept;
}

/*
 * Does a name begin with one of the set's prefixes?  What lies between a prefix
 * and a name that begins with it, begins with it as well: so only the last
 * prefix at or before the name can be one of its own.
 */
bool
es_name_set_has_prefix(const EsNameSet *set, EsName name)
{
	int			low = 0;
	int			high = set->nnames;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (es_name_compare(&set->names[middle], &name) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low > 0 && begins_with(name, set->names[low - 1]);
}
