/*-------------------------------------------------------------------------
 *
 * position_index.h
 *	  The end of the position index.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_POSITION_INDEX_H
#define ES_POSITION_INDEX_H

#include "utils/relcache.h"

extern int64 es_position_index_last(Relation events, Relation position_index);
extern int64 es_position_last(Relation events);

#endif							/* ES_POSITION_INDEX_H */
