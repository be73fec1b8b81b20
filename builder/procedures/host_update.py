"""All packages of a host up to date, its kernel and initrd with them; the kernel before stays on the boot menu."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from builder.errors import LabError
from builder.model.host import Host, World
from builder.procedures.api import (
    Action,
    Dead,
    Drill,
    Evidence,
    Options,
    Procedure,
    Reboot,
    Refusal,
    Remove,
    State,
    Way,
    Write,
    holds,
    run,
    same,
    unmet,
)  # fmt: skip
from builder.procedures.asking import ask, read_text
from builder.procedures.boot import GRUB_CFG
from builder.procedures.grubcfg import default_of, entry_of, hypervisor_of, menu_script, with_hypervisor

ENTRY = "nestlab-kernel-fallback"
TITLE = "The kernel before the update"
SCRIPT = "/etc/grub.d/43_nestlab-kernel-fallback"
DROP_IN = "/etc/default/grub.d/zz-nestlab-host-update.cfg"
_APT = ("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-y", "-q", "-o", "Dpkg::Options::=--force-confold")
_WHY = "a kernel is what the machine starts with"

# What apt would do, without doing it (`up NAME OLD NEW`, `new NAME`, `gone NAME`); the kernels in /boot, the last one
# last; and a package that a stop in the middle left unfinished.
_LOOK = r"""
apt-get -s -q dist-upgrade | sed -n \
  -e 's/^Inst \([^ ]*\) \[\([^]]*\)\] (\([^ ]*\).*/up \1 \2 \3/p' \
  -e 's/^Inst \([^ ]*\) (.*/new \1/p' -e 's/^Remv \([^ ]*\).*/gone \1/p'
