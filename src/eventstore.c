/*-------------------------------------------------------------------------
 *
 * eventstore.c
 *	  The event store's library: what the server calls when it loads it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"

#include "compat.h"
#include "eventstore.h"
#include "settings.h"
#include "wake/two_phase.h"

ES_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	es_settings_define();
	es_two_phase_install();
}
