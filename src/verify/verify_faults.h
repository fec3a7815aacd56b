/*-------------------------------------------------------------------------
 *
 * verify_faults.h
 *	  What is wrong between the events and an index, as rows of verify().
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_VERIFY_FAULTS_H
#define ES_VERIFY_FAULTS_H

#include "nodes/execnodes.h"
#include "storage/block.h"
#include "storage/itemptr.h"

typedef enum EsFaultKind
{
	ES_FAULT_MISSING,			/* no entry leads to an event */
	ES_FAULT_OTHER_KEY,			/* an entry leads to an event of another key */
	ES_FAULT_TWICE,				/* two entries lead to an event */
	ES_FAULT_NOWHERE			/* an entry leads to no row */
} EsFaultKind;

#define ES_FAULT_KINDS (ES_FAULT_NOWHERE + 1)
#define ES_MAX_NAMED_FAULTS 100

typedef struct EsFault
{
	int64		position;		/* 0: not known */
	ItemPointerData tid;
} EsFault;

/* The first faults of a kind, by position, and how many there are. */
typedef struct EsFaultList
{
	int64		total;
	int			nnamed;
	EsFault		named[ES_MAX_NAMED_FAULTS];
} EsFaultList;

extern void es_fault_report(const char *invariant, char *detail, ReturnSetInfo *result);
extern void es_fault_list_add(EsFaultList *list, int64 position, ItemPointer tid);
extern void es_fault_list_report(const EsFaultList *list, EsFaultKind kind,
								 const char *index, ReturnSetInfo *result);
extern void es_fault_report_damage(const char *index, BlockNumber block,
								   const char *damage, ReturnSetInfo *result);

#endif							/* ES_VERIFY_FAULTS_H */
