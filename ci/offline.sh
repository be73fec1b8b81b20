#!/usr/bin/env bash
# Runs a command where there is no network but loopback, to show that it needs none:
#   bash ci/offline.sh CMD...
# As root at once, else through sudo; the command itself runs as the caller.
set -euo pipefail
# shellcheck source=ci/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[ $# -gt 0 ] || die 2 "what is to be run?" "bash ci/offline.sh CMD..."
command -v ip >/dev/null || PATH=$PATH:/usr/sbin:/sbin
command -v ip >/dev/null || die 3 "ip is not installed: it brings loopback up" "apt-get install iproute2"

# shellcheck disable=SC2016 # expanded by the inner shell
inside='
set -eu
ip link set lo up
if ip -o link show | grep -qv "^[0-9]*: lo:"; then echo "error: there is more than loopback here" >&2; exit 1; fi
uid=$1 gid=$2; shift 2
[ "$uid" = 0 ] || exec setpriv --reuid "$uid" --regid "$gid" --init-groups -- "$@"
exec "$@"'
if [ "$(id -u)" = 0 ]; then
  exec unshare --net -- sh -c "$inside" offline 0 0 "$@"
fi
require_root_rights
exec sudo --preserve-env -- unshare --net -- sh -c "$inside" offline "$(id -u)" "$(id -g)" "$@"
