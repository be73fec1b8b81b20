#!/usr/bin/env bash
# From a fresh Debian 12 or 13 to a verified Xen host, in one go. Run it again at any time: what is there is used,
# and with everything there nothing is asked of the network.
#   bash ci/quickstart.sh [LAB]        LAB: a lab file, labs/debian-dom0.yaml unless given
# Ubuntu 24.04: set NESTLAB_DEBIAN_MIRROR to the Debian mirror that images are made from.
set -euo pipefail
# shellcheck source=ci/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case "${1:-}" in
-h | --help)
  sed -n '2,5s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
  exit 0
  ;;
esac
[ $# -le 1 ] || die 2 "too many arguments" "bash ci/quickstart.sh [LAB]"
if [ $# = 1 ]; then lab=$(realpath -e -- "$1" 2>/dev/null) || die 2 "there is no lab file $1"; else lab=$ROOT/labs/debian-dom0.yaml; fi
[ -f "$lab" ] || die 2 "there is no lab file $lab"

# The line that says where it stopped; the cause was told above it.
finish() {
  local status=$?
  [ "$status" = 0 ] || say "quickstart stopped with status $status. Once the cause is gone, run it again: it goes on from there."
}
trap finish EXIT

nestlab() { "$VENV/bin/nestlab" "$@"; }

ssh_line() {
  nestlab status "$lab" -o json | "$VENV/bin/python" -c '
import json, shlex, sys
for node in json.load(sys.stdin)["nodes"]:
    if ssh := node.get("ssh"):
        options = ["-o", "UserKnownHostsFile=" + ssh["known_hosts"]] if ssh.get("known_hosts") else []
        options += ["-o", "HostKeyAlias=" + ssh["host_key_alias"]] if ssh.get("host_key_alias") else []
        print("  " + shlex.join(["ssh", "-i", ssh["identity_file"], *options, "-p", str(ssh["port"]), ssh["user"] + "@" + ssh["host"]]))
'
}

require_known_os /etc/os-release
say "nestlab on $OS_TITLE: system packages (if any are missing), a Python environment in $VENV,"
say "then the lab $lab is built, started and tested."
must packages prepare_system run
must python make_venv
must doctor nestlab doctor "$lab"
must up nestlab up "$lab"
must test nestlab test "$lab"
phase_json "$OUT/quickstart.json"

heading "done"
phase_table
printf '\nThe lab is up. To log in, either of\n  %s\n' "$(printf '%q ' "$VENV/bin/nestlab" ssh "$lab")"
ssh_line
printf 'To take it down\n  %s\n' "$(printf '%q ' "$VENV/bin/nestlab" down "$lab")"
