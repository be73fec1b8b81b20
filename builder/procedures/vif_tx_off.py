"""TX checksum offload off on guests' interfaces: what pf and other packet filters need inside a guest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

from pydantic import Field

from builder.errors import UsageError
from builder.model.host import Host, World
from builder.procedures import xe, xlconf
from builder.procedures.api import (
    Action,
    Card,
    Dead,
    Drill,
    Evidence,
    Options,
    Procedure,
    Refusal,
    Remove,
    State,
    Way,
    Write,
    holds,
    run,
    same,
)  # fmt: skip
from builder.procedures.asking import ask, read_text
from builder.procedures.vifs import BRIDGE_KEY, EACH, GATEWAY_KEY, SCRIPT_KEY, SCRIPTS, told, try_script

SCRIPT = "vif-nestlab-tx-off"
# Every interface that xl makes goes through the default script, those that are added later too. `vif` is the
# interface's name in dom0, unless the guest's configuration has another (vifname=): the script below has renamed it.
_SCRIPT = """\
#!/bin/sh
# Written by `nestlab procedure run`: vif-tx-off. The bridge script, and then no TX checksum offload towards the guest.
"${0%/*}/@BELOW@" "$@" || exit $?
case "$1" in
online | add)
	name=$(xenstore-read "${XENBUS_PATH:-}/vifname" 2>/dev/null)
	[ -z "${name:-${vif:-}}" ] || ethtool -K "${name:-$vif}" tx off
	;;
esac
"""
# Interfaces of guests in dom0, each with what ethtool says of it.
_VIFS = (
    EACH
    + r"""
for vif in $(each_vif); do
  echo "$vif $(ethtool -k "$vif" | sed -n 's/^tx-checksumming: \([a-z]*\).*/\1/p')"
done
"""
)


_LOOK = 'echo "tx=$(ethtool -k "$vif" | sed -n "s/^tx-checksumming: //p")"'


class Asked(Options):
    guest: str = Field("", pattern=r"^[A-Za-z0-9_.:-]*$", description="the guest (xe); plain Xen does it for all")


class _XlState(State):
    """`line` is xl.conf's default script, `vifs` the interfaces that are there with `on` or `off`."""

    passing: ClassVar[frozenset[str]] = frozenset({"text", "vifs", "ethtool"})

    line: str | None
    script: str | None
    text: str | None
    vifs: Mapping[str, str]
    ethtool: bool


