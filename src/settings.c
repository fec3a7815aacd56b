/*-------------------------------------------------------------------------
 *
 * settings.c
 *	  Every setting of the event store.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/guc.h"

#include "eventstore.h"
#include "wait_point.h"

bool		es_serialize_appends = false;

void
es_settings_define(void)
{
	DefineCustomBoolVariable("eventstore.serialize_appends",
							 "Lets one transaction at a time append, until it ends.",
							 "Global positions are then in commit order, "
							 "and appending transactions queue behind one another.",
							 &es_serialize_appends,
							 false,
							 PGC_SUSET,
							 0,
							 NULL, NULL, NULL);

#ifdef ES_WAIT_POINTS
	es_wait_point_define();
#endif

	MarkGUCPrefixReserved("eventstore");
}
