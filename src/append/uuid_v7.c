/*-------------------------------------------------------------------------
 *
 * uuid_v7.c
 *	  Time-ordered event ids, for callers that bring none.
 *
 * RFC 9562, section 5.7, with "replaced leftmost random bits with increased
 * clock precision" (section 6.2, method 3): 48 bits of Unix time in
 * milliseconds, 12 bits of the fraction of that millisecond, 62 random bits.
 * Ids made by one session strictly increase, so that entries go to the right
 * edge of the event-id index.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/uuid.h"
#include <time.h>

#include "append/uuid_v7.h"

#define NS_PER_MS INT64CONST(1000000)

/* The fraction has 12 bits, so two ids are this many nanoseconds apart. */
#define MIN_STEP_NS (NS_PER_MS / (1 << 12) + 1)

/*
 * Nanoseconds since the Unix epoch, later than at every earlier call of this
 * session by at least what the id's timestamp can tell apart.
 */
static int64
next_timestamp_ns(void)
{
	static int64 previous = 0;
	struct timespec now;
	int64		ns;

	clock_gettime(CLOCK_REALTIME, &now);
	ns = (int64) now.tv_sec * 1000 * NS_PER_MS + now.tv_nsec;
	previous = Max(ns, previous + MIN_STEP_NS);
	return previous;
}

/*
 * Random bytes cost a system call each time, so they are drawn in advance.
 */
static void
take_random_bytes(uint8 *bytes, int nbytes)
{
	static uint8 pool[1024];
	static int	remaining = 0;

	if (remaining < nbytes)
	{
		if (!pg_strong_random(pool, sizeof(pool)))
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg("could not generate random values"),
					 errdetail("The system's source of random bytes failed."),
					 errhint("Pass event ids of your own.")));
		remaining = sizeof(pool);
	}
	remaining -= nbytes;
	memcpy(bytes, pool + remaining, nbytes);
}

/*
 * Make a version 7 UUID, greater than all that this session made before.
 */
void
es_uuid_v7_generate(pg_uuid_t *uuid)
{
	int64		ns = next_timestamp_ns();
	uint64		ms = ns / NS_PER_MS;
	uint32		fraction = ((ns % NS_PER_MS) << 12) / NS_PER_MS;

	for (int i = 0; i < 6; i++)
		uuid->data[i] = (uint8) (ms >> (40 - 8 * i));
	uuid->data[6] = 0x70 | (uint8) (fraction >> 8);
	uuid->data[7] = (uint8) fraction;
	take_random_bytes(&uuid->data[8], 8);
	uuid->data[8] = (uuid->data[8] & 0x3f) | 0x80;
}

PG_FUNCTION_INFO_V1(eventstore_uuid_v7);

Datum
eventstore_uuid_v7(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *uuid = palloc(sizeof(pg_uuid_t));

	es_uuid_v7_generate(uuid);
	PG_RETURN_UUID_P(uuid);
}
