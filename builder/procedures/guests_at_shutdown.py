"""What becomes of guests when their host goes down: shut down, and not saved to a disk that may have no room."""

from __future__ import annotations

import re
from typing import ClassVar, Literal

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
from builder.procedures.asking import ask, listed, read_text
from builder.procedures.guest_disks_wait import is_stale
from builder.procedures.guests import XENDOMAINS_FILES, xendomains_file

LIMIT = "/etc/systemd/system/xendomains.service.d/nestlab-wait.conf"
MARGIN = 60
"""Seconds that the service has beyond its guests, before systemd goes on without it."""
SAVED = "/var/lib/xen/save"
KEYS = ("XENDOMAINS_SAVE", "XENDOMAINS_RESTORE", "XENDOMAINS_STOP_MAXWAIT")
# What the script that stops guests reads, with a shell, as it does; $1 is its file.
_READ = (
    '[ ! -r "$1" ] || . "$1"; printf "%s\\n" '
    '"save=${XENDOMAINS_SAVE-unset}" "restore=${XENDOMAINS_RESTORE-unset}" "wait=${XENDOMAINS_STOP_MAXWAIT-unset}"'
)
_UNITS = {"h": 3600, "min": 60, "s": 1}


class Asked(Options):
    guests: Literal["shutdown", "save"] = Field("shutdown", description="save: to disk, and restored at the next start")
    wait: int = Field(300, ge=10, le=3600, description="seconds that all of it may take for a guest")


class _State(State):
    """`text` is the whole file at `path`; `read` what a shell makes of it; `limit` our file for the service,
    which systemd has not read yet when it is `stale`."""

    passing: ClassVar[frozenset[str]] = frozenset({"there", "path", "stale"})

    path: str
    text: str | None
    read: str
    limit: str | None
    there: bool
    stale: bool = False


class _Xl(Way[Asked, _State]):
    state = _State
    sample = _State(
        path=XENDOMAINS_FILES[0], text="XENDOMAINS_SAVE=/var/lib/xen/save\nXENDOMAINS_RESTORE=true\n", there=True,
        read="save=/var/lib/xen/save restore=true wait=unset", limit=None,
    )  # fmt: skip

    def look(self, host: Host, asked: Asked) -> _State:  # noqa: ARG002
        path = xendomains_file(host)
        return _State(
            path=path,
            text=read_text(host, path),
            read=_read(host, path),
            limit=read_text(host, LIMIT),
            there=host.run(["systemctl", "cat", "xendomains.service"]).ok,
            stale=is_stale(host, "xendomains.service"),
        )

    def refusals(self, state: _State, asked: Asked) -> tuple[Refusal, ...]:  # noqa: ARG002
        if state.there:
            return ()
        return (Refusal(code="no-xendomains", message="the host has no service xendomains: nothing reads the file",
                        hint="xen-utils-common (Debian) or xen-tools (SUSE) brings it"),)  # fmt: skip

    def actions(self, state: _State, asked: Asked) -> tuple[Action, ...]:
        todo: list[Action] = []
        if state.read != _wanted(asked):
            todo.append(Write(state.path, with_keys(state.text or "", _values(asked))))
        if state.limit != _limit(asked):
            todo += [run("mkdir", "-p", LIMIT.rpartition("/")[0]), Write(LIMIT, _limit(asked)), _reload()]
        elif state.stale:
            todo.append(_reload())
        return tuple(todo)

    def undo(self, state: _State, before: _State, asked: Asked) -> tuple[Action, ...]:
        """What somebody else changed in the file since stays."""
        todo: list[Action] = []
        if state.text == with_keys(before.text or "", _values(asked)):
            todo.append(as_it_was(before.path, before.text))
        elif lines_of(state.text) != lines_of(before.text):
            todo.append(Write(before.path, with_lines(state.text or "", before.text)))
        if state.limit != before.limit:
            todo += [as_it_was(LIMIT, before.limit), _reload()]
        elif state.stale:
            todo.append(_reload())
        return tuple(todo)

    def check_undone(self, world: World, host: Host, before: _State, asked: Asked) -> tuple[Evidence, ...]:
        if lines_of(text := self.look(host, asked).text) == lines_of(before.text):
            before = before.model_copy(update={"text": text})
        return super().check_undone(world, host, before, asked)

    def check(self, world: World, host: Host, asked: Asked) -> tuple[Evidence, ...]:  # noqa: ARG002
        shown = ask(host, "systemctl", "show", "-p", "TimeoutStopUSec", "xendomains.service").partition("=")[2]
        saved = host.run(["ls", "-1", SAVED]).stdout.split()
        found = (
            same("what the script that stops guests reads", _wanted(asked), _read(host, xendomains_file(host))),
            same("seconds that systemd gives to all of it", _seconds(asked), _span(shown)),
        )
        kept = same("guests that lie saved on the disk", "none", listed(saved))
        return found if asked.guests == "save" else (*found, kept)


