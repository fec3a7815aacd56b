/*-------------------------------------------------------------------------
 *
 * catalog.c
 *	  Where the extension's relations are, and whether they still have the
 *	  shape that the C code relies on.
 *
 * The append and read paths address columns by number and indexes by their
 * definition; this is the one place that checks both.  The answer is kept for
 * the session and dropped on every relcache invalidation of one of them.
 *
 * Whoever opens indexes holds a lock on eventstore.events, of any mode: REINDEX
 * CONCURRENTLY drops one only after it has waited for all who do.  On a standby
 * it does not wait, so readers open indexes by es_catalog_open_index().
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_index.h"
#include "catalog/pg_sequence.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/syscache.h"

#include "eventstore.h"
#include "store/catalog.h"
#include "store/lock.h"
#include "store/rights.h"

typedef struct EsColumn
{
	const char *name;
	Oid			type;
	bool		not_null;
} EsColumn;

static const EsColumn events_columns[Natts_es_events] = {
	{"global_position", INT8OID, true},
	{"version", INT8OID, true},
	{"created_at", TIMESTAMPTZOID, true},
	{"event_id", UUIDOID, true},
	{"stream_id", TEXTOID, true},
	{"stream_type", TEXTOID, true},
	{"event_type", TEXTOID, true},
	{"schema_version", INT4OID, true},
	{"correlation_id", UUIDOID, false},
	{"causation_id", UUIDOID, false},
	{"data", JSONOID, false},
	{"binary_data", BYTEAOID, false},
	{"content_type", TEXTOID, false},
	{"metadata", JSONOID, false},
	{"tags", TEXTARRAYOID, false},
};

static const EsColumn watermark_columns[] = {
	{"only_row", BOOLOID, true},
	{"settled_position", INT8OID, true},
	{"events", INT8OID, false},
	{"checksum", INT8OID, false},
	{"is_replica", BOOLOID, true},
	{"published_position", INT8OID, false},
	{"published_events", INT8OID, false},
	{"published_checksum", INT8OID, false},
};

/* What the append path guarantees by construction and need not evaluate. */
static const char *const own_checks[] = {
	"events_names_not_empty",
	"events_one_payload",
	"events_version_positive",
};

typedef struct EsIndexDefinition
{
	const char *description;
	bool		unique;
	int			ncolumns;
	AttrNumber	columns[2];
} EsIndexDefinition;

static const EsIndexDefinition own_indexes[ES_OWN_INDEXES] = {
	[ES_POSITION_INDEX] = {
		"unique index on (global_position)",
		true, 1, {Anum_es_events_global_position}
	},
	[ES_STREAM_INDEX] = {
		"unique index on (stream_id, version)",
		true, 2, {Anum_es_events_stream_id, Anum_es_events_version}
	},
	[ES_EVENT_ID_INDEX] = {
		"unique index on (event_id)",
		true, 1, {Anum_es_events_event_id}
	},
	[ES_CATEGORY_INDEX] = {
		"index on (stream_type, global_position)",
		false, 2, {Anum_es_events_stream_type, Anum_es_events_global_position}
	},
};

static EsCatalog catalog;
static MemoryContext catalog_context = NULL;	/* what it points to */
static bool catalog_is_valid = false;
static uint64 invalidations = 0;

static void
forget_catalog(Datum arg, Oid relid)
{
	invalidations++;
	if (!OidIsValid(relid) || relid == catalog.events ||
		relid == catalog.watermark || relid == catalog.position_sequence)
		catalog_is_valid = false;
}

static void
forget_sequence(Datum arg, int cacheid, uint32 hashvalue)
{
	invalidations++;
	catalog_is_valid = false;
}

static Oid
find_relation(const char *name)
{
	Oid			schema = get_namespace_oid(ES_SCHEMA, true);
	Oid			relation = InvalidOid;

	if (OidIsValid(schema))
		relation = get_relname_relid(name, schema);
	if (!OidIsValid(relation))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation \"%s.%s\" does not exist", ES_SCHEMA, name),
				 errdetail("It was dropped, renamed or moved to another schema."),
				 errhint("Re-create the extension: its relations must keep their schema and names.")));
	return relation;
}

