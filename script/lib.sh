# shellcheck shell=bash
#
# script/lib.sh - what the scripts of this folder have in common: finding
# PostgreSQL, becoming root or the server's account, and throw-away clusters.
# To be sourced, not run.

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
TMP=
DEFAULT_MAJOR=15
# shellcheck disable=SC2034  # for those who source this
DEBIAN_KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

# Settings of the caller must not reach the servers and clients started here.
for variable in "${!PG@}"; do
    [[ $variable == PG_CONFIG ]] || unset "$variable"
done
unset variable MAKEFLAGS MAKELEVEL CDPATH
export LANG=C.UTF-8 LC_ALL=C.UTF-8 PGCLIENTENCODING=UTF8

headline() {
    printf '\n== %s\n\n' "$*"
}

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

have() {
    command -v "$1" >/dev/null 2>&1
}

is_root() {
    [[ $EUID -eq 0 ]]
}

as_root() {
    if is_root; then
        "$@"
    elif have sudo; then
        sudo "$@"
    else
        die "needs root for: $*"
    fi
}

# Is this the pg_config of a server that an extension can be built for?
is_complete() {
    local pgxs bindir
    pgxs=$("$1" --pgxs 2>/dev/null) && bindir=$("$1" --bindir) || return 1
    [[ -f $pgxs && -x $bindir/postgres && -f $("$1" --includedir-server)/postgres.h ]]
}

# Sets PG_CONFIG: the caller's, else that of PostgreSQL 15, else the one in
# PATH. Fails when there is none.
find_pg_config() {
    local debian=/usr/lib/postgresql/$DEFAULT_MAJOR/bin/pg_config
    if [[ -n ${PG_CONFIG:-} ]]; then
        have "$PG_CONFIG" || die "PG_CONFIG names no program: $PG_CONFIG"
        PG_CONFIG=$(command -v "$PG_CONFIG")
    elif [[ -x $debian ]]; then
        PG_CONFIG=$debian
    elif have pg_config && is_complete pg_config; then
        PG_CONFIG=$(command -v pg_config)
    else
        return 1
    fi
    export PG_CONFIG
}

pg_major() {
    "$PG_CONFIG" --version | sed -E 's/^PostgreSQL ([0-9]+).*/\1/'
}

# Settles which PostgreSQL is used, once everything is installed.
use_postgresql() {
    find_pg_config || die "found no PostgreSQL to build for"
    is_complete "$PG_CONFIG" || die "no server, or no server headers, belong to $PG_CONFIG"
    (($(pg_major) >= 15)) || die "needs PostgreSQL 15 or later, found $("$PG_CONFIG" --version)"
    BINDIR=$("$PG_CONFIG" --bindir)
}

# PostgreSQL refuses to run as root.
server_account() {
    if ! is_root; then
        id -un
    elif id postgres >/dev/null 2>&1; then
        echo postgres
    else
        echo nobody
    fi
}

as_server() {
    local account=()
    if is_root; then
        account=(runuser -u "$(server_account)" --)
    fi
    (cd "$TMP" && "${account[@]}" env HOME="$TMP" TMPDIR="$TMP" "$@")
}

# Makes TMP, a folder of the server's account that is gone, with every server
# that runs in it, when the script ends. Not under TMPDIR, which may be
# closed to that account, or too long for the path of a socket.
make_tmp() {
    TMP=$(mktemp -d /tmp/atlas_events.XXXXXX)
    trap clean_up EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    give_to_server "$TMP"
}

give_to_server() {
    if is_root; then
        chown -R "$(server_account):" "$1"
    fi
}

clean_up() {
    trap '' HUP INT TERM
    if [[ -n $TMP && -d $TMP ]]; then
        stop_servers immediate
        if mountpoint -q "$TMP/disk"; then
            as_root umount --lazy "$TMP/disk"
        fi
        rm -rf "$TMP"
    fi
}

