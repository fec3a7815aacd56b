/*-------------------------------------------------------------------------
 *
 * verify.c
 *	  What verify() can't find out in SQL.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "eventstore.h"
#include "store/catalog.h"

PG_FUNCTION_INFO_V1(eventstore_rewritten_positions);

/*
 * rewritten_positions() returns setof bigint
 *
 * The positions of events whose row is not the one that was inserted: the
 * tuple header says so, until the table is dumped and restored.
 */
Datum
eventstore_rewritten_positions(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Relation	events;
	SysScanDesc scan;
	HeapTuple	row;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	events = es_catalog_open_events_for_verification();
	scan = systable_beginscan(events, InvalidOid, false, GetActiveSnapshot(), 0, NULL);

	while (HeapTupleIsValid(row = systable_getnext(scan)))
	{
		CHECK_FOR_INTERRUPTS();
		if (row->t_data->t_infomask & HEAP_UPDATED)
		{
			Datum		values[1];
			bool		isnull[1];

			values[0] = heap_getattr(row, Anum_es_events_global_position,
									 RelationGetDescr(events), &isnull[0]);
			tuplestore_putvalues(result->setResult, result->setDesc, values, isnull);
		}
	}

	systable_endscan(scan);
	table_close(events, AccessShareLock);
	return (Datum) 0;
}
