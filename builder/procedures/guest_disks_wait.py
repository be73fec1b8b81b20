"""Guests that are started with their host, once the disks of one of them are there: slow arrays, iSCSI, NFS come late.

A service of the guest's own before xendomains.service, which starts all guests: those of several guests wait at the
same time, and what they take does not count as time of xendomains.service, which is limited. When a disk does not come,
the service fails and says so; xendomains.service is started all the same, and with it the other guests.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence

from builder.model.host import Host
from builder.model.lab import Value
from builder.procedures.api import Action, Evidence, as_it_was, holds, run, same
from builder.procedures.asking import ask, read_text

XENDOMAINS = "xendomains.service"
MARGIN = 30
"""Seconds beyond the wait before systemd ends it: what lies on a network that is gone may not even be looked for."""
SCRIPT = r"""#!/bin/sh
# Written by `nestlab procedure run`: guest-autostart. Waits for the disks of a guest: $1 its name, $2 seconds, then the
# disks.
guest=$1 seconds=$2
shift 2
now() { cut -d. -f1 /proc/uptime; }
# An array that is put together and not started has a device, of no size.
there() {
  path=$(timeout 2 readlink -f -- "$1") && timeout 2 test -e "$path" || return 1
  size=/sys/class/block/${path##*/}/size
  [ ! -b "$path" ] || [ ! -e "$size" ] || [ "$(cat "$size")" != 0 ]
}
end=$(($(now) + seconds))
told=''
while :; do
  missing=''
  for disk in "$@"; do
    there "$disk" || missing="$missing $disk"
  done
  [ -n "$missing" ] || break
  if [ "$(now)" -ge "$end" ]; then
    echo "$guest: not there after $seconds seconds:$missing" >&2
    exit 1
  fi
  [ -n "$told" ] || echo "$guest: waiting for$missing"
  told=yes
  sleep 1
done
echo "$guest: all its disks are there"
"""


class Wait(Value):
    """What there is of it: the texts of its two files, and whether xendomains.service asks for it. `stale`: what
    systemd has loaded is older than these."""

    unit: str | None = None
    script: str | None = None
    enabled: bool = False
    stale: bool = False

    def __str__(self) -> str:
        """Short enough for a line: which texts they are."""
        if self == Wait():
            return "none"
        texts = ", ".join(hashlib.sha256(text.encode()).hexdigest()[:8] if text else "none"
                          for text in (self.unit, self.script))  # fmt: skip
        return f"service and script {texts}, {'enabled' if self.enabled else 'disabled'}{', not loaded' * self.stale}"


def unit_name(guest: str) -> str:
    return f"nestlab-disks-{guest}.service"


def unit_path(guest: str) -> str:
    return f"/etc/systemd/system/{unit_name(guest)}"


def script_path(guest: str) -> str:
    return f"/etc/nestlab-disks-{guest}.sh"


def disks_in(host: Host, config: str) -> tuple[str, ...]:
    """The files and devices of this host that a configuration names as disks, as xl reads it without starting anything;
    none when it cannot. Names that a script makes something of, and paths of a driver domain, are none."""
    shown = host.run(["xl", "create", "--dryrun", "--quiet", config])
    rows = json.loads(shown.stdout).get("disks", ()) if shown.ok else ()
    elsewhere = ("script", "backend_domid", "backend_domname")
    own = (row.get("pdev_path") or "" for row in rows if not any(row.get(key) for key in elsewhere))
    return tuple(dict.fromkeys(path for path in own if path.startswith("/")))


def look(host: Host, guest: str) -> Wait:
    unit = read_text(host, unit_path(guest))
    enabled = unit is not None and host.run(["systemctl", "-q", "is-enabled", unit_name(guest)]).ok
    stale = unit is not None and is_stale(host, unit_name(guest))
    return Wait(unit=unit, script=read_text(host, script_path(guest)), enabled=enabled, stale=stale)


def is_stale(host: Host, unit: str) -> bool:
    """Whether systemd has not read a unit's files since they changed: who wrote them may have been broken off."""
    return host.run(["systemctl", "show", "-p", "NeedDaemonReload", unit]).stdout.strip() == "NeedDaemonReload=yes"


def wanted(guest: str, seconds: int, disks: Sequence[str]) -> Wait:
    """Nothing for no seconds."""
    return Wait(unit=_unit(guest, seconds, disks), script=SCRIPT, enabled=True) if seconds else Wait()


def changes(guest: str, now: Wait, then: Wait) -> tuple[Action, ...]:
    """What leads from one to the other."""
    if now == then:
        return ()
    files = ((script_path(guest), now.script, then.script), (unit_path(guest), now.unit, then.unit))
    off = (run("systemctl", "disable", unit_name(guest), seconds=120),) if now.enabled and not then.enabled else ()
    on = (run("systemctl", "enable", unit_name(guest), seconds=120),) if then.enabled and not now.enabled else ()
    written = (as_it_was(path, after) for path, before, after in files if before != after)
    return (*off, *written, run("systemctl", "daemon-reload", seconds=120), *on)


def check(host: Host, guest: str, seconds: int, disks: Sequence[str]) -> tuple[Evidence, ...]:
    """What systemd makes of it; and the service itself, which has nothing to wait for while the guest runs."""
    name = unit_name(guest)
    shown = ask(host, "systemctl", "show", "-p", "Wants", "-p", "After", XENDOMAINS).splitlines()
    asked_for = all(name in words.partition("=")[2].split() for words in shown) and len(shown) == 2
    begun = re.search(r"argv\[\]=(.*?) ; ", ask(host, "systemctl", "show", "-p", "ExecStart", name))
    waits = " ".join(["/bin/sh", script_path(guest), guest, str(seconds), *disks])
    seen = begun[1] if begun else "nothing"
    done = host.run(["systemctl", "start", name], timeout=seconds + MARGIN + 60)
    return (
        same(f"{XENDOMAINS} asks for the wait and begins after it", True, asked_for),
        holds("what systemd begins for it", waits, seen, _bare(seen) == _bare(waits)),
        same("it ends well while the disks are there", True, done.ok),
    )


def _bare(command: str) -> str:
    """systemd shows words with quotes or without, by its version."""
    return re.sub(r"[\"\\$]", "", command)


def _unit(guest: str, seconds: int, disks: Sequence[str]) -> str:
    """After what brings network storage: the seconds are counted from there. Not where the machine runs without Xen."""
    words = " ".join([guest, str(seconds), *map(_quoted, disks)])
    return (
        "# Written by `nestlab procedure run`: guest-autostart.\n"
        f"[Unit]\nDescription=Disks of the guest {guest}\nConditionPathExists=/sys/hypervisor/type\n"
        f"After=remote-fs.target iscsi.service open-iscsi.service\nBefore={XENDOMAINS}\n\n"
        f"[Service]\nType=oneshot\nTimeoutStartSec={seconds + MARGIN}\n"
        f"ExecStart=/bin/sh {script_path(guest)} {words}\n\n"
        f"[Install]\nWantedBy={XENDOMAINS}\n"
    )


def _quoted(path: str) -> str:
    """A word of a unit's command: systemd.service(5), COMMAND LINES."""
    plain = path.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + plain.replace("%", "%%").replace("$", "$$") + '"'
