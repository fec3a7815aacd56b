/*-------------------------------------------------------------------------
 *
 * append_executor.c
 *	  What an append leaves to PostgreSQL's executor: triggers, and the
 *	  indexes and constraints that users have added to eventstore.events.
 *
 * All of it works as for an INSERT.  It may run any code of users, and wait,
 * so it must not be called inside the append gate.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "executor/tuptable.h"
#include "nodes/pg_list.h"
#include "rewrite/prs2lock.h"
#include "rewrite/rewriteDefine.h"
#include "utils/rel.h"

#include "append/append_executor.h"
#include "compat.h"
#include "store/catalog.h"
#include "store/guard.h"
#include "store/index_set.h"

struct EsAppendExecutor
{
	EState	   *estate;
	ResultRelInfo *result_relation;
	bool		has_user_constraints;
	TransitionCaptureState *transition_capture;
};

static bool
has_before_row_trigger(const TriggerDesc *triggers)
{
	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		const Trigger *trigger = &triggers->triggers[i];

		if (TRIGGER_FOR_ROW(trigger->tgtype) && TRIGGER_FOR_BEFORE(trigger->tgtype) &&
			TRIGGER_FOR_INSERT(trigger->tgtype) &&
			trigger->tgenabled != TRIGGER_DISABLED)
			return true;
	}
	return false;
}

static bool
has_insert_rule(const RuleLock *rules)
{
	for (int i = 0; rules != NULL && i < rules->numLocks; i++)
	{
		if (rules->rules[i]->event == CMD_INSERT &&
			rules->rules[i]->enabled != RULE_DISABLED)
			return true;
	}
	return false;
}

/*
 * What an INSERT would honour and an append can't is refused, not passed
 * over.
 */
void
es_append_executor_check(Relation events)
{
	if (has_before_row_trigger(events->trigdesc))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("\"eventstore.events\" has a BEFORE INSERT row trigger"),
				 errdetail("Such a trigger could change or suppress an event that the caller believes to be stored."),
				 errhint("Use an AFTER trigger; to refuse an event, raise an error in it.")));
	if (has_insert_rule(events->rd_rules))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("\"eventstore.events\" has a rewrite rule for INSERT"),
				 errdetail("Appends do not pass the rewriter."),
				 errhint("Drop the rule and use an AFTER trigger.")));
}

/*
 * Is this the guard's trigger, which keeps others from inserting?
 */
static bool
is_guard(const Trigger *trigger)
{
	return TRIGGER_FOR_INSERT(trigger->tgtype) && strcmp(trigger->tgname, "guard_insert") == 0 &&
		es_guard_is_called_by(trigger->tgfoid);
}

/*
 * Does an append fire any trigger?  The guard's own is the only one that it
 * passes over.
 */
static bool
has_insert_triggers(const TriggerDesc *triggers)
{
	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		const Trigger *trigger = &triggers->triggers[i];

		if (TRIGGER_FOR_INSERT(trigger->tgtype) && !is_guard(trigger))
			return true;
	}
	return false;
}

/*
 * Take the guard's trigger out of the copy of the table's triggers.
 */
static void
remove_guard(TriggerDesc *triggers)
{
	int			kept = 0;

	if (triggers == NULL)
		return;
	triggers->trig_insert_before_statement = false;
	for (int i = 0; i < triggers->numtriggers; i++)
	{
		const Trigger *trigger = &triggers->triggers[i];

		if (is_guard(trigger))
			continue;
		triggers->trig_insert_before_statement |=
			TRIGGER_TYPE_MATCHES(trigger->tgtype, TRIGGER_TYPE_STATEMENT,
								 TRIGGER_TYPE_BEFORE, TRIGGER_TYPE_INSERT);
		triggers->triggers[kept++] = *trigger;
	}
	triggers->numtriggers = kept;
}

static int
count_users_indexes(const EsIndexSet *set)
{
	int			count = 0;

	for (int i = 0; i < set->nindexes; i++)
		count += set->indexes[i].kind == ES_USER_INDEX;
	return count;
}

