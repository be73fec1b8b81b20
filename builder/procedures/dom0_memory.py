"""dom0's memory: fixed at the start, by the documented sizing rule or as asked, and not under pressure afterwards."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from builder.model.host import Host
from builder.model.units import GIB, MIB, show_size
from builder.procedures.api import Dead, Drill, Evidence, Mebibytes, Options, Procedure, Refusal, holds, same
from builder.procedures.asking import ask, domains, fields, meminfo
from builder.procedures.boot import BootSettings, BootState, BootWay, Grub, XenCmdline

# What Xen keeps of a small machine for itself: measured on nested hosts of 4 GiB.
XEN_KEEPS = 256 * MIB
LEAST = 512 * MIB
"""Below this a Debian dom0 with Xen's daemons does not start dependably."""
ZFS_LEAST = 16 * GIB
PRESSURE = 0.1
"""Least part of dom0's memory that is to be available once it runs."""


class Asked(Options):
    size: Mebibytes | None = Field(None, description="dom0's memory, such as 2GiB; without it, by the sizing rule")
    zfs: bool = Field(False, description="dom0 serves ZFS, which takes half of its memory: the rule gives 16GiB")


def by_rule(total: int, *, zfs: bool) -> int:
    """The documented advice in bytes: 4GiB up to 64GiB of machine, 8GiB above; 16GiB with ZFS."""
    advised = 4 * GIB if total <= 64 * GIB else 8 * GIB
    return max(advised, ZFS_LEAST) if zfs else advised


class _Memory(BootWay[Asked]):
    name = "dom0-memory"

    def settle(self, host: Host, asked: Asked) -> Asked:
        if asked.size is not None:
            return asked
        total = int(fields(ask(host, "xl", "info"))["total_memory"]) * MIB
        return asked.model_copy(update={"size": by_rule(total, zfs=asked.zfs)})

    def settings(self, asked: Asked) -> BootSettings:
        size = f"{(asked.size or 0) // MIB}M"
        return BootSettings(xen_keys=("dom0_mem",), xen=(f"dom0_mem={size},max:{size}",))

    def survey(self, host: Host, asked: Asked) -> Mapping[str, str]:  # noqa: ARG002
        now = meminfo(host)
        return {
            "total": str(int(fields(ask(host, "xl", "info"))["total_memory"]) * MIB),
            "guests": str(sum(mib for name, _, mib in domains(host) if name != "Domain-0") * MIB),
            "used": str(now["MemTotal"] - now["MemAvailable"]),
            "zfs": "yes" if host.run(["test", "-d", "/proc/spl/kstat/zfs"]).ok else "no",
        }

    def sample_survey(self) -> Mapping[str, str]:
        sizes = {"total": 32 * GIB, "guests": 0, "used": 700 * MIB}
        return {"update-grub": "yes", "zfs": "no"} | {name: str(size) for name, size in sizes.items()}

    def judge(self, survey: Mapping[str, str], asked: Asked) -> tuple[Refusal, ...]:
        size, total = asked.size or 0, int(survey["total"])
        guests, used = int(survey["guests"]), int(survey["used"])
        found = []
        if size + XEN_KEEPS > total:
            found.append(Refusal(
                code="larger-than-host",
                message=f"dom0 cannot have {show_size(size)}: the host has {total // MIB}MiB, of which Xen needs "
                f"{XEN_KEEPS // MIB}MiB",
                hint=f"give a size of {(total - XEN_KEEPS) // MIB}MiB at most",
            ))  # fmt: skip
        elif size + XEN_KEEPS + guests > total:
            found.append(Refusal(
                code="no-room-for-guests",
                message=f"with {show_size(size)} for dom0 the {guests // MIB}MiB of guests that run now would not fit",
                hint="give dom0 less, or guests less",
            ))  # fmt: skip
        if size < LEAST:
            found.append(Refusal(
                code="too-small", message=f"dom0 does not start dependably with {show_size(size)}",
                hint=f"give it {show_size(LEAST)} or more; the documents advise 2GiB and more",
            ))  # fmt: skip
        elif used > size * (1 - PRESSURE):
            found.append(Refusal(
                code="in-use", message=f"dom0 uses {used // MIB}MiB now: {show_size(size)} would leave it none",
                hint=f"give it {int(used / (1 - PRESSURE)) // MIB + 1}MiB or more, or stop what runs in it",
            ))  # fmt: skip
        return tuple(found)

    def advice(self, state: BootState, asked: Asked) -> tuple[str, ...]:
        rule = by_rule(int(state.survey["total"]), zfs=asked.zfs or state.survey.get("zfs") == "yes")
        size = asked.size or 0
        if size >= rule:
            return ()
        least = ", and at least 2GiB in any case" if size < 2 * GIB else ""
        return (f"the documents advise {show_size(rule)} for dom0 on this host{least}; {show_size(size)} is asked for",)

    def seen(self, host: Host, asked: Asked) -> tuple[Evidence, ...]:
        size = asked.size or 0
        now = meminfo(host)
        total, available = now["MemTotal"], now["MemAvailable"]
        dom0 = next(mib for name, number, mib in domains(host) if number == 0)
        killed = [line for line in ask(host, "dmesg").splitlines() if "Out of memory" in line or "oom-kill" in line]
        return (
            same("memory of Domain-0 by xl list", f"{size // MIB}MiB", f"{dom0}MiB"),
            # the kernel's own image and tables are not in MemTotal
            holds("MemTotal of dom0's kernel", f"80 to 100 % of {size // MIB}MiB", f"{total // MIB}MiB",
                  0.8 * size <= total <= size),
            holds("no memory pressure: MemAvailable", f"{PRESSURE:.0%} of MemTotal or more", f"{available / total:.0%}",
                  available >= PRESSURE * total),
            holds("processes killed for want of memory", "none", killed[-1] if killed else "none", not killed),
        )  # fmt: skip


PROCEDURE = Procedure(
    name="dom0-memory",
    title="Memory of dom0",
    summary="dom0 starts with a fixed amount of memory and keeps it. Without `size` the documented rule decides: 4GiB "
    "on hosts of up to 64GiB, 8GiB on larger ones, 16GiB where dom0 serves ZFS.",
    options=Asked,
    ways={"xl": _Memory(Grub()), "xe": _Memory(XenCmdline())},
    sources=(
        "XCP-ng guide: Dom0 memory",
        "Debian wiki: Xen, Configure Domain 0 Memory",
        "openSUSE xen README: Dom0 Memory Ballooning",
        "xen-command-line(5): dom0_mem",
    ),
    refuses={
        "no-update-grub": "the host is no Debian host (plain Xen)",
        "larger-than-host": "the host has less memory than that, with what Xen keeps",
        "no-room-for-guests": "the guests that run would not fit beside it",
        "too-small": "dom0 would not start dependably",
        "in-use": "dom0 uses more than that now",
    },
    drill=Drill(options={"size": "1280MiB"}),
    dead=(
        Dead(
            says="(dom0-min-mem 1024) and (enable-dom0-ballooning no) in /etc/xen/xend-config.sxp",
            why="xend is gone since Xen 4.5: dom0_mem with max: and autoballoon=\"off\" in xl.conf take their place",
        ),
        Dead(
            says="kernel /boot/xen.gz dom0_mem=... in /boot/grub/menu.lst",
            why="GRUB legacy is gone; GRUB 2 reads /etc/default/grub and what lies in /etc/default/grub.d",
        ),
    ),
)  # fmt: skip
