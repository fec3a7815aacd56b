/*-------------------------------------------------------------------------
 *
 * catalog.c
 *	  Where the extension's relations are, and whether they still have the
 *	  shape that the C code relies on.
 *
 * The append and read paths address columns by number and indexes by their
 * definition, so this is the one place that checks both.  The answer is kept
 * for the session and dropped on every relcache invalidation of one of the
 * relations; DROP EXTENSION, REINDEX CONCURRENTLY and ALTER TABLE all cause
 * one.
 *
 * Ask only while holding a lock on eventstore.events (any mode) if the index
 * OIDs are to be opened: REINDEX CONCURRENTLY drops an index only after it
 * has waited for all who hold a lock on the table.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/relcache.h"
#include "utils/rls.h"

#include "eventstore.h"

#define ES_SCHEMA "eventstore"

typedef struct EsColumn
{
	const char *name;
	Oid			type;
} EsColumn;

static const EsColumn events_columns[Natts_es_events] = {
	{"global_position", INT8OID},
	{"version", INT8OID},
	{"created_at", TIMESTAMPTZOID},
	{"event_id", UUIDOID},
	{"stream_id", TEXTOID},
	{"stream_type", TEXTOID},
	{"event_type", TEXTOID},
	{"schema_version", INT4OID},
	{"correlation_id", UUIDOID},
	{"causation_id", UUIDOID},
	{"data", JSONOID},
	{"binary_data", BYTEAOID},
	{"content_type", TEXTOID},
	{"metadata", JSONOID},
	{"tags", TEXTARRAYOID},
};

/* What the append path guarantees by construction and need not evaluate. */
static const char *const own_checks[] = {
	"events_names_not_empty",
	"events_one_payload",
	"events_version_positive",
};

static EsCatalog catalog;
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
				 errhint("Re-create the extension: its relations must keep their schema and names.")));
	return relation;
}

static void
check_columns(Relation events)
{
	TupleDesc	desc = RelationGetDescr(events);
	bool		altered = events->rd_rel->relam != HEAP_TABLE_AM_OID;

	altered |= desc->natts != Natts_es_events;
	for (int i = 0; i < Natts_es_events && !altered; i++)
	{
		Form_pg_attribute attr = TupleDescAttr(desc, i);

		altered = attr->attisdropped ||
			attr->atttypid != events_columns[i].type ||
			strcmp(NameStr(attr->attname), events_columns[i].name) != 0;
	}

	if (altered)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
				 errmsg("the columns or the access method of \"%s.events\" were altered", ES_SCHEMA),
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

static bool
has_foreign_checks(Relation events)
{
	TupleConstr *constr = RelationGetDescr(events)->constr;

	for (int i = 0; constr != NULL && i < constr->num_check; i++)
		if (!is_own_check(constr->check[i].ccname))
			return true;
	return false;
}

/*
 * Is this a complete, usable btree on just these columns?
 */
static bool
index_is_on(Relation index, bool unique, int ncolumns, const AttrNumber *columns)
{
	Form_pg_index form = index->rd_index;

	if (index->rd_rel->relam != BTREE_AM_OID ||
		!form->indisvalid || !form->indisready || !form->indislive ||
		form->indisunique != unique || !form->indimmediate ||
		form->indnatts != ncolumns || form->indnkeyatts != ncolumns ||
		!heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL))
		return false;

	for (int i = 0; i < ncolumns; i++)
		if (form->indkey.values[i] != columns[i] || index->rd_indoption[i] != 0)
			return false;
	return true;
}

static Oid
find_index(Relation events, const char *description,
		   bool unique, int ncolumns, const AttrNumber *columns)
{
	List	   *indexes = RelationGetIndexList(events);
	ListCell   *lc;
	Oid			found = InvalidOid;

	foreach(lc, indexes)
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);

		if (index_is_on(index, unique, ncolumns, columns))
			found = lfirst_oid(lc);
		index_close(index, AccessShareLock);
		if (OidIsValid(found))
			break;
	}
	list_free(indexes);

	if (!OidIsValid(found))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("\"%s.events\" has no valid %s index on (%s)",
						ES_SCHEMA, unique ? "unique" : "plain", description),
				 errhint("Re-create the index as the extension's script defines it.")));
	return found;
}

static void
find_indexes(EsCatalog *found, Relation events)
{
	static const AttrNumber position[] = {
		Anum_es_events_global_position
	};
	static const AttrNumber stream[] = {
		Anum_es_events_stream_id, Anum_es_events_version
	};
	static const AttrNumber event_id[] = {
		Anum_es_events_event_id
	};
	static const AttrNumber category[] = {
		Anum_es_events_stream_type, Anum_es_events_global_position
	};

	found->position_index = find_index(events, "global_position",
									   true, lengthof(position), position);
	found->stream_index = find_index(events, "stream_id, version",
									 true, lengthof(stream), stream);
	found->event_id_index = find_index(events, "event_id",
									   true, lengthof(event_id), event_id);
	found->category_index = find_index(events, "stream_type, global_position",
									   false, lengthof(category), category);
}

static void
look_up_catalog(EsCatalog *found)
{
	Relation	events;

	found->events = find_relation("events");
	found->watermark = find_relation("watermark");
	found->position_sequence = find_relation("events_global_position_seq");

	events = table_open(found->events, AccessShareLock);
	check_columns(events);
	found->has_foreign_checks = has_foreign_checks(events);
	find_indexes(found, events);
	table_close(events, AccessShareLock);
}

/*
 * The extension's relations.  Raises an error when one is missing or was
 * altered.  The result is overwritten by a later call.
 */
const EsCatalog *
es_catalog_get(void)
{
	static bool callback_is_registered = false;
	uint64		invalidations_before;

	if (catalog_is_valid)
		return &catalog;

	if (!callback_is_registered)
	{
		CacheRegisterRelcacheCallback(forget_catalog, (Datum) 0);
		callback_is_registered = true;
	}

	/* An answer during which anything was invalidated serves only once. */
	invalidations_before = invalidations;
	look_up_catalog(&catalog);
	catalog_is_valid = invalidations == invalidations_before;
	return &catalog;
}

/*
 * Open eventstore.events.  Indexes may be opened by the OIDs of
 * es_catalog_get() afterwards.
 */
Relation
es_catalog_open_events(LOCKMODE lockmode)
{
	return table_open(es_catalog_get()->events, lockmode);
}

/*
 * Refuse a caller who may not read the events.
 */
static void
check_may_read(Oid events)
{
	if (pg_class_aclcheck(events, GetUserId(), ACL_SELECT) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to read events"),
				 errdetail("Reading needs the SELECT privilege on \"eventstore.events\"."),
				 errhint("Ask for eventstore.grant_reader() to be called for this role.")));

	if (check_enable_rls(events, InvalidOid, true) == RLS_ENABLED)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("row-level security applies to \"eventstore.events\""),
				 errdetail("The read functions do not evaluate its policies, and do not bypass them either."),
				 errhint("Query the table itself, or read as a role that bypasses row-level security.")));
}

/*
 * Open eventstore.events for reading, if the caller may read it.
 */
Relation
es_catalog_open_events_for_reading(void)
{
	check_may_read(es_catalog_get()->events);
	return es_catalog_open_events(AccessShareLock);
}

/*
 * The same, whatever shape the table is in.
 */
Relation
es_catalog_open_events_for_verification(void)
{
	Oid			events = find_relation("events");

	check_may_read(events);
	return table_open(events, AccessShareLock);
}