class _Xl(Way[Asked, _XlState]):
    state = _XlState
    sample = _XlState(line=None, script=None, text="", vifs={"vif1.0": "on"}, ethtool=True)

    def look(self, host: Host, asked: Asked) -> _XlState:  # noqa: ARG002
        text = read_text(host, xlconf.PATH)
        there = host.run(["sh", "-c", "command -v ethtool"]).ok
        return _XlState(
            line=xlconf.line_of(text or "", SCRIPT_KEY),
            script=read_text(host, f"{SCRIPTS}/{SCRIPT}"),
            text=text,
            vifs=_vifs(host) if there else {},
            ethtool=there,
        )

    def refusals(self, state: _XlState, asked: Asked) -> tuple[Refusal, ...]:
        found = []
        if not state.ethtool:
            found.append(Refusal(code="no-ethtool", message="the host has no ethtool",
                                 hint="in a lab file: packages: [ethtool]; else install it on the host"))  # fmt: skip
        if asked.guest:
            found.append(Refusal(code="all-guests", message="plain Xen sets this for all guests' interfaces",
                                 hint="leave guest= out; one guest alone: script= in its vif"))  # fmt: skip
        return tuple(found)

    def actions(self, state: _XlState, asked: Asked) -> tuple[Action, ...]:  # noqa: ARG002
        below = xlconf.value_of(state.line) or "vif-bridge"
        todo: list[Action] = []
        if below != SCRIPT:
            todo.append(Write(f"{SCRIPTS}/{SCRIPT}", _SCRIPT.replace("@BELOW@", below), mode=0o755))
            todo += xlconf.change(
                state.text, xlconf.with_line(state.text or "", SCRIPT_KEY, f'{SCRIPT_KEY}="{SCRIPT}"')
            )
        todo += [run("ethtool", "-K", vif, "tx", "off") for vif, now in state.vifs.items() if now != "off"]
        return tuple(todo)

    def undo(self, state: _XlState, before: _XlState, asked: Asked) -> tuple[Action, ...]:  # noqa: ARG002
        """Interfaces that were on, and those that came since, get their offload back."""
        todo: list[Action] = []
        if state.line != before.line:
            todo += xlconf.change(state.text, xlconf.with_line(state.text or "", SCRIPT_KEY, before.line))
        if state.script is not None and before.script is None:
            todo.append(Remove(f"{SCRIPTS}/{SCRIPT}"))
        todo += [run("ethtool", "-K", vif, "tx", "on") for vif, now in state.vifs.items()
                 if now == "off" and before.vifs.get(vif) != "off"]  # fmt: skip
        return tuple(todo)

    def check(self, world: World, host: Host, asked: Asked) -> tuple[Evidence, ...]:  # noqa: ARG002
        text = read_text(host, xlconf.PATH) or ""
        tried = try_script(host, SCRIPT, _LOOK, gateway=xlconf.setting(text, GATEWAY_KEY) or "",
                           bridge=xlconf.setting(text, BRIDGE_KEY) or "xenbr0")  # fmt: skip
        return (
            same("script that xl runs for every new interface", SCRIPT, xlconf.setting(text, SCRIPT_KEY)),
            same("an interface made up for it, as the script left it", "connected", told(tried)),
            same("tx-checksumming of that one", "off", tried.get("tx", "unknown")),
            *(same(f"tx-checksumming of {vif}", "off", now) for vif, now in _vifs(host).items()),
        )


def _vifs(host: Host) -> dict[str, str]:
    rows = (line.split() for line in ask(host, "sh", "-c", _VIFS).splitlines())
    return {row[0]: row[1] if len(row) > 1 else "unknown" for row in rows}


class _XeState(State):
    """`vifs`: uuid of each VIF of the guest -> its key ethtool-tx, empty for none; `dom0`: of those of a running guest
    that are plugged in, what their interfaces in dom0 have."""

    passing: ClassVar[frozenset[str]] = frozenset({"power", "dom0"})

    power: str
    vifs: Mapping[str, str]
    dom0: Mapping[str, str] = {}


# Both or none: a guest whose interface is out is cut off, and nobody could tell later that it was in.
_REPLUG = 'xe vif-unplug uuid="$1" && xe vif-plug uuid="$1"'


def _replug(state: _XeState, calls: Sequence[Action], vifs: Sequence[str]) -> tuple[Action, ...]:
    """A running guest's interface reads the key when it is plugged in."""
    return (*calls, *(run("sh", "-c", _REPLUG, "sh", uuid, seconds=240) for uuid in vifs if uuid in state.dom0))


