/*-------------------------------------------------------------------------
 *
 * name_set.h
 *	  Sets of names.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_NAME_SET_H
#define ES_NAME_SET_H

#include "utils/array.h"

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

#endif							/* ES_NAME_SET_H */