/*
 * Open one of the extension's relations.  If it is dropped while we wait for
 * the lock, say so; or take the new one.
 */
static Relation
open_relation(const char *name)
{
	Relation	relation;

	do
	{
		relation = try_relation_open(find_relation(name), AccessShareLock);
	} while (relation == NULL);
	return relation;
}

static bool
is_plain_heap(Relation table)
{
	return table->rd_rel->relkind == RELKIND_RELATION &&
		table->rd_rel->relam == HEAP_TABLE_AM_OID &&
		!table->rd_rel->relispartition;
}

/*
 * Does a row begin with these columns?
 */
static bool
begins_with_columns(TupleDesc desc, const EsColumn *columns, int ncolumns)
{
	if (desc->natts < ncolumns)
		return false;
	for (int i = 0; i < ncolumns; i++)
	{
		Form_pg_attribute attr = TupleDescAttr(desc, i);

		if (attr->attisdropped || attr->atttypid != columns[i].type ||
			strcmp(NameStr(attr->attname), columns[i].name) != 0)
			return false;
	}
	return true;
}

/*
 * Are the columns of an event where they are read?  Further ones behind them do
 * no harm.
 */
bool
es_catalog_has_event_columns(TupleDesc desc)
{
	return begins_with_columns(desc, events_columns, Natts_es_events);
}

/*
 * Does the table have these columns, and none behind them but dropped ones?
 */
static bool
has_columns(Relation table, const EsColumn *columns, int ncolumns)
{
	TupleDesc	desc = RelationGetDescr(table);

	if (!begins_with_columns(desc, columns, ncolumns))
		return false;
	for (int i = ncolumns; i < desc->natts; i++)
	{
		if (!TupleDescAttr(desc, i)->attisdropped)
			return false;
	}
	return true;
}

/*
 * What is not logged would be lost in a crash, and is not there on standbys.
 */
static void
check_is_permanent(Relation table)
{
	if (table->rd_rel->relpersistence != RELPERSISTENCE_PERMANENT)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
				 errmsg("\"%s.%s\" is an unlogged table",
						ES_SCHEMA, RelationGetRelationName(table)),
				 errdetail("Its rows would be gone after a crash of the server."),
				 errhint("Use ALTER TABLE ... SET LOGGED.")));
}

static void
check_table(Relation table, const EsColumn *columns, int ncolumns)
{
	if (!is_plain_heap(table) || !has_columns(table, columns, ncolumns))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
				 errmsg("the columns or the access method of \"%s.%s\" were altered",
						ES_SCHEMA, RelationGetRelationName(table)),
				 errdetail("The event store reads and writes this table by its original definition."),
				 errhint("Undo the change, and keep further columns in a table of their own.")));
}

static bool
is_own_check(const char *name)
{
	for (int i = 0; i < lengthof(own_checks); i++)
		if (strcmp(name, own_checks[i]) == 0)
			return true;
	return false;
}

/*
 * Has the owner added CHECK or NOT NULL constraints?
 */
static bool
has_user_constraints(Relation events)
{
	TupleDesc	desc = RelationGetDescr(events);
	int			nchecks = desc->constr ? desc->constr->num_check : 0;

	for (int i = 0; i < nchecks; i++)
	{
		if (!is_own_check(desc->constr->check[i].ccname))
			return true;
	}
	for (int i = 0; i < Natts_es_events; i++)
	{
		if (TupleDescAttr(desc, i)->attnotnull && !events_columns[i].not_null)
			return true;
	}
	return false;
}

/*
 * Is this a plain btree on just these columns?
 */
static bool
index_matches(Relation index, const EsIndexDefinition *definition)
{
	Form_pg_index form = index->rd_index;

	if (index->rd_rel->relam != BTREE_AM_OID ||
		form->indisunique != definition->unique || !form->indimmediate ||
		form->indnatts != definition->ncolumns ||
		form->indnkeyatts != definition->ncolumns ||
		!heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL))
		return false;

	for (int i = 0; i < definition->ncolumns; i++)
	{
		AttrNumber	column = definition->columns[i];

		if (form->indkey.values[i] != column || index->rd_indoption[i] != 0 ||
			index->rd_opcintype[i] != events_columns[column - 1].type ||
			(OidIsValid(index->rd_indcollation[i]) &&
			 index->rd_indcollation[i] != C_COLLATION_OID))
			return false;
	}
	return true;
}

