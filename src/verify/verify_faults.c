/*-------------------------------------------------------------------------
 *
 * verify_faults.c
 *	  What is wrong between the events and an index, as rows of verify().
 *
 * An index that is broken throughout has as many faults as there are events.
 * So of each kind the first ones are named, in the order of the events'
 * positions, and the others counted.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "nodes/execnodes.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#include "verify/verify_faults.h"

static const char *const invariants[ES_FAULT_KINDS] = {
	[ES_FAULT_MISSING] = "every event is in each index",
	[ES_FAULT_OTHER_KEY] = "an index leads to an event by its own key",
	[ES_FAULT_TWICE] = "an index leads to an event once",
	[ES_FAULT_NOWHERE] = "an index leads to rows only",
};

static bool
precedes(const EsFault *a, const EsFault *b)
{
	if (a->position != b->position)
		return a->position < b->position;
	return ItemPointerCompare((ItemPointer) &a->tid, (ItemPointer) &b->tid) < 0;
}

/*
 * Count a fault, and keep it if it is among the first ones.
 */
void
es_fault_list_add(EsFaultList *list, int64 position, ItemPointer tid)
{
	EsFault		fault = {position, *tid};
	int			i = list->nnamed;

	list->total++;
	if (i == ES_MAX_NAMED_FAULTS && !precedes(&fault, &list->named[i - 1]))
		return;
	if (i == ES_MAX_NAMED_FAULTS)
		i--;
	else
		list->nnamed++;
	for (; i > 0 && precedes(&fault, &list->named[i - 1]); i--)
		list->named[i] = list->named[i - 1];
	list->named[i] = fault;
}

/*
 * Put a row of verify(), and let go of the detail.
 */
void
es_fault_report(const char *invariant, char *detail, ReturnSetInfo *result)
{
	Datum		values[2] = {CStringGetTextDatum(invariant), CStringGetTextDatum(detail)};
	bool		nulls[2] = {false, false};

	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	pfree(detail);
}

/*
 * What the fault is about, in words.
 */
static char *
subject(const EsFault *fault)
{
	if (fault->position > 0)
		return psprintf("the event at position %lld", (long long) fault->position);
	return psprintf("the row at (%u,%u)",
					ItemPointerGetBlockNumberNoCheck(&fault->tid),
					ItemPointerGetOffsetNumberNoCheck(&fault->tid));
}

static char *
describe(const EsFault *fault, EsFaultKind kind, const char *index)
{
	switch (kind)
	{
		case ES_FAULT_MISSING:
			return psprintf("%s is missing from index %s", subject(fault), index);
		case ES_FAULT_OTHER_KEY:
			return psprintf("%s has another key in index %s", subject(fault), index);
		case ES_FAULT_TWICE:
			return psprintf("%s is in index %s again", subject(fault), index);
		case ES_FAULT_NOWHERE:
			return psprintf("%s is in index %s, but not in the table", subject(fault), index);
	}
	return NULL;				/* keep the compiler quiet */
}

void
es_fault_list_report(const EsFaultList *list, EsFaultKind kind, const char *index,
					 ReturnSetInfo *result)
{
	for (int i = 0; i < list->nnamed; i++)
		es_fault_report(invariants[kind], describe(&list->named[i], kind, index), result);
	if (list->total > list->nnamed)
		es_fault_report(invariants[kind],
						psprintf("the same goes for %lld more in index %s",
								 (long long) (list->total - list->nnamed), index),
						result);
}

/*
 * Nothing else is said of an index that can't be read.
 */
void
es_fault_report_damage(const char *index, BlockNumber block, const char *damage,
					   ReturnSetInfo *result)
{
	es_fault_report("every index can be read",
					psprintf("block %u of index %s %s", block, index, damage), result);
}
