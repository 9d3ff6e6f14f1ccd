#!/bin/bash
# Makes the cluster and the database where there is none, then runs its arguments ("postgres" and its options) as the user
# postgres. They are made beside their place, and moved there at the end: a start that was interrupted begins anew. The
# server listens on a socket only meanwhile, so that whoever waits for the port waits for the end.
set -euo pipefail

# setting NAME DEFAULT exports NAME: as it is, else what the file NAME_FILE holds, else the default.
setting() {
    local file=${1}_FILE value=${!1:-}
    if [[ -z $value && -n ${!file:-} ]]; then
        value=$(<"${!file}")
    fi
    export "$1=${value:-$2}"
}
if ((EUID == 0)); then
    # As root only: a secret's file may be root's.
    setting POSTGRES_PASSWORD ""
    setting POSTGRES_USER postgres
    setting POSTGRES_DB "$POSTGRES_USER"
    install -d -o postgres -g postgres -m 0700 "$(dirname "$PGDATA")"
    install -d -o postgres -g postgres -m 0755 /var/run/postgresql
    exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi

if [[ ! -s $PGDATA/PG_VERSION ]]; then
    : "${POSTGRES_PASSWORD:?a password is needed}"
    new=$PGDATA.new
    rm -rf "$new"
    # shellcheck disable=SC2086 # several arguments
    initdb -D "$new" -U "$POSTGRES_USER" --auth-local=trust --auth-host=scram-sha-256 --encoding=UTF8 \
        --locale=C.UTF-8 --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") ${POSTGRES_INITDB_ARGS:-}
    echo 'host all all all scram-sha-256' >>"$new/pg_hba.conf"
    pg_ctl -D "$new" -w -o "-c listen_addresses=''" start
    if [[ $POSTGRES_DB != postgres ]]; then
        createdb -U "$POSTGRES_USER" "$POSTGRES_DB"
    fi
    pg_ctl -D "$new" -w -m fast stop
    mv -T "$new" "$PGDATA"
fi
unset POSTGRES_PASSWORD
if [[ ${1:-} == postgres ]]; then
    shift
    set -- postgres -c listen_addresses='*' "$@"
fi
exec "$@"
