/*-------------------------------------------------------------------------
 *
 * eventstore.c
 *	  The event store's library: what the server calls when it loads it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"

#include "eventstore.h"
#include "wake.h"

PG_MODULE_MAGIC;

void
_PG_init(void)
{
	if (process_shared_preload_libraries_in_progress)
	{
		es_wake_install();
		es_worker_hooks_install();
	}
	es_settings_define();
}
