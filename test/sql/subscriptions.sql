--
-- Subscriptions: what they consist of, and how their events are handed out
--

CREATE EXTENSION eventstore;
\pset null (null)
\set SHOW_CONTEXT never
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/sql/include/subscriptions.sql'
\i :include

SELECT eventstore.append_event('Order-1', 'Placed', '1') IS NOT NULL AS appended;
SELECT eventstore.append_event('Invoice-1', 'Sent', '2') IS NOT NULL AS appended;
SELECT eventstore.append_event('Order-2', 'Placed', '3') IS NOT NULL AS appended;
SELECT eventstore.append_event('Order-1', 'Paid', '4') IS NOT NULL AS appended;
SELECT eventstore.append_event('Customer-1', 'Placed', '5', stream_type => 'Person') IS NOT NULL AS appended;

--
-- Making one
--
SELECT eventstore.create_subscription('all');
SELECT eventstore.create_subscription('all');
SELECT eventstore.create_subscription('ALL', '{}', '{}', 3, 3, 5);
SELECT subscription_id, stream_types, event_types, partitions, max_attempts, revision
FROM eventstore.subscriptions ORDER BY 1;
SELECT subscription_id, partition, revision, checkpoint, scanned_to, fetched_to, tried_to, attempts, consumer
FROM eventstore.subscription_partitions ORDER BY 1, 2;

--
-- A batch has all columns of the events, in the order of positions.
--
SELECT partition, attempt, global_position, version, stream_id, stream_type, event_type, data
FROM eventstore.fetch_events('all', 'c1');
SELECT subscription, partition, checkpoint, scanned_to, lag, oldest_pending > '0' AS is_pending,
	   consumer, lease_until > now() AS is_leased, waiting_streams, parked
FROM eventstore.subscription_status ORDER BY subscription COLLATE "C", partition;

-- Acknowledged: that is all.
SELECT eventstore.ack_events('all', 'c1', 0, 5);
SELECT pg_temp.fetched('all', 'c1');
SELECT checkpoint, scanned_to, lag, oldest_pending, consumer, lease_until
FROM eventstore.subscription_status WHERE subscription = 'all';
SELECT eventstore.get_checkpoint('all');

-- What comes later is handed out later.
SELECT pg_temp.appended('Order-1', 'Order-3');
SELECT pg_temp.fetched('all', 'c2');

-- A partial acknowledgement: the partition stays the consumer's.
SELECT eventstore.ack_events('all', 'c2', 0, 6);
SELECT pg_temp.fetched('all', 'c1');
SELECT checkpoint, scanned_to, consumer FROM eventstore.subscription_status WHERE subscription = 'all';
-- ... again, and one that is behind: no harm
SELECT eventstore.ack_events('all', 'c2', 0, 6);
SELECT eventstore.ack_events('all', 'c2', 0, 3);
SELECT eventstore.ack_events('all', 'c2', 0, 0);
SELECT eventstore.get_checkpoint('all');
SELECT eventstore.ack_events('all', 'c2', 0, 7);
SELECT eventstore.get_checkpoint('all');

--
-- max_count
--
SELECT eventstore.create_subscription('few');
SELECT pg_temp.fetched('few', 'c', 1);
SELECT eventstore.ack_events('few', 'c', 0, 1);
SELECT pg_temp.fetched('few', 'c', 3);
SELECT eventstore.ack_events('few', 'c', 0, 4);
SELECT pg_temp.fetched('few', 'c', 2147483647);
SELECT eventstore.ack_events('few', 'c', 0, 7);

-- A consumer that comes back without an answer gets the events again, one by
-- one; a count tells how many times.
SELECT eventstore.create_subscription('again');
SELECT pg_temp.fetched('again', 'c', 3);
SELECT pg_temp.fetched('again', 'c', 3);
SELECT pg_temp.fetched('again', 'c', 3);
SELECT eventstore.ack_events('again', 'c', 0, 1);
SELECT pg_temp.fetched('again', 'c', 3);
SELECT eventstore.ack_events('again', 'c', 0, 2);
SELECT pg_temp.fetched('again', 'c', 3);
SELECT eventstore.ack_events('again', 'c', 0, 3);
-- these were never tried
SELECT pg_temp.fetched('again', 'c', 3);
SELECT eventstore.ack_events('again', 'c', 0, 6);

-- Another one gets nothing while the lease lasts, and then the same.
SELECT pg_temp.fetched('again', 'c', 3);
SELECT pg_temp.fetched('again', 'd', 3);
SELECT pg_temp.lost('again');
SELECT pg_temp.fetched('again', 'd', 3);
SELECT eventstore.ack_events('again', 'd', 0, 7);