ls /boot/vmlinuz-* | sed 's/.*vmlinuz-/kernel /' | sort -V
dpkg --audit | sed -n '/^ [a-z0-9]/s/^ \([^ ]*\).*/unfinished \1/p'
echo "room $(df -B1M --output=avail /boot | tail -1)"
"""
# What the initrd of a kernel is made for: the names of folders of modules in it.
_INITRD = 'lsinitramfs "/boot/initrd.img-$1" | sed -n "s|^\\(usr/\\)*lib/modules/\\([^/]*\\)/.*|\\2|p" | sort -u'


class Asked(Options):
    room: int = Field(200, ge=0, description="MiB that must be free in /boot, where the new kernel and its initrd go")


class UpdateState(State):
    """`pending`: package -> its new version; `kernels` the last one last; `entry` the text of what boots by itself."""

    passing: ClassVar[frozenset[str]] = frozenset(
        {"pending", "added", "gone", "kernels", "unfinished", "room", "entry", "default", "kept", "guarded"}
    )

    running: str
    pending: Mapping[str, str]
    added: tuple[str, ...]
    gone: tuple[str, ...]
    kernels: tuple[str, ...]
    unfinished: tuple[str, ...]
    room: int
    entry: str
    default: str
    kept: bool
    guarded: bool


class _Xl(Way[Asked, UpdateState]):
    state = UpdateState
    sample = UpdateState(
        running="6.12.1-amd64", pending={"linux-image-amd64": "6.12.2-1", "openssl": "3.5.2-1"},
        added=("linux-image-6.12.2-amd64",), gone=(), kernels=("6.12.1-amd64",), unfinished=(), room=1000,
        default="Debian GNU/Linux, with Xen hypervisor", kept=False, guarded=False,
        entry="menuentry 'Debian GNU/Linux, with Xen hypervisor' {\n"
        "\tmultiboot2\t/boot/xen-4.20-amd64.gz placeholder\n\tmodule2\t/boot/vmlinuz-6.12.1-amd64 placeholder\n"
        "\tmodule2\t--nounzip\t/boot/initrd.img-6.12.1-amd64\n}",
    )  # fmt: skip

    def look(self, host: Host, asked: Asked) -> UpdateState:  # noqa: ARG002
        if not host.run(["sh", "-c", "command -v apt-get && command -v update-grub"]).ok:
            raise LabError(f"{host.name} is no Debian host", hint="XCP-ng: yum update, on the pool's coordinator first")
        rows = [line.split() for line in ask(host, "sh", "-c", _LOOK, timeout=300).splitlines()]
        config = read_text(host, GRUB_CFG) or ""
        default = default_of(config) or "0"
        return UpdateState(
            running=ask(host, "uname", "-r").strip(),
            pending={row[1]: row[3] for row in rows if row[0] == "up"},
            added=_of(rows, "new"),
            gone=_of(rows, "gone"),
            kernels=_of(rows, "kernel"),
            unfinished=_of(rows, "unfinished"),
            room=int(next(iter(_of(rows, "room")), "0")),
            entry=entry_of(config, default),
            default=default,
            kept=read_text(host, SCRIPT) is not None,
            guarded=read_text(host, DROP_IN) is not None,
        )

    def refusals(self, state: UpdateState, asked: Asked) -> tuple[Refusal, ...]:
        xen = sorted(name for name in state.pending if re.match(r"xen-hypervisor-[0-9]", name))
        rules = (
            (not xen, "xen-pending", f"{' '.join(xen)} is among the updates: it would come with no way back",
             "nestlab procedure run LAB NODE xen-upgrade first"),
            (bool(hypervisor_of(state.entry)) or state.kept, "xen-not-default",
             f"what is booted by itself ({state.default}) starts no Xen", "make the entry with Xen the default first"),
            (not state.gone, "removes", f"apt would take away {' '.join(state.gone)}",
             "look why (apt-get -s dist-upgrade), and do that by hand"),
            (not state.unfinished, "unfinished", f"{' '.join(state.unfinished)} is half installed",
             "dpkg --configure -a finishes it"),
            (state.room >= asked.room, "no-room", f"/boot has {state.room}MiB free", "remove kernels not needed"),
        )  # fmt: skip
        return unmet(rules)

    def actions(self, state: UpdateState, asked: Asked) -> tuple[Action, ...]:  # noqa: ARG002
        latest = state.kernels[-1] if state.kernels else state.running
        if not state.pending and state.running == latest:
            return ()
        keep: tuple[Action, ...] = ()
        if not state.kept and not state.guarded:
            entry = with_hypervisor(state.entry, hypervisor_of(state.entry), title=TITLE, entry_id=ENTRY)
            keep = (Write(SCRIPT, menu_script(entry), mode=0o755),)
        guard = (Remove(DROP_IN),) if state.guarded else ()
        return (
            *keep,
            *guard,
            run(*_APT, "dist-upgrade", seconds=3600, hint="dpkg --configure -a, and run this again"),
            run("sh", "-c", 'update-initramfs -u -k "$(ls /boot/vmlinuz-* | sed s/.*vmlinuz-// | sort -V | tail -1)"',
                seconds=600),
            run("update-grub", seconds=120),
            Reboot(_WHY),
        )  # fmt: skip

    def undo(self, state: UpdateState, before: UpdateState, asked: Asked) -> tuple[Action, ...]:  # noqa: ARG002
        """Packages are not made old again: their sources have the new ones alone. The kernel before is booted."""
        if state.running == before.running:
            if not state.kept:
                return ()
            return (Remove(SCRIPT), Remove(DROP_IN), run("update-grub", seconds=120))
        guard = Write(DROP_IN, f"# Written by `nestlab procedure undo`: host-update.\nGRUB_DEFAULT={ENTRY}\n")
        return (guard, run("update-grub", seconds=120), Reboot(_WHY))

    def check(self, world: World, host: Host, asked: Asked) -> tuple[Evidence, ...]:  # noqa: ARG002
        now = self.look(host, asked)
        made_for = ask(host, "sh", "-c", _INITRD, "sh", now.running, timeout=300).split()
        return (
            same("packages that could be newer", "none", " ".join(sorted(now.pending)) or "none"),
            same("kernel that runs", now.kernels[-1], now.running),
            holds(
                "what its initrd has modules of",
                now.running,
                " ".join(made_for) or "nothing",
                made_for == [now.running],
            ),
            same("xl answers", True, host.run(["xl", "list"]).ok),
        )


def _of(rows: list[list[str]], kind: str) -> tuple[str, ...]:
    return tuple(row[1] for row in rows if row[:1] == [kind] and len(row) > 1)


PROCEDURE = Procedure(
    name="host-update",
    title="A host up to date, its kernel and initrd with it",
    summary="Every package becomes the newest that the host's sources have, the newest kernel's initrd is made anew, "
    "and the host restarts into it. The boot entry with the kernel before stays. Undone, that kernel runs again, and "
    "boots by itself; packages stay, as no source has the old ones.",
    options=Asked,
    ways={"xl": _Xl()},
    sources=("Debian wiki: Xen, Upgrading/transition", "NetBSD Xen HowTo: Updating NetBSD in a dom0", "apt-get(8)"),
    refuses={
        "xen-pending": "a new hypervisor is among the updates: xen-upgrade keeps the old one",
        "xen-not-default": "what the host boots by itself starts no Xen",
        "removes": "packages would be taken away",
        "unfinished": "a package is half installed",
        "no-room": "/boot has no room for another kernel",
    },
    drill=Drill(reason="it needs a host whose sources have something newer than it; what they have changes by the day"),
    dead=(
        Dead(
            says="update the non-Xen kernel for rescue purposes as well",
            why="on Debian it is one kernel: it starts with Xen below it or without",
        ),
        Dead(
            says="dracut --force by hand after each update, with a list of options",
            why="packages do it by themselves, with the settings in /etc/dracut.conf.d or /etc/initramfs-tools",
        ),
    ),
)
