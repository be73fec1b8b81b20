"""Xen talks: log levels of the hypervisor and of guests, no restart after a crash, debug keys read back."""

from __future__ import annotations

import re

from pydantic import Field

from builder.model.host import Host
from builder.procedures.api import Dead, Drill, Evidence, Options, Procedure, holds
from builder.procedures.asking import ask
from builder.procedures.boot import BootSettings, BootWay, Grub, XenCmdline

LEVEL = r"^(none|error|warning|info|debug|all)(/(none|error|warning|info|debug|all))?$"


class Asked(Options):
    loglvl: str = Field("all", pattern=LEVEL, description="what Xen logs of itself: none to all")
    guest_loglvl: str = Field("all", pattern=LEVEL, description="what Xen logs of guests")
    noreboot: bool = Field(True, description="after a crash the machine stands still, so that the console can be read")


class _Debug(BootWay[Asked]):
    name = "debug-mode"

    def settings(self, asked: Asked) -> BootSettings:
        noreboot = ("noreboot",) if asked.noreboot else ()
        return BootSettings(
            xen_keys=("loglvl", "guest_loglvl", "noreboot"),
            xen=(f"loglvl={asked.loglvl}", f"guest_loglvl={asked.guest_loglvl}", *noreboot),
        )

    def seen(self, host: Host, asked: Asked) -> tuple[Evidence, ...]:  # noqa: ARG002
        return (
            _key(host, "h", r"^\(XEN\).*'h' pressed -> showing installed handlers", "the list of debug keys"),
            _key(host, "q", r"^\(XEN\).*General information for domain 0", "what Xen knows of every domain"),
        )


def _key(host: Host, key: str, answer: str, what: str) -> Evidence:
    """Presses a debug key and looks whether its answer is in what Xen's log has got since."""
    before = ask(host, "xl", "dmesg")
    ask(host, "xl", "debug-keys", key)
    said = _since(before, ask(host, "xl", "dmesg"))
    last = next((line for line in reversed(said.splitlines()) if re.search(answer, line)), "nothing")
    return holds(f"debug key {key}: {what} in xl dmesg", "an answer", last, last != "nothing")


def _since(before: str, after: str) -> str:
    """What a log has got. It is a ring: as much as came at its end may have gone at its start."""
    kept = next((before[start:] for start in range(len(before)) if after.startswith(before[start:])), "")
    return after[len(kept) :]


PROCEDURE = Procedure(
    name="debug-mode",
    title="Debug mode of Xen",
    summary="Xen logs everything of itself and of guests and does not restart after a crash. What `xl debug-keys` asks "
    "for is read back with `xl dmesg`.",
    options=Asked,
    ways={"xl": _Debug(Grub()), "xe": _Debug(XenCmdline())},
    sources=(
        "openSUSE xen README: Troubleshooting",
        "Debian wiki: Xen, Enable Serial Console",
        "xen-command-line(5): loglvl, guest_loglvl, noreboot",
    ),
    refuses={
        "no-update-grub": "the host is no Debian host (plain Xen)",
    },
    drill=Drill(options={"loglvl": "debug", "guest_loglvl": "info"}),
    dead=(
        Dead(
            says="replace xen-VERSION.gz by xen-dbg-VERSION.gz in /boot/grub2/grub.cfg by hand",
            why="the next update of the boot menu undoes it; where a debug hypervisor is packaged it has an entry of "
            "its own, and Debian packages none",
        ),
        Dead(
            says="kernel /boot/xen-dbg.gz noreboot loglvl=all in menu.lst",
            why="GRUB legacy is gone, and so is its menu.lst",
        ),
    ),
)
