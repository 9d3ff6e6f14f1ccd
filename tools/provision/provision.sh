#!/usr/bin/env bash
# Provides what the e2e suite and compose.yaml need on a Debian machine: a Docker engine, the base images, the images
# under e2e/images. Every step looks first and does nothing when its result is already there.
#
#   provision.sh engine            install and start an engine where none answers
#   provision.sh bases             make the base images exist: pulled, else made on this machine
#   provision.sh images            build the images that are missing or older than their files
#   provision.sh compose ARGS...   run Docker Compose, the plugin or Debian's docker-compose, which is installed if need be
#   provision.sh run COMMAND...    both, then the command; an engine that it started is stopped again at the end
#   provision.sh stop              stop the engine that "engine" started
#   provision.sh servers           install the servers that tests of the adapters start: PostgreSQL, Redis
#   provision.sh packages NAME...  install the Debian packages that are missing
#
# Installing and starting need root. Where there is neither an engine nor root, "run" says so and runs the command
# without: the e2e suite then skips itself, except under CI=true, where that is a failure.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
base=debian:bookworm-slim
release=bookworm
golang=golang:1.26-$release
state=${IMAPPED_PROVISION_STATE:-/run/imapped-provision}

say() { printf 'provision: %s\n' "$*" >&2; }
answers() { docker info >/dev/null 2>&1; }

