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
#include "settings.h"
#include "wake/two_phase.h"

/* 18: a module can say what it is. */
#ifdef PG_MODULE_MAGIC_EXT
PG_MODULE_MAGIC_EXT(.name = "eventstore", .version = "0.1.0");
#else
PG_MODULE_MAGIC;
#endif

extern PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	es_settings_define();
	es_two_phase_install();
}
