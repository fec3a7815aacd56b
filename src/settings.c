/*-------------------------------------------------------------------------
 *
 * settings.c
 *	  Every setting of the event store.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/guc.h"

#include "settings.h"
#include "wait_point.h"

bool		es_serialize_appends = false;
int			es_notify = ES_NOTIFY_WORKER;
int			es_watermark_interval = 1000;
int			es_worker_idle_limit = 10 * 1000;

static const struct config_enum_entry notify_options[] = {
	{"off", ES_NOTIFY_OFF, false},
	{"transaction", ES_NOTIFY_TRANSACTION, false},
	{"worker", ES_NOTIFY_WORKER, false},
	{NULL, 0, false}
};

/*
 * Called when the library is loaded.
 */
void
es_settings_define(void)
{
	DefineCustomEnumVariable("eventstore.notify",
							 "Says who notifies the listeners of appends.",
							 "Nobody, the appending transaction, or a background worker.",
							 &es_notify,
							 ES_NOTIFY_WORKER,
							 notify_options,
							 PGC_USERSET,
							 0,
							 NULL, NULL, NULL);

	DefineCustomIntVariable("eventstore.watermark_interval",
							"Sets how often the background worker advances the watermark.",
							"It does so while events arrive, and not when idle.",
							&es_watermark_interval,
							1000, 10, 3600 * 1000,
							PGC_SIGHUP,
							GUC_UNIT_MS,
							NULL, NULL, NULL);

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
	DefineCustomIntVariable("eventstore.worker_idle_limit",
							"Sets how long a background worker stays with nothing to do.",
							NULL,
							&es_worker_idle_limit,
							10 * 1000, 1, 3600 * 1000,
							PGC_SIGHUP,
							GUC_UNIT_MS,
							NULL, NULL, NULL);
	es_wait_point_define();
#endif

	MarkGUCPrefixReserved("eventstore");
}
