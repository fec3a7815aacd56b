-- outcome(statement): what a client gets from a statement: its one value, or
-- all that the error says.
CREATE FUNCTION pg_temp.outcome(statement text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	value text;
	message text;
	detail text;
	hint text;
	context text;
BEGIN
	EXECUTE statement INTO value;
	RETURN 'value: ' || coalesce(value, 'null');
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
		hint = PG_EXCEPTION_HINT, context = PG_EXCEPTION_CONTEXT;
	-- what follows is this function's own context
	context := left(context, strpos(context, 'SQL statement "' || statement) - 1);
	RETURN concat_ws(E'\n', SQLSTATE || ': ' || message,
					 'DETAIL: ' || nullif(detail, ''), 'HINT: ' || nullif(hint, ''),
					 'CONTEXT: ' || nullif(rtrim(context, E'\n'), '')) || E'\n';
END
$$;