class _Xe(Way[Asked, _XeState]):
    state = _XeState
    sample = _XeState(power="running", vifs={"VIF-UUID": ""}, dom0={"VIF-UUID": "on"})

    def look(self, host: Host, asked: Asked) -> _XeState:
        vm = xe.vm(host, asked.guest)
        vifs = xe.minimal(host, "vif-list", f"vm-uuid={vm}")
        power = xe.param(host, "vm", vm, "power-state")
        return _XeState(
            power=power,
            dom0=_plugged(host, vm, vifs) if power == "running" else {},
            vifs={uuid: xe.map_key(host, "vif", uuid, "other-config", "ethtool-tx") for uuid in sorted(vifs)},
        )

    def settle(self, host: Host, asked: Asked) -> Asked:  # noqa: ARG002
        if asked.guest:
            return asked
        raise UsageError("XAPI sets this guest by guest", hint="say which: guest=NAME")

    def advice(self, state: _XeState, asked: Asked) -> tuple[str, ...]:
        if state.power not in ("halted", "suspended"):
            return ()
        return (f"{asked.guest} is {state.power}: it takes effect when the guest is started, or resumed",)

    def actions(self, state: _XeState, asked: Asked) -> tuple[Action, ...]:  # noqa: ARG002
        on = [uuid for uuid, now in state.vifs.items() if now != "off"]
        plugs = [uuid for uuid in state.vifs if uuid in on or state.dom0.get(uuid) == "on"]
        return _replug(state, [xe.set_key("vif", uuid, "other-config", "ethtool-tx", "off") for uuid in on], plugs)

    def undo(self, state: _XeState, before: _XeState, asked: Asked) -> tuple[Action, ...]:  # noqa: ARG002
        changed = [uuid for uuid, now in before.vifs.items() if state.vifs.get(uuid, now) != now]
        calls = [xe.set_key("vif", uuid, "other-config", "ethtool-tx", before.vifs[uuid]) for uuid in changed]
        wrong = [uuid for uuid, now in before.vifs.items() if now != "off" and state.dom0.get(uuid) == "off"]
        return _replug(state, calls, list(dict.fromkeys([*changed, *wrong])))

    def check(self, world: World, host: Host, asked: Asked) -> tuple[Evidence, ...]:  # noqa: ARG002
        """What XAPI holds is what the next start goes by; a guest that is there has interfaces in dom0 as well."""
        held = self.look(host, asked).vifs
        found = [holds(f"interfaces of {asked.guest} by XAPI", "one or more", str(len(held)), bool(held))]
        found += [same(f"ethtool-tx of VIF {uuid} by XAPI", "off", now or "unset") for uuid, now in held.items()]
        names = _names(host, xe.vm(host, asked.guest), held)
        seen = _vifs(host) if names else {}
        return (*found, *(same(f"tx-checksumming of {name}", "off", seen.get(name, "not there"))
                          for name in names.values()))  # fmt: skip


def _names(host: Host, vm: str, vifs: Iterable[str]) -> dict[str, str]:
    """In dom0, of those that are plugged in."""
    number = xe.param(host, "vm", vm, "dom-id")
    if not number.isdigit():
        return {}
    plugged = (uuid for uuid in vifs if xe.param(host, "vif", uuid, "currently-attached") == "true")
    return {uuid: f"vif{number}.{xe.param(host, 'vif', uuid, 'device')}" for uuid in plugged}


def _plugged(host: Host, vm: str, vifs: Iterable[str]) -> dict[str, str]:
    names = _names(host, vm, vifs)
    seen = _vifs(host) if names else {}
    return {uuid: seen.get(name, "not there") for uuid, name in names.items()}


PROCEDURE = Procedure(
    name="vif-tx-off",
    title="No TX checksum offload towards guests",
    summary="Frames that dom0 hands to a guest have their checksums: pf in FreeBSD, pfSense and OPNsense drops those "
    "without. Plain Xen: for every guest, those whose interfaces are added later too. With XAPI: for one guest.",
    options=Asked,
    ways={"xl": _Xl(), "xe": _Xe()},
    sources=("XCP-ng guide: pfSense / OPNsense VM", "xl.conf(5): vif.default.script", "ethtool(8)"),
    refuses={
        "no-ethtool": "the host has no ethtool",
        "all-guests": "guest= on plain Xen, where it is done for all",
    },
    drill=Drill(guest=True, card=Card(), packages=("ethtool",)),
    dead=(
        Dead(
            says="uncheck checksum offload in the guest's web interface, or switch RX off as well",
            why="neither is needed, and either makes the guest slower: what counts is the direction towards the guest",
        ),
    ),
    subject="guest",
)
