--
-- save_checkpoint() and get_checkpoint(): the checkpoint of a follower that
-- reads on its own
--

CREATE EXTENSION eventstore;
\pset null (null)
\set SHOW_CONTEXT never

-- 0 when there is none
SELECT eventstore.get_checkpoint('report');
SELECT eventstore.save_checkpoint('report', 10);
SELECT eventstore.get_checkpoint('report');

-- It never moves backwards, and says where it is.
SELECT eventstore.save_checkpoint('report', 7);
SELECT eventstore.save_checkpoint('report', 10);
SELECT eventstore.save_checkpoint('report', 12);
SELECT eventstore.get_checkpoint('report');
SELECT eventstore.save_checkpoint('report', 9223372036854775807);
SELECT eventstore.get_checkpoint('report');

-- Followers have one each; 0 is a checkpoint, too.
SELECT eventstore.save_checkpoint('other', 0);
SELECT eventstore.save_checkpoint('Report', 3);
SELECT subscription_id, position FROM eventstore.checkpoints ORDER BY 1;

-- The time tells when it moved.
CREATE TEMP TABLE saved AS SELECT * FROM eventstore.checkpoints;
SELECT eventstore.save_checkpoint('Report', 2);
SELECT eventstore.save_checkpoint('other', 1);
SELECT s.subscription_id, c.updated_at > s.updated_at AS has_moved
FROM saved s JOIN eventstore.checkpoints c USING (subscription_id) ORDER BY 1;

-- It goes with the transaction that handles the events.
BEGIN;
SELECT eventstore.save_checkpoint('other', 100);
ROLLBACK;
SELECT eventstore.get_checkpoint('other');

-- Names are as good as any text of up to 512 bytes.
SELECT eventstore.save_checkpoint(repeat('ü', 256), 1);
SELECT eventstore.get_checkpoint(repeat('ü', 256));
SELECT eventstore.save_checkpoint(repeat('ü', 256) || '.', 1);

-- drop_subscription() forgets it.
SELECT eventstore.drop_subscription('other');
SELECT eventstore.get_checkpoint('other');
SELECT eventstore.drop_subscription('other');

-- Bad input
SELECT eventstore.save_checkpoint(NULL, 1);
SELECT eventstore.save_checkpoint('', 1);
SELECT eventstore.save_checkpoint('report', NULL);
SELECT eventstore.save_checkpoint('report', -1);
SELECT eventstore.get_checkpoint(NULL);
SELECT eventstore.get_checkpoint('');

-- A subscription keeps its own checkpoints: get_checkpoint() tells how far all
-- of it has come, and nobody else moves it.
SELECT eventstore.create_subscription('orders', after_position => 5);
SELECT eventstore.get_checkpoint('orders');
SELECT eventstore.save_checkpoint('orders', 10);
SELECT eventstore.create_subscription('report');
SELECT eventstore.get_checkpoint('orders'), eventstore.get_checkpoint('Report');

-- Nothing is written in a transaction that only reads.
BEGIN READ ONLY;
SELECT eventstore.get_checkpoint('Report');
SELECT eventstore.save_checkpoint('Report', 99);
ROLLBACK;
SELECT subscription_id, position FROM eventstore.checkpoints
WHERE octet_length(subscription_id) < 100 ORDER BY 1;

-- There are no events, so these followers are ahead.
SELECT invariant, left(detail, 60) AS detail FROM eventstore.verify() ORDER BY detail COLLATE "C";
DROP EXTENSION eventstore;
