#!/bin/sh
#
# events.sh - the Events API over HTTP, with curl and jq: submits an event with
# an idempotency key, reads a timeline, and handles each kind of refusal.
#
# BASE_URL is where the API is, TOKEN is that of a submitter and reader; the
# tenant is a claim of the token.

set -eu
: "${BASE_URL:?is not set}" "${TOKEN:?is not set}"

CUSTOMER=c19a7d78-37a1-4ee4-9e68-aae0d4c93f7e

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM

# The token goes into a file, because everybody can see command lines with ps.
printf 'header = "Authorization: Bearer %s"\n' "$TOKEN" >"$tmp/config"

# call PATH [OPTION OF CURL...]: sends a request. Its answer is in $tmp/answer
# then, and the status of HTTP in $status.
#
# If the connection is lost or the server has a problem of its own (5xx), nobody
# knows whether the event was stored. curl sends the request again then: with
# its idempotency key the event is stored once.
call() {
    path=$1
    shift
    status=$(curl --silent --show-error --config "$tmp/config" --max-time 60 \
        --retry 2 --retry-all-errors --output "$tmp/answer" --write-out '%{http_code}' \
        "$@" "$BASE_URL/v1$path")
}

# submit KEY: submits the event on standard input, and says what became of it.
submit() {
    # -d @- would drop the line breaks, and errors name the line and the column.
    call /events --header "Idempotency-Key: $1" --data-binary @-
    case $status in
        200) jq -r '"\(if .duplicate then "stored before" else "stored" end) \(.eventId)"' "$tmp/answer" ;;
        400) jq -r '"400, correct the event:", (.errors[] | "  \(.field) \(.code): \(.message)")' "$tmp/answer" ;;
        404) jq -r '"404, submit it again once the object exists: \(.details)"' "$tmp/answer" ;;
        409) jq -r '"409, do not repeat it: \(.details)"' "$tmp/answer" ;;
        413) jq -r '"413, shorten it: \(.details)"' "$tmp/answer" ;;
        *) fail ;;
    esac
}

fail() {
    jq -r '"\(.message): \(.details) (request \(.requestId))"' "$tmp/answer" >&2
    exit 1
}

# The key is made of what the event is about, so that it is the same whenever
# and wherever this event is submitted again.
order=$(date +%s)-$$

# jq makes the JSON, so that no value can break out of its string.
shipped() {
    jq -n --arg order "$order" --arg carrier "$1" '
        {objectType: "CUSTOMER", externalId: "195959", name: "Order Shipped",
         payload: {order: $order, carrier: $carrier},
         relatedObjects: [{objectType: "TICKET", objectId: "19734"}]}'
}

shipped DHL | submit "order-$order-shipped"
shipped DHL | submit "order-$order-shipped"

call /timeline --get --data-urlencode objectType=CUSTOMER --data-urlencode "objectId=$CUSTOMER" --data limit=5
[ "$status" = 200 ] || fail
jq -r '.[] | "\(.role) \(.eventId) \(.name)"' "$tmp/answer"

submit "order-$order-refused" <<'END'
{"objectType": "CUSTOMER",
 "externalId": "195959"
 "name": "Order Refused"}
END
jq -n '{objectType: "CUSTOMER", externalId: "0", name: "Order Refused"}' | submit "order-$order-refused"
shipped UPS | submit "order-$order-shipped"
jq -n '{objectType: "CUSTOMER", externalId: "195959", name: "Order Refused", description: ("x" * 300000)}' |
    submit "order-$order-refused"
