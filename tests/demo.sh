#!/bin/sh
# Installs what building needs, builds, and shows mail being relayed. Changes nothing beyond packages and this checkout.
# Usage: demo.sh [--messages N] [--stay]
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
root=$(dirname -- "$here")
build=$root/build-demo
echo "1. Packages"
sh "$here/install.sh" build
echo "2. Building (about a minute the first time)"
[ -f "$build/build.ninja" ] || meson setup "$build" "$root" --buildtype=release -Dbench=false -Dtests=false >/dev/null
quiet=--quiet
[ ! -t 1 ] || quiet= # a terminal shows ninja's own progress in one line
ninja -C "$build" $quiet relay/cli/postern tests/sim/m365sim
echo "3. Relaying"
POSTERN=$build/relay/cli/postern M365SIM=$build/tests/sim/m365sim exec python3 "$here/demo.py" "$@"
