-- ---------------------------------------------------------------------
-- Refused requests
--
-- They are rows of atlas_rejections, a table of atlas_events, which is bound to a
-- view and a function in core.sql.
-- ---------------------------------------------------------------------

CREATE FUNCTION atlas_api_private.rejection_age() RETURNS interval
    LANGUAGE sql STABLE
    RETURN coalesce(atlas_api_private.app_setting('rejections_max_age'), '30 days')::interval;

COMMENT ON FUNCTION atlas_api_private.rejection_age() IS 'How long refused requests are kept: app.settings.rejections_max_age of PostgREST, or 30 days when that is not set';

CREATE FUNCTION atlas_api_private.rejection_rows() RETURNS bigint
    LANGUAGE sql STABLE
    RETURN coalesce(atlas_api_private.app_setting('rejections_max_rows'), '100000')::bigint;

COMMENT ON FUNCTION atlas_api_private.rejection_rows() IS 'How many refused requests of a tenant are kept: app.settings.rejections_max_rows of PostgREST, or 100,000 when that is not set';

CREATE FUNCTION atlas_api_private.note_rejections(items json) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '1s' AS
$$
DECLARE
    noted int;
BEGIN
    IF NOT atlas_api_private.is_request() THEN
        RETURN;
    END IF;

    INSERT INTO atlas_api_private.rejections
           (tenant_id, request_id, role, subject, item_index, status, code, message,
            details, hint, errors, request)
    SELECT atlas_api_private.tenant(), coalesce(atlas_api_private.request_id(), ''),
           coalesce(nullif(current_setting('role'), 'none'), session_user),
           atlas_api_private.subject(), i.index, i.status, i.code, i.message,
           left(i.details, 1000), i.hint, jsonb_path_query_array(i.errors, '$[0 to 9]'), left(i.request, 1000)
      FROM json_to_recordset(items)
           AS i (index int, status int, code text, message text, details text, hint text,
                 errors jsonb, request text);

    -- On average once in a hundred rejections, twice as many old ones are deleted.
    GET DIAGNOSTICS noted = ROW_COUNT;
    IF random() * 100 < noted THEN
        PERFORM atlas_api_private.prune_rejections(now() - atlas_api_private.rejection_age(),
            atlas_api_private.tenant(), atlas_api_private.rejection_rows(), greatest(200, 2 * noted));
    END IF;
EXCEPTION
    -- The client must be told that its event was refused even if that cannot be noted.
    WHEN OTHERS THEN
        RAISE WARNING 'could not note a rejection: %', SQLERRM
            USING ERRCODE = SQLSTATE;
END
$$;

COMMENT ON FUNCTION atlas_api_private.note_rejections(json) IS
'Writes refused events to the rejections: an array of {index, status, code, message, details, hint, errors, request}.
Does so for requests only: a session of anybody but PostgREST leaves no rejections.';
