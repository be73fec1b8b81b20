"""PCI devices given to a guest: whole devices, none that the host needs, where an IOMMU keeps them to that guest."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from builder.errors import LabError
from builder.model.host import Host, World
from builder.model.units import BDF_PATTERN
from builder.procedures import pciback, xe
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
    Words,
    Write,
    run,
    same,
    unmet,
)  # fmt: skip
from builder.procedures.asking import ask, domains, listed, read_text
from builder.procedures.guests import configurations, file_of
from builder.procedures.pci_devices import Device, Pci, judge, pci_of
from builder.procedures.xlconf import pci_items, with_pci_items

Address = Annotated[str, StringConstraints(pattern=BDF_PATTERN)]


class Asked(Options):
    guest: str = Field(pattern=r"^[A-Za-z0-9_.:-]+$", description="the guest's name (xe: or uuid)")
    devices: Annotated[tuple[Address, ...], Words.__metadata__[0]] = Field(
        min_length=1, description="PCI addresses as lspci prints them, all functions of a device: 03:00.0,03:00.1"
    )

    @property
    def addresses(self) -> tuple[str, ...]:
        """With the PCI domain."""
        return tuple(dict.fromkeys(map(pciback.full, self.devices)))


class _XlState(State):
    """`entries` are the guest's devices in its configuration, as they stand; `attached` those it has now. `takes` is
    whether it was started so that it can be given one while it runs (passthrough: since Xen 4.13)."""

    passing: ClassVar[frozenset[str]] = frozenset({"path", "text", "kind", "runs", "takes", "pci", "others"})

    entries: tuple[str, ...]
    ready: tuple[str, ...]
    drivers: Mapping[str, str]
    attached: tuple[str, ...]
    path: str
    text: str
    kind: str
    runs: bool
    takes: bool
    pci: Pci
    others: tuple[str, ...]


class _Xl(Way[Asked, _XlState]):
    state = _XlState
    lasting = False
    sample = _XlState(
        entries=(), ready=(), drivers={"0000:03:00.0": "igb"}, attached=(), path="/etc/xen/web.cfg", runs=False,
        takes=False, text='name = "web"\ntype = "hvm"\n', kind="hvm", others=(),
        pci=Pci(iommu=True, devices={"0000:03:00.0": Device(kind="0x020000", driver="igb", used="no")},
                functions=("0000:03:00.0",), vital=("0000:00:1f.2",), cards=1, takes_cards=True, ready=(),
                pciback=False),
    )  # fmt: skip

    def look(self, host: Host, asked: Asked) -> _XlState:
        path = configurations(host).get(asked.guest, "")
        if not path:
            raise LabError(f"{host.name}: no file below /etc/xen has the name {asked.guest}", hint="put it there")
        path = file_of(host, path)
        text = read_text(host, path) or ""
        kinds = re.findall(r"^[ \t]*(?:type|builder)[ \t]*=[ \t]*[\"'](\w+)", text, re.MULTILINE)
        running = [name for name, *_ in domains(host) if name != "Domain-0"]
        has = {name: _attached(host, name) for name in running}
        kind = kinds[-1] if kinds else "pv"
        pci = pci_of(host, asked.addresses, kind)
        return _XlState(
            entries=pci_items(text),
            ready=pci.ready,
            drivers={at: device.driver for at, device in pci.devices.items()},
            attached=tuple(at for at in asked.addresses if at in has.get(asked.guest, ())),
            path=path,
            text=text,
            kind=kind,
            runs=asked.guest in running,
            takes=asked.guest in running and _takes(host, asked.guest),
            pci=pci,
            others=tuple(name for name in running if name != asked.guest and set(has[name]) & set(asked.addresses)),
        )

    def refusals(self, state: _XlState, asked: Asked) -> tuple[Refusal, ...]:
        return unmet((
            *judge(state.pci, asked.addresses),
            (state.kind != "pvh", "pvh", f"{asked.guest} is a PVH guest: these take none", 'type = "hvm", or "pv"'),
            (not state.others, "other-guest", f"{listed(state.others)} has a device of these now",
             "xl pci-detach takes it from there"),
            (not state.runs or state.takes or set(state.attached) >= set(asked.addresses), "no-passthrough",
             f"{asked.guest} was started without {_TAKES[state.kind == 'pv']}: it takes no device while it runs",
             f"xl shutdown {asked.guest} first; started with {_TAKES[state.kind == 'pv']} it takes them at any time"),
        ))  # fmt: skip

    def actions(self, state: _XlState, asked: Asked) -> tuple[Action, ...]:
        missing = [at for at in asked.addresses if at not in map(address, state.entries)]
        text = with_pci_items(state.text, (*state.entries, *missing))
        todo: list[Action] = [
            run("xl", "pci-assignable-add", at, seconds=120)
            for at in asked.addresses
            if at not in state.ready and at not in state.attached
        ]
        if todo and not state.pci.pciback:
            todo.insert(0, run("modprobe", "xen-pciback", hint="dom0's kernel has no driver that holds devices"))
        todo += [Write(state.path, text)] if missing else []
        if state.runs:
            todo += [run("xl", "pci-attach", asked.guest, at, seconds=120)
                     for at in asked.addresses if at not in state.attached]  # fmt: skip
        return tuple(todo)

    def undo(self, state: _XlState, before: _XlState, asked: Asked) -> tuple[Action, ...]:
        todo: list[Action] = [
            run("xl", "pci-detach", asked.guest, at, seconds=120)
            for at in state.attached if at not in before.attached
        ]  # fmt: skip
        if state.entries != before.entries:
            untouched = state.text == with_pci_items(before.text, state.entries)
            todo.append(Write(state.path, before.text if untouched else with_pci_items(state.text, before.entries)))
        todo += [
            run("xl", "pci-assignable-remove", "-r", at, seconds=120)
            for at in asked.addresses
            if at not in (*before.ready, *before.attached) and at in (*state.ready, *state.attached)
        ]
        return tuple(todo)

    def check(self, world: World, host: Host, asked: Asked) -> tuple[Evidence, ...]:  # noqa: ARG002
        now = self.look(host, asked)
        found = []
        for at in asked.addresses:
            found.append(same(f"driver of {at} in dom0", "pciback", now.drivers.get(at, "none")))
            if now.runs:
                found.append(same(f"{asked.guest} has {at}, by xl", True, at in now.attached))
            else:
                found.append(same(f"{at} can be given to a guest, by xl", True, at in now.ready))
        named = set(map(address, now.entries)) & set(asked.addresses)
        return (*found, same(f"devices that {asked.guest} is started with", listed(sorted(asked.addresses)),
                             listed(sorted(named))))  # fmt: skip


# What a guest without devices must have in its configuration to be given one while it runs: for a PV guest also room
# in its address space for their memory (xl.cfg(5), e820_host).
_TAKES = ('passthrough = "enabled"', 'passthrough = "enabled" and e820_host = 1')


def _takes(host: Host, guest: str) -> bool:
    """From what the toolstack keeps of a guest. One that was started with devices takes more."""
    (started,) = json.loads(ask(host, "xl", "list", "-l", guest))
    config = started["config"]
    created, built = config["c_info"], config["b_info"]
    room = created["type"] != "pv" or built.get("type.pv", {}).get("e820_host") == "True"
    return bool(config.get("pcidevs")) or (created.get("passthrough", "disabled") != "disabled" and room)


def _attached(host: Host, guest: str) -> tuple[str, ...]:
    """Addresses in `xl pci-list`: a line for each, behind its number in the guest."""
    return tuple(word for line in ask(host, "xl", "pci-list", guest).splitlines() for word in line.split()
                 if re.fullmatch(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", word))  # fmt: skip


def address(entry: str) -> str:
    """The device of an item such as 03:00.0@5,permissive=1."""
    return pciback.full(re.split("[@,=*]", entry.removeprefix("bdf="), maxsplit=1)[0].strip())


class _XeState(State):
    passing: ClassVar[frozenset[str]] = frozenset({"vm", "power", "pci", "others"})

    value: str
    vm: str
    power: str
    pci: Pci
    others: tuple[str, ...]


class _Xe(Way[Asked, _XeState]):
    """XAPI gives the guest what its other-config names when it starts: pciback must have it by then."""

    state = _XeState
    sample = _XeState(
        value="", vm="VM-UUID", power="halted", others=(),
        pci=_Xl.sample.pci.model_copy(update={"ready": ("0000:03:00.0",), "pciback": True}),
    )  # fmt: skip

    def look(self, host: Host, asked: Asked) -> _XeState:
        vm = xe.vm(host, asked.guest)
        value, others = xe.map_key(host, "vm", vm, "other-config", "pci"), _xe_others(host, vm, asked.addresses)
        return _XeState(
            value=value,
            vm=vm,
            power=xe.param(host, "vm", vm, "power-state"),
            pci=pci_of(host, asked.addresses, "hvm"),
            others=others,
        )

    def refusals(self, state: _XeState, asked: Asked) -> tuple[Refusal, ...]:
        hidden = [at for at in asked.addresses if at not in state.pci.ready]
        return unmet((
            *judge(state.pci, asked.addresses),
            (state.power == "halted", "running", f"{asked.guest} is {state.power}: it gets devices when it starts",
             f"xe vm-shutdown uuid={state.vm}"),
            (not hidden, "not-hidden", f"{listed(hidden)} is dom0's own still",
             f"nestlab procedure run LAB NODE pci-hide devices={','.join(asked.devices)}"),
            (not state.others, "other-guest", f"{listed(state.others)} has a device of these",
             "a device is one guest's"),
        ))  # fmt: skip

    def actions(self, state: _XeState, asked: Asked) -> tuple[Action, ...]:
        wanted = _joined(state.value, asked.addresses)
        return () if state.value == wanted else (xe.set_key("vm", state.vm, "other-config", "pci", wanted),)

    def undo(self, state: _XeState, before: _XeState, asked: Asked) -> tuple[Action, ...]:  # noqa: ARG002
        same_value = state.value == before.value
        return () if same_value else (xe.set_key("vm", state.vm, "other-config", "pci", before.value),)

    def check(self, world: World, host: Host, asked: Asked) -> tuple[Evidence, ...]:  # noqa: ARG002
        now = self.look(host, asked)
        named = _named(now.value)
        return tuple(
            evidence
            for at in asked.addresses
            for evidence in (
                same(f"{asked.guest} is started with {at}, by XAPI", True, at in named),
                same(f"{at} can be given to a guest, by xl", True, at in now.pci.ready),
            )
        )


def _named(value: str) -> list[str]:
    """The devices of other-config:pci, each behind a number: 0/0000:03:00.0,0/0000:04:00.0."""
    return [item.strip().partition("/")[2] for item in value.split(",")]


def _joined(value: str, addresses: Sequence[str]) -> str:
    there = [item for item in value.split(",") if item]
    return ",".join([*there, *(f"0/{at}" for at in addresses if at not in _named(value))])


def _xe_others(host: Host, vm: str, addresses: Sequence[str]) -> tuple[str, ...]:
    """Guests beside this one that are to have one of these. A filter would find those that have it alone."""
    guests = xe.minimal(host, "vm-list", "is-control-domain=false")
    held = {each: xe.map_key(host, "vm", each, "other-config", "pci") for each in guests if each != vm}
    return tuple(each for each, value in held.items() if set(_named(value)) & set(addresses))


PROCEDURE = Procedure(
    name="pci-assign",
    title="PCI devices given to a guest",
    summary="A guest gets PCI devices of its own: at once when it runs (plain Xen), and each time it starts. Whole "
    "devices only, with all their functions, none that dom0 needs, and only where Xen has an IOMMU (in a lab: iommu: "
    "true of the node). Plain Xen takes them from dom0's drivers until the host's next start: `pci-hide`, or "
    "xen.pciback_hide in a lab file, keeps them from these for good; and a running guest takes one only when it "
    'was started with passthrough = "enabled", a PV guest also with e820_host = 1. XAPI wants them hidden first. '
    "Such a guest can be neither moved nor suspended.",
    options=Asked,
    ways={"xl": _Xl(), "xe": _Xe()},
    sources=(
        "Debian wiki: Xen, Configure PCI pass-through Parameters",
        "NetBSD Xen HowTo: PCI passthrough",
        "XCP-ng guide: PCI passthrough",
        "xl(1): PCI PASS-THROUGH; xl-pci-configuration(5)",
    ),
    refuses={
        "no-iommu": "Xen has no IOMMU for guests of that kind",
        "no-device": "the host has no such device",
        "bridge": "the device is a bridge",
        "in-use": "dom0's root disk or the way to the host hangs on it",
        "disk-in-use": "a disk of it is mounted, or part of something",
        "last-card": "the host would have no network card any more",
        "functions": "another function of the device is not among them",
        "pvh": "the guest is of the kind PVH (plain Xen)",
        "other-guest": "another guest has it",
        "no-passthrough": "the guest runs, and was not started so that it takes devices (plain Xen)",
        "running": "the guest runs (xe)",
        "not-hidden": "dom0's own driver has it (xe)",
    },
    drill=Drill(
        options={"guest": "web", "devices": "03:00.0"},
        reason="it needs an IOMMU and a device to spare, which a host of labs/passthrough.yaml has: nestlab procedure "
        "drill passthrough pci-assign guest=router devices=00:05.0",
    ),
    dead=(
        Dead(
            says="PCs don't have an IOMMU: a guest with a device of its own can read and write all memory",
            why="they have one since 2008 or so; without it nothing is assigned here",
        ),
        Dead(
            says="you need to pass all of the devices on the bus",
            why="with an IOMMU it is all functions of a device, which is looked at; not the bus",
        ),
    ),
    subject="guest",
    bound=("devices",),
)  # fmt: skip
