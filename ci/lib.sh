# shellcheck shell=bash
# What quickstart, test and nightly have in common. Sourced; every caller has set -euo pipefail.
# Exit statuses are nestlab's own: 1 failed, 2 usage, 3 this host lacks something.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
VENV=$ROOT/.venv
OUT=$ROOT/ci/out
PYTHON=/usr/bin/python3 # the system's own: a venv made by a python under somebody's home is of no use to others
LOCK=$ROOT/ci/requirements.lock

# A caller's virtual environment, pyenv or pip habits must not leak into ours.
unset PYTHONPATH PYTHONHOME PYTHONSTARTUP VIRTUAL_ENV PIP_USER PIP_TARGET PIP_PREFIX PIP_REQUIREMENT
export PYTHONNOUSERSITE=1 PYENV_VERSION=system
export PIP_DISABLE_PIP_VERSION_CHECK=1

say() { printf '%s\n' "$*" >&2; }

heading() { printf '\n== %s\n' "$*" >&2; }

# die STATUS MESSAGE [HINT]
die() {
  printf 'error: %s\n' "$2" >&2
  [ -z "${3:-}" ] || printf '  hint: %s\n' "$3" >&2
  exit "$1"
}

# --- this system --------------------------------------------------------------------------------------------------

# Sets OS_ID, OS_VERSION and OS_TITLE from an os-release file.
read_os() {
  local file=${1:-/etc/os-release}
  [ -r "$file" ] || die 3 "$file is missing: cannot tell what system this is" "Debian 12 or 13 is what this script knows"
  # shellcheck source=/dev/null
  IFS='|' read -r OS_ID OS_VERSION OS_TITLE < <(. "$file" && printf '%s|%s|%s\n' "${ID:-}" "${VERSION_ID:-}" "${PRETTY_NAME:-this}")
}

# Ends with status 3 when the system is none that the package list was written for.
require_known_os() {
  read_os "${1:-/etc/os-release}"
  case "$OS_ID $OS_VERSION" in
  "debian 12" | "debian 13") ;;
  "ubuntu 24.04")
    [ -n "${NESTLAB_DEBIAN_MIRROR:-}" ] || die 3 "on Ubuntu nestlab does not know where to get Debian from" \
      "export NESTLAB_DEBIAN_MIRROR=http://YOUR.MIRROR/debian and run this again"
    ;;
  *) die 3 "$OS_TITLE is not a system this script can prepare" \
    "use Debian 12 or 13 (Ubuntu 24.04 is written for); a container of it is enough" ;;
  esac
}

# as_root CMD...: as we are when that is root, else through sudo.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -- "$@"; fi
}

require_root_rights() {
  [ "$(id -u)" != 0 ] || return 0
  command -v sudo >/dev/null || die 3 "packages have to be installed, and there is no sudo" "run this script as root"
  if ! sudo -n true 2>/dev/null; then
    [ -t 0 ] || die 3 "sudo wants a password, and there is no terminal to ask for it" "run this script as root"
    say "sudo will ask for your password."
    sudo -v || die 3 "sudo refused" "run this script as root"
  fi
}

# require_space PATH MIB PURPOSE: the nearest folder that exists must have that much left.
require_space() {
  local path=$1 free
  while [ ! -d "$path" ]; do path=$(dirname "$path"); done
  free=$(($(stat -f -c '%a * %S' "$path") / 1048576))
  [ "$free" -ge "$2" ] || die 3 "$path has $free MiB free, but $3 needs about $2 MiB" "make room on $(df -P "$path" | awk 'NR == 2 {print $6}')"
}

# --- packages -----------------------------------------------------------------------------------------------------

# packages SECTION...: their names.
packages() {
  local section
  for section in "$@"; do
    awk -v want="$section" '$1 == want {print $2}' "$ROOT/ci/packages.txt"
  done
}

# missing_packages SECTION...: those that are not installed, with their reason.
missing_packages() {
  local names
  names=$(packages "$@")
  # shellcheck disable=SC2016,SC2086 # dpkg's own placeholders; package names, one word each
  { dpkg-query -W -f '${db:Status-Status} ${Package}\n' $names 2>/dev/null || true; } |
    awk -v wanted="$names" '
      BEGIN {count = split(wanted, names, "\n"); for (i = 1; i <= count; i++) want[names[i]] = 1}
      state {if ($1 == "installed") delete want[$2]; next}
      $2 in want {name = $2; $1 = $2 = ""; sub(/^ +/, ""); printf "  %-27s %s\n", name, $0}
    ' state=1 - state=0 "$ROOT/ci/packages.txt"
}