/*
 * Which of our indexes is this, or a copy of?  While one is being rebuilt by
 * REINDEX CONCURRENTLY there are two, and both have to be served alike.
 */
EsIndexKind
es_catalog_classify_index(Relation index)
{
	EsIndexKind kind = 0;

	while (kind < ES_OWN_INDEXES && !index_matches(index, &own_indexes[kind]))
		kind++;
	return kind;
}

/*
 * Classify an index, and take it for what we go along if it is valid.
 */
static bool
look_up_index(EsCatalog *found, Oid oid)
{
	Relation	relation = try_index_open(oid, AccessShareLock);
	EsIndex    *index;

	if (relation == NULL)
		return false;
	index = &found->all_indexes[found->nindexes++];
	index->oid = oid;
	index->kind = es_catalog_classify_index(relation);
	if (index->kind != ES_USER_INDEX && relation->rd_index->indisvalid)
		found->indexes[index->kind] = oid;
	index_close(relation, AccessShareLock);
	return true;
}

/*
 * Returns false if an index is dropped at this moment.  On a standby the lock
 * on the table does not keep that from happening.
 */
static bool
look_up_indexes(EsCatalog *found, Relation events)
{
	List	   *oids = RelationGetIndexList(events);
	ListCell   *lc;
	bool		is_complete = true;

	found->all_indexes = MemoryContextAlloc(catalog_context,
											(list_length(oids) + 1) * sizeof(EsIndex));
	found->nindexes = 0;
	memset(found->indexes, 0, sizeof(found->indexes));
	foreach(lc, oids)
		is_complete &= look_up_index(found, lfirst_oid(lc));
	list_free(oids);
	return is_complete;
}

static EsIndexKind
first_missing_index(const EsCatalog *found)
{
	EsIndexKind kind = 0;

	while (kind < ES_OWN_INDEXES && OidIsValid(found->indexes[kind]))
		kind++;
	return kind;
}

/*
 * REINDEX CONCURRENTLY can put one index into the place of another between
 * the looks at the two: then both were seen while they were not valid.
 */
static void
find_indexes(EsCatalog *found, Relation events)
{
	uint64		invalidations_before;
	bool		is_complete;
	EsIndexKind missing;

	do
	{
		CHECK_FOR_INTERRUPTS();
		invalidations_before = invalidations;
		is_complete = look_up_indexes(found, events);
		missing = first_missing_index(found);
	} while (!is_complete ||
			 (missing < ES_OWN_INDEXES && invalidations != invalidations_before));

	if (missing < ES_OWN_INDEXES)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("\"%s.events\" has no valid %s",
						ES_SCHEMA, own_indexes[missing].description),
				 errdetail("The event store reads and writes along this index."),
				 errhint("Re-create the index as the extension's script defines it.")));
}

/*
 * Positions have to be handed out one by one and upwards.
 */
static void
check_sequence(Relation sequence)
{
	HeapTuple	tuple = SearchSysCache1(SEQRELID, ObjectIdGetDatum(RelationGetRelid(sequence)));
	Form_pg_sequence form;
	bool		altered;

	check_is_permanent(sequence);
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for sequence %u", RelationGetRelid(sequence));
	form = (Form_pg_sequence) GETSTRUCT(tuple);
	altered = form->seqincrement != 1 || form->seqcache != 1 || form->seqcycle;
	ReleaseSysCache(tuple);

	if (altered)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
				 errmsg("the sequence of global positions was altered"),
				 errdetail("Followers rely on positions that are taken one by one and upwards."),
				 errhint("Use ALTER SEQUENCE eventstore.events_global_position_seq INCREMENT 1 CACHE 1 NO CYCLE.")));
}