def _read(host: Host, path: str) -> str:
    return " ".join(ask(host, "sh", "-c", _READ, "sh", path).split())


def _values(asked: Asked) -> dict[str, str]:
    save = SAVED if asked.guests == "save" else '""'
    return dict(zip(KEYS, (save, "true" if asked.guests == "save" else "false", str(asked.wait)), strict=True))


def _wanted(asked: Asked) -> str:
    save, restore, wait = _values(asked).values()
    return " ".join(f"save={save.strip(chr(34))} restore={restore} wait={wait}".split())


def _seconds(asked: Asked) -> str:
    """Guests are asked to shut down together, and saved one after the other."""
    return "infinity" if asked.guests == "save" else str(asked.wait + MARGIN)


def _limit(asked: Asked) -> str:
    return (
        "# Written by `nestlab procedure run`: guests-at-shutdown. The unit's own 5 minutes may be less than that.\n"
        f"[Service]\nTimeoutStopSec={_seconds(asked)}\n"
    )


def _span(text: str) -> str:
    """A time as systemd prints it (`5min 40s`), in seconds."""
    parts = re.findall(r"(\d+)(h|min|s)\b", text)
    return str(sum(int(number) * _UNITS[unit] for number, unit in parts)) if parts else text.strip()


def _reload() -> Action:
    return run("systemctl", "daemon-reload", seconds=120)


def _sets(key: str, line: str) -> bool:
    return re.match(rf"\s*(export\s+)?{key}=", line) is not None


def lines_of(text: str | None) -> dict[str, list[str]]:
    """The lines that set each key, as they stand."""
    return {key: [line for line in (text or "").splitlines() if _sets(key, line)] for key in KEYS}


def with_lines(text: str, before: str | None) -> str:
    """The text with the lines of another one for each key, in the place of the first that it has."""
    lines = text.splitlines()
    for key, wanted in lines_of(before).items():
        own = [number for number, line in enumerate(lines) if _sets(key, line)]
        at = own[0] if own else len(lines)
        lines = [*lines[:at], *wanted, *(line for line in lines[at:] if not _sets(key, line))]
    return "".join(f"{line}\n" for line in lines)


def with_keys(text: str, values: dict[str, str]) -> str:
    """The text with each key set once: in the place of its last line, or at the end. Comments stay."""
    lines = text.splitlines()
    for key, value in values.items():
        own = [number for number, line in enumerate(lines) if _sets(key, line)]
        if own:
            lines[own[-1]] = f"{key}={value}"
            lines = [line for number, line in enumerate(lines) if number not in own[:-1]]
        else:
            lines.append(f"{key}={value}")
    return "".join(f"{line}\n" for line in lines)


PROCEDURE = Procedure(
    name="guests-at-shutdown",
    title="Guests when their host goes down",
    summary="Guests are shut down with their host and started anew with it, or saved to disk and restored. What Xen "
    "ships saves them. One that ignores it holds the host up for as long as `wait`, and no longer: systemd's own limit "
    "is a minute more.",
    options=Asked,
    ways={"xl": _Xl()},
    sources=(
        "Debian wiki: Xen, Configure guest behaviour on host reboot",
        "/etc/default/xendomains",
        "systemd.service(5): TimeoutStopSec=",
    ),
    refuses={"no-xendomains": "the host has no service that reads it"},
    drill=Drill(options={"wait": "240"}, guest=True),
    dead=(
        Dead(
            says="XENDOMAINS_SAVE and saved guests as the default",
            why="saving fails for want of room, and what is restored has missed everything: clocks, leases, peers",
        ),
    ),
)
