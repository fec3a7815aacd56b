/*-------------------------------------------------------------------------
 *
 * gate.c
 *	  The append gate.
 *
 * Appenders are inside the gate from before they take positions until the
 * entries of the position index are in.  It therefore tells a follower which
 * of the positions that it does not find can still turn up: only those of an
 * appender that is inside.
 *
 * The gate is a heavyweight lock of the advisory class, whose fourth field
 * keeps it apart from the advisory locks of users (1 and 2 there).  The
 * modes of appenders and followers conflict with each other, and neither with
 * itself: appenders pass side by side, and so do followers.
 *
 * The protocol:
 *	- Nobody waits for anything but page and extension locks while inside, so
 *	  a follower's wait for those inside is short and can't deadlock.
 *	- Followers never stay: they take the gate and let go at once.
 *
 * With eventstore.serialize_appends, an appender holds the gate in the
 * followers' mode until its transaction ends: other appenders stay out, and
 * followers need not wait for it, since while it takes positions nobody else
 * can take one above.  A lock of their own kind keeps such appenders apart.
 * They take both before their first stream lock, so that those who wait hold
 * no stream.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/lock.h"

#include "compat.h"
#include "eventstore.h"
#include "lock_tags.h"

#define APPENDER_MODE RowExclusiveLock
#define FOLLOWER_MODE ShareLock

static void
set_gate_tag(LOCKTAG *tag)
{
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, 0, 0, ES_LOCKTAG_GATE);
}

/*
 * Enter the gate as an appender.  Released by es_gate_leave(), or by the end
 * of the (sub)transaction in case of an error.  A serialized appender has the
 * gate to itself already.
 */
void
es_gate_enter(void)
{
	LOCKTAG		tag;

	set_gate_tag(&tag);
	if (!es_lock_held_by_me(&tag, FOLLOWER_MODE))
		(void) LockAcquire(&tag, APPENDER_MODE, false, false);
}

void
es_gate_leave(void)
{
	LOCKTAG		tag;

	set_gate_tag(&tag);
	if (es_lock_held_by_me(&tag, APPENDER_MODE))
		LockRelease(&tag, APPENDER_MODE, false);
}

/*
 * Is no other transaction inside?
 */
bool
es_gate_is_empty(void)
{
	LOCKTAG		tag;
	VirtualTransactionId *inside;
	int			ninside;

	set_gate_tag(&tag);
	inside = GetLockConflicts(&tag, FOLLOWER_MODE, &ninside);
	pfree(inside);
	return ninside == 0;
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
	(void) LockAcquire(&tag, FOLLOWER_MODE, false, false);
	LockRelease(&tag, FOLLOWER_MODE, false);
}

/*
 * Keep all other appenders out until this transaction ends.
 */
void
es_gate_serialize(void)
{
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, 0, 0, ES_LOCKTAG_SERIALIZE);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
	set_gate_tag(&tag);
	(void) LockAcquire(&tag, FOLLOWER_MODE, false, false);
}
