/*-------------------------------------------------------------------------
 *
 * notify.h
 *	  The appender's side of notifications.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_NOTIFY_H
#define ES_NOTIFY_H

extern void es_notify_send(int64 position);
extern void es_notify_appended(int64 last_position);
extern void es_notify_stopped(void);
extern bool es_notify_wants_decisions(void);
extern void es_notify_decided(void);

#endif							/* ES_NOTIFY_H */
