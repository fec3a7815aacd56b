/*-------------------------------------------------------------------------
 *
 * wake_slots.c
 *	  The shared memory of wake-ups: a slot for each database in use.
 *
 * The memory is taken when the first session of the server needs it, from what
 * a server keeps spare, as core's pg_prewarm does: ShmemInitStruct() under
 * AddinShmemInitLock works at any time.  So nothing need be preloaded.  Where
 * nothing is left, a session goes without.
 *
 * A slot is a lease.  When all are in use, one at rest is taken over: one that
 * has no worker, nothing to announce, and nobody about to commit.  Its old
 * database gets another one when it needs one.  So a slot may only be relied
 * upon under the lock, or between es_wake_begin_commit() and
 * es_wake_end_commit(), see wake.c.  Whoever sleeps on the condition variable
 * of a slot that is taken over is woken for nothing, or by his own time-out.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/lock.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "wake/wake_slots.h"

/* The number goes up with each change of the layout. */
#define AREA_NAME		"eventstore wake-ups 2"
#define TRANCHE_NAME	"eventstore"
#define NSLOTS			64
#define SLOT_SIZE		128		/* no two in a cache line */

/* Microseconds */
#define START_PATIENCE	(10 * USECS_PER_SEC)
#define TELL_EVERY		USECS_PER_HOUR

typedef union PaddedSlot
{
	EsSlot		slot;
	char		padding[SLOT_SIZE];
} PaddedSlot;

StaticAssertDecl(sizeof(PaddedSlot) == SLOT_SIZE, "a slot is larger than its place");

typedef struct Area
{
	PaddedSlot	slots[NSLOTS];	/* first, as the area is aligned */
	LWLock		lock;
	pg_atomic_uint64 told_at[ES_OUTAGES];	/* when a session last has told */
} Area;

static Area *area = NULL;
static EsSlot *mine = NULL;		/* was this database's when it was looked up */

/* ---- the area ---- */

static void
init_slot(EsSlot *slot)
{
	pg_atomic_init_u32(&slot->database, InvalidOid);
	pg_atomic_init_u32(&slot->ncommitting, 0);
	pg_atomic_init_u64(&slot->nappends, 0);
	pg_atomic_init_u64(&slot->nannounced, 0);
	pg_atomic_init_u32(&slot->nrequests, 0);
	pg_atomic_init_u64(&slot->last_position, 0);
	pg_atomic_init_u32(&slot->worker_state, ES_WORKER_NONE);
	pg_atomic_init_u32(&slot->worker_proc, 0);
	pg_atomic_init_u32(&slot->is_watching, false);
	pg_atomic_init_u64(&slot->started_at, 0);
	pg_atomic_init_u64(&slot->retry_at, 0);
	ConditionVariableInit(&slot->waiters);
}

static void
init_area(Area *new)
{
	LWLockInitialize(&new->lock, es_lwlock_new_tranche(TRANCHE_NAME));
	for (int i = 0; i < ES_OUTAGES; i++)
		pg_atomic_init_u64(&new->told_at[i], 0);
	for (int i = 0; i < NSLOTS; i++)
		init_slot(&new->slots[i].slot);
}

/*
 * The area, which the first caller makes, or NULL when there is no memory
 * left.  No error is passed on: the caller is about to commit.
 */
static Area *
find_or_make_area(void)
{
	MemoryContext context = CurrentMemoryContext;
	uint32		holdoff_count = InterruptHoldoffCount;
	Area	   *volatile new = NULL;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	PG_TRY();
	{
		bool		found;

		new = ShmemInitStruct(AREA_NAME, sizeof(Area), &found);
		if (!found)
			init_area(new);
	}
	PG_CATCH();
	{
		/* The error has reset the count, which the lock is a part of. */
		InterruptHoldoffCount = holdoff_count + 1;
		MemoryContextSwitchTo(context);
		FlushErrorState();
		new = NULL;
	}
	PG_END_TRY();
	LWLockRelease(AddinShmemInitLock);
	return new;
}

/*
 * Is there an area?  Shared memory never comes free, so a session tries once.
 */
