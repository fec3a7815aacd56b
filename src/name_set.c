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

#include "eventstore.h"

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
es_name_set_contains(const EsNameSet *set, const text *text)
{
	EsName		name = es_name_of(text);

	return bsearch(&name, set->names, set->nnames, sizeof(EsName), compare_names) != NULL;
}