# Stops whatever runs in TMP.
stop_servers() {
    local pid_file
    while IFS= read -r -d '' pid_file; do
        if [[ $pid_file == */postmaster.pid ]]; then
            stop_cluster "$(dirname "$pid_file")" "$1" || true
        else
            kill "$(cat "$pid_file")" 2>/dev/null || true
        fi
    done < <(find "$TMP" -name '*.pid' -print0)
}

# Copies the sources, without history and without anything built, to $TMP/$1.
# Builds and test runs thus leave the checkout alone, and need no right to
# write to it.
copy_sources() {
    mkdir "$TMP/$1"
    tar -C "$ROOT" -cf - \
        --exclude=./.git --exclude=node_modules --exclude=.deps \
        --exclude='*.o' --exclude='*.so' --exclude='*.bc' --exclude=./atlas_events_api--1.0.sql \
        --exclude=./results --exclude=./output_iso --exclude=./tmp_check --exclude=./log \
        --exclude='./regression.*' . |
        tar -C "$TMP/$1" --no-same-owner -xf -
    give_to_server "$TMP/$1"
}

# quietly COMMAND...: shows its output only if it fails, and ends then.
quietly() {
    "$@" >"$TMP/quietly.log" 2>&1 || {
        cat "$TMP/quietly.log" >&2
        die "failed: $*"
    }
}

build_and_install() {
    headline "Build and install for $("$PG_CONFIG" --version)"
    copy_sources build
    echo '$ make'
    quietly make -C "$TMP/build" -j"$(nproc)" PG_CONFIG="$PG_CONFIG"
    echo '$ make install'
    quietly as_root make -C "$TMP/build" PG_CONFIG="$PG_CONFIG" install
    rm -rf "$TMP/build"
}

# The sample database atlas, in the cluster that start_cluster started, with
# the extension and its object types.
create_sample() {
    "$BINDIR/createdb" --encoding=UTF8 --template=template0 atlas
    "$BINDIR/psql" -X --quiet --dbname=atlas --set=ON_ERROR_STOP=1 --output=/dev/null \
        --file="$ROOT/examples/atlas.sql" --command='CREATE EXTENSION atlas_events' \
        --command='SELECT atlas_discover_object_types()'
}

free_port() {
    local port
    while :; do
        port=$((20000 + RANDOM % 12000))
        if ! (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return
        fi
    done
}

# start_cluster NAME [SETTING...]: a new cluster in $TMP/NAME, on a free port
# of 127.0.0.1 and a socket in $TMP. Points PGHOST, PGPORT and PGUSER at it.
start_cluster() {
    local data=$TMP/$1 attempt
    shift
    as_server "$BINDIR/initdb" --pgdata="$data" --username=postgres --auth=trust \
        --encoding=UTF8 --locale=C --no-sync >"$TMP/initdb.log" ||
        die "initdb failed: $(cat "$TMP/initdb.log")"
    as_server tee -a "$data/postgresql.conf" >/dev/null <<END
listen_addresses = '127.0.0.1'
unix_socket_directories = '$TMP'
fsync = off
$(printf '%s\n' "$@")
END
    # The port may be taken between looking and starting.
    for attempt in 1 2 3 4 5; do
        PGPORT=$(free_port)
        as_server tee -a "$data/postgresql.conf" >/dev/null <<<"port = $PGPORT"
        if as_server "$BINDIR/pg_ctl" --pgdata="$data" --log="$data.log" --silent --wait start \
            >/dev/null 2>&1; then
            export PGHOST=$TMP PGPORT PGUSER=postgres
            return
        fi
        grep -q 'Address already in use' "$data.log" || break
    done
    tail -n 20 "$data.log" >&2
    die "the server did not start (attempt $attempt)"
}

stop_cluster() {
    as_server "$BINDIR/pg_ctl" --pgdata="$1" --mode="${2:-fast}" --silent --wait stop >/dev/null
}
