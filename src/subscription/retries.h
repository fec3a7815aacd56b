/*-------------------------------------------------------------------------
 *
 * retries.h
 *	  Events that are handed out again.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_RETRIES_H
#define ES_RETRIES_H

#include "subscription/delivery.h"

extern void es_retries_load(EsFetch *fetch, bool was_held);
extern bool es_retries_hand_out(EsFetch *fetch);

#endif							/* ES_RETRIES_H */
