/*-------------------------------------------------------------------------
 *
 * replica.c
 *	  Logical replicas: stores whose events arrive by a subscription.
 *
 * An apply worker inserts events in the order of their commits, outside the
 * append gate, so nothing that walk.c goes by tells what is still to come
 * at a position.  There, settled is what lies at or below the replicated
 * watermark, and nothing else: the publisher wrote that row in a transaction
 * that saw everything up to it committed, and so everything up to it was
 * committed, is decoded and applied before the row is.
 *
 * That holds where one apply worker brings both tables.  Their initial copies
 * come from workers of their own, and the watermark's can be there first.  So
 * the watermark counts only when the same subscription brings both tables and
 * both are ready, that is, handed over to its apply worker.  All of this is
 * read under the reader's own snapshot: one that was taken between the two
 * copies sees the watermark without the events for as long as it lives.
 * watermark_writer.c has what becomes of a watermark when it arrives.
 *
 * Once the subscription is gone, the row of the watermark still tells that the
 * events came from elsewhere.  They may go on arriving when the subscription is
 * created again, and what is appended meanwhile would get positions in between.
 * So such a store neither is followed nor takes events, until
 * continue_positions() declares that it goes on by itself.  The same goes for a
 * store with positions above the last one that was handed out here, since its
 * sequence was moved back, or the events were put in by hand: followers may have
 * passed what it would hand out.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/skey.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_subscription.h"
#include "catalog/pg_subscription_rel.h"
#include "commands/sequence.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "eventstore.h"
#include "order/position_index.h"
#include "order/replica.h"
#include "order/snapshot_mark.h"
#include "order/watermark.h"
#include "store/as_owner.h"
#include "store/catalog.h"

PG_FUNCTION_INFO_V1(eventstore_continue_positions);

/* How a table's rows arrive, if they do. */
typedef struct Arrival
{
	int			nsubscriptions;
	Oid			subscription;	/* one of them */
	bool		is_ready;		/* is its apply worker in charge? */
} Arrival;

/* The store that was found to take appends, until subscriptions change. */
static Oid	appendable_events = InvalidOid;
static uint64 subscription_changes = 0;

/*
 * The store that was found to be no replica, under which snapshot, and a
 * position up to which all were handed out here; until subscriptions change.
 */
static Oid	independent_events = InvalidOid;
static EsSnapshotMark independent_since;
static int64 known_own_position = 0;

/* ---- subscriptions ---- */

/*
 * Is the subscription one of this database, for a snapshot or, with NULL, now?  A
 * database that was made of another one has the entries of that one's.
 */
static bool
is_ours(Oid subscription, Snapshot snapshot)
{
	Relation	subscriptions = table_open(SubscriptionRelationId, AccessShareLock);
	bool		is_ours = false;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_subscription_oid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(subscription));
	scan = systable_beginscan(subscriptions, SubscriptionObjectIndexId, true, snapshot, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		is_ours = ((Form_pg_subscription) GETSTRUCT(tuple))->subdbid == MyDatabaseId;
	systable_endscan(scan);
	table_close(subscriptions, AccessShareLock);
	return is_ours;
}

/*
 * Look up how a table's rows arrive, for a snapshot or, with NULL, now.
 */
static Arrival
look_up_arrival(Relation subscription_rel, Oid table, Snapshot snapshot)
{
	Arrival		arrival = {0};
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_subscription_rel_srrelid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(table));
	scan = systable_beginscan(subscription_rel, SubscriptionRelSrrelidSrsubidIndexId,
							  true, snapshot, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_subscription_rel form = (Form_pg_subscription_rel) GETSTRUCT(tuple);

		if (!is_ours(form->srsubid, snapshot))
			continue;
		arrival.nsubscriptions++;
		arrival.subscription = form->srsubid;
		arrival.is_ready = form->srsubstate == SUBREL_STATE_READY;
	}
	systable_endscan(scan);
	return arrival;
}

static void
forget_subscriptions(Datum arg, int cacheid, uint32 hashvalue)
{
	subscription_changes++;
	appendable_events = independent_events = InvalidOid;
	known_own_position = 0;
}