# packages NAME... installs those Debian packages that are missing.
packages() {
    local missing=() p
    for p in "$@"; do
        dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
    done
    ((${#missing[@]})) || return 0
    say "installing ${missing[*]}"
    # No service may be started by its package: there may be no init here, and the engine is started below.
    local policy=/usr/sbin/policy-rc.d made=
    if [[ ! -e $policy ]]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 0755 "$policy"
        made=1
    fi
    local rc=0 log
    log=$(mktemp)
    {
        apt-get update -qq &&
            DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
    } </dev/null >"$log" 2>&1 || rc=$?
    ((rc == 0)) || tail -n 40 "$log" >&2
    rm -f "$log"
    [[ -z $made ]] || rm -f "$policy"
    return $rc
}

# servers installs the servers that tests start by themselves. Elsewhere than on Debian, or without root, they are looked for
# where they are, and tests without them are skipped, saying so.
servers() {
    if ((EUID != 0)) || ! command -v apt-get >/dev/null; then
        return 0
    fi
    local cluster=/etc/postgresql-common/createcluster.conf
    if [[ ! -e $cluster ]]; then # no cluster is made by the package
        mkdir -p "$(dirname "$cluster")"
        echo 'create_main_cluster = false' >"$cluster"
    fi
    packages postgresql redis-server
}

# engine makes a Docker engine answer; returns 2 where that would need root.
engine() {
    if command -v docker >/dev/null && answers; then
        return 0
    fi
    if ((EUID != 0)); then
        say "no Docker engine answers and this is not root: cannot start one"
        return 2
    fi
    if ! command -v apt-get >/dev/null && ! command -v dockerd >/dev/null; then
        say "no Docker engine answers, and this is not Debian: install one by hand"
        return 2
    fi
    if ! command -v dockerd >/dev/null || ! command -v docker >/dev/null || ! command -v iptables >/dev/null; then
        packages docker.io iptables ca-certificates || return 1
    fi
    mkdir -p "$state"
    say "starting dockerd"
    setsid dockerd </dev/null >"$state/dockerd.log" 2>&1 &
    echo $! >"$state/dockerd.pid"
    local i
    for ((i = 0; i < 120; i++)); do
        answers && return 0
        kill -0 "$(cat "$state/dockerd.pid")" 2>/dev/null || break
        sleep 0.5
    done
    say "dockerd did not come up; its last lines:"
    tail -n 20 "$state/dockerd.log" >&2
    stop
    return 1
}

# stop ends the engine that engine started, and only that one.
stop() {
    local file=$state/dockerd.pid pid i
    [[ -f $file ]] || return 0
    pid=$(cat "$file")
    rm -f "$file"
    [[ $(cat "/proc/$pid/comm" 2>/dev/null) == dockerd ]] || return 0
    say "stopping dockerd"
    kill "$pid"
    for ((i = 0; i < 60; i++)); do
        kill -0 "$pid" 2>/dev/null || return 0
        sleep 0.5
    done
    say "dockerd $pid does not stop"
}

# base_image makes $base exist: pulled where a registry answers, else made by debootstrap.
base_image() {
    docker image inspect "$base" >/dev/null 2>&1 && return 0
    say "pulling $base"
    timeout 120 docker pull -q "$base" </dev/null >&2 && return 0
    if ((EUID != 0)); then
        say "$base cannot be pulled, and making it needs root"
        return 1
    fi
    say "$base cannot be pulled: making it with debootstrap"
    command -v debootstrap >/dev/null || packages debootstrap || return 1
    local dir rc=0
    dir=$(mktemp -d)
    {
        debootstrap --variant=minbase --include=ca-certificates "$release" "$dir" >"$dir.log" 2>&1 &&
            tar -C "$dir" -c . | docker import - "$base" >/dev/null
    } </dev/null || rc=$?
    ((rc == 0)) || tail -n 20 "$dir.log" >&2
    rm -rf "$dir" "$dir.log"
    return $rc
}

# go_image makes $golang exist: pulled where a registry answers, else $base with this machine's Go and the certificates
# that this machine trusts, so that modules can be had from inside as they can from outside. It only builds; no file of
# it but what Go built goes into another image.
go_image() {
    docker image inspect "$golang" >/dev/null 2>&1 && return 0
    say "pulling $golang"
    timeout 300 docker pull -q "$golang" </dev/null >&2 && return 0
    if ! command -v go >/dev/null; then
        say "$golang cannot be pulled, and there is no Go here to make it of"
        return 1
    fi
    say "$golang cannot be pulled: making it of $base and $(go env GOVERSION)"
    base_image
    local dir goroot rc=0
    goroot=$(go env GOROOT)
    dir=$(mktemp -d)
    cat >"$dir/Dockerfile" <<EOF
FROM $base
RUN apt-get update \\
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ca-certificates \\
 && rm -rf /var/lib/apt/lists/*
COPY go /usr/local/go
COPY trusted.crt /etc/ssl/certs/ca-certificates.crt
ENV PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin GOPATH=/go GOTOOLCHAIN=local
EOF
    cp /etc/ssl/certs/ca-certificates.crt "$dir/trusted.crt"
    tar -ch -C "$dir" Dockerfile trusted.crt -C "$(dirname "$goroot")" --transform "s,^$(basename "$goroot"),go," "$(basename "$goroot")" |
        DOCKER_BUILDKIT=0 docker build -t "$golang" - >"$dir/log" 2>&1 || rc=$?
    ((rc == 0)) || tail -n 20 "$dir/log" >&2
    rm -rf "$dir"
    return $rc
}

# compose runs Docker Compose with the classic builder: Debian's engine has no other.
compose() {
    local tool=(docker compose)
    if ! "${tool[@]}" version >/dev/null 2>&1; then
        tool=(docker-compose)
        command -v docker-compose >/dev/null || packages docker-compose
    fi
    DOCKER_BUILDKIT=${DOCKER_BUILDKIT:-0} "${tool[@]}" "$@"
}

# images builds imapped-e2e/NAME for every folder of e2e/images; the label is a hash of the folder, and a build with
# the same hash is kept.
images() {
    base_image
    go_image
    local dir name hash have log
    for dir in "$root"/e2e/images/*/; do
        name=imapped-e2e/$(basename "$dir")
        hash=$(cd "$dir" && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -c1-16)
        have=$(docker image inspect -f '{{index .Config.Labels "imapped.hash"}}' "$name" 2>/dev/null || true)
        [[ $have != "$hash" ]] || continue
        say "building $name"
        log=$(mktemp)
        # The classic builder: Debian's package has no other.
        if ! DOCKER_BUILDKIT=0 docker build --label "imapped.hash=$hash" -t "$name" "$dir" </dev/null >"$log" 2>&1; then
            tail -n 40 "$log" >&2
            rm -f "$log"
            return 1
        fi
        rm -f "$log"
    done
}

# leftovers removes the containers of suites that were killed; their label is the process that started them.
leftovers() {
    local id pid
    while read -r id pid; do
        [[ -d /proc/$pid ]] || docker rm -f "$id" >/dev/null
    done < <(docker ps -a --filter label=imapped.e2e --format '{{.ID}} {{.Label "imapped.e2e"}}')
}

run() {
    local rc=0 mine=
    servers
    if command -v docker >/dev/null && answers; then :; else mine=1; fi
    engine || rc=$?
    if ((rc == 2)) && [[ ${CI:-} != true ]]; then
        "$@"
        return
    fi
    ((rc == 0)) || return "$rc"
    if [[ -n $mine ]]; then
        trap stop EXIT
        trap 'exit 143' TERM
        trap 'exit 130' INT
    fi
    images
    leftovers
    rc=0
    "$@" || rc=$?
    leftovers
    return "$rc"
}

case ${1:-} in
engine) engine ;;
bases) engine && base_image && go_image ;;
images) engine && images ;;
compose)
    shift
    compose "$@"
    ;;
stop) stop ;;
servers) servers ;;
packages)
    shift
    packages "$@"
    ;;
run)
    shift
    run "$@"
    ;;
*)
    say "usage: provision.sh engine | bases | images | compose ARGS... | stop | servers | packages NAME... | run COMMAND..."
    exit 64
    ;;
esac