-- A fetch that is rolled back was none.
SELECT pg_temp.appended('Order-9');
BEGIN;
SELECT pg_temp.fetched('again', 'c');
SAVEPOINT s;
SELECT eventstore.ack_events('again', 'c', 0, 8);
ROLLBACK TO s;
SELECT eventstore.get_checkpoint('again');
ROLLBACK;
SELECT pg_temp.fetched('again', 'd');
SELECT eventstore.ack_events('again', 'd', 0, 8);

-- One's own events are handed out, too, and go with the transaction.
BEGIN;
SELECT pg_temp.appended('Order-9');
SELECT pg_temp.fetched('again', 'c');
SELECT eventstore.ack_events('again', 'c', 0, 9);
ROLLBACK;
SELECT pg_temp.fetched('again', 'c'), eventstore.get_checkpoint('again');
SELECT pg_temp.appended('Order-9');
SELECT pg_temp.fetched('again', 'c');
SELECT eventstore.ack_events('again', 'c', 0, 10);

--
-- Filters
--
SELECT eventstore.create_subscription('orders', '{Order}');
SELECT pg_temp.fetched('orders', 'c');
SELECT eventstore.create_subscription('placed', event_types => '{Placed}');
SELECT pg_temp.fetched('placed', 'c');
SELECT eventstore.create_subscription('placed_orders', '{Order}', '{Placed,Paid}');
SELECT pg_temp.fetched('placed_orders', 'c');
SELECT eventstore.create_subscription('merged', '{Person,Invoice,Order,Order,Nothing}');
SELECT pg_temp.fetched('merged', 'c');
SELECT eventstore.create_subscription('nothing', '{Nothing}');
SELECT eventstore.create_subscription('never', event_types => '{Never}');
SELECT pg_temp.fetched('nothing', 'c'), pg_temp.fetched('never', 'c');
-- Names are compared byte by byte.
SELECT eventstore.create_subscription('case', '{order,ORDER,"Order "}', '{placed}');
SELECT pg_temp.fetched('case', 'c');

-- All are at the end once they are answered for, also where nothing matches,
-- and what they don't want moves them on.
SELECT eventstore.ack_events('orders', 'c', 0, 10), eventstore.ack_events('placed', 'c', 0, 5),
	   eventstore.ack_events('placed_orders', 'c', 0, 4), eventstore.ack_events('merged', 'c', 0, 10);
SELECT subscription, checkpoint, scanned_to, lag, oldest_pending, consumer
FROM eventstore.subscription_status
WHERE subscription IN ('orders', 'placed', 'placed_orders', 'merged', 'nothing', 'never', 'case')
ORDER BY subscription COLLATE "C";
SELECT pg_temp.appended('Other-1');
SELECT pg_temp.fetched(s, 'c') FROM unnest('{orders,placed,placed_orders,merged,nothing,never,case}'::text[]) s;
SELECT subscription, checkpoint FROM eventstore.subscription_status
WHERE checkpoint < 11 ORDER BY subscription COLLATE "C", partition;

--
-- Changing one: null leaves as it is, {} takes all
--
SELECT eventstore.alter_subscription('placed_orders');
SELECT stream_types, event_types, partitions, max_attempts, revision
FROM eventstore.subscriptions WHERE subscription_id = 'placed_orders';
SELECT eventstore.alter_subscription('placed_orders', event_types => '{}', max_attempts => 3);
SELECT stream_types, event_types, partitions, max_attempts, revision
FROM eventstore.subscriptions WHERE subscription_id = 'placed_orders';
SELECT eventstore.alter_subscription('placed_orders', stream_types => '{Order,Invoice}');
SELECT pg_temp.appended('Order-5', 'Invoice-5', 'Person-5');
SELECT pg_temp.fetched('placed_orders', 'c');

-- Who holds a partition when the subscription is changed has lost it.
SELECT eventstore.alter_subscription('placed_orders', event_types => '{Placed}');
SELECT eventstore.ack_events('placed_orders', 'c', 0, 13);
SELECT pg_temp.fetched('placed_orders', 'c');
SELECT checkpoint, consumer FROM eventstore.subscription_status WHERE subscription = 'placed_orders';

