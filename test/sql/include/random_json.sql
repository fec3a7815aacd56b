-- random_json(depth): valid JSON, some of which jsonb can't hold.

CREATE FUNCTION pg_temp.pick(VARIADIC options text[]) RETURNS text
LANGUAGE sql VOLATILE AS $$
	SELECT options[1 + floor(random() * cardinality(options))]
$$;

CREATE FUNCTION pg_temp.random_string() RETURNS text
LANGUAGE sql VOLATILE AS $$
	SELECT '"' || coalesce(string_agg(
			CASE WHEN random() < 0.9 THEN
				pg_temp.pick('a', ' ', '1e99999', '[{', '\n', '\"', '\\', '\/', '\\u0000', '\u0041', '\u007F',
							 '\u00e9', '\u20aC', '\uffff', '\ud83d\ude00', '\uDBFF\uDFFF')
			ELSE
				pg_temp.pick('\u0000', '\ud83d', '\uDE00', '\uDBff\\ude00', '\ud83d\u0041')
			END, ''), '') || '"'
	FROM generate_series(1, floor(random() * 5)::int)
$$;

-- Around the limits of numeric, and far from them
CREATE FUNCTION pg_temp.random_number() RETURNS text
LANGUAGE sql VOLATILE AS $$
	SELECT pg_temp.pick('', '-')
		|| CASE WHEN random() < 0.9 THEN pg_temp.pick('0', '1', '42', '19', '12345', '1234567890')
		   ELSE repeat('7', pg_temp.pick('5999', '6000', '6001', '131071', '131072', '131073')::int) END
		|| CASE WHEN random() < 0.9 THEN pg_temp.pick('', '.0', '.90', '.000001')
		   ELSE '.' || repeat('7', pg_temp.pick('5999', '6000', '6001', '16382', '16383', '16384')::int) END
		|| CASE WHEN random() < 0.7 THEN pg_temp.pick('', 'e5', 'E-05', 'e+308', 'e-9999', 'e9999')
		   ELSE pg_temp.pick('e', 'E', 'e+', 'E+', 'e-', 'E-')
				|| pg_temp.pick('00001', '0000000000000000000001', '10000', '16381', '16383', '16384', '130000',
								'131070', '131071', '131072', '400000', '1073741823', '99999999999999999999') END
$$;

CREATE FUNCTION pg_temp.random_json(depth int DEFAULT 3) RETURNS text
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	space text := pg_temp.pick('', '', ' ', E'\n\t');
	kind text := pg_temp.pick('string', 'number', 'word', 'array', 'object');
	items text[] := '{}';
BEGIN
	IF kind IN ('array', 'object') AND depth > 0 THEN
		FOR i IN 1 .. floor(random() * 4) LOOP
			items := items || concat(CASE kind WHEN 'object' THEN pg_temp.random_string() || space || ':' END,
									 pg_temp.random_json(depth - 1));
		END LOOP;
	END IF;
	RETURN space || CASE kind
		WHEN 'string' THEN pg_temp.random_string()
		WHEN 'number' THEN pg_temp.random_number()
		WHEN 'word' THEN pg_temp.pick('true', 'false', 'null')
		WHEN 'array' THEN '[' || array_to_string(items, ',') || ']'
		WHEN 'object' THEN '{' || array_to_string(items, ',') || '}'
		END || space;
END
$$;

-- The SQLSTATE of a statement that is given the payload, or "accepted".
CREATE FUNCTION pg_temp.verdict(statement text, payload text) RETURNS text
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
	EXECUTE statement USING payload;
	RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END
$$;

-- What jsonb says to random payloads, and what an append says.
CREATE FUNCTION pg_temp.verdicts(how_many int)
RETURNS TABLE (payload text, jsonb text, append text)
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	appends text[] := ARRAY[
		'SELECT eventstore.append_event(''Random-1'', ''T'', $1::json)',
		'SELECT eventstore.append_event(''Random-1'', ''T'', ''0'', metadata => $1::json)',
		'SELECT eventstore.append_events(''Random-1'', format(''[{"data":%s,"event_type":"T"}]'', $1)::json)',
		'SELECT eventstore.append_events(''Random-1'', format(''[{"event_type":"T","data":0,"metadata":%s}]'', $1)::json)'];
BEGIN
	FOR i IN 1 .. how_many LOOP
		payload := pg_temp.random_json();
		CONTINUE WHEN btrim(payload, E' \n\t') = 'null';	-- in a batch: none
		PERFORM payload::json;	-- it is valid, always
		jsonb := pg_temp.verdict('SELECT $1::jsonb', payload);
		append := pg_temp.verdict(appends[1 + i % 4], payload);
		RETURN NEXT;
	END LOOP;
END
$$;
