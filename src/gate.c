/*-------------------------------------------------------------------------
 *
 * gate.c
 *	  The append gate.
 *
 * Appenders hold the gate in share mode from before they take positions
 * until the entries of the position index are in.  It therefore tells a
 * follower which of the positions that it does not find can still turn up:
 * only those of an appender that is inside.
 *
 * The gate is a heavyweight lock of the advisory class, whose fourth field
 * keeps it apart from the advisory locks of users (1 and 2 there).
 *
 * The protocol:
 *	- Nobody waits for anything but page and extension locks while inside, so
 *	  a follower's wait for those inside is short and can't deadlock.
 *	- Followers never stay: they take the gate exclusively and let go at once.
 *	- With eventstore.serialize_appends, an appender takes the gate
 *	  exclusively before its first stream lock and keeps it until its
 *	  transaction ends.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/lock.h"

#include "eventstore.h"
#include "lock_tags.h"

static void
set_gate_tag(LOCKTAG *tag)
{
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, 0, 0, ES_LOCKTAG_GATE);
}

/*
 * Enter the gate as an appender.  Released by es_gate_leave(), or by the end
 * of the (sub)transaction in case of an error.
 */
void
es_gate_enter(void)
{
	LOCKTAG		tag;

	set_gate_tag(&tag);
	(void) LockAcquire(&tag, ShareLock, false, false);
}

void
es_gate_leave(void)
{
	LOCKTAG		tag;

	set_gate_tag(&tag);
	LockRelease(&tag, ShareLock, false);
}

/*
 * Take the gate exclusively and keep it to the end of the transaction.
 */
void
es_gate_hold(void)
{
	LOCKTAG		tag;

	set_gate_tag(&tag);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
}

static bool
gate_has_holder_against(LOCKMODE lockmode)
{
	LOCKTAG		tag;
	VirtualTransactionId *holders;
	int			nholders;

	set_gate_tag(&tag);
	holders = GetLockConflicts(&tag, lockmode, &nholders);
	pfree(holders);
	return nholders > 0;
}

/*
 * Is nobody inside whose positions could be missing from the index?
 *
 * Whoever holds the gate exclusively does not count: while he took his
 * positions nobody else could, so no position of another appender is above
 * one that he has not yet put into the index.
 *
 * This transaction's own hold on the gate does not count either.
 */
bool
es_gate_is_empty(void)
{
	return !gate_has_holder_against(ExclusiveLock) ||
		gate_has_holder_against(ShareLock);
}

/*
 * Wait until all who are inside now have left.
 */
void
es_gate_wait_until_left(void)
{
	LOCKTAG		tag;

	if (es_gate_is_empty())
		return;

	set_gate_tag(&tag);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
	LockRelease(&tag, ExclusiveLock, false);
}
