#!/bin/sh
# A payment worker in plain sh and curl:  ./payment-worker.sh [NAME]
#
# SLUICE_URL, STREAM, GROUP, RETRY_EVERY and MAX_IDLE_MS are taken from the environment. STREAM, GROUP and NAME are
# percent-encoded. What keeps payments from being lost is told in payment_workers.py.
set -eu
name=${1:-worker-1}
group=${SLUICE_URL:-http://localhost:8080}/v1/streams/${STREAM:-orders:payments}/groups/${GROUP:-payment-processors}
retry_every=${RETRY_EVERY:-30}

# ask METHOD PATH [BODY]: asks until there is a good answer; every call here may be repeated. (curl's own --retry
# gives up on a connection that broke in the middle of an answer.) Not longer than the worker lives, whose number is $$ in
# a subshell too.
ask() {
    until curl -sS --fail --max-time 90 -X "$1" ${3:+-d "$3"} "$group$2"; do
        kill -0 $$ 2>/dev/null || exit
        sleep 1
    done
}

# Stands for the call of a payment provider.
pay() {
    printf 'paid %s\n' "$(printf '%s' "$1" | sed -n 's/.*"orderID":"\([^"]*\)".*/\1/p')"
}

# The first message of an answer: a read here asks for one. A message's own ID comes before its fields.
id_of() { printf '%s' "$1" | grep -o '"id":"[0-9]*-[0-9]*"' | head -n 1 | cut -d '"' -f 4; }

work() {
    case $1 in *'"fields":null'*) ;; *) pay "$1" || return 0 ;; esac  # A failure stays pending.
    ask POST /ack "{\"ids\":[\"$2\"]}" >/dev/null
}

# What failed, and what a crash left behind.
retry_own() {
    after=pending
    while answer=$(ask POST "/consumers/$name/read?id=$after&count=1") && id=$(id_of "$answer") && [ -n "$id" ]; do
        after=$id
        work "$answer" "$id"
    done
}

ask PUT '?mkstream' >/dev/null
ask PUT /recovery "{\"max_idle_ms\":${MAX_IDLE_MS:-60000},\"max_deliveries\":8}" >/dev/null
retry_at=0
while :; do
    if [ "$(date +%s)" -ge "$retry_at" ]; then
        retry_own
        retry_at=$(($(date +%s) + retry_every))
    fi
    answer=$(ask POST "/consumers/$name/read?count=1&block_ms=$((retry_every * 1000))")
    id=$(id_of "$answer")
    [ -z "$id" ] || work "$answer" "$id"
done
