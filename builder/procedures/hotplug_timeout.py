"""SUSE hosts: more time for a guest's many disks to be prepared before its start is given up."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from builder.model.host import Host, World
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
    Write,
    as_it_was,
    run,
    same,
)  # fmt: skip
from builder.procedures.asking import families, read_text

UNIT = "xen-LIBXL_HOTPLUG_TIMEOUT.service"
KEY = "/libxl/suse/per-device-LIBXL_HOTPLUG_TIMEOUT"
PATH = f"/etc/systemd/system/{UNIT}"


class Asked(Options):
    seconds: int = Field(10, ge=1, le=3600, description="time for each disk; libxl has 40 seconds for all of a guest's")


class _State(State):
    """`unit` is the host's own file, which has the place of the packaged one; `key` what xenstore holds."""

    passing: ClassVar[frozenset[str]] = frozenset({"suse"})

    unit: str | None
    enabled: bool
    key: str
    suse: bool


class _Xl(Way[Asked, _State]):
    state = _State
    sample = _State(unit=None, enabled=False, key="", suse=True)

    def look(self, host: Host, asked: Asked) -> _State:  # noqa: ARG002
        return _State(
            unit=read_text(host, PATH),
            enabled=host.run(["systemctl", "-q", "is-enabled", UNIT]).ok,
            key=_key(host),
            suse="suse" in families(host),
        )

    def refusals(self, state: _State, asked: Asked) -> tuple[Refusal, ...]:  # noqa: ARG002
        if state.suse:
            return ()
        return (Refusal(code="not-suse", message="this is no SUSE host: its libxl does not read the key",
                        hint="the 40 seconds are compiled in elsewhere: fewer disks, or quicker ones"),)  # fmt: skip

    def actions(self, state: _State, asked: Asked) -> tuple[Action, ...]:
        unit = _unit(asked.seconds)
        if (state.unit, state.enabled, state.key) == (unit, True, str(asked.seconds)):
            return ()
        return (
            *(() if state.unit == unit else (Write(PATH, unit), run("systemctl", "daemon-reload", seconds=120))),
            run("systemctl", "enable", UNIT, seconds=120),
            run("systemctl", "restart", UNIT, seconds=120),
        )

    def undo(self, state: _State, before: _State, asked: Asked) -> tuple[Action, ...]:  # noqa: ARG002
        todo: list[Action] = []
        if state.enabled and not before.enabled:
            todo += [run("systemctl", "disable", UNIT, seconds=120), run("systemctl", "stop", UNIT, seconds=120)]
        if state.unit != before.unit:
            todo += [as_it_was(PATH, before.unit)]
            todo.append(run("systemctl", "daemon-reload", seconds=120))
        if state.key != before.key:
            todo.append(run("xenstore-write", KEY, before.key) if before.key else run("xenstore-rm", KEY))
        return tuple(todo)

    def check(self, world: World, host: Host, asked: Asked) -> tuple[Evidence, ...]:  # noqa: ARG002
        return (
            same(f"xenstore: {KEY}", str(asked.seconds), _key(host)),
            same("it is written at each start", True, host.run(["systemctl", "-q", "is-enabled", UNIT]).ok),
        )


def _key(host: Host) -> str:
    found = host.run(["xenstore-read", KEY])
    return found.stdout.strip() if found.ok else ""


def _unit(seconds: int) -> str:
    return (
        "# Written by `nestlab procedure run`: hotplug-timeout, in the place of the packaged one.\n"
        "[Unit]\nDescription=Time that libxl gives to each device of a guest\n"
        "ConditionPathExists=/proc/xen/capabilities\n"
        "Requires=xenstored.service xen-init-dom0.service\nAfter=xenstored.service xen-init-dom0.service\n"
        "Before=xencommons.service xendomains.service\n\n"
        "[Service]\nType=oneshot\nRemainAfterExit=true\n"
        "ExecStartPre=/bin/grep -q control_d /proc/xen/capabilities\n"
        f"ExecStart=/usr/bin/xenstore-write {KEY} {seconds}\n\n"
        "[Install]\nWantedBy=multi-user.target\n"
    )


PROCEDURE = Procedure(
    name="hotplug-timeout",
    title="Time for a guest's disks on SUSE hosts",
    summary="A guest with many disks may not start: their scripts wait for each other, and libxl gives up after 40 "
    "seconds. SUSE's libxl takes a time for each device from xenstore; a service writes it at each start.",
    options=Asked,
    ways={"xl": _Xl()},
    sources=("openSUSE xen README: Adjusting LIBXL_HOTPLUG_TIMEOUT at runtime",),
    refuses={"not-suse": "the host is no SUSE host"},
    drill=Drill(reason="it needs a SUSE host"),
    dead=(
        Dead(
            says="64 loop devices, options loop max_loop=128 in /etc/modprobe.conf.local",
            why="loop devices are made as they are needed now, and xl's disks that are files go by QEMU",
        ),
    ),
)
