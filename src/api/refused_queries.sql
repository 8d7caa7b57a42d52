-- ---------------------------------------------------------------------
-- What a query must not do. PostgREST makes SQL of its filters, with operators
-- and types that have no schema. This schema comes first in the search_path of a
-- request, and has operators and types of the same names that refuse, however
-- the filter was written, nested or encoded. They refuse while the statement is
-- planned or begins, before any row is read; with ANY or ALL, and as an array,
-- at the first row.
-- ---------------------------------------------------------------------

CREATE SCHEMA atlas_api_refused;

COMMENT ON SCHEMA atlas_api_refused IS 'Operators and types that queries of the Events API must not use; first in the search_path of requests';

CREATE FUNCTION atlas_api_refused.refuse(details text, hint text) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE AS
$$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'PT400', MESSAGE = 'Bad Request', DETAIL = details, HINT = hint;
END
$$;

COMMENT ON FUNCTION atlas_api_refused.refuse(text, text) IS 'Raises PT400';

-- A regular expression can take as long as it likes for a single row. These
-- functions are inlined, and the planner calls refuse(), which is immutable and
-- has constant arguments.
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

-- A cast to one of these types tells which tables, functions or roles there are.
-- Each domain has an array type as well.
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