-- From a position, backwards or forwards
SELECT eventstore.alter_subscription('placed_orders', '{}', '{}', after_position => 2);
SELECT pg_temp.fetched('placed_orders', 'c');
SELECT eventstore.alter_subscription('placed_orders', after_position => 13);
SELECT pg_temp.fetched('placed_orders', 'c');
SELECT eventstore.alter_subscription('placed_orders', after_position => 9223372036854775807);
SELECT pg_temp.fetched('placed_orders', 'c');
SELECT checkpoint, scanned_to, lag, oldest_pending FROM eventstore.subscription_status
WHERE subscription = 'placed_orders';
SELECT eventstore.alter_subscription('placed_orders', after_position => 0);
SELECT pg_temp.fetched('placed_orders', 'c');

--
-- Dropping one: all of it is gone, and the name is free.
--
SELECT eventstore.drop_subscription('placed_orders');
SELECT eventstore.ack_events('placed_orders', 'c', 0, 1);
SELECT eventstore.get_checkpoint('placed_orders');
SELECT eventstore.create_subscription('placed_orders', after_position => 13);
SELECT eventstore.ack_events('placed_orders', 'c', 0, 13);
SELECT pg_temp.fetched('placed_orders', 'c');
SELECT eventstore.alter_subscription('ALL', partitions => 1, max_attempts => 1);
SELECT pg_temp.fetched('ALL', 'c');
SELECT eventstore.nack_event('ALL', 'c', 0, 4, 'no'), eventstore.ack_events('ALL', 'c', 0, 4);
SELECT eventstore.alter_subscription('ALL', partitions => 2, max_attempts => 2);
SELECT eventstore.nack_event('ALL', 'c', f.partition, f.global_position, 'no') FROM eventstore.fetch_events('ALL', 'c') f;
SELECT eventstore.ack_events('ALL', 'c', partition, scanned_to) FROM eventstore.subscription_status WHERE subscription = 'ALL' AND consumer = 'c';
SELECT eventstore.alter_subscription('ALL', partitions => 3);
SELECT (SELECT count(*) > 0 FROM eventstore.subscription_streams), (SELECT count(*) FROM eventstore.subscription_parked),
	   (SELECT count(*) FROM eventstore.subscription_layouts);
SELECT eventstore.drop_subscription(subscription_id) FROM eventstore.subscriptions;
SELECT (SELECT count(*) FROM eventstore.subscription_partitions), (SELECT count(*) FROM eventstore.subscription_streams),
	   (SELECT count(*) FROM eventstore.subscription_parked), (SELECT count(*) FROM eventstore.subscription_layouts),
	   (SELECT count(*) FROM eventstore.subscription_status);

--
-- Large and odd payloads come out as they went in.
--
SELECT eventstore.create_subscription('odd', '{Odd}');
SELECT eventstore.append_event('Odd-1', 'T', json_build_object('a', repeat('0123456789', 10000)),
	metadata => '{"m":  1}', tags => '{x,y}', schema_version => 7) IS NOT NULL AS appended;
SELECT eventstore.append_event('Odd-1', 'T', binary_data => decode(repeat('00ff', 50000), 'hex'),
	content_type => 'a/b') IS NOT NULL AS appended;
SELECT f.version, f.created_at = e.created_at AND f.event_id = e.event_id AS same,
	   f.data::text = e.data::text AS same_data, f.binary_data = e.binary_data AS same_binary,
	   f.content_type, f.metadata, f.tags, f.schema_version, f.correlation_id, f.causation_id
FROM eventstore.fetch_events('odd', 'c') f JOIN eventstore.events e USING (global_position) ORDER BY 1;
SELECT eventstore.ack_events('odd', 'c', 0, max(global_position)) FROM eventstore.events;

-- Names that an index entry has no room for as such, stored compressed
SELECT eventstore.create_subscription('long', ARRAY[repeat('t', 2000)], ARRAY[repeat('e', 2000)]);
SELECT eventstore.append_event(repeat('s', 2000), repeat('e', 2000), '1', stream_type => repeat('t', 2000)) IS NOT NULL AS appended;
SELECT eventstore.append_event(repeat('s', 2000), repeat('f', 2000), '1') IS NOT NULL AS appended;
SELECT length(stream_id), length(stream_type), length(event_type) FROM eventstore.fetch_events('long', 'c');
SELECT eventstore.nack_event('long', 'c', 0, (SELECT max(global_position) - 1 FROM eventstore.events), 'no', '0');
SELECT eventstore.ack_events('long', 'c', 0, (SELECT max(global_position) - 1 FROM eventstore.events));
SELECT attempt, length(stream_id) FROM eventstore.fetch_events('long', 'c');

SELECT * FROM eventstore.verify();
DROP EXTENSION eventstore;