bool
es_slots_attach(void)
{
	static bool has_tried = false;

	if (!has_tried)
	{
		area = find_or_make_area();
		if (area != NULL)
			es_lwlock_register_tranche(area->lock.tranche, TRANCHE_NAME);
		has_tried = true;
	}
	return area != NULL;
}

void
es_slots_lock(void)
{
	LWLockAcquire(&area->lock, LW_EXCLUSIVE);
}

void
es_slots_unlock(void)
{
	LWLockRelease(&area->lock);
}

/*
 * Is it this session that is to tell of an outage?  One of them does each
 * hour; where there is no memory to agree by, each does once.
 */
bool
es_slots_may_tell(EsOutage outage)
{
	static bool has_told = false;
	uint64		now = GetCurrentTimestamp();
	uint64		told_at;
	bool		may_tell;

	if (area == NULL)
	{
		may_tell = !has_told;
		has_told = true;
		return may_tell;
	}
	told_at = pg_atomic_read_u64(&area->told_at[outage]);
	return (told_at == 0 || now >= told_at + TELL_EVERY) &&
		pg_atomic_compare_exchange_u64(&area->told_at[outage], &told_at, now);
}

/* ---- slots ---- */

/*
 * The slot that was last known to be this database's, or NULL.
 */
EsSlot *
es_slot_known(void)
{
	return mine;
}

/*
 * The slot of a database, or NULL; the caller holds the lock.
 */
EsSlot *
es_slot_find(Oid database)
{
	for (int i = 0; i < NSLOTS; i++)
	{
		if (pg_atomic_read_u32(&area->slots[i].slot.database) == database)
			return &area->slots[i].slot;
	}
	return NULL;
}

/*
 * Is there a worker, or one on its way?  One that was registered may never
 * come, since its process could not be made.  The caller holds the lock.
 */
bool
es_slot_has_worker(EsSlot *slot)
{
	switch ((EsWorkerState) pg_atomic_read_u32(&slot->worker_state))
	{
		case ES_WORKER_CONNECTING:
		case ES_WORKER_RUNNING:
			return true;
		case ES_WORKER_STARTING:
			return (uint64) GetCurrentTimestamp() <
				pg_atomic_read_u64(&slot->started_at) + START_PATIENCE;
		case ES_WORKER_NONE:
			break;
	}
	return false;
}

/*
 * Is there an append that was not announced?
 */
bool
es_slot_has_news(EsSlot *slot)
{
	return pg_atomic_read_u64(&slot->nappends) != pg_atomic_read_u64(&slot->nannounced);
}

/*
 * Take the slot from its database, if it is at rest.
 *
 * Who is about to commit has counted himself before he looked whose slot it
 * is, so here the database goes first.
 */
static bool
vacate(EsSlot *slot)
{
	Oid			database;

	if (es_slot_has_worker(slot) || es_slot_has_news(slot))
		return false;

	database = pg_atomic_exchange_u32(&slot->database, InvalidOid);
	if (pg_atomic_read_u32(&slot->ncommitting) == 0 && !es_slot_has_news(slot))
		return true;
	pg_atomic_write_u32(&slot->database, database);
	return false;
}

static EsSlot *
lease(Oid database)
{
	static int	next = 0;		/* so that leases are taken over by turns */
	EsSlot	   *slot = es_slot_find(InvalidOid);

	for (int i = 0; i < NSLOTS && slot == NULL; i++)
	{
		EsSlot	   *candidate = &area->slots[next++ % NSLOTS].slot;

		if (vacate(candidate))
			slot = candidate;
	}
	if (slot == NULL)
		return NULL;

	pg_atomic_write_u32(&slot->worker_state, ES_WORKER_NONE);
	pg_atomic_write_u64(&slot->retry_at, 0);
	pg_atomic_write_u64(&slot->last_position, 0);
	pg_atomic_write_u32(&slot->database, database);
	return slot;
}

/*
 * The slot of this database, leased if need be; NULL when all others are in
 * use.  The caller holds the lock.
 */
EsSlot *
es_slot_get(Oid database)
{
	mine = es_slot_find(database);
	if (mine == NULL)
		mine = lease(database);
	return mine;
}