/*
 * Hand the indexes that users have added to the executor.
 */
static void
hand_over_indexes(ResultRelInfo *result_relation, const EsIndexSet *set, int nusers)
{
	result_relation->ri_IndexRelationDescs = palloc(nusers * sizeof(Relation));
	result_relation->ri_IndexRelationInfo = palloc(nusers * sizeof(IndexInfo *));
	for (int i = 0; i < set->nindexes; i++)
	{
		const EsOpenIndex *index = &set->indexes[i];
		int			n = result_relation->ri_NumIndices;

		if (index->kind != ES_USER_INDEX)
			continue;
		result_relation->ri_IndexRelationDescs[n] = index->relation;
		result_relation->ri_IndexRelationInfo[n] = index->info;
		result_relation->ri_NumIndices++;
	}
}

static EState *
create_estate(Relation events)
{
	EState	   *estate = CreateExecutorState();
	RangeTblEntry *rte = makeNode(RangeTblEntry);

	rte->rtekind = RTE_RELATION;
	rte->relid = RelationGetRelid(events);
	rte->relkind = events->rd_rel->relkind;
	rte->rellockmode = RowExclusiveLock;
	es_init_range_table(estate, rte);
	estate->es_output_cid = GetCurrentCommandId(true);
	return estate;
}

/*
 * Set up what is needed for the table and those of the open indexes that are
 * the user's, and fire BEFORE STATEMENT triggers.  Returns NULL when there is
 * nothing to do.
 */
EsAppendExecutor *
es_append_executor_open(Relation events, const EsIndexSet *indexes)
{
	int			nusers = count_users_indexes(indexes);
	bool		has_user_constraints = es_catalog_get()->has_user_constraints;
	EsAppendExecutor *executor;
	ResultRelInfo *result_relation;

	if (nusers == 0 && !has_user_constraints &&
		!has_insert_triggers(events->trigdesc))
		return NULL;

	result_relation = makeNode(ResultRelInfo);
	InitResultRelInfo(result_relation, events, 1, NULL, 0);
	remove_guard(result_relation->ri_TrigDesc);
	hand_over_indexes(result_relation, indexes, nusers);

	executor = palloc(sizeof(EsAppendExecutor));
	executor->has_user_constraints = has_user_constraints;
	executor->result_relation = result_relation;
	executor->estate = create_estate(events);
	executor->estate->es_opened_result_relations =
		lappend(executor->estate->es_opened_result_relations, result_relation);

	AfterTriggerBeginQuery();
	executor->transition_capture =
		MakeTransitionCaptureState(result_relation->ri_TrigDesc,
								   RelationGetRelid(events), CMD_INSERT);
	ExecBSInsertTriggers(executor->estate, result_relation);
	return executor;
}

/*
 * Check constraints, insert index entries and queue AFTER ROW triggers for a
 * row that was inserted.
 */
void
es_append_executor_run(EsAppendExecutor *executor, TupleTableSlot *slot)
{
	List	   *recheck_indexes;

	if (executor->has_user_constraints)
		ExecConstraints(executor->result_relation, slot, executor->estate);
	recheck_indexes = es_insert_index_tuples(executor->result_relation, slot,
											 executor->estate);
	ExecARInsertTriggers(executor->estate, executor->result_relation, slot,
						 recheck_indexes, executor->transition_capture);
	list_free(recheck_indexes);
	ResetPerTupleExprContext(executor->estate);
}

/*
 * Fire AFTER triggers, and close the user's indexes.
 */
void
es_append_executor_close(EsAppendExecutor *executor)
{
	EState	   *estate = executor->estate;

	ExecASInsertTriggers(estate, executor->result_relation,
						 executor->transition_capture);
	AfterTriggerEndQuery(estate);
	ExecResetTupleTable(estate->es_tupleTable, false);
	ExecCloseResultRelations(estate);
	ExecCloseRangeTableRelations(estate);
	FreeExecutorState(estate);
}
