-- ---------------------------------------------------------------------
-- Privileges: PUBLIC has none. Roles belong to the server and not to this
-- database, so they are made by a call and not by this script.
-- ---------------------------------------------------------------------

CREATE FUNCTION atlas_api_private.create_role(role_name text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
    IF to_regrole(role_name) IS NULL THEN
        EXECUTE format('CREATE ROLE %I', role_name);
        RETURN true;
    END IF;
    IF (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = role_name) THEN
        RAISE EXCEPTION 'role % exists already, and is a superuser or bypasses row security', role_name
            USING ERRCODE = 'invalid_role_specification', HINT = 'Rename it; the API needs the name.';
    END IF;
    RETURN false;
END
$$;

COMMENT ON FUNCTION atlas_api_private.create_role(text) IS 'Makes a role, unless there is one of that name, and returns whether it did';

CREATE FUNCTION atlas_api_private.create_roles() RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET client_min_messages = warning AS
$$
DECLARE
    core text := (SELECT quote_ident(nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
                   WHERE extname = 'atlas_events');
BEGIN
    IF atlas_api_private.create_role('atlas_authenticator') THEN
        ALTER ROLE atlas_authenticator LOGIN NOINHERIT;
        ALTER ROLE atlas_authenticator SET statement_timeout = '30s';
        -- The parameters of the statements that PostgREST executes contain tokens.
        ALTER ROLE atlas_authenticator SET log_parameter_max_length = 0;
    END IF;
    PERFORM atlas_api_private.create_role('atlas_submitter'),
            atlas_api_private.create_role('atlas_reader'),
            atlas_api_private.create_role('atlas_admin');
    GRANT atlas_submitter, atlas_reader TO atlas_admin;
    GRANT atlas_submitter, atlas_reader, atlas_admin TO atlas_authenticator;

    GRANT USAGE ON SCHEMA atlas_api, atlas_api_private TO atlas_submitter, atlas_reader;
    GRANT USAGE ON SCHEMA atlas_api_refused TO atlas_submitter, atlas_reader;
    GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA atlas_api_refused TO atlas_submitter, atlas_reader;
    GRANT EXECUTE ON FUNCTION atlas_api_private.check_request(), atlas_api.openapi()
        TO atlas_submitter, atlas_reader;
    GRANT EXECUTE ON FUNCTION atlas_api_private.is_request(), atlas_api_private.request_id(), atlas_api_private.subject(),
        atlas_api_private.is_reader(), atlas_api_private.tenant(), atlas_api_private.built_in_types(),
        atlas_api_private.rejection_age(), atlas_api_private.rejection_rows(),
        atlas_api_private.status_message(int), atlas_api_private.set_status(int, text, text),
        atlas_api_private.header_value(text), atlas_api_private.is_client(), atlas_api_private.app_setting(text),
        atlas_api_private.error_response(int, text, text, json),
        atlas_api_private.problems_in_words(json), atlas_api_private.json_or_empty(text),
        atlas_api_private.answer_error(text, text, text, text, text)
        TO atlas_submitter, atlas_reader;
    GRANT SELECT ON atlas_api.object_types, atlas_api.rejections TO atlas_submitter, atlas_reader;

    GRANT EXECUTE ON FUNCTION
        atlas_api.submit_event(text), atlas_api.submit_event(bytea), atlas_api.submit_event(json),
        atlas_api.submit_events(text), atlas_api.submit_events(bytea), atlas_api.submit_events(json),
        atlas_api_private.cut_short(text), atlas_api_private.text_of(bytea), atlas_api_private.raise_invalid(text, text, text),
        atlas_api_private.answer_event(text, text), atlas_api_private.answer_events(text, text),
        atlas_api_private.store_event(text, text), atlas_api_private.store_events(text),
        atlas_api_private.refused_items(json, json),
        atlas_api_private.answer_batch(json, text), atlas_api_private.note_rejections(json)
        TO atlas_submitter;
    EXECUTE format('GRANT USAGE ON SCHEMA %1$s TO atlas_submitter, atlas_reader;
        GRANT EXECUTE ON FUNCTION %1$s.submit_event(text, text), %1$s.submit_events(text) TO atlas_submitter;
        GRANT EXECUTE ON FUNCTION %1$s.atlas_timeline(text, text, uuid, int, text, text, timestamptz, timestamptz),
            %1$s.atlas_search_events(text, text, text, text, timestamptz, timestamptz, uuid, int, int),
            %1$s.atlas_find_objects(text, text, text, jsonpath, int, timestamptz, timestamptz, uuid, int, int) TO atlas_reader;
        GRANT SELECT ON %1$s.atlas_event_logs, %1$s.atlas_pending_events, %1$s.atlas_events, %1$s.atlas_event_queue,
            %1$s.atlas_event_links, %1$s.atlas_event_unresolved, %1$s.atlas_rule_matches TO atlas_reader;
        GRANT EXECUTE ON FUNCTION %1$s.atlas_status(), %1$s.atlas_enable_rule(text, boolean), %1$s.atlas_drop_rule(text)
            TO atlas_admin', core);

    GRANT SELECT ON atlas_api.event_logs, atlas_api.event_logs_of_period, atlas_api.pending_events,
        atlas_api_private.pending_events TO atlas_reader;
    GRANT EXECUTE ON FUNCTION atlas_api_private.period_begin(), atlas_api_private.period_end() TO atlas_reader;
    GRANT EXECUTE ON FUNCTION atlas_api.event(uuid), atlas_api.timeline(text, text, uuid, int, text, text, text, text),
        atlas_api_private.timeline_page(text, text, uuid, int, text, text, timestamptz, timestamptz),
        atlas_api_private.timeline(text, text, uuid, int, text, text, timestamptz, timestamptz),
        atlas_api_private.event_time(text), atlas_api_private.url_encode(text),
        atlas_api_private.set_next_page(text, text, int, text[]), atlas_api_private.page_problems(int, text, text)
        TO atlas_reader;
    GRANT EXECUTE ON FUNCTION atlas_api.search(text, text, text, text, text, text, uuid, int),
        atlas_api_private.search_page(text, text, text, text, timestamptz, timestamptz, uuid, int),
        atlas_api_private.search_events(text, text, text, text, timestamptz, timestamptz, uuid, int, int),
        atlas_api.objects(text, text, text, int, text, text, uuid, int),
        atlas_api_private.objects_page(text, text, text, int, timestamptz, timestamptz, uuid, int),
        atlas_api_private.find_objects(text, text, text, int, timestamptz, timestamptz, uuid, int, int),
        atlas_api_private.max_work(), atlas_api_private.default_since(), atlas_api_private.time_in_words(timestamptz),
        atlas_api_private.end_of_event_time(uuid)
        TO atlas_reader;
    GRANT SELECT ON atlas_api.rules, atlas_api_private.rule_matches TO atlas_reader;
    GRANT EXECUTE ON FUNCTION atlas_api_private.is_admin(), atlas_api_private.iso_8601(interval),
        atlas_api_private.test_rule(text), atlas_api_private.tried_rule(text), atlas_api_private.answer_test(text, text),
        atlas_api.test_rule(bytea), atlas_api.test_rule(json),
        atlas_api_private.answer_rule_error(text, text, text, text),
        atlas_api_private.text_of(bytea), atlas_api_private.raise_invalid(text, text, text),
        atlas_api.rule_matches(text, bigint, text, text, uuid, text, text, text, int),
        atlas_api_private.rule_matches_page(text, bigint, text, text, uuid, uuid, uuid, uuid, bigint, text, int),
        atlas_api_private.canonical_type(text), atlas_api_private.match_place(text), atlas_api_private.first_event_id(text)
        TO atlas_reader;
    GRANT EXECUTE ON FUNCTION atlas_api.create_rule(bytea), atlas_api.create_rule(json),
        atlas_api_private.create_rule(text, regrole), atlas_api_private.answer_rule(text, text),
        atlas_api.change_rule(bytea), atlas_api.change_rule(text, boolean),
        atlas_api.drop_rule(bytea), atlas_api.drop_rule(text),
        atlas_api_private.switch_rule(text, boolean), atlas_api_private.remove_rule(text),
        atlas_api_private.answer_change(text, boolean), atlas_api_private.rule_of_request(), atlas_api_private.url_decode(text),
        atlas_api_private.is_enabled_of(text, text)
        TO atlas_admin;
    GRANT SELECT ON atlas_api.status TO atlas_admin;
END
$$;

COMMENT ON FUNCTION atlas_api_private.create_roles() IS
'Makes the roles of the API, where they are missing, and grants them what they need in this database. Can be called again.
PostgREST logs in as atlas_authenticator, which gets LOGIN, NOINHERIT, a statement_timeout of 30 s and log_parameter_max_length = 0, but no password. atlas_submitter submits events and sees its own rejections. atlas_reader searches, and reads timelines, logs, rules, what they matched and all rejections of its tenant, and tries rules on its events. atlas_admin may do both, makes and changes rules, and sees the state of the linking.';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA atlas_api, atlas_api_private, atlas_api_refused FROM PUBLIC;