static Oid
look_up_sequence(void)
{
	Relation	sequence = open_relation("events_global_position_seq");
	Oid			oid = RelationGetRelid(sequence);

	check_sequence(sequence);
	relation_close(sequence, AccessShareLock);
	return oid;
}

static Oid
look_up_watermark(void)
{
	Relation	watermark = open_relation("watermark");
	Oid			oid = RelationGetRelid(watermark);

	check_table(watermark, watermark_columns, lengthof(watermark_columns));
	check_is_permanent(watermark);
	relation_close(watermark, AccessShareLock);
	return oid;
}

static void
look_up_events(EsCatalog *found)
{
	Relation	events = open_relation(ES_EVENTS);

	check_table(events, events_columns, Natts_es_events);
	check_is_permanent(events);
	found->events = RelationGetRelid(events);
	found->has_user_constraints = has_user_constraints(events);
	find_indexes(found, events);
	relation_close(events, AccessShareLock);
}

/*
 * One relation at a time, so that DROP EXTENSION, which locks them in another
 * order, can't deadlock with this.
 */
static EsCatalog
look_up_catalog(void)
{
	EsCatalog	found;

	look_up_events(&found);
	found.watermark = look_up_watermark();
	found.position_sequence = look_up_sequence();
	return found;
}

/*
 * The extension's relations.  Raises an error when one is missing or was
 * altered.  The result is overwritten by a later call.
 */
const EsCatalog *
es_catalog_get(void)
{
	uint64		invalidations_before;

	if (catalog_is_valid)
		return &catalog;

	if (catalog_context == NULL)
	{
		CacheRegisterRelcacheCallback(forget_catalog, (Datum) 0);
		CacheRegisterSyscacheCallback(SEQRELID, forget_sequence, (Datum) 0);
		catalog_context = AllocSetContextCreate(TopMemoryContext, "eventstore catalog",
												ALLOCSET_SMALL_SIZES);
	}
	MemoryContextReset(catalog_context);

	/* An answer during which anything was invalidated serves only once. */
	invalidations_before = invalidations;
	catalog = look_up_catalog();
	catalog_is_valid = invalidations == invalidations_before;
	return &catalog;
}

/*
 * Open eventstore.events.  Indexes may be opened by the OIDs of
 * es_catalog_get() afterwards.
 */
Relation
es_catalog_open_events(void)
{
	Relation	events;

	/* If it is dropped while we wait, say so; or take the new one. */
	while ((events = try_table_open(es_catalog_get()->events, AccessShareLock)) == NULL)
		 /* go on */ ;
	return events;
}

/*
 * The same to write to it, under a lock to the end of the transaction.
 */
Relation
es_catalog_open_events_for_writing(LOCKMODE lockmode)
{
	for (;;)
	{
		Oid			oid = es_catalog_get()->events;
		Relation	events;

		es_lock_relation(oid, lockmode);
		events = try_table_open(oid, NoLock);
		if (events != NULL)
			return events;

		es_lock_release_relation(oid, lockmode);
	}
}

/*
 * Open one of our own indexes to read along it.  On a standby another one may
 * have taken its place, and who holds his locks already is not told unasked.
 */
Relation
es_catalog_open_index(EsIndexKind kind)
{
	for (;;)
	{
		Relation	index;

		AcceptInvalidationMessages();
		index = try_index_open(es_catalog_get()->indexes[kind], AccessShareLock);
		if (index != NULL && index->rd_index->indisvalid)
			return index;
		if (index != NULL)
			index_close(index, AccessShareLock);
		catalog_is_valid = false;
		CHECK_FOR_INTERRUPTS();
	}
}

/*
 * Open eventstore.events for reading, if the caller may read it.
 */
Relation
es_catalog_open_events_for_reading(void)
{
	Relation	events = es_catalog_open_events();

	es_rights_check_read(RelationGetRelid(events));
	return events;
}

/*
 * The same, whatever columns and indexes the table has.
 */
Relation
es_catalog_open_events_for_verification(void)
{
	Relation	events = open_relation(ES_EVENTS);

	es_rights_check_read(RelationGetRelid(events));
	if (!is_plain_heap(events))
		check_table(events, events_columns, Natts_es_events);
	return events;
}
