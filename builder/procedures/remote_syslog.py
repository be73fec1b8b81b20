"""A host's log sent to another machine as well."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from builder.model.host import Host, World
from builder.procedures import xe
from builder.procedures.api import (
    Action,
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
from builder.procedures.asking import ask, read_text, xe_host

PATH = "/etc/rsyslog.d/zz-nestlab-remote.conf"
# Logged, so that something has to leave: the kernel counts datagrams.
_MARK = "nestlab remote-syslog check"


class Asked(Options):
    server: str = Field(pattern=r"^[A-Za-z0-9.:-]+$", description="name or address of the machine that takes the log")
    port: int = Field(514, ge=1, le=65535, description="its UDP port (plain Xen; XAPI always uses 514)")


class _XlState(State):
    passing: ClassVar[frozenset[str]] = frozenset({"rsyslog"})

    text: str | None
    rsyslog: bool


class _Xl(Way[Asked, _XlState]):
    state = _XlState
    sample = _XlState(text=None, rsyslog=True)

    def look(self, host: Host, asked: Asked) -> _XlState:  # noqa: ARG002
        return _XlState(text=read_text(host, PATH), rsyslog=host.run(["sh", "-c", "command -v rsyslogd"]).ok)

    def refusals(self, state: _XlState, asked: Asked) -> tuple[Refusal, ...]:  # noqa: ARG002
        if state.rsyslog:
            return ()
        return (Refusal(code="no-rsyslog", message="the host has no rsyslogd: systemd's journal alone keeps its log",
                        hint="install the package rsyslog on the host"),)  # fmt: skip

    def actions(self, state: _XlState, asked: Asked) -> tuple[Action, ...]:
        wanted = f"# Written by `nestlab procedure run`: remote-syslog.\n*.* @{asked.server}:{asked.port}\n"
        if state.text == wanted:
            return ()
        return (Write(PATH, wanted), run("rsyslogd", "-N1", hint="rsyslogd does not take the line"), *_restart())

    def undo(self, state: _XlState, before: _XlState, asked: Asked) -> tuple[Action, ...]:  # noqa: ARG002
        if state.text == before.text:
            return ()
        return (as_it_was(PATH, before.text), *_restart())

    def check(self, world: World, host: Host, asked: Asked) -> tuple[Evidence, ...]:  # noqa: ARG002
        sent = ask(host, "sh", "-c", _COUNT)
        return (same("UDP datagrams leave when a line is logged", "yes", sent.strip()),)


_COUNT = f"""\
count() {{ awk '/^Udp: [0-9]/ {{print $5}}' /proc/net/snmp; }}
before=$(count); logger '{_MARK}'; sleep 2; after=$(count); [ "$after" -gt "$before" ] && echo yes || echo no
"""


def _restart() -> tuple[Action, ...]:
    return (run("systemctl", "restart", "rsyslog", seconds=120),)


class _XeState(State):
    passing: ClassVar[frozenset[str]] = frozenset({"host"})

    host: str
    server: str


class _Xe(Way[Asked, _XeState]):
    state = _XeState
    sample = _XeState(host="HOST-UUID", server="")

    def look(self, host: Host, asked: Asked) -> _XeState:  # noqa: ARG002
        uuid = xe_host(host)
        return _XeState(host=uuid, server=xe.map_key(host, "host", uuid, "logging", "syslog_destination"))

    def refusals(self, state: _XeState, asked: Asked) -> tuple[Refusal, ...]:  # noqa: ARG002
        if asked.port == 514:
            return ()
        return (Refusal(code="port", message="XAPI sends to port 514 and no other", hint="leave port= out"),)

    def actions(self, state: _XeState, asked: Asked) -> tuple[Action, ...]:
        return () if state.server == asked.server else _set(state.host, asked.server)

    def undo(self, state: _XeState, before: _XeState, asked: Asked) -> tuple[Action, ...]:  # noqa: ARG002
        return () if state.server == before.server else _set(state.host, before.server)

    def check(self, world: World, host: Host, asked: Asked) -> tuple[Evidence, ...]:  # noqa: ARG002
        sent = ask(host, "sh", "-c", _COUNT)
        return (same("UDP datagrams leave when a line is logged", "yes", sent.strip()),)


def _set(host: str, server: str) -> tuple[Action, ...]:
    return (xe.set_key("host", host, "logging", "syslog_destination", server),
            run("xe", "host-syslog-reconfigure", f"host-uuid={host}"))  # fmt: skip


PROCEDURE = Procedure(
    name="remote-syslog",
    title="Log sent to another machine",
    summary="Everything that the host logs goes to a syslog server as well, by UDP.",
    options=Asked,
    ways={"xl": _Xl(), "xe": _Xe()},
    sources=("XCP-ng guide: Logging system", "xapi: host.syslog_reconfigure", "rsyslog.conf(5): forwarding"),
    refuses={
        "no-rsyslog": "the host has no rsyslogd",
        "port": "a port other than 514 (XAPI)",
    },
    drill=Drill(options={"server": "192.0.2.1"}, packages=("rsyslog",)),
)