# explain_failure LOG WHAT: the reason of a failure as far as the log tells it; status 3.
explain_failure() {
  tail -n 15 "$1" | sed 's/^/  | /' >&2
  if grep -q 'No space left on device\|t have enough free space' "$1"; then
    die 3 "$2 failed: the disk is full" "df -h; then run this script again"
  elif grep -qi 'could not resolve\|temporary failure resolving\|name resolution\|network is unreachable\|could not connect\|connection refused\|connection timed out\|failed to establish a new connection\|proxyerror' "$1"; then
    die 3 "$2 failed: the servers cannot be reached" "check network, DNS and proxy (http_proxy, https_proxy), then run this script again"
  elif grep -qi 'unable to locate package\|has no installation candidate' "$1"; then
    die 3 "$2 failed: the package sources lack a package" "check /etc/apt/sources.list and sources.list.d, then: apt-get update"
  elif grep -qi 'could not get lock' "$1"; then
    die 3 "$2 failed: another package manager is at work" "wait until it has finished, then run this script again"
  fi
  die 3 "$2 failed" "the whole log is in $1"
}

# install_packages SECTION...: says what and why, then installs. Nothing missing: nothing is asked of the network.
install_packages() {
  local missing log=$OUT/apt.log names
  missing=$(missing_packages "$@")
  if [ -z "$missing" ]; then
    say "all packages are installed"
    return 0
  fi
  say "these packages will be installed, with what they depend on (apt-get, no recommended extras):"
  say "$missing"
  require_root_rights
  require_space /usr $((100 + 45 * $(wc -l <<<"$missing"))) "installing packages"
  mkdir -p "$OUT"
  # A source that fails may be one that we do not need: only the installation itself decides.
  as_root apt-get -q -o DPkg::Lock::Timeout=300 update >"$log" 2>&1 || say "apt-get update had failures (see $log); going on"
  names=$(awk '{print $1}' <<<"$missing")
  # shellcheck disable=SC2086 # package names, one word each
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 install \
    --no-install-recommends $names >>"$log" 2>&1 </dev/null || explain_failure "$log" "installing packages"
}

# libvirt that is run by root looks up Debian's user for QEMU before it reads the setting that says otherwise, and
# fails without it. Debian 13 has it in the package of the driver, Debian 12 in the one of the daemon, which we do not
# want. Number and name are those that Debian reserves for it.
make_libvirt_user() {
  [ "$(id -u)" = 0 ] && ! getent passwd libvirt-qemu >/dev/null || return 0
  say "the system user libvirt-qemu is made, without login and as Debian's packages do: libvirt run by root asks for it"
  getent group libvirt-qemu >/dev/null || groupadd --system --gid 64055 libvirt-qemu 2>/dev/null
  useradd --system --uid 64055 --gid libvirt-qemu --comment 'Libvirt Qemu' --home-dir /var/lib/libvirt --no-create-home \
    --shell /usr/sbin/nologin libvirt-qemu 2>/dev/null || die 3 "the user libvirt-qemu could not be made" "apt-get install libvirt-daemon-system"
}

# prepare_system SECTION...: all that is asked of the system itself.
prepare_system() {
  install_packages "$@"
  make_libvirt_user
}

# --- python -------------------------------------------------------------------------------------------------------

# What .venv was made from. A folder that was moved has wrong paths inside, so the place counts too.
venv_stamp() {
  printf '%s\n' "$ROOT" "$("$PYTHON" -c 'import sys; print(sys.version)')"
  sha256sum "$LOCK" "$ROOT/pyproject.toml" | cut -d ' ' -f 1
}

# Whether .venv is of this python and was made in this place, so that it can be brought up to date instead of made anew.
venv_is_ours() {
  [ -x "$VENV/bin/python" ] && grep -qsF "$VENV/bin/python" "$VENV/bin/pip" &&
    [ "$("$VENV/bin/python" -c 'import sys; print(sys.version)')" = "$("$PYTHON" -c 'import sys; print(sys.version)')" ]
}

