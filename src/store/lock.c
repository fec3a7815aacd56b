/*-------------------------------------------------------------------------
 *
 * lock.c
 *	  Locks that live as long as what was written under them.
 *
 * PostgreSQL books a lock on the current resource owner.  In a cursor that is
 * the portal's, and when a later FETCH fails, the portal's locks are let go
 * of, also those of earlier FETCHes whose effects stay.  What an append locks
 * has to be kept for as long as the events can be committed.  So its locks are
 * booked on the (sub)transaction, which is what the events belong to: they go
 * with it when it is rolled back, and else live to the end of the transaction.
 * (The server's own sequence.c does alike.)
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "utils/resowner.h"

#include "compat.h"
#include "store/lock.h"

/*
 * Book on the (sub)transaction.  Returns what to go back to; after an error
 * the end of the (sub)transaction does so.
 */
static ResourceOwner
enter_transaction_owner(void)
{
	ResourceOwner former = CurrentResourceOwner;

	Assert(CurTransactionResourceOwner != NULL);
	CurrentResourceOwner = CurTransactionResourceOwner;
	return former;
}

/*
 * Take a lock, to the end of the (sub)transaction or until es_lock_release().
 */
void
es_lock_acquire(const LOCKTAG *tag, LOCKMODE mode)
{
	ResourceOwner former = enter_transaction_owner();

	(void) LockAcquire(tag, mode, false, false);
	CurrentResourceOwner = former;
}

/*
 * The same, if that takes no waiting.
 */
bool
es_lock_acquire_at_once(const LOCKTAG *tag, LOCKMODE mode)
{
	ResourceOwner former = enter_transaction_owner();
	LockAcquireResult result = LockAcquire(tag, mode, false, true);

	CurrentResourceOwner = former;
	return result != LOCKACQUIRE_NOT_AVAIL;
}

/*
 * The same as es_lock_acquire(), but where the shared lock table is full,
 * LOCKACQUIRE_NOT_AVAIL instead of an error.
 */
LockAcquireResult
es_lock_acquire_if_room(const LOCKTAG *tag, LOCKMODE mode)
{
	ResourceOwner former = enter_transaction_owner();
	LockAcquireResult result = es_lock_acquire_quietly(tag, mode);

	CurrentResourceOwner = former;
	return result;
}

void
es_lock_release(const LOCKTAG *tag, LOCKMODE mode)
{
	ResourceOwner former = enter_transaction_owner();

	(void) LockRelease(tag, mode, false);
	CurrentResourceOwner = former;
}

/*
 * Lock a relation, to the end of the (sub)transaction.  It may have been
 * dropped meanwhile.
 */
void
es_lock_relation(Oid relation, LOCKMODE mode)
{
	ResourceOwner former = enter_transaction_owner();

	LockRelationOid(relation, mode);
	CurrentResourceOwner = former;
}

/*
 * Let go of the lock on a relation that is no longer there.
 */
void
es_lock_release_relation(Oid relation, LOCKMODE mode)
{
	ResourceOwner former = enter_transaction_owner();

	UnlockRelationOid(relation, mode);
	CurrentResourceOwner = former;
}
