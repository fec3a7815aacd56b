/*-------------------------------------------------------------------------
 *
 * eventstore.c
 *	  The event store's library: what the server calls when it loads it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"

#include "eventstore.h"
#include "wake/wake.h"

PG_MODULE_MAGIC;

void
_PG_init(void)
{
	es_settings_define();
	es_two_phase_install();
}
