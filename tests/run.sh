#!/bin/sh
# Installs what the tests need and runs all of them. Arguments go to tests/run.py (--quick, --only gcc, …).
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
sh "$here/install.sh" test
exec python3 "$here/run.py" "$@"
