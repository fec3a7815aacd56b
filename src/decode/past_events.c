/*-------------------------------------------------------------------------
 *
 * past_events.c
 *	  Which relation was eventstore.events, when a change was made that is
 *	  being decoded?
 *
 * Logical decoding sees the catalogs as they were at the change, through a
 * historic snapshot: what was dropped or renamed since is still what it was.
 * es_catalog_get() can't be asked, as it tells of the present.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "commands/extension.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "decode/past_events.h"
#include "eventstore.h"
#include "store/catalog.h"

/*
 * Was it called eventstore.events?
 */
bool
es_past_events_has_name(Relation relation)
{
	char	   *schema;
	bool		has_name;

	if (strcmp(RelationGetRelationName(relation), ES_EVENTS) != 0)
		return false;
	schema = get_namespace_name(RelationGetNamespace(relation));
	if (schema == NULL)
		return false;
	has_name = strcmp(schema, ES_SCHEMA) == 0;
	pfree(schema);
	return has_name;
}

/*
 * Was it a part of the extension?  Without the extension, or in a schema that
 * is not the extension's, anybody may have a table of that name.
 */
bool
es_past_events_is_member(Relation relation)
{
	Oid			extension = getExtensionOfObject(RelationRelationId,
												 RelationGetRelid(relation));
	char	   *name;
	bool		is_member;

	if (!OidIsValid(extension))
		return false;
	name = get_extension_name(extension);
	if (name == NULL)
		return false;
	is_member = strcmp(name, ES_EXTENSION) == 0;
	pfree(name);
	return is_member;
}

/*
 * Raise an error if its columns were not where they are read.
 */
void
es_past_events_check_columns(Relation events)
{
	if (!es_catalog_has_event_columns(RelationGetDescr(events)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
				 errmsg("the columns of \"%s.%s\" were altered when this event was inserted",
						ES_SCHEMA, ES_EVENTS),
				 errdetail("The event store decodes events by the table's original definition."),
				 errhint("Move the slot past this event with pg_replication_slot_advance(), or drop the slot.")));
}
