/*-------------------------------------------------------------------------
 *
 * guard.h
 *	  What others need to know of the guard.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_GUARD_H
#define ES_GUARD_H

#include "utils/relcache.h"

extern bool es_guard_is_called_by(Oid function);
extern bool es_guard_row_is_replicated(Relation table);

#endif							/* ES_GUARD_H */