/*
 * Counts the changes of subscriptions, from the first call in the session on.
 */
uint64
es_replica_subscription_changes(void)
{
	static bool is_watching = false;

	if (!is_watching)
		CacheRegisterSyscacheCallback(SUBSCRIPTIONRELMAP, forget_subscriptions, (Datum) 0);
	is_watching = true;
	return subscription_changes;
}

/*
 * Is some subscription in place that brings events or the watermark?  The tables
 * need not be as they were made.
 */
bool
es_replica_is_subscribed(void)
{
	static const char *const names[] = {ES_EVENTS, "watermark"};
	Oid			schema = get_namespace_oid(ES_SCHEMA, true);
	Relation	subscription_rel = table_open(SubscriptionRelRelationId, AccessShareLock);
	int			nsubscriptions = 0;

	for (int i = 0; OidIsValid(schema) && i < lengthof(names); i++)
	{
		Oid			table = get_relname_relid(names[i], schema);

		if (OidIsValid(table))
			nsubscriptions += look_up_arrival(subscription_rel, table, NULL).nsubscriptions;
	}
	table_close(subscription_rel, AccessShareLock);
	return nsubscriptions > 0;
}

/*
 * Do the events come from another store, or did they until its subscription was
 * dropped?
 */
bool
es_replica_is_one(void)
{
	EsWatermark watermark;

	es_watermark_get_now(&watermark);
	return watermark.is_replica || es_replica_is_subscribed();
}

/*
 * Is the apply worker of the subscription in charge of the events?
 */
bool
es_replica_events_are_ready(Oid subscription)
{
	Relation	subscription_rel = table_open(SubscriptionRelRelationId, AccessShareLock);
	Arrival		events = look_up_arrival(subscription_rel, es_catalog_get()->events, NULL);

	table_close(subscription_rel, AccessShareLock);
	return events.nsubscriptions == 1 && events.subscription == subscription && events.is_ready;
}

/* ---- followers ---- */

static void
check_arrivals(const Arrival *events, const Arrival *watermark)
{
	if (watermark->nsubscriptions == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the global order cannot be followed on this logical replica"),
				 errdetail("The subscription that brings \"eventstore.events\" does not bring \"eventstore.watermark\", which tells up to where no event is missing."),
				 errhint("Add the table eventstore.watermark to the publication, and refresh the subscription.")));

	if (events->nsubscriptions > 1 || watermark->nsubscriptions > 1 ||
		events->subscription != watermark->subscription)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the global order cannot be followed on this logical replica"),
				 errdetail("\"eventstore.events\" and \"eventstore.watermark\" arrive by several subscriptions, so in no common order."),
				 errhint("Bring both tables by one subscription.")));
}

/*
 * Was the store found to be no replica, under an earlier snapshot?
 */
static bool
is_independent(Relation events, Snapshot snapshot)
{
	return independent_events == RelationGetRelid(events) &&
		es_snapshot_mark_precedes(&independent_since, snapshot);
}

/*
 * The store is no replica, as the snapshot sees it.
 */
static void
note_independence(Relation events, Snapshot snapshot)
{
	if (snapshot->takenDuringRecovery)
		return;
	if (independent_events != RelationGetRelid(events))
		known_own_position = 0;
	es_snapshot_mark_set(&independent_since, snapshot);
	independent_events = RelationGetRelid(events);
}

/*
 * A store whose events came by a subscription that is no longer there.
 */
static void
report_former_replica(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the event store is a logical replica without a subscription"),
			 errdetail("Its events came from another store, and may go on to arrive."),
			 errhint("To go on as a replica, create the subscription again with the slot that it had (create_slot = off, copy_data = off); without that slot, create the extension anew and have everything copied. To go on as a store of its own, once the publisher takes no more events, call eventstore.continue_positions().")));
}

/*
 * The position up to which all is settled on a replica that is ready.
 */
