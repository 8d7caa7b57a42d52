-- ---------------------------------------------------------------------
-- The description of the API as nginx.conf serves it, from src/api/openapi.json.
-- PostgREST describes its own resources at its own root.
-- ---------------------------------------------------------------------

CREATE FUNCTION atlas_api.openapi() RETURNS json
    LANGUAGE sql IMMUTABLE
    RETURN $json$
@openapi.json@
$json$::json;

COMMENT ON FUNCTION atlas_api.openapi() IS
'OpenAPI 3.0 of the Events API
Describes the paths of the proxy, /v1/events and so on.';
