/*-------------------------------------------------------------------------
 *
 * guard.h
 *	  What others need to know of the guard.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_GUARD_H
#define ES_GUARD_H

extern bool es_guard_is_called_by(Oid function);

#endif							/* ES_GUARD_H */
