#!/usr/bin/env bash
# The long proofs, a part at a time. Each part takes 45 minutes at most; one that did not get through (status 4) goes on
# where it was when run again, and so does one that failed (1): with what failed, as long as the product is the same.
# A finished part writes its dated proof to ci/proofs/PART.json.
#   bash ci/nightly.sh --list
#   bash ci/nightly.sh [--fresh] [--minutes N] PART...
set -euo pipefail
# shellcheck source=ci/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case "${1:-}" in
-h | --help | "")
  sed -n '2,6s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
  [ -n "${1:-}" ] && exit 0
  exit 2
  ;;
esac
require_known_os /etc/os-release
must packages prepare_system run test
must python make_venv
export PATH=$VENV/bin:$PATH
cd "$ROOT"
exec "$VENV/bin/python" -m ci.nightly "$@"
