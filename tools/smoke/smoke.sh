#!/usr/bin/env bash
# Tries an imapped that Docker Compose runs, as somebody would who sets it up: waits until it is healthy, makes a user and
# an account at the Dovecot of the profile "upstream" by the command line, reads a message through the published port,
# writes one, and finds it at Dovecot.
#
#   smoke.sh ARGS...      ARGS are Compose's, before its command: -p PROJECT -f FILE...
#
# IMAP_PORT is where imapped is published (1143). Nothing that it makes is used again: it can be run any number of times.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
port=${IMAP_PORT:-1143}
patience=120 # seconds for each thing that is waited for
user=smoke-$(date +%s)-$$
password=$(od -An -N12 -tx1 /dev/urandom | tr -d ' \n')
work=$(mktemp -d)
compose=("$root/tools/provision/provision.sh" compose "$@")

say() { printf 'smoke: %s\n' "$*"; }
imapped() { "${compose[@]}" exec -T imapped /imapped "$@"; }
dovecot() { "${compose[@]}" exec -T dovecot "$@"; }

# The password is in a file: a command line can be seen.
mail() { curl --silent --show-error --max-time 20 --config "$work/curl" "$@"; }

# eventually WHAT COMMAND... waits until the command succeeds.
eventually() {
    local what=$1 end=$((SECONDS + patience))
    shift
    until "$@" >"$work/out" 2>&1; do
        if ((SECONDS >= end)); then
            say "not within $patience s: $what"
            cat "$work/out"
            exit 1
        fi
        sleep 1
    done
    say "$what"
}

finish() {
    local rc=$?
    if ((rc != 0)); then
        "${compose[@]}" ps || true
        "${compose[@]}" logs --tail=40 imapped || true
        say "failed"
    fi
    rm -rf "$work"
    exit "$rc"
}
trap finish EXIT

healthy() {
    local id
    id=$("${compose[@]}" ps -q "$1")
    [[ -n $id && $(docker inspect -f '{{.State.Health.Status}}' "$id") == healthy ]]
}

# message TOKEN prints a message with a body of some lines.
message() {
    printf 'From: Ann <ann@example.org>\r\nTo: %s@example.org\r\nSubject: %s\r\nDate: Mon, 02 Jan 2023 15:04:05 +0000\r\nMessage-ID: <%s@example.org>\r\n\r\n' \
        "$user" "$1" "$1"
    printf 'Line %d of the message.\r\n' {1..20}
}

# equal TOKEN FILE: the message that has the number 1 here is the file's, byte for byte.
served() { mail "imap://127.0.0.1:$port/INBOX/;MAILINDEX=1" >"$work/got" && cmp "$work/got" "$1"; }
arrived() { dovecot doveadm search -u "$user" mailbox INBOX header subject "$1" | grep -q .; }

command -v curl >/dev/null || {
    say "curl is needed"
    exit 1
}
printf 'user = "%s:%s"\n' "$user" "$password" >"$work/curl"
chmod 0600 "$work/curl"

eventually "imapped is healthy" healthy imapped
eventually "dovecot is healthy" healthy dovecot
message "from-$user" >"$work/first"
dovecot doveadm save -u "$user" -m INBOX <"$work/first"
imapped create-user --username-email "$user" --password-stdin <<<"$password"
imapped add-account --user-email "$user" --email-address "$user@example.org" --upstream-host dovecot \
    --upstream-tls-mode starttls --upstream-insecure --upstream-username "$user" --upstream-secret-stdin <<<secret
eventually "a message of the upstream is read here, byte for byte" served "$work/first"
message "to-$user" >"$work/second"
mail --upload-file "$work/second" "imap://127.0.0.1:$port/INBOX"
eventually "a message written here is at the upstream" arrived "to-$user"
mail "imap://127.0.0.1:$port/INBOX" --request "STORE 1 +FLAGS (\\Flagged)" >/dev/null
flagged() { dovecot doveadm search -u "$user" mailbox INBOX flagged | grep -q .; }
eventually "a flag set here is at the upstream" flagged
imapped show-sync-status --account-email "$user@example.org"
imapped delete-account --account-email "$user@example.org" --yes
imapped disable-user --username-email "$user"
say "passed"