static int64
bound_of(const EsWatermark *watermark, Relation events, Snapshot snapshot)
{
	if (!watermark->exists)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the global order cannot be followed on this logical replica"),
				 errdetail("\"eventstore.watermark\" has no row here that the publisher's could change."),
				 errhint("Call eventstore.advance_watermark() here.")));

	if (watermark->published_position == ES_NO_WATERMARK && watermark->settled_position == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the global order cannot be followed on this logical replica yet"),
				 errdetail("No watermark has arrived, which tells up to where no event is missing."),
				 errhint("Append an event at the publisher, and have its background worker or eventstore.advance_watermark() advance the watermark there.")));

	return es_watermark_arrived(watermark, events, snapshot);
}

/*
 * Is this a logical replica as the snapshot sees it?  If so, "bound" is the
 * position up to which all is settled: 0 while the initial copy is under way;
 * and "is_held" tells that more is there than the watermark says.
 */
bool
es_replica_get_bound(Relation events, Snapshot snapshot, int64 *bound, bool *is_held)
{
	Relation	subscription_rel;
	Arrival		of_events;
	Arrival		of_watermark = {0};
	EsWatermark watermark;
	uint64		changes_before;

	/* A transaction that holds its locks already would not be told. */
	AcceptInvalidationMessages();
	if (is_independent(events, snapshot))
		return false;

	changes_before = es_replica_subscription_changes();
	subscription_rel = table_open(SubscriptionRelRelationId, AccessShareLock);
	of_events = look_up_arrival(subscription_rel, RelationGetRelid(events), snapshot);
	if (of_events.nsubscriptions > 0)
		of_watermark = look_up_arrival(subscription_rel, es_catalog_get()->watermark, snapshot);
	table_close(subscription_rel, AccessShareLock);
	es_watermark_get(&watermark, snapshot);
	if (of_events.nsubscriptions == 0)
	{
		if (watermark.is_replica)
			report_former_replica();
		/* a later snapshot may see a subscription that this one does not */
		if (subscription_changes == changes_before && !watermark.is_own && !es_replica_is_one())
			note_independence(events, snapshot);
		return false;
	}

	check_arrivals(&of_events, &of_watermark);
	*is_held = es_watermark_is_held(&watermark);
	*bound = 0;
	if (of_events.is_ready && of_watermark.is_ready)
		*bound = bound_of(&watermark, events, snapshot);
	return true;
}

/* ---- positions of another store ---- */

/*
 * The last position that was handed out here, or one somewhat above.
 */
static int64
last_own_position(void)
{
	Relation	sequence = relation_open(es_catalog_get()->position_sequence, AccessShareLock);
	Buffer		buffer = ReadBuffer(sequence, 0);
	Page		page;
	HeapTupleHeader tuple;
	Form_pg_sequence_data form;
	int64		position;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	page = BufferGetPage(buffer);
	tuple = (HeapTupleHeader) PageGetItem(page, PageGetItemId(page, FirstOffsetNumber));
	form = (Form_pg_sequence_data) ((char *) tuple + tuple->t_hoff);
	position = form->is_called ? form->last_value : form->last_value - 1;
	UnlockReleaseBuffer(buffer);
	relation_close(sequence, AccessShareLock);
	return position;
}

static void
report_positions_above(int64 position, int64 last_own)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the sequence of global positions is behind the events"),
			 errdetail("Position %lld is above the last one that was handed out here, %lld: the sequence was moved back, or the events were put in by hand.",
					   (long long) position, (long long) last_own),
			 errhint("To go on above them, call eventstore.continue_positions().")));
}

/*
 * Refuse to take a position for settled in a store whose positions go up to
 * it and were not all handed out here.  The position must have been seen
 * before this is called.
 */
void
es_replica_check_own(int64 position)
{
	int64		last_own;

	if (position <= known_own_position)
		return;
	last_own = last_own_position();
	if (position > last_own)
		report_positions_above(position, last_own);
	known_own_position = last_own;
}

/* ---- appenders ---- */

/*
 * Refuse to append to a logical replica, or to what was one.  It is looked up
 * once in a session, and again whenever a subscription has changed; but what
 * this transaction itself has declared may be rolled back.
 */
