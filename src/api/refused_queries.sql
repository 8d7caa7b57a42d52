-- ---------------------------------------------------------------------
-- What a query must not do. PostgREST turns the filters of a query into SQL, and
-- does not qualify the operators and types in it. This schema comes first in the
-- search_path of a request, and has operators and types of the same names that raise
-- an error, however the filter was written, nested or encoded. The error is raised
-- while the statement is planned or begins, before any row is read, except that an
-- operator with ANY or ALL, and an array of a type, raise it at the first row.
-- ---------------------------------------------------------------------

CREATE SCHEMA atlas_api_refused;

COMMENT ON SCHEMA atlas_api_refused IS 'Operators and types that queries of the Events API must not use; the first schema in the search_path of requests';

CREATE FUNCTION atlas_api_refused.refuse(details text, hint text) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE AS
$$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'PT400', MESSAGE = 'Bad Request', DETAIL = details, HINT = hint;
END
$$;

COMMENT ON FUNCTION atlas_api_refused.refuse(text, text) IS 'Raises PT400';

-- There is no limit to the time that a regular expression can take for a single
-- row. These functions are inlined, and the planner then calls refuse(), because it
-- is immutable and its arguments are constant.
CREATE FUNCTION atlas_api_refused.match(text, text) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    RETURN atlas_api_refused.refuse('The operators match and imatch are not taken.', 'Use eq, like or ilike.');
CREATE FUNCTION atlas_api_refused.match(name, text) RETURNS boolean
    LANGUAGE sql IMMUTABLE RETURN atlas_api_refused.match(NULL::text, NULL::text);
CREATE FUNCTION atlas_api_refused.match(bpchar, text) RETURNS boolean
    LANGUAGE sql IMMUTABLE RETURN atlas_api_refused.match(NULL::text, NULL::text);

COMMENT ON FUNCTION atlas_api_refused.match(text, text) IS 'Refuses the operators match and imatch of PostgREST';
COMMENT ON FUNCTION atlas_api_refused.match(name, text) IS 'Refuses the operators match and imatch of PostgREST';
COMMENT ON FUNCTION atlas_api_refused.match(bpchar, text) IS 'Refuses the operators match and imatch of PostgREST';

CREATE OPERATOR atlas_api_refused.~ (LEFTARG = text, RIGHTARG = text, FUNCTION = atlas_api_refused.match);
CREATE OPERATOR atlas_api_refused.~ (LEFTARG = name, RIGHTARG = text, FUNCTION = atlas_api_refused.match);
CREATE OPERATOR atlas_api_refused.~ (LEFTARG = bpchar, RIGHTARG = text, FUNCTION = atlas_api_refused.match);
CREATE OPERATOR atlas_api_refused.~* (LEFTARG = text, RIGHTARG = text, FUNCTION = atlas_api_refused.match);
CREATE OPERATOR atlas_api_refused.~* (LEFTARG = name, RIGHTARG = text, FUNCTION = atlas_api_refused.match);
CREATE OPERATOR atlas_api_refused.~* (LEFTARG = bpchar, RIGHTARG = text, FUNCTION = atlas_api_refused.match);

-- A cast to one of these types would tell which tables, functions or roles exist.
-- Each of these domains has an array type as well.
DO $$
DECLARE
    this record;
BEGIN
    FOR this IN
        SELECT typname FROM pg_type
         WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype = 'b' AND (typname ~ '^reg' OR typname = 'aclitem')
    LOOP
        EXECUTE format('CREATE DOMAIN atlas_api_refused.%1$I AS text CHECK (atlas_api_refused.refuse(
            ''Values are not cast to names of objects and roles of the database.'', ''Leave the cast out.''))',
            this.typname);
        EXECUTE format('COMMENT ON DOMAIN atlas_api_refused.%I IS ''Refuses casts to the type of the same name''',
            this.typname);
    END LOOP;
END
$$;
