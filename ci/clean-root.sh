#!/usr/bin/env bash
# Shows that a fresh system is enough: bootstraps Debian with git and nothing else, clones HEAD into it and runs there.
#   bash ci/clean-root.sh 12|13 quickstart     from nothing to the green summary; again; again without network
#   bash ci/clean-root.sh 12|13 test           all tests
#   bash ci/clean-root.sh 12|13 -- CMD...      any command, in the clone
# Needs root and mmdebstrap. The root is made below $TMPDIR (/var/tmp) and removed at the end, unless NESTLAB_KEEP_ROOT=1.
# Package sources, proxy, certificates and pip settings are this host's, copied in; the network is this host's.
set -euo pipefail
# shellcheck source=ci/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() { die 2 "$1" "bash ci/clean-root.sh 12|13 quickstart|test|-- CMD..."; }
[ $# -ge 2 ] || usage "a release and what to run are needed"
release=$1 what=$2
shift 2
case "$release" in 12) suite=bookworm ;; 13) suite=trixie ;; *) usage "there is no release '$release'" ;; esac
case "$what" in quickstart | test) ;; --) [ $# -gt 0 ] || usage "no command" ;; *) usage "cannot run '$what'" ;; esac
[ "$(id -u)" = 0 ] || die 3 "a root can only be made by root" "sudo bash ci/clean-root.sh $release $what"
command -v mmdebstrap >/dev/null || die 3 "mmdebstrap is not installed" "apt-get install mmdebstrap"

# Everything goes on in a mount and a process namespace of its own: whatever happens, no mount and no process stays.
if [ -z "${NESTLAB_INSIDE:-}" ]; then
  base=$(mktemp -d "${TMPDIR:-/var/tmp}/nestlab-clean-$release.XXXXXX")
  status=0 child=''
  # unshare ignores the gentle signals; with its end everything inside is killed.
  finish() {
    [ -z "$child" ] || kill -KILL "$child" 2>/dev/null || true
    wait
    if [ "${NESTLAB_KEEP_ROOT:-}" = 1 ]; then say "the root is kept in $base"; else rm -rf --one-file-system "$base"; fi
  }
  trap finish EXIT
  trap 'exit 130' INT TERM HUP
  NESTLAB_INSIDE=$base unshare --mount --pid --fork --kill-child --propagation private -- \
    bash "${BASH_SOURCE[0]}" "$release" "$what" "$@" &
  child=$!
  wait "$child" || status=$?
  child=''
  exit "$status"
fi
base=$NESTLAB_INSIDE
root=$base/root
clone_name="a clone" # with a space: paths must be quoted everywhere
clone=/root/$clone_name/nestlab

# The host's own sources of Debian, rewritten to the release that is wanted. Other sources are left out.
debian_sources() {
  if [ -n "${NESTLAB_DEBIAN_MIRROR:-}" ]; then
    printf 'deb %s %s main\n' "$NESTLAB_DEBIAN_MIRROR" "$suite"
    return
  fi
  local here
  here=$(. /etc/os-release && printf '%s' "$VERSION_CODENAME")
  # shellcheck disable=SC2016 # apt's own placeholders
  apt-get indextargets --format '$(ORIGIN)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)' 'Created-By: Packages' |
    awk -F '|' -v here="$here" -v suite="$suite" '
      $1 == "Debian" && index($3, here) == 1 {sub(here, suite, $3); line = "deb " $2 " " $3 " " $4; if (!seen[line]++) print line}'
}

copy_in() { # the same path inside, when it exists here
  local path
  for path in "$@"; do
    [ -e "$path" ] || continue
    mkdir -p "$root$(dirname "$path")"
    cp -aL "$path" "$root$path"
  done
}

bootstrap() {
  local sources name
  sources=$(debian_sources)
  [ -n "$sources" ] || die 3 "no source of Debian $release is known" "export NESTLAB_DEBIAN_MIRROR=http://YOUR.MIRROR/debian"
  say "$sources"
  printf '%s\n' "$sources" >"$base/sources.list"
  mkdir -p "$base/apt"
  # What this host says about getting at packages (proxy, retries, clock), and nothing else of its apt settings.
  apt-config dump | grep '^Acquire::' | grep -v '^Acquire::\(IndexTargets\|Languages\|Changelogs\|CompressionTypes\)' >"$base/apt/90host" || true
  TMPDIR=$base mmdebstrap --quiet --mode=root --variant=minbase --include=git --aptopt="$base/apt/90host" "$suite" "$root" "$base/sources.list"
  copy_in /etc/apt/auth.conf /etc/apt/auth.conf.d /etc/resolv.conf /etc/hosts /etc/pip.conf /root/.config/pip/pip.conf \
    /root/.pip/pip.conf /usr/local/share/ca-certificates /etc/ssl/certs/ca-certificates.crt
  for name in "${PIP_CERT:-}" "${SSL_CERT_FILE:-}" "${REQUESTS_CA_BUNDLE:-}"; do [ -z "$name" ] || copy_in "$name"; done
}

mounts() {
  mount --bind "$root" "$root"
  mount -t proc proc "$root/proc"
  mount --rbind /sys "$root/sys"
  mount --rbind /dev "$root/dev" # loop devices and kvm, as the host has them
  # As the release has it: Debian 13 keeps /tmp in memory.
  [ "$release" = 12 ] || mount -t tmpfs -o mode=1777,size=50% tmpfs "$root/tmp"
  mount -t tmpfs -o mode=755 tmpfs "$root/run"
}

clone_head() {
  mkdir -p "$root$(dirname "$clone")"
  git -c advice.detachedHead=false clone --quiet --no-hardlinks "$ROOT" "$root$clone"
  git -C "$root$clone" checkout --quiet --detach "$(git -C "$ROOT" rev-parse HEAD)"
}

# inside CMD...: in the root, with a clean environment but for what leads to the network.
inside() {
  local name keep=()
  for name in "${!PIP_@}" "${!NESTLAB_@}" http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY SSL_CERT_FILE \
    SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE; do
    case "$name" in NESTLAB_INSIDE | NESTLAB_KEEP_ROOT | PIP_REQUIRE_VIRTUALENV) continue ;; esac
    [ -z "${!name:-}" ] || keep+=("$name=${!name}")
  done
  chroot "$root" /usr/bin/env -i -C / HOME=/root USER=root LOGNAME=root SHELL=/bin/bash TERM="${TERM:-dumb}" LANG=C.UTF-8 \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "${keep[@]}" "$@" </dev/null
}

fresh() { inside bash "$clone/ci/quickstart.sh"; }
down() { inside "$clone/.venv/bin/nestlab" down "$clone/labs/debian-dom0.yaml"; }
# shellcheck disable=SC2016 # expanded inside
offline() {
  inside bash "$clone/ci/offline.sh" bash -c \
    'bash "$0/ci/quickstart.sh" && "$0/.venv/bin/nestlab" down "$0/labs/debian-dom0.yaml"' "$clone"
}

# What was made inside is kept, whatever the end.
finish() {
  local status=$? results=$OUT/clean-root-$release
  mkdir -p "$results"
  [ ! -d "$root$clone/ci/out" ] || cp -r "$root$clone/ci/out/." "$results/"
  phase_json "$results/clean-root.json"
  heading "Debian $release, $what: status $status"
  phase_table >&2
}
trap finish EXIT

must bootstrap bootstrap
mounts
must clone clone_head
case "$what" in
quickstart)
  must fresh fresh
  must again fresh
  must down down
  must offline offline
  ;;
test) must test inside bash "$clone/ci/test.sh" ;;
--) must command inside env -C "$clone" "$@" ;;
esac
