\set position random(0, 99000)
SELECT * FROM bench.events WHERE global_position > :position ORDER BY global_position LIMIT 1000;
