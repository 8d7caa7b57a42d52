# shellcheck shell=bash
#
# script/sanitizer.sh - a copy of PostgreSQL in $TMP, for builds of the
# extension that must not be installed where others would find them, and the
# runtime of the sanitizers for its server. To be sourced after lib.sh.

# What the server's flags and headers say to gcc only is no matter of clang.
LENIENT='-Wno-ignored-attributes -Wno-ignored-optimization-argument -Wno-unknown-warning-option'

# shellcheck disable=SC2034  # for those who source this
SANITIZE="-O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined -shared-libsan $LENIENT"

# Copies the PostgreSQL of PG_CONFIG, which finds its files wherever it is, to
# $TMP/root, and makes PG_CONFIG and BINDIR the copy's.
copy_postgresql() {
    local option folders=()
    for option in bindir pkglibdir sharedir includedir-server; do
        folders+=("$("$PG_CONFIG" "--$option")")
    done
    mkdir "$TMP/root" "$TMP/reports"
    tar -C / -cf - "${folders[@]#/}" | tar -C "$TMP/root" --no-same-owner -xf -
    BINDIR=$TMP/root$BINDIR
    export PG_CONFIG=$BINDIR/pg_config
    give_to_server "$TMP/root"
    give_to_server "$TMP/reports"
}

# run_server_with COMMAND...: from now on this command runs the copy's postgres,
# whoever starts it.
run_server_with() {
    [[ -e $BINDIR/postgres.bin ]] || mv "$BINDIR/postgres" "$BINDIR/postgres.bin"
    printf '#!/bin/sh\nexec %s %s.bin "$@"\n' "$*" "$BINDIR/postgres" >"$BINDIR/postgres"
    chmod 755 "$BINDIR/postgres"
}

# The copy's server gets AddressSanitizer and UndefinedBehaviorSanitizer. They
# report to files in $TMP/reports, and end the process.
preload_sanitizers() {
    local runtime options=detect_leaks=0:abort_on_error=1:log_path=$TMP/reports/sanitizer
    runtime=$(clang -print-file-name=libclang_rt.asan-x86_64.so)
    [[ -f $runtime ]] || runtime=$(clang -print-runtime-dir)/libclang_rt.asan.so
    clang -shared -fPIC -Wl,-z,initfirst "$ROOT/fuzz/first.c" -o "$TMP/root/first.so"
    run_server_with env "LD_PRELOAD='$runtime $TMP/root/first.so'" \
        "ASAN_OPTIONS=$options:quarantine_size_mb=16:malloc_context_size=10" \
        "UBSAN_OPTIONS=$options:print_stacktrace=1"
}

# build_copy NAME FLAGS [VARIABLE=VALUE...]: builds the sources with clang in
# $TMP/NAME, and installs them into the copy of PostgreSQL.
build_copy() {
    local name=$1 flags=$2
    shift 2
    copy_sources "$name"
    quietly make -C "$TMP/$name" -j"$(nproc)" PG_CONFIG="$PG_CONFIG" CC=clang with_llvm=no \
        WERROR=1 COPT="$flags" "$@" install
}

# Fails, and shows them, if there are reports.
no_reports() {
    local report
    for report in "$TMP"/reports/*; do
        [[ ! -s $report ]] || {
            head -n 60 "$TMP"/reports/*
            return 1
        }
    done
}
