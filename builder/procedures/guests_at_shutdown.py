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
    same,
)  # fmt: skip
from builder.procedures.asking import ask, read_text

PATH = "/etc/default/xendomains"
KEYS = ("XENDOMAINS_SAVE", "XENDOMAINS_RESTORE", "XENDOMAINS_STOP_MAXWAIT")
# What the script that stops guests reads, with a shell, as it does.
_READ = (
    f'. {PATH} 2>/dev/null; printf "%s\\n" '
    '"save=${XENDOMAINS_SAVE-unset}" "restore=${XENDOMAINS_RESTORE-unset}" "wait=${XENDOMAINS_STOP_MAXWAIT-unset}"'
)


class Asked(Options):
    guests: Literal["shutdown", "save"] = Field("shutdown", description="save: to disk, and restored at the next start")
    wait: int = Field(300, ge=10, le=3600, description="seconds that all of it may take for a guest")


class _State(State):
    """`text` is the whole file; `read` what a shell makes of it."""

    passing: ClassVar[frozenset[str]] = frozenset({"there"})

    text: str | None
    read: str
    there: bool


class _Xl(Way[Asked, _State]):
    state = _State
    sample = _State(
        text="XENDOMAINS_SAVE=/var/lib/xen/save\nXENDOMAINS_RESTORE=true\n", there=True,
        read="save=/var/lib/xen/save restore=true wait=unset",
    )  # fmt: skip

    def look(self, host: Host, asked: Asked) -> _State:  # noqa: ARG002
        return _State(
            text=read_text(host, PATH),
            read=" ".join(ask(host, "sh", "-c", _READ).split()),
            there=host.run(["systemctl", "cat", "xendomains.service"]).ok,
        )

    def refusals(self, state: _State, asked: Asked) -> tuple[Refusal, ...]:  # noqa: ARG002
        if state.there:
            return ()
        return (Refusal(code="no-xendomains", message="the host has no service xendomains: nothing reads the file",
                        hint="xen-utils-common (Debian) or xen-tools (SUSE) brings it"),)  # fmt: skip

    def actions(self, state: _State, asked: Asked) -> tuple[Action, ...]:
        if state.read == _wanted(asked):
            return ()
        return (Write(PATH, with_keys(state.text or "", _values(asked))),)

    def undo(self, state: _State, before: _State, asked: Asked) -> tuple[Action, ...]:  # noqa: ARG002
        if state.text == before.text:
            return ()
        return (as_it_was(PATH, before.text),)

    def check(self, world: World, host: Host, asked: Asked) -> tuple[Evidence, ...]:  # noqa: ARG002
        seen = " ".join(ask(host, "sh", "-c", _READ).split())
        return (same("what the script that stops guests reads", _wanted(asked), seen),)


def _values(asked: Asked) -> dict[str, str]:
    save = "/var/lib/xen/save" if asked.guests == "save" else '""'
    return dict(zip(KEYS, (save, "true" if asked.guests == "save" else "false", str(asked.wait)), strict=True))


def _wanted(asked: Asked) -> str:
    save, restore, wait = _values(asked).values()
    return " ".join(f"save={save.strip(chr(34))} restore={restore} wait={wait}".split())


def with_keys(text: str, values: dict[str, str]) -> str:
    """The text with each key set once: in the place of its last line, or at the end. Comments stay."""
    lines = text.splitlines()
    for key, value in values.items():
        own = [number for number, line in enumerate(lines) if re.match(rf"\s*(export\s+)?{key}=", line)]
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
    "ships saves them.",
    options=Asked,
    ways={"xl": _Xl()},
    sources=("Debian wiki: Xen, Configure guest behaviour on host reboot", "/etc/default/xendomains"),
    refuses={"no-xendomains": "the host has no service that reads it"},
    drill=Drill(options={"wait": "240"}),
    dead=(
        Dead(
            says="XENDOMAINS_SAVE and saved guests as the default",
            why="saving fails for want of room, and what is restored has missed everything: clocks, leases, peers",
        ),
    ),
)
