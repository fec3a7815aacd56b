/*-------------------------------------------------------------------------
 *
 * settings.h
 *	  Every setting of the event store.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_SETTINGS_H
#define ES_SETTINGS_H

/* Who notifies the listeners of an append? */
typedef enum EsNotify
{
	ES_NOTIFY_OFF,
	ES_NOTIFY_TRANSACTION,
	ES_NOTIFY_WORKER
} EsNotify;

extern bool es_serialize_appends;
extern int	es_notify;			/* EsNotify */
extern int	es_watermark_interval;	/* milliseconds */
extern int	es_worker_idle_limit;	/* milliseconds */

extern void es_settings_define(void);

#endif							/* ES_SETTINGS_H */
