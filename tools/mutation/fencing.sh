#!/usr/bin/env bash
# Shows that it is the fence which keeps a node that wakes up from recording old news: TestPausedNode passes with the program as it
# is, and fails with a copy of it that fencing.patch made blind to the fence. Needs a Docker engine with the suites' images:
#
#   tools/provision/provision.sh run tools/mutation/fencing.sh
#
# Nothing in the working tree is changed.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

say() { printf 'fencing: %s\n' "$*"; }

# build DIR FILE builds the program of a tree.
build() { (cd "$1" && CGO_ENABLED=0 go build -trimpath -o "$2" ./cmd/imapped); }

# paused BINARY runs the test against a program.
paused() {
    (cd "$root/e2e" && CI=true IMAPPED_E2E_BINARY=$1 go test -count=1 -timeout 10m -v -run '^TestPausedNode$' ./cluster) >"$work/out" 2>&1
}

mkdir "$work/tree"
(cd "$root" && git ls-files -z -co --exclude-standard | while IFS= read -r -d '' f; do
    [[ ! -f $f ]] || printf '%s\0' "$f"
done | tar --null -T - -c) | tar -C "$work/tree" -x
(cd "$work/tree" && git apply "$root/tools/mutation/fencing.patch")
build "$root" "$work/imapped"
build "$work/tree" "$work/blind"

if ! paused "$work/imapped"; then
    cat "$work/out"
    say "the test fails with the program as it is"
    exit 1
fi
say "the test passes with the program as it is"
if paused "$work/blind"; then
    cat "$work/out"
    say "the test passes without the fence: it shows nothing"
    exit 1
fi
if ! grep -q 'a node that woke up recorded something' "$work/out"; then
    cat "$work/out"
    say "without the fence the test fails, but of something else"
    exit 1
fi
grep 'a node that woke up recorded something' "$work/out"
say "the test fails without the fence"
