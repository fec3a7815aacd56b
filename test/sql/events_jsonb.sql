--
-- The view events_jsonb: the events, for those who query jsonb.
--

CREATE EXTENSION eventstore;
\getenv srcdir PG_ABS_SRCDIR

SELECT count(*) FROM eventstore.append_events('Order-1', '[
	{"event_type":"OrderPlaced", "data":{"customer":42,  "lines":[{"sku":"A-1", "price":1.50}, {"sku":"B-2", "price":20}]},
	 "metadata":{"user":"ann", "user":"bob"}, "tags":["customer:42"]},
	{"event_type":"OrderNoted", "data":{"note":"f\u00fcr \ud83d\ude00", "note":"für 😀", "customer":null}, "metadata":[]},
	{"event_type":"OrderScanned", "binary_data":"AAH/", "content_type":"image/x"}]');
SELECT count(*) FROM eventstore.append_event('Count-1', 'Counted', ' 4.20e1 ');
SELECT count(*) FROM eventstore.append_event('Count-1', 'Nothing', 'null');

-- The same events, to the last column
SELECT count(*) FROM eventstore.events e JOIN eventstore.events_jsonb j
	ON to_jsonb(e) = to_jsonb(j) AND e.binary_data IS NOT DISTINCT FROM j.binary_data;
SELECT version, data, metadata, content_type, tags FROM eventstore.events_jsonb ORDER BY global_position;

-- Containment, existence, jsonpath
SELECT version FROM eventstore.events_jsonb WHERE data @> '{"lines":[{"sku":"B-2"}]}';
SELECT version FROM eventstore.events_jsonb WHERE metadata @> '{"user":"bob"}';
SELECT version FROM eventstore.events_jsonb WHERE data ? 'note' ORDER BY 1;
SELECT version FROM eventstore.events_jsonb WHERE data ?& '{customer,lines}';
SELECT version FROM eventstore.events_jsonb WHERE data @? '$.lines[*] ? (@.price < 2)';
SELECT stream_id FROM eventstore.events_jsonb WHERE data @@ '$ == 42';
SELECT jsonb_path_query(data, '$.lines[*].price.type()') FROM eventstore.events_jsonb WHERE stream_id = 'Order-1';
SELECT l.sku, l.price FROM eventstore.events_jsonb e,
	jsonb_to_recordset(e.data->'lines') AS l (sku text, price numeric) WHERE e.event_type = 'OrderPlaced';

-- The indexes of the table serve it, those of users as well.
CREATE INDEX events_by_data ON eventstore.events USING gin ((data::jsonb) jsonb_path_ops);
SELECT count(*) FROM eventstore.append_event('Order-2', 'OrderPlaced', '{"customer":43}');
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT version FROM eventstore.events_jsonb WHERE data @> '{"customer":43}';
SELECT stream_id FROM eventstore.events_jsonb WHERE data @> '{"customer":43}';
EXPLAIN (COSTS OFF) SELECT data FROM eventstore.events_jsonb WHERE stream_id = 'Order-1' ORDER BY version;
RESET enable_seqscan;

-- The rights, and row-level security, are those of whoever asks.
CREATE ROLE regress_es_reader;
GRANT USAGE ON SCHEMA eventstore TO regress_es_reader;
GRANT SELECT ON eventstore.events_jsonb TO regress_es_reader;
SET ROLE regress_es_reader;
SELECT count(*) FROM eventstore.events_jsonb;
RESET ROLE;
SELECT eventstore.grant_reader('regress_es_reader');
SET ROLE regress_es_reader;
SELECT count(*) FROM eventstore.events_jsonb;
RESET ROLE;
BEGIN;
CREATE POLICY orders ON eventstore.events FOR SELECT USING (stream_type = 'Order');
ALTER TABLE eventstore.events ENABLE ROW LEVEL SECURITY;
SET ROLE regress_es_reader;
SELECT count(*), min(stream_type), max(stream_type) FROM eventstore.events_jsonb;
ROLLBACK;
DROP OWNED BY regress_es_reader;
DROP ROLE regress_es_reader;

-- Events are immutable here, too.
UPDATE eventstore.events_jsonb SET tags = '{}';
DELETE FROM eventstore.events_jsonb;

-- Whatever has been accepted does not stand in the way of those who read all:
-- a projection that works on sets of events comes to the end.
\set random_json :srcdir '/sql/include/random_json.sql'
\set ECHO none
\i :random_json
\set ECHO all
SELECT setseed(0.625);
SELECT append = 'accepted' AS accepted, count(*) > 100 AS many FROM pg_temp.verdicts(1000) GROUP BY 1 ORDER BY 1;
CREATE TABLE projection AS
	SELECT e.global_position, jsonb_typeof(e.data) AS data, jsonb_typeof(e.metadata) AS metadata,
		   m.key, m.value #>> '{}' AS value
	FROM eventstore.events_jsonb e
		LEFT JOIN LATERAL jsonb_each(CASE jsonb_typeof(e.data) WHEN 'object' THEN e.data END) m ON true;
SELECT count(DISTINCT global_position) = (SELECT count(*) FROM eventstore.events) AS all_events,
	   count(key) > 20 AS keys, count(DISTINCT data) AS kinds_of_data, count(DISTINCT metadata) AS of_metadata
FROM projection;
-- ... as does one that reads the json
SELECT bool_and(coalesce(data->>'a', '') || coalesce(metadata->>'a', '') IS NOT NULL) AS read,
	   count(CASE json_typeof(data) WHEN 'number' THEN (data #>> '{}')::numeric END) > 20 AS numbers
FROM eventstore.read_all(0, NULL);

DROP TABLE projection;
DROP EXTENSION eventstore;
