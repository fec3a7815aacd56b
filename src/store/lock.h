/*-------------------------------------------------------------------------
 *
 * lock.h
 *	  Locks that live as long as what was written under them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_LOCK_H
#define ES_LOCK_H

#include "storage/lock.h"

extern void es_lock_acquire(const LOCKTAG *tag, LOCKMODE mode);
extern bool es_lock_acquire_at_once(const LOCKTAG *tag, LOCKMODE mode);
extern LockAcquireResult es_lock_acquire_if_room(const LOCKTAG *tag, LOCKMODE mode);
extern void es_lock_release(const LOCKTAG *tag, LOCKMODE mode);
extern void es_lock_relation(Oid relation, LOCKMODE mode);
extern void es_lock_release_relation(Oid relation, LOCKMODE mode);

#endif							/* ES_LOCK_H */
