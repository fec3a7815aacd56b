\set position random(0, 99000)
SELECT * FROM eventstore.read_all(:position, 1000);