void
es_replica_check_append(Relation events)
{
	uint64		changes_before;
	EsWatermark watermark;

	AcceptInvalidationMessages();
	if (appendable_events == RelationGetRelid(events))
		return;

	changes_before = es_replica_subscription_changes();
	known_own_position = 0;
	if (es_replica_is_subscribed())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("events cannot be appended to a logical replica"),
				 errdetail("A subscription brings the events of another store here, and the positions are handed out there."),
				 errhint("Append at the publisher; or, once it takes no more events and all have arrived, drop the subscription here and call eventstore.continue_positions().")));
	es_watermark_get_now(&watermark);
	if (watermark.is_replica)
		report_former_replica();
	es_replica_check_own(es_position_last(events));

	if (subscription_changes == changes_before && !watermark.is_own)
		appendable_events = RelationGetRelid(events);
}

/*
 * Refuse to append at position "next" in a store where "last_taken" was in the
 * position index before "next" was taken: positions are handed out upwards,
 * and followers may have passed by there.
 */
void
es_replica_check_next(int64 last_taken, int64 next)
{
	if (next > last_taken)
		return;
	appendable_events = InvalidOid; /* don't use up more of the sequence */
	report_positions_above(last_taken, next - 1);
}

/* ---- switch-over ---- */

static void
check_may_continue(Oid sequence)
{
	if (pg_class_aclcheck(sequence, GetUserId(), ACL_UPDATE) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to continue the positions of the event store"),
				 errdetail("It needs the UPDATE privilege on \"eventstore.events_global_position_seq\"."),
				 errhint("Call it as the owner of the event store.")));
}

static void
check_can_continue(void)
{
	if (es_replica_is_subscribed())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("a subscription brings events to this store"),
				 errdetail("Positions are handed out at its publisher, and must not be handed out twice."),
				 errhint("Stop appending at the publisher, let the last events arrive, and drop the subscription first.")));
}

static int64
above_argument(FunctionCallInfo fcinfo)
{
	int64		above = PG_ARGISNULL(0) ? 0 : PG_GETARG_INT64(0);

	if (above < 0 || above >= PG_INT64_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("above_position is out of range"),
				 errdetail("It is %lld.", (long long) above),
				 errhint("Pass a position that the publisher has handed out, or leave it out.")));
	return above;
}

/*
 * Take back, in this transaction, what the watermark says of a publisher.
 */
static void
become_independent(void)
{
	static EsStatement forget_publisher = {
		.text = "UPDATE eventstore.watermark"
		" SET is_replica = false, published_position = NULL, published_events = NULL,"
		"	published_checksum = NULL"
	};
	EsAsOwner	previous;

	es_as_owner_begin(&previous);
	es_as_owner_run(&forget_publisher, NULL, NULL);
	es_as_owner_end(&previous);
}

/*
 * continue_positions(above_position bigint) returns bigint
 *
 * Let a store that was a logical replica hand out positions, above all that
 * have arrived and above the one given.  Returns the position that the next
 * ones will be above of.  If the transaction is rolled back, the store stays a
 * replica.
 *
 * The lock waits for whoever is writing events, as apply workers and
 * appenders do until their transactions end, and keeps others out.
 */
Datum
eventstore_continue_positions(PG_FUNCTION_ARGS)
{
	int64		above = above_argument(fcinfo);
	Oid			sequence = es_catalog_get()->position_sequence;
	Relation	events;
	int64		last_own;
	EsWatermark watermark;

	PreventCommandIfReadOnly("continue_positions()");
	check_may_continue(sequence);
	events = es_catalog_open_events_for_writing(ExclusiveLock);
	check_can_continue();

	last_own = last_own_position();
	es_watermark_get_now(&watermark);
	above = Max(above, Max(watermark.settled_position, watermark.published_position));
	above = Max(above, es_position_last(events));

	if (above > last_own)
		DirectFunctionCall2(setval_oid, ObjectIdGetDatum(sequence), Int64GetDatum(above));
	if (watermark.is_replica)
		become_independent();
	table_close(events, NoLock);
	PG_RETURN_INT64(Max(above, last_own));
}