# Makes .venv hold what the lock file says, and the project itself from this folder. One script at a time.
make_venv() {
  local log=$OUT/pip.log stamp first
  mkdir -p "$OUT"
  exec {venv_lock}>"$OUT/venv.lock"
  flock "$venv_lock"
  "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    die 3 "$PYTHON is missing or older than 3.11" "apt-get install python3"
  stamp=$(venv_stamp)
  if [ -x "$VENV/bin/python" ] && [ "$(cat "$VENV/.stamp" 2>/dev/null)" = "$stamp" ]; then
    say ".venv is up to date"
    return 0
  fi
  say ".venv is made from ci/requirements.lock (only files with the digests written there are accepted)"
  require_space "$ROOT" 700 "the Python environment"
  rm -f "$VENV/.stamp"
  : >"$log"
  venv_is_ours || "$PYTHON" -m venv --clear "$VENV" >"$log" 2>&1 || explain_failure "$log" "making .venv"
  # libvirt-python is built from source: with the setuptools of the lock, not with whatever is newest today.
  first=$(mktemp)
  awk '/^[^ #]/ {on = /^setuptools==/} on' "$LOCK" >"$first"
  {
    "$VENV/bin/python" -m pip install --no-input --progress-bar off --require-hashes -r "$first" &&
      "$VENV/bin/python" -m pip install --no-input --progress-bar off --require-hashes --no-build-isolation --use-pep517 -r "$LOCK" &&
      "$VENV/bin/python" -m pip install --no-input --progress-bar off --no-build-isolation --no-deps --no-index --editable "$ROOT"
  } >>"$log" 2>&1 || {
    rm -f "$first"
    explain_failure "$log" "filling .venv"
  }
  rm -f "$first"
  printf '%s\n' "$stamp" >"$VENV/.stamp"
}

# Every shell script of the project, known by its first line; libraries, which have none, by their name. Templates are
# left out: what is rendered from them is judged as rendered.
shell_scripts() {
  local file first
  git -C "$ROOT" ls-files --cached --others --exclude-standard | while IFS= read -r file; do
    [ -f "$ROOT/$file" ] || continue
    IFS= read -r first <"$ROOT/$file" 2>/dev/null || true
    ! grep -q '{[{%]' "$ROOT/$file" || case "$file" in answerfiles/* | kickstarts/*) continue ;; esac
    case "$file" in *.sh) first='#!/bin/sh' ;; esac
    case "$first" in '#!/bin/sh'* | '#!/bin/bash'* | '#!/usr/bin/env bash'*) printf '%s\n' "$file" ;; esac
  done
}

# --- phases and their times ---------------------------------------------------------------------------------------

PHASES=() # name|seconds|outcome
now() { printf '%s' "${EPOCHREALTIME/,/.}"; }

# phase NAME CMD...: runs it under a heading, keeps its time, and leaves its status in PHASE_STATUS. To be called plainly:
# in a condition, or before && or ||, bash ignores errexit in everything that is called, subshells too.
phase() {
  local name=$1 start seconds
  shift
  heading "$name"
  start=$(now)
  set +e
  (
    set -e
    "$@"
  )
  PHASE_STATUS=$?
  set -e
  seconds=$(awk -v a="$start" -v b="$(now)" 'BEGIN {printf "%.1f", b - a}')
  PHASES+=("$name|$seconds|$([ "$PHASE_STATUS" = 0 ] && printf ok || printf 'failed (%s)' "$PHASE_STATUS")")
}

# must NAME CMD...: a phase without which there is no going on.
must() {
  phase "$@"
  [ "$PHASE_STATUS" = 0 ] || exit "$PHASE_STATUS"
}

# The table of phases so far.
phase_table() {
  local line total=0
  for line in "${PHASES[@]}"; do
    IFS='|' read -r name seconds outcome <<<"$line"
    printf '  %-12s %8s s  %s\n' "$name" "$seconds" "$outcome"
    total=$(awk -v a="$total" -v b="$seconds" 'BEGIN {printf "%.1f", a + b}')
  done
  printf '  %-12s %8s s\n' total "$total"
}

# phase_json FILE: the same for programs.
phase_json() {
  local line comma=''
  mkdir -p "$(dirname "$1")"
  {
    printf '{"phases": ['
    for line in "${PHASES[@]}"; do
      IFS='|' read -r name seconds outcome <<<"$line"
      printf '%s{"name": "%s", "seconds": %s, "outcome": "%s"}' "$comma" "$name" "$seconds" "$outcome"
      comma=', '
    done
    printf ']}\n'
  } >"$1"
}
