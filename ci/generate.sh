#!/usr/bin/env bash
# Writes what is made from tables in the code: README sections and labs/lab.schema.json. With --check it only compares.
set -euo pipefail
# shellcheck source=ci/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ -x "$VENV/bin/python" ] || die 3 "there is no .venv" "bash ci/quickstart.sh, or bash ci/test.sh, makes it"
cd "$ROOT"
exec "$VENV/bin/python" -m ci.generate "$@"
