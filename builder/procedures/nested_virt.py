"""A guest that is to be a host itself: it sees the processor's virtualisation."""

from __future__ import annotations

import json
import re
from typing import ClassVar

from pydantic import Field

from builder.errors import LabError
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
    Write,
    run,
    same,
    unmet,
)  # fmt: skip
from builder.procedures.asking import ask, fields, inventory, read_text
from builder.procedures.guests import configurations, file_of, is_running
from builder.procedures.xlconf import line_of, with_line

_KEY = "nestedhvm"
KEYS = ("nested-virt", "exp-nested-hvm")
"""8.3's key and 8.2's: each release leaves the other's alone."""


class Asked(Options):
    guest: str = Field(pattern=r"^[A-Za-z0-9_.:-]+$", description="the guest's name (xe: or uuid)")
    enable: bool = Field(True, description="false: it does not see it")
    nic: str = Field(
        "e1000", pattern=r"^(e1000|rtl8139)?$", description="its emulated card; e1000 is what hosts know (xe)"
    )


class _XlState(State):
    """`line` is the configuration's own, None for none; `kind` the guest's type."""

    passing: ClassVar[frozenset[str]] = frozenset({"path", "text", "kind", "runs", "hvm"})

    line: str | None
    path: str
    text: str
    kind: str
    runs: bool
    hvm: bool


class _Xl(Way[Asked, _XlState]):
    state = _XlState
    sample = _XlState(line=None, path="/etc/xen/web.cfg", text='name = "web"\ntype = "hvm"\n', kind="hvm", runs=False,
                      hvm=True)  # fmt: skip

    def look(self, host: Host, asked: Asked) -> _XlState:
        path = configurations(host).get(asked.guest, "")
        if not path:
            raise LabError(f"{host.name}: no file below /etc/xen has the name {asked.guest}", hint="put it there")
        path = file_of(host, path)
        text = read_text(host, path) or ""
        kinds = re.findall(r"^[ \t]*(?:type|builder)[ \t]*=[ \t]*[\"'](\w+)", text, re.MULTILINE)
        return _XlState(
            line=line_of(text, _KEY),
            path=path,
            text=text,
            kind=kinds[-1] if kinds else "pv",
            runs=is_running(host, asked.guest),
            hvm="hvm" in fields(ask(host, "xl", "info")).get("virt_caps", "").split(),
        )

    def refusals(self, state: _XlState, asked: Asked) -> tuple[Refusal, ...]:
        rules = (
            (state.kind == "hvm", "not-hvm", f"{asked.guest} is a guest of the kind {state.kind}: only HVM guests nest",
             'type = "hvm" in its configuration'),
            (not state.runs, "running", f"{asked.guest} runs: it reads this when it starts", "xl shutdown first"),
            (state.hvm or not asked.enable, "no-hvm", "this host's own processor shows Xen no virtualisation",
             "a lab's host needs KVM with nesting, or hardware"),
        )  # fmt: skip
        return unmet(rules)

    def actions(self, state: _XlState, asked: Asked) -> tuple[Action, ...]:
        wanted = f"nestedhvm = {int(asked.enable)}"
        if _value(state.line) == asked.enable:
            return ()
        return (Write(state.path, with_line(state.text, _KEY, wanted)),)

    def undo(self, state: _XlState, before: _XlState, asked: Asked) -> tuple[Action, ...]:  # noqa: ARG002
        if state.line == before.line:
            return ()
        untouched = state.text == with_line(before.text, _KEY, state.line)
        return (Write(state.path, before.text if untouched else with_line(state.text, _KEY, before.line)),)

    def check(self, world: World, host: Host, asked: Asked) -> tuple[Evidence, ...]:  # noqa: ARG002
        """xl reads the configuration without starting anything."""
        path = configurations(host).get(asked.guest, "")
        shown = json.loads(ask(host, "xl", "create", "--dryrun", "--quiet", path))
        said = str(shown.get("b_info", {}).get("nested_hvm", False))
        return (same("xl would start it with nested HVM", str(asked.enable), said),)


def _value(line: str | None) -> bool:
    return line is not None and line.partition("=")[2].partition("#")[0].strip().strip("\"'") not in {"", "0"}


