#!/usr/bin/env bash
# Installs what the tests need and runs them all: checks of the source, unit, integration, and e2e on real Xen.
#   bash ci/test.sh [PYTEST ARGS]
#   NESTLAB_TEST_PARTS='unit integration' bash ci/test.sh      only some of: lint unit integration e2e
# JUnit files and the output of every part are left in ci/out/.
set -euo pipefail
# shellcheck source=ci/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case "${1:-}" in
-h | --help)
  sed -n '2,5s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
  exit 0
  ;;
esac
read -r -a parts <<<"${NESTLAB_TEST_PARTS:-lint unit integration e2e}"
for part in "${parts[@]}"; do
  case "$part" in
  lint | unit | integration | e2e) ;;
  *) die 2 "there is no test part '$part'" "NESTLAB_TEST_PARTS takes: lint unit integration e2e" ;;
  esac
done

lint() {
  local status=0 scripts
  mapfile -t scripts < <(shell_scripts)
  say "ruff" && { ruff check . && ruff format --check . || status=1; }
  say "mypy" && { mypy || status=1; }
  say "shellcheck" && { shellcheck -x -- "${scripts[@]}" || status=1; }
  say "generated files" && { bash ci/generate.sh --check || status=1; }
  return "$status"
}

# The tests of one part, shown as they go. When time is up pytest is interrupted, so that it still tells what failed.
# Output is a file and not a pipe: a machine that a failing test left running would hold a pipe open, and this script.
tests() {
  local part=$1 limit=$2 pid tail_pid status=0
  shift 2
  mkdir -p "$OUT"
  : >"$OUT/$part.log"
  timeout --signal=INT --kill-after=60 "$limit" "$VENV/bin/python" -m pytest --junitxml="$OUT/$part.xml" -o "junit_suite_name=$part" \
    --durations=5 --durations-min=1 -o faulthandler_timeout=400 "$@" "${pytest_args[@]}" >"$OUT/$part.log" 2>&1 </dev/null &
  pid=$!
  tail -n +1 -s 0.2 -f --pid="$pid" "$OUT/$part.log" &
  tail_pid=$!
  wait "$pid" || status=$?
  wait "$tail_pid" || true
  [ "$status" != 124 ] || say "error: $part did not end within $limit seconds"
  return "$status"
}

run_part() {
  case "$1" in
  lint) lint ;;
  unit) tests unit 900 -n "$waiting" --dist loadfile tests/unit tests/meta ;;
  integration) tests integration 1800 -n "$waiting" --dist loadfile --no-loadscope-reorder tests/integration ;;
  e2e) tests e2e 1800 tests/e2e ;;
  esac
}

pytest_args=("$@")
# Tests of one file stay together: they share what is dear to make. One more than processors, for some always wait.
waiting=$(($(nproc) < 4 ? $(nproc) + 1 : 4))
require_known_os /etc/os-release
cd "$ROOT"
must packages prepare_system run test
must python make_venv
export PATH=$VENV/bin:$PATH
failed=0
for part in "${parts[@]}"; do
  phase "$part" run_part "$part"
  [ "$PHASE_STATUS" = 0 ] || failed=1
done
phase_json "$OUT/test.json"

heading "times"
phase_table >&2
for part in "${parts[@]}"; do
  [ "$part" = lint ] || printf '%s: %s\n' "$part" "$(grep -E '^=+ .* in [0-9.]+s.* =+$' "$OUT/$part.log" | tail -n 1 || true)"
done
exit "$failed"
