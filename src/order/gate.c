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
 * keeps it apart from the advisory locks of users (1 and 2 there).  Appenders
 * hold it side by side, and followers look who does.  They don't queue for it,
 * since every appender who comes later would have to queue behind them.
 * Instead, each appender also holds a lock of its own while it is inside, its
 * pass, and a follower waits for the passes of just those who are inside.
 *
 * The protocol:
 *	- An appender takes its pass in front of the gate, and gives it back behind
 *	  it.  So a follower who sees him inside, and then gets hold of his pass,
 *	  knows that he has left.
 *	- Nobody waits for anything but page and extension locks while inside, nor
 *	  for the gate with his pass in hand, so a follower's wait for those inside
 *	  is short and can't deadlock.
 *	- Followers never stay: they take a pass and let go of it at once, and
 *	  take none while they hold another.
 *
 * A follower waits for one passage through the gate per appender, and an
 * appender, at most, until a follower who has waited for his last passage lets
 * go of his pass.  Nobody else waits.
 *
 * With eventstore.serialize_appends, an appender holds the gate in a mode that
 * keeps out other appenders, until its transaction ends.  Followers need not
 * wait for it, since while it takes positions nobody else can take one above.
 * A lock of their own kind keeps such appenders apart.  They take both before
 * their first stream lock, so that those who wait hold no stream.
 *
 * All of these locks belong to the transaction, not to the portal that runs
 * the append, see es_lock_acquire().
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/lock.h"

#include "compat.h"
#include "order/gate.h"
#include "store/lock.h"
#include "store/lock_tags.h"

#define APPENDER_MODE RowExclusiveLock
#define SERIALIZED_MODE ShareLock	/* conflicts with the above, not with
									 * itself */

static LOCKTAG
gate_tag(void)
{
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, 0, 0, ES_LOCKTAG_GATE);
	return tag;
}

/*
 * The pass of the backend with this number.
 */
static LOCKTAG
pass_tag(int backend)
{
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, 0, backend, ES_LOCKTAG_PASS);
	return tag;
}

/*
 * Enter the gate as an appender.  Released by es_gate_leave(), or by the end
 * of the (sub)transaction in case of an error.  A serialized appender has the
 * gate to itself already.
 */
void
es_gate_enter(void)
{
	LOCKTAG		gate = gate_tag();
	LOCKTAG		pass = pass_tag(ES_MY_VXID_NUMBER);

	Assert(!es_lock_held_by_me(&gate, APPENDER_MODE));
	Assert(TransactionIdIsValid(GetTopTransactionIdIfAny()));

	if (es_lock_held_by_me(&gate, SERIALIZED_MODE))
		return;

	es_lock_acquire(&pass, ExclusiveLock);
	while (!es_lock_acquire_at_once(&gate, APPENDER_MODE))
	{
		/* Somebody is serialized: wait for him without the pass. */
		es_lock_release(&pass, ExclusiveLock);
		es_lock_acquire(&gate, APPENDER_MODE);
		es_lock_release(&gate, APPENDER_MODE);
		es_lock_acquire(&pass, ExclusiveLock);
	}
}

void
es_gate_leave(void)
{
	LOCKTAG		gate = gate_tag();
	LOCKTAG		pass = pass_tag(ES_MY_VXID_NUMBER);

	if (!es_lock_held_by_me(&gate, APPENDER_MODE))
	{
		Assert(es_lock_held_by_me(&gate, SERIALIZED_MODE));
		return;
	}
	es_lock_release(&gate, APPENDER_MODE);
	es_lock_release(&pass, ExclusiveLock);
}

/*
 * Who is inside now, but for this transaction?
 */
static VirtualTransactionId *
look_inside(int *ninside)
{
	LOCKTAG		gate = gate_tag();

	return GetLockConflicts(&gate, SERIALIZED_MODE, ninside);
}

/*
 * Is no other transaction inside?
 */
bool
es_gate_is_empty(void)
{
	int			ninside;

	pfree(look_inside(&ninside));
	return ninside == 0;
}

/*
 * Wait until all who are inside now have left.
 */
void
es_gate_wait_until_left(void)
{
	int			ninside;
	VirtualTransactionId *inside = look_inside(&ninside);

	for (int i = 0; i < ninside; i++)
	{
		LOCKTAG		pass = pass_tag(es_vxid_number(inside[i]));

		es_lock_acquire(&pass, ShareLock);
		es_lock_release(&pass, ShareLock);
	}
	pfree(inside);
}

/*
 * Keep all other appenders out until this transaction ends.
 */
void
es_gate_serialize(void)
{
	LOCKTAG		gate = gate_tag();
	LOCKTAG		turn;

	SET_LOCKTAG_ADVISORY(turn, MyDatabaseId, 0, 0, ES_LOCKTAG_SERIALIZE);
	es_lock_acquire(&turn, ExclusiveLock);
	es_lock_acquire(&gate, SERIALIZED_MODE);
}
