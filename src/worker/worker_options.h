/*-------------------------------------------------------------------------
 *
 * worker_options.h
 *	  The server's settings under which the background worker runs.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_WORKER_OPTIONS_H
#define ES_WORKER_OPTIONS_H

extern void es_worker_set_options(void);
extern void es_worker_wait_for_locks(void);

#endif							/* ES_WORKER_OPTIONS_H */
