#!/usr/bin/env bash
# Provides what the e2e suite needs on a Debian machine: a Docker engine, a Debian base image, the images under
# e2e/images. Every step looks first and does nothing when its result is already there.
#
#   provision.sh engine            install and start an engine where none answers
#   provision.sh images            build the images that are missing or older than their files
#   provision.sh run COMMAND...    both, then the command; an engine that it started is stopped again at the end
#   provision.sh stop              stop the engine that "engine" started
#   provision.sh packages NAME...  install the Debian packages that are missing
#
# Installing and starting need root. Where there is neither an engine nor root, "run" says so and runs the command
# without: the e2e suite then skips itself, except under CI=true, where that is a failure.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
base=debian:bookworm-slim
release=bookworm
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

# images builds imapped-e2e/NAME for every folder of e2e/images; the label is a hash of the folder, and a build with
# the same hash is kept.
images() {
    base_image
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
images) engine && images ;;
stop) stop ;;
packages)
    shift
    packages "$@"
    ;;
run)
    shift
    run "$@"
    ;;
*)
    say "usage: provision.sh engine | images | stop | packages NAME... | run COMMAND..."
    exit 64
    ;;
esac
