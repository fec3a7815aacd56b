/*-------------------------------------------------------------------------
 *
 * worker_options.c
 *	  The server's settings under which the background worker runs.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "storage/proc.h"
#include "utils/guc.h"

#include "worker/worker_options.h"

#define LOCK_PATIENCE		100 /* milliseconds */

/*
 * What was set for the database must not keep the worker from its work.
 */
static void
set_option(const char *name, const char *value)
{
	SetConfigOption(name, value, PGC_SUSET, PGC_S_OVERRIDE);
}

/*
 * Whoever waits for us while we wait for him is not to find that out.
 */
static void
set_lock_timeout(void)
{
	char		milliseconds[16];

	snprintf(milliseconds, sizeof(milliseconds), "%d",
			 Max(1, Min(LOCK_PATIENCE, DeadlockTimeout / 2)));
	set_option("lock_timeout", milliseconds);
}

/*
 * Called when the worker has connected to its database.
 */
void
es_worker_set_options(void)
{
	set_option("eventstore.notify", "off");
	set_option("synchronous_commit", "off");
	set_option("search_path", "pg_catalog, pg_temp");
	set_option("default_transaction_isolation", "read committed");
	set_option("default_transaction_read_only", "off");
	set_option("statement_timeout", "0");
	set_lock_timeout();
	set_option("idle_in_transaction_session_timeout", "0");
	if (GetConfigOption("transaction_timeout", true, false) != NULL)
		set_option("transaction_timeout", "0");
}

/*
 * Wait for locks as long as it takes, to the end of this transaction.
 */
void
es_worker_wait_for_locks(void)
{
	(void) set_config_option("lock_timeout", "0", PGC_SUSET, PGC_S_SESSION,
							 GUC_ACTION_LOCAL, true, 0, false);
}
