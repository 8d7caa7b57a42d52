-- ---------------------------------------------------------------------
-- Refused requests
-- ---------------------------------------------------------------------

CREATE TABLE atlas_api_private.rejections (
    rejection_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rejected_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    tenant_id text COLLATE "C" NOT NULL,
    request_id text COLLATE "C" NOT NULL,
    role text NOT NULL,
    subject text,
    item_index int,
    status smallint NOT NULL,
    code text NOT NULL,
    message text NOT NULL,
    details text,
    hint text,
    errors jsonb,
    request text
);

CREATE INDEX rejections_tenant_idx ON atlas_api_private.rejections (tenant_id, rejection_id);

COMMENT ON TABLE atlas_api_private.rejections IS 'Events that were refused: those of the last 30 days, at most 100,000 per tenant, unless the settings of PostgREST say otherwise';
COMMENT ON COLUMN atlas_api_private.rejections.rejection_id IS 'Number of the rejection, in the order in which events were refused';
COMMENT ON COLUMN atlas_api_private.rejections.rejected_at IS 'When the event was refused';
COMMENT ON COLUMN atlas_api_private.rejections.tenant_id IS 'Tenant of the request; empty without tenants';
COMMENT ON COLUMN atlas_api_private.rejections.request_id IS 'The requestId of the answer';
COMMENT ON COLUMN atlas_api_private.rejections.role IS 'Role of the token';
COMMENT ON COLUMN atlas_api_private.rejections.subject IS 'Claim "sub" of the token';
COMMENT ON COLUMN atlas_api_private.rejections.item_index IS 'Place of the event in the batch, counted from 0; null when the request as a whole was refused';
COMMENT ON COLUMN atlas_api_private.rejections.status IS 'HTTP status';
COMMENT ON COLUMN atlas_api_private.rejections.code IS 'PT400, PT404, PT409, PT413 or PT500';
COMMENT ON COLUMN atlas_api_private.rejections.message IS 'The constant phrase that belongs to the code';
COMMENT ON COLUMN atlas_api_private.rejections.details IS 'Why the event was refused, the first 1,000 characters';
COMMENT ON COLUMN atlas_api_private.rejections.hint IS 'What the client can do about it';
COMMENT ON COLUMN atlas_api_private.rejections.errors IS 'The first ten problems of an invalid event, an array of {field, code, message}';
COMMENT ON COLUMN atlas_api_private.rejections.request IS 'The event as it was sent, the first 1,000 characters';

SELECT pg_catalog.pg_extension_config_dump('atlas_api_private.rejections', '');
SELECT pg_catalog.pg_extension_config_dump('atlas_api_private.rejections_rejection_id_seq', '');

-- Readers and submitters use the view atlas_api.rejections. A role that may read
-- every table sees the rows of its tenant in this one, as it does in the event log.
ALTER TABLE atlas_api_private.rejections ENABLE ROW LEVEL SECURITY;

DO $$
BEGIN
    EXECUTE format('CREATE POLICY atlas_tenant ON atlas_api_private.rejections FOR SELECT
        USING (tenant_id = %s.atlas_tenant())', (
        SELECT quote_ident(nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
         WHERE extname = 'atlas_events'));
END
$$;

CREATE FUNCTION atlas_api_private.rejection_age() RETURNS interval
    LANGUAGE sql STABLE
    RETURN coalesce(atlas_api_private.app_setting('rejections_max_age'), '30 days')::interval;

COMMENT ON FUNCTION atlas_api_private.rejection_age() IS 'How long refused requests are kept: app.settings.rejections_max_age of PostgREST, or 30 days when that is not set';

CREATE FUNCTION atlas_api_private.rejection_rows() RETURNS bigint
    LANGUAGE sql STABLE
    RETURN coalesce(atlas_api_private.app_setting('rejections_max_rows'), '100000')::bigint;

COMMENT ON FUNCTION atlas_api_private.rejection_rows() IS 'How many refused requests of a tenant are kept: app.settings.rejections_max_rows of PostgREST, or 100,000 when that is not set';

-- The limit of age applies to all tenants together, and the limit of rows to each
-- tenant by itself, so that no tenant can push out the rejections of another one.
-- "most" is how many rows are deleted at a time.
CREATE FUNCTION atlas_api_private.prune_rejections(tenant text, most int) RETURNS void
    LANGUAGE sql BEGIN ATOMIC
    DELETE FROM atlas_api_private.rejections
     WHERE rejection_id IN (
            SELECT rejection_id
              FROM (SELECT rejection_id, rejected_at FROM atlas_api_private.rejections
                     ORDER BY rejection_id LIMIT most FOR UPDATE SKIP LOCKED) oldest
             WHERE rejected_at < now() - atlas_api_private.rejection_age());
    DELETE FROM atlas_api_private.rejections
     WHERE rejection_id IN (
            SELECT rejection_id FROM atlas_api_private.rejections
             WHERE tenant_id = tenant
               AND rejection_id <= (
                    SELECT rejection_id FROM atlas_api_private.rejections
                     WHERE tenant_id = tenant
                     ORDER BY rejection_id DESC OFFSET atlas_api_private.rejection_rows() LIMIT 1)
             ORDER BY rejection_id LIMIT most FOR UPDATE SKIP LOCKED);
END;

COMMENT ON FUNCTION atlas_api_private.prune_rejections(text, int) IS
'Deletes rejections that are too old, and the oldest ones of a tenant that has too many: at most so many of each kind.';

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
        PERFORM atlas_api_private.prune_rejections(atlas_api_private.tenant(), greatest(200, 2 * noted));
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
