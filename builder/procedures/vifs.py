"""Interfaces of guests in dom0: those that are there, and a made-up one that xl's scripts are tried with."""

from __future__ import annotations

from builder.model.host import Host

SCRIPTS = "/etc/xen/scripts"
SCRIPT_KEY = "vif.default.script"
GATEWAY_KEY = "vif.default.gatewaydev"
BRIDGE_KEY = "vif.default.bridge"

EACH = r"""
each_vif() {
  for path in /sys/class/net/vif* /sys/bus/xen-backend/devices/vif-*/net/*; do
    [ ! -e "$path" ] || echo "${path##*/}"
  done | sort -u
}
"""
"""Shell: `each_vif` prints the interfaces of guests, also those that a guest's configuration calls by another name."""

FORWARDED = r"""
asked() {
  grep -qs '^ *-\{0,1\}net[./]ipv4[./]ip_forward *= *1' /etc/sysctl.conf /etc/sysctl.d/*.conf /run/sysctl.d/*.conf \
    /usr/local/lib/sysctl.d/*.conf /usr/lib/sysctl.d/*.conf && return
  grep -ls 'ip_forward=1' /etc/systemd/system/nestlab-bridge-*.service | grep -qvxF "$1"
}
"""
"""Shell: `asked UNIT` says whether settings that are read at each start, or other bridges than that of this unit, want
the host to forward packets."""

PROBE = "vif32000.9"
"""The interface that is made up: no guest has such a number."""

# $1 script, $2 what to route by, then KEY VALUE... of the interface in xenstore. The script is run as libxl does it,
# the shell code on stdin before it takes the interface away.
_TRY = r"""
vif=@VIF@ path=/nestlab-probe
script=$1 netdev=$2
shift 2
look=$(cat)
ip link add name "$vif" type veth peer name nestlab-probe || exit 1
trap 'ip link delete dev "$vif"; xenstore-rm "$path"; xenstore-rm /local/domain/32000' EXIT
xenstore-write "$path/frontend-id" 32000
while [ $# -gt 1 ]; do xenstore-write "$path/$1" "$2"; shift 2; done
export vif netdev script XENBUS_PATH=$path XENBUS_TYPE=vif XENBUS_BASE_PATH=backend
"$script" online type_if=vif >/dev/null 2>&1
echo "status=$(xenstore-read "$path/hotplug-status" 2>/dev/null)"
echo "error=$(xenstore-read "$path/hotplug-error" 2>/dev/null | head -n 1)"
eval "$look"
"$script" offline type_if=vif >/dev/null 2>&1
:
""".replace("@VIF@", PROBE)


def try_script(host: Host, script: str, look: str, *, gateway: str = "", **settings: str) -> dict[str, str]:
    """What came of an interface that the script was run for, and taken away again with. `look` is shell that prints
    more lines `name=value`, with the interface's name in $vif; `settings` are what the guest's configuration says."""
    words = [word for pair in settings.items() for word in pair]
    done = host.run(["sh", "-c", _TRY, "sh", f"{SCRIPTS}/{script}", gateway, *words], stdin=look.encode(), timeout=600)
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


def told(tried: dict[str, str]) -> str:
    """What the script told xl: `connected`, or why not."""
    return tried.get("error") or tried.get("status") or "nothing"
