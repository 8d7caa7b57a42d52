# shellcheck shell=bash
#
# script/count.sh - runs tests and counts them: PASSED and FAILED are what all
# tests so far amount to. What failed is said once more at the end. To be sourced
# after lib.sh.

PASSED=0
FAILED=0
FAILURES=()
# What the last call of count said.
COUNTED=

passed() {
    echo "ok: $1"
    PASSED=$((PASSED + 1))
}

failed() {
    echo "FAILED: $1"
    FAILED=$((FAILED + 1))
    FAILURES+=("$1")
}

# What the output of logged says of tests that failed: each with the file that it is in,
# and with some lines of what is said about it.
# shellcheck disable=SC2016  # the $ are awk's
SHOW_FAILURES='
    /^[^ ]+\.pl \.+/ { file = $1 ": " }
    /^(ok|1\.\.)/ { left = 0 }
    /^not ok/ && toupper($0) !~ /# *TODO/ || / \.\.\. FAILED/ || /^FAILED: / ||
        /^(Dubious|No subtests run|Failed [0-9])/ { left = 16; print "| " file $0; next }
    left > 0 { left--; print "|     " $0 }'

# check NAME COMMAND...: one test, passed when the command succeeds.
check() {
    local name=$1
    shift
    headline "$name"
    if "$@" 2>&1; then
        passed "$name"
    else
        failed "$name"
        return 1
    fi
}

# logged COMMAND...: runs it with its output shown and in $TMP/output.log.
# What it writes counts, so its status goes to STATUS only.
logged() {
    STATUS=0
    "$@" 2>&1 | tee "$TMP/output.log" || STATUS=$?
}

# Another script that counts has said at its end what failed.
show_failures() {
    if grep -q '^| ' "$TMP/output.log"; then
        grep '^| ' "$TMP/output.log"
    else
        awk "$SHOW_FAILURES" "$TMP/output.log"
    fi | head -n 200
}

# count NAME PROGRAM: adds what the awk program says about the output of
# logged: lines "pass" and "fail", one a test. No test at all, or a failure
# of the command that no test accounts for, is one failure.
count() {
    local passed failed
    read -r passed failed < <(
        awk "$2"' END { print passed + 0, failed + 0 }' "$TMP/output.log"
    )
    if ((failed == 0 && (STATUS != 0 || passed == 0))); then
        failed=1
    fi
    COUNTED="$1: $passed passed, $failed failed"
    echo "$COUNTED"
    PASSED=$((PASSED + passed))
    FAILED=$((FAILED + failed))
    if ((failed > 0)); then
        FAILURES+=("$1" "$(show_failures)")
    fi
    ((failed == 0))
}

# marked NAME COMMAND...: runs another script that counts. Its last line is
# marked, so that it is not taken for the one of all. For logged.
marked() {
    local name=$1
    shift
    "$@" 2>&1 | sed -u -E "s|^[0-9]+ passed, [0-9]+ failed\$|In all, $name: &|"
}

# What such a script has counted, for count. It may have called others.
# shellcheck disable=SC2016,SC2034  # the $ are awk's; others use it
COUNT_MARKED='/^In all, .*: [0-9]+ passed, [0-9]+ failed$/ { passed = $(NF - 3); failed = $(NF - 1) }'

# What failed, and the last line. Fails unless all tests passed.
sum_up() {
    if ((FAILED > 0)); then
        headline "Failed"
        printf '%s\n' "${FAILURES[@]}"
    fi
    printf '\n%s passed, %s failed\n' "$PASSED" "$FAILED"
    ((FAILED == 0 && PASSED > 0))
}