class _XeState(State):
    """The guest's platform keys, empty for none, and its least and most memory, in bytes."""

    passing: ClassVar[frozenset[str]] = frozenset({"vm", "power", "key", "static"})

    vm: str
    power: str
    key: str
    value: str
    nic: str
    low: int
    high: int
    static: int


class _Xe(Way[Asked, _XeState]):
    state = _XeState
    sample = _XeState(vm="VM-UUID", power="halted", key="nested-virt", value="", nic="", low=1 << 30, high=2 << 30,
                      static=2 << 30)  # fmt: skip

    def look(self, host: Host, asked: Asked) -> _XeState:
        vm = xe.vm(host, asked.guest)
        older = inventory(host, "PRODUCT_VERSION", r"8\.[0-2]\b") is not None
        key = KEYS[older]
        sizes = ("memory-dynamic-min", "memory-dynamic-max", "memory-static-max")
        low, high, static = (int(xe.param(host, "vm", vm, name)) for name in sizes)
        return _XeState(
            vm=vm,
            power=xe.param(host, "vm", vm, "power-state"),
            key=key,
            value=xe.map_key(host, "vm", vm, "platform", key),
            nic=xe.map_key(host, "vm", vm, "platform", "nic_type"),
            low=low,
            high=high,
            static=static,
        )

    def refusals(self, state: _XeState, asked: Asked) -> tuple[Refusal, ...]:
        if state.power == "halted":
            return ()
        return (Refusal(code="running", message=f"{asked.guest} is {state.power}: it reads this when it starts",
                        hint=f"xe vm-shutdown uuid={state.vm}"),)  # fmt: skip

    def actions(self, state: _XeState, asked: Asked) -> tuple[Action, ...]:
        todo: list[Action] = []
        if (state.value in {"true", "1"}) != asked.enable:
            todo.append(xe.set_key("vm", state.vm, "platform", state.key, str(asked.enable).lower()))
        if asked.enable and asked.nic and state.nic != asked.nic:
            todo.append(xe.set_key("vm", state.vm, "platform", "nic_type", asked.nic))
        if asked.enable and not state.low == state.high == state.static:
            todo.append(_memory(state.vm, state.static, state.static))
        return tuple(todo)

    def undo(self, state: _XeState, before: _XeState, asked: Asked) -> tuple[Action, ...]:  # noqa: ARG002
        todo: list[Action] = []
        if state.value != before.value:
            todo.append(xe.set_key("vm", state.vm, "platform", state.key, before.value))
        if state.nic != before.nic:
            todo.append(xe.set_key("vm", state.vm, "platform", "nic_type", before.nic))
        if (state.low, state.high) != (before.low, before.high):
            todo.append(_memory(state.vm, before.low, before.high))
        return tuple(todo)

    def check(self, world: World, host: Host, asked: Asked) -> tuple[Evidence, ...]:  # noqa: ARG002
        now = self.look(host, asked)
        found = [same(f"platform:{now.key} by XAPI", asked.enable, now.value in {"true", "1"})]
        if asked.enable:
            found.append(same("its memory does not change while it runs", True, now.low == now.high == now.static))
        return tuple(found)


def _memory(vm: str, low: int, high: int) -> Action:
    return run("xe", "vm-memory-dynamic-range-set", f"uuid={vm}", f"min={low}", f"max={high}")


PROCEDURE = Procedure(
    name="nested-virt",
    title="A guest that may have guests",
    summary="The guest sees the processor's virtualisation, has a card that hosts know, and its memory stays what it "
    "is: what a host in a guest needs. Inside, `xl info` lists hvm among virt_caps. Such a guest cannot be moved live.",
    options=Asked,
    ways={"xl": _Xl(), "xe": _Xe()},
    sources=("XCP-ng guide: XCP-ng in a VM", "xl.cfg(5): nestedhvm", "xapi: platform keys"),
    refuses={
        "not-hvm": "the guest is not of the kind HVM (plain Xen)",
        "running": "the guest runs",
        "no-hvm": "the host's own processor shows no virtualisation (plain Xen)",
    },
    drill=Drill(options={"guest": "web"}, reason="it needs a processor that nests, and an HVM guest"),
    dead=(
        Dead(
            says="xe vm-param-set uuid=<UUID> platform:exp-nested-hvm=true",
            why="8.2's key: 8.3 reads nested-virt, and wants memory that does not balloon",
        ),
    ),
    subject="guest",
)
