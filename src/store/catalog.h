/*-------------------------------------------------------------------------
 *
 * catalog.h
 *	  Where the extension's relations are, and whether they still have the
 *	  shape that the C code relies on.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_CATALOG_H
#define ES_CATALOG_H

#include "access/tupdesc.h"
#include "storage/lockdefs.h"
#include "utils/relcache.h"

/* What an index of eventstore.events is to the extension. */
typedef enum EsIndexKind
{
	ES_POSITION_INDEX,			/* unique, on (global_position) */
	ES_STREAM_INDEX,			/* unique, on (stream_id, version) */
	ES_EVENT_ID_INDEX,			/* unique, on (event_id) */
	ES_CATEGORY_INDEX,			/* on (stream_type, global_position) */
	ES_USER_INDEX				/* any other */
} EsIndexKind;

#define ES_OWN_INDEXES ES_USER_INDEX

typedef struct EsIndex
{
	Oid			oid;
	EsIndexKind kind;
} EsIndex;

/* The extension's relations. */
typedef struct EsCatalog
{
	Oid			events;
	Oid			watermark;
	Oid			position_sequence;
	Oid			indexes[ES_OWN_INDEXES];
	int			nindexes;		/* of eventstore.events, users' own as well */
	EsIndex    *all_indexes;
	bool		has_user_constraints;	/* CHECK or NOT NULL not of ours */
} EsCatalog;

extern const EsCatalog *es_catalog_get(void);
extern EsIndexKind es_catalog_classify_index(Relation index);
extern Relation es_catalog_open_events_for_writing(LOCKMODE lockmode);
extern Relation es_catalog_open_events(void);
extern Relation es_catalog_open_events_for_reading(void);
extern Relation es_catalog_open_index(EsIndexKind kind);
extern Relation es_catalog_open_events_for_verification(void);
extern bool es_catalog_has_event_columns(TupleDesc desc);

#endif							/* ES_CATALOG_H */
