"""Guest tools in a FreeBSD, pfSense or OPNsense guest: the host sees what runs in it, and it shuts down when asked."""

from __future__ import annotations

import shlex
from abc import abstractmethod
from typing import ClassVar

from pydantic import Field

from builder.model.host import Host, World
from builder.procedures import xe
from builder.procedures.api import (
    Action,
    Dead,
    Drill,
    Evidence,
    Options,
    Procedure,
    Refusal,
    State,
    Way,
    holds,
    run,
    same,
)  # fmt: skip
from builder.procedures.asking import domains

PACKAGE = "xe-guest-utilities"
SERVICE = "/usr/local/etc/rc.d/xenguest"
LINK = f"{SERVICE}.sh"
CONF = "/etc/rc.conf.local"
# What the guest says of itself, one word a line. On one line itself: root's shell there may be csh.
_ASK = "; ".join((
    "uname -s",
    f"pkg info -e {PACKAGE} && echo installed",
    f"[ -e {LINK} ] && echo link",
    f'[ "$(sysrc -f {CONF} -n -i xenguest_enable 2>/dev/null)" = YES ] && echo enabled',
    "service xenguest onestatus >/dev/null 2>&1 && echo runs",
    ":",
))  # fmt: skip


class Asked(Options):
    guest: str = Field(pattern=r"^[A-Za-z0-9_.:-]+$", description="the guest's name (xe: or uuid)")
    address: str = Field(
        pattern=r"^[A-Za-z0-9_.:-]+$", description="where its ssh answers, and lets the host's root in by its key"
    )


class ToolState(State):
    """`system` is what the guest says it is, empty when it does not answer; the rest is what it has of the tools."""

    passing: ClassVar[frozenset[str]] = frozenset({"system", "runs"})

    system: str
    installed: bool
    link: bool
    enabled: bool
    runs: bool


class _Tools(Way[Asked, ToolState]):
    state = ToolState
    sample = ToolState(system="FreeBSD", installed=False, link=False, enabled=False, runs=False)

    @abstractmethod
    def number(self, host: Host, guest: str) -> int | None:
        """The running guest's domain, None when it does not run."""

    def look(self, host: Host, asked: Asked) -> ToolState:
        answer = host.run(_ssh(asked, _ASK), timeout=120)
        words = answer.stdout.split() if answer.ok else []
        has = {name: name in words[1:] for name in ("installed", "link", "enabled", "runs")}
        return ToolState(system=words[0] if words else "", **has)

    def refusals(self, state: ToolState, asked: Asked) -> tuple[Refusal, ...]:
        if not state.system:
            return (Refusal(code="no-ssh", message=f"{asked.address} does not let the host's root in by ssh",
                            hint="put the host's public key into the guest's /root/.ssh/authorized_keys"),)  # fmt: skip
        if state.system != "FreeBSD":
            return (Refusal(code="other-system", message=f"{asked.guest} is {state.system}, not FreeBSD or made of it",
                            hint="Linux has its drivers; its tools come with its own packages"),)  # fmt: skip
        return ()

    def actions(self, state: ToolState, asked: Asked) -> tuple[Action, ...]:
        steps = (
            (state.installed, f"env ASSUME_ALWAYS_YES=yes pkg install -y {PACKAGE}", 900),
            (state.enabled, f"sysrc -f {CONF} xenguest_enable=YES", 60),
            # pfSense and OPNsense start what ends in .sh there
            (state.link, f"ln -sf {SERVICE} {LINK}", 60),
            (state.runs, "service xenguest onestart", 120),
        )
        return tuple(run(*_ssh(asked, script), seconds=seconds) for done, script, seconds in steps if not done)

    def undo(self, state: ToolState, before: ToolState, asked: Asked) -> tuple[Action, ...]:
        steps = (
            (state.runs and not before.runs, "service xenguest onestop"),
            (state.link and not before.link, f"rm -f {LINK}"),
            (state.enabled and not before.enabled, f"sysrc -f {CONF} -x xenguest_enable"),
            (state.installed and not before.installed, f"env ASSUME_ALWAYS_YES=yes pkg delete -y {PACKAGE}"),
        )
        return tuple(run(*_ssh(asked, script), seconds=300) for todo, script in steps if todo)

    def check(self, world: World, host: Host, asked: Asked) -> tuple[Evidence, ...]:  # noqa: ARG002
        """What the tools write is read on the host, from xenstore."""
        number = self.number(host, asked.guest)
        loop = 'for i in $(seq 60); do now=$(xenstore-list "$1" 2>/dev/null); [ -z "$now" ] || break; sleep 1; done'
        key = f"/local/domain/{number}/attr/PVAddons"
        told = (
            host.run(["sh", "-c", f"{loop}; echo $now", "sh", key], timeout=600).stdout.strip()
            if number is not None
            else ""
        )
        return (
            same(f"{asked.guest} runs", True, number is not None),
            holds("versions of the tools, in xenstore", "some", told or "nothing", bool(told)),
            same("they start with the guest", True, (now := self.look(host, asked)).enabled and now.link),
        )


def _ssh(asked: Asked, script: str) -> list[str]:
    options = ("-o", "BatchMode=yes", "-o", "ConnectTimeout=20", "-o", "StrictHostKeyChecking=accept-new")
    return ["ssh", *options, f"root@{asked.address}", f"sh -c {shlex.quote(script)}"]


class _Xl(_Tools):
    def number(self, host: Host, guest: str) -> int | None:
        return next((number for name, number, _ in domains(host) if name == guest), None)


class _Xe(_Tools):
    def number(self, host: Host, guest: str) -> int | None:
        number = xe.param(host, "vm", xe.vm(host, guest), "dom-id")
        return int(number) if number.isdigit() else None


PROCEDURE = Procedure(
    name="guest-tools",
    title="Guest tools in FreeBSD, pfSense and OPNsense",
    summary="The package is installed in the guest, by ssh from the host, started, and started with it from now on. "
    "What it writes is seen on the host.",
    options=Asked,
    ways={"xl": _Xl(), "xe": _Xe()},
    sources=("XCP-ng guide: pfSense / OPNsense VM", "FreeBSD: sysutils/xe-guest-utilities, sysrc(8)"),
    refuses={
        "no-ssh": "the guest does not let the host's root in",
        "other-system": "the guest is no FreeBSD, nor made of it",
    },
    drill=Drill(options={"guest": "router", "address": "192.0.2.1"}, reason="it needs a FreeBSD guest with a network"),
    dead=(
        Dead(
            says="echo 'xenguest_enable=\"YES\"' >> /etc/rc.conf.local",
            why="each time it is done there is one more line: sysrc writes the same one once",
        ),
    ),
    subject="guest",
)
