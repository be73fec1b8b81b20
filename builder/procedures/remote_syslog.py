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
    holds,
    run,
)  # fmt: skip
from builder.procedures.asking import ask, read_text, xe_host
from builder.procedures.log_trigger import unread

PATH = "/etc/rsyslog.d/zz-nestlab-remote.conf"
JOURNAL = "/etc/systemd/journald.conf.d/zz-nestlab-remote.conf"
"""systemd's journal takes every line first: rsyslogd sees those alone that it hands on, which is a setting."""
_FORWARD = "# Written by `nestlab procedure run`: remote-syslog.\n[Journal]\nForwardToSyslog=yes\n"
LINES = 20


class Asked(Options):
    server: str = Field(pattern=r"^[A-Za-z0-9.:-]+$", description="name or address of the machine that takes the log")
    port: int = Field(514, ge=1, le=65535, description="its UDP port (plain Xen; XAPI always uses 514)")


class _XlState(State):
    """`unread`: services that do not know of their file yet, or of its going."""

    passing: ClassVar[frozenset[str]] = frozenset({"rsyslog", "unread"})

    text: str | None
    journal: str | None
    rsyslog: bool
    unread: tuple[str, ...] = ()


class _Xl(Way[Asked, _XlState]):
    state = _XlState
    sample = _XlState(text=None, journal=None, rsyslog=True)

    def look(self, host: Host, asked: Asked) -> _XlState:  # noqa: ARG002
        there = host.run(["sh", "-c", "command -v rsyslogd"]).ok
        return _XlState(
            text=read_text(host, PATH),
            journal=read_text(host, JOURNAL),
            rsyslog=there,
            unread=unread(host, "rsyslog", PATH, "systemd-journald", JOURNAL),
        )

    def refusals(self, state: _XlState, asked: Asked) -> tuple[Refusal, ...]:  # noqa: ARG002
        if state.rsyslog:
            return ()
        return (Refusal(code="no-rsyslog", message="the host has no rsyslogd: systemd's journal alone keeps its log",
                        hint="in a lab file: packages: [rsyslog]; else install it on the host"),)  # fmt: skip

    def actions(self, state: _XlState, asked: Asked) -> tuple[Action, ...]:
        todo: list[Action] = []
        if state.text != (wanted := rule(asked)):
            todo += [Write(PATH, wanted), run("rsyslogd", "-N1", hint="rsyslogd does not take the line")]
            todo += _restart("rsyslog")
        if state.journal != _FORWARD:
            todo += [run("mkdir", "-p", JOURNAL.rpartition("/")[0]), Write(JOURNAL, _FORWARD)]
            todo += _restart("systemd-journald")
        return (*todo, *_missed(state, todo))

    def undo(self, state: _XlState, before: _XlState, asked: Asked) -> tuple[Action, ...]:  # noqa: ARG002
        todo: list[Action] = []
        if state.text != before.text:
            todo += [as_it_was(PATH, before.text), *_restart("rsyslog")]
        if state.journal != before.journal:
            todo += [as_it_was(JOURNAL, before.journal), *_restart("systemd-journald")]
        return (*todo, *_missed(state, todo))

    def check(self, world: World, host: Host, asked: Asked) -> tuple[Evidence, ...]:  # noqa: ARG002
        return (_sent(host),)


def rule(asked: Asked) -> str:
    """rsyslogd's own words for it. What is logged before the network is up, at the host's start, waits in a queue."""
    return (
        "# Written by `nestlab procedure run`: remote-syslog.\n"
        f'*.* action(type="omfwd" target="{asked.server}" port="{asked.port}" protocol="udp"\n'
        '           queue.type="LinkedList" action.resumeRetryCount="-1" action.resumeInterval="5")\n'
    )


# The kernel counts datagrams: each line that is logged here leaves as one.
_COUNT = f"""\
count() {{
  cat /proc/net/snmp /proc/net/snmp6 2>/dev/null |
    awk '/^Udp: [0-9]/ {{ sum += $5 }} $1 == "Udp6OutDatagrams" {{ sum += $2 }} END {{ print sum }}'
}}
before=$(count)
for i in $(seq {LINES}); do logger "nestlab remote-syslog check $i"; done
for i in $(seq 60); do
  [ $(($(count) - before)) -lt {LINES} ] || break
  sleep 1
done
echo $(($(count) - before))
"""


def _sent(host: Host) -> Evidence:
    sent = ask(host, "sh", "-c", _COUNT, timeout=900).strip()
    return holds(f"UDP datagrams that left while {LINES} lines were logged", f"{LINES} or more", sent,
                 int(sent) >= LINES)  # fmt: skip


def _restart(service: str) -> tuple[Action, ...]:
    return (run("systemctl", "restart", service, seconds=120),)


def _missed(state: _XlState, todo: list[Action]) -> tuple[Action, ...]:
    """Restarts that an earlier run was stopped before."""
    restarts = [action for service in state.unread for action in _restart(service)]
    return tuple(action for action in restarts if action not in todo)


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
        return (_sent(host),)


def _set(host: str, server: str) -> tuple[Action, ...]:
    return (xe.set_key("host", host, "logging", "syslog_destination", server),
            run("xe", "host-syslog-reconfigure", f"host-uuid={host}"))  # fmt: skip


PROCEDURE = Procedure(
    name="remote-syslog",
    title="Log sent to another machine",
    summary="Everything that the host logs goes to a syslog server as well, by UDP.",
    options=Asked,
    ways={"xl": _Xl(), "xe": _Xe()},
    sources=(
        "XCP-ng guide: Logging system",
        "xapi: host.syslog_reconfigure",
        "rsyslog.conf(5): forwarding",
        "journald.conf(5): ForwardToSyslog=",
    ),
    refuses={
        "no-rsyslog": "the host has no rsyslogd",
        "port": "a port other than 514 (XAPI)",
    },
    drill=Drill(options={"server": "192.0.2.1"}, packages=("rsyslog",)),
)
