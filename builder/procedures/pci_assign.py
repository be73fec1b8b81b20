"""PCI devices given to a guest: whole devices, none that the host needs, where an IOMMU keeps them to that guest."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from builder.errors import LabError
from builder.model.host import Host, World
from builder.model.lab import Value
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
from builder.procedures.asking import ask, domains, fields, listed, read_text
from builder.procedures.guests import configurations, file_of
from builder.procedures.pci_hide import vital_devices
from builder.procedures.xlconf import pci_items, with_pci_items

# For each device: is it there, its class, its driver, whether a disk below it is used, how many of the host's real
# network cards are below none of these devices, and the functions of the same device; a virtual one (SR-IOV) is alone.
# Last, whether the driver that holds devices for guests is not there: Debian's is a module, loaded on request.
_DEVICES = r"""
cd /sys/bus/pci/devices
for device in "$@"; do
  [ -e "$device" ] || continue
  driver=$(readlink "$device/driver") || driver=none
  used=
  for disk in $(find "$device/" -path '*/block/*' -prune -printf '%f\n' 2>/dev/null); do
    [ -z "$(lsblk -nro MOUNTPOINT,TYPE "/dev/$disk" | awk 'NF > 1 || ($1 != "disk" && $1 != "part")')" ] || used=$disk
  done
  echo "device $device class=$(cat "$device/class") driver=${driver##*/} used=${used:-no}"
  for other in "${device%.*}".*; do [ -e "$device/physfn" ] || echo "function $other"; done
done
for card in /sys/class/net/*/device; do
  [ -e "$card" ] || continue
  of=$(readlink -f "$card")
  kept=yes
  for device in "$@"; do case "$of/" in */"$device"/*) kept=no ;; esac; done
  echo "card $kept"
done
[ -d /sys/bus/pci/drivers/pciback ] || echo "pciback missing"
"""
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


class Device(Value):
    """A PCI device as dom0 sees it. `used` is a disk of it that is mounted or part of something."""

    kind: str
    driver: str
    used: str


class Pci(Value):
    """What there is to know of the devices asked for before one is given away."""

    iommu: bool
    devices: Mapping[str, Device]
    functions: tuple[str, ...]
    vital: tuple[str, ...]
    cards: int
    takes_cards: bool
    ready: tuple[str, ...]
    """Those that can be given to guests now, by xl."""
    pciback: bool = True
    """The driver that holds them is in the kernel."""


def pci_of(host: Host, addresses: Sequence[str], kind: str) -> Pci:
    """Reads only. `kind` of the guest: Xen says for which it has an IOMMU."""
    rows = [line.split() for line in ask(host, "sh", "-c", _DEVICES, "sh", *addresses).splitlines()]
    told = {row[1]: dict(word.partition("=")[::2] for word in row[2:]) for row in rows if row[0] == "device"}
    capabilities = fields(ask(host, "xl", "info")).get("virt_caps", "").split()
    cards = [row[1] for row in rows if row[0] == "card"]
    return Pci(
        iommu=("pv_directio" if kind == "pv" else "hvm_directio") in capabilities,
        devices={at: Device(kind=it["class"], driver=it["driver"], used=it["used"]) for at, it in told.items()},
        functions=tuple(dict.fromkeys(row[1] for row in rows if row[0] == "function")),
        vital=vital_devices(host),
        cards=cards.count("yes"),
        takes_cards="no" in cards,
        ready=tuple(sorted(set(ask(host, "xl", "pci-assignable-list").split()) & set(addresses))),
        pciback=["pciback", "missing"] not in rows,
    )


def judge(pci: Pci, addresses: Sequence[str]) -> tuple[tuple[bool, str, str, str], ...]:
    """Rules about devices: without an IOMMU a guest's device writes to all memory, the host's as well."""
    missing = [at for at in addresses if at not in pci.devices]
    bridges = [at for at, device in pci.devices.items() if device.kind.startswith("0x06")]
    used = [f"{at} ({device.used})" for at, device in pci.devices.items() if device.used != "no"]
    vital = [at for at in addresses if at in pci.vital]
    rest = [at for at in pci.functions if at not in addresses]
    return (
        (pci.iommu, "no-iommu", "Xen has no IOMMU for this guest: its device could write to any memory of the host",
         "VT-d or AMD-Vi in the firmware's setup; xl dmesg says whether I/O virtualisation is enabled"),
        (not missing, "no-device", f"the host has no PCI device {listed(missing)}", "lspci lists them"),
        (not bridges, "bridge", f"{listed(bridges)} is a bridge: not it is given to guests, but what is behind it",
         "lspci -t shows what hangs on what"),
        (not vital, "in-use", f"{listed(vital)} carries dom0's root or the way to this host",
         "give guests another device: without this one the host is dead"),
        (not used, "disk-in-use", f"a disk of {listed(used)} is mounted, or part of an array or volume group",
         "take it out of use first"),
        (not pci.takes_cards or pci.cards > 0, "last-card", "the host would be left without a network card",
         "a host keeps one card for itself"),
        (not rest, "functions", f"{listed(rest)} is another function of the same device: what one can do, all can",
         "give the guest all of them, or none"),
    )  # fmt: skip


class _XlState(State):
    """`entries` are the guest's devices in its configuration, as they stand; `attached` those it has now. `takes` is
    whether it was started so that it can be given one while it runs: xl.cfg(5), passthrough; since Xen 4.13."""

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
             f"{asked.guest} was started without passthrough: Xen gives it no device while it runs",
             f'xl shutdown {asked.guest} first; started with passthrough = "enabled" it takes devices at any time'),
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


def _takes(host: Host, guest: str) -> bool:
    """From what the toolstack keeps of a guest: what its configuration said of passthrough, if anything, and its
    devices. One that was started with some takes more."""
    (started,) = json.loads(ask(host, "xl", "list", "-l", guest))
    config = started["config"]
    return config["c_info"].get("passthrough", "disabled") != "disabled" or bool(config.get("pcidevs"))


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
    "xen.pciback_hide in a lab file, keeps them from these for good; and it gives a running guest one only when that "
    'was started with passthrough = "enabled". XAPI wants them hidden first. Such a guest can be neither moved nor '
    "suspended.",
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
        "no-passthrough": "the guest runs, and was started without passthrough (plain Xen)",
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
