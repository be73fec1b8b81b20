"""PCI devices kept from dom0's drivers, ready to be given to guests."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import ClassVar

from pydantic import Field

from builder.model.host import Host, World
from builder.model.units import BDF_PATTERN
from builder.procedures import pciback
from builder.procedures.api import Action, Dead, Drill, Evidence, Options, Procedure, Reboot, Refusal, Words, same
from builder.procedures.asking import ask, listed
from builder.procedures.boot import BootSettings, BootState, BootWay, Grub, XenCmdline, running_keys
from builder.procedures.journal import Journal
from builder.procedures.pciback import Files, Module

NAME = "pci-hide"
DEVICES = "/sys/bus/pci/devices"
# Follows the disks below / and the cards that carry the way to this host down to their PCI devices.
_VITAL = r"""
for link in $(lsblk -nrso NAME "$(findmnt -no SOURCE /)" 2>/dev/null); do readlink -f "/sys/class/block/$link"; done
cards=$(ip -o route get "${SSH_CONNECTION%% *}" 2>/dev/null | sed -n 's/.* dev \([^ ]*\).*/\1/p')
while [ -n "$cards" ]; do
  below=
  for card in $cards; do
    readlink -f "/sys/class/net/$card"
    for port in "/sys/class/net/$card/brif/"* "/sys/class/net/$card/lower_"*; do
      [ -e "$port" ] && below="$below $(basename "$port" | sed 's/^lower_//')"
    done
  done
  cards=$below
done
:
"""
# The PCI devices of these cards. What is below a USB controller is no card of that controller.
_CARDS = r"""
for name in "$@"; do
  [ -e "/sys/class/net/$name/device" ] || continue
  device=$(readlink -f "/sys/class/net/$name/device")
  case ${device##*/} in virtio*) device=${device%/*} ;; esac
  echo "$name ${device##*/}"
done
"""
_HIDES = re.compile(r"xen[-_]pciback\.hide=(\S*)")
_CARD = re.compile(r"[A-Za-z0-9_.-]{1,15}")
_WAS = "# The kernel's command line had xen-pciback.hide="
_WHY = "xen-pciback is told what to hide when it is loaded, before the devices' drivers"


class Asked(Options):
    devices: Words = Field(
        min_length=1,
        description="PCI addresses as lspci prints them, or names of network cards: 03:00.0,0000:04:00.1,eth1",
    )

    @property
    def addresses(self) -> tuple[str, ...]:
        """With the PCI domain; of words that are none, nothing."""
        return tuple(dict.fromkeys(filter(None, map(address, self.devices))))


def address(word: str) -> str:
    """Of 03:00.0, or of eth1=0000:03:00.0, which a card's name becomes; empty for what is none."""
    device = word.rpartition("=")[2]
    return pciback.full(device) if re.fullmatch(BDF_PATTERN.strip("^$"), device) else ""


def vital_devices(host: Host) -> tuple[str, ...]:
    """Those that dom0's root disk or the way to the host hangs on."""
    found = re.findall(r"/([0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])(?=/)", ask(host, "sh", "-c", _VITAL))
    return tuple(dict.fromkeys(found))


class _Hide(BootWay[Asked]):
    name = NAME

    def settle(self, host: Host, asked: Asked) -> Asked:
        """Names of cards become their devices. A card that is hidden has no name any more, and another one may have it
        instead: while this is applied a name is what it was then."""
        names = [word for word in asked.devices if not address(word) and _CARD.fullmatch(word)]
        if not names:
            return asked
        record = Journal(host, NAME).read()
        earlier = [str(word) for word in record.asked["devices"]] if record else []
        known = {word.partition("=")[0]: word for word in earlier if "=" in word}
        there = (row.split() for row in ask(host, "sh", "-c", _CARDS, "sh", *names).splitlines())
        now = {name: f"{name}={device}" for name, device in there if address(device)}
        return Asked(devices=tuple(known.get(word) or now.get(word) or word for word in asked.devices))

    def settings(self, asked: Asked) -> BootSettings:
        # a word that is no device is never what runs: so there is something to do, and it is refused
        return _on_kernels_line(pciback.joined(dict.fromkeys(address(word) or word for word in asked.devices)))

    def survey(self, host: Host, asked: Asked) -> Mapping[str, str]:
        early = host.run(["sh", "-c", "modinfo -F filename xen_pciback 2>/dev/null"]).stdout.strip()
        return {
            "there": " ".join(at for at in asked.addresses if host.run(["test", "-e", f"{DEVICES}/{at}"]).ok),
            "vital": " ".join(vital_devices(host)),
            "driver": "module" if early.endswith((".ko", ".ko.xz", ".ko.zst", ".ko.gz")) else "built in",
            "others": " ".join(self._others(host, asked)),
        }

    def _others(self, host: Host, asked: Asked) -> tuple[str, ...]:
        """What the kernel's command line hid before the first run, and would not any more."""
        record = Journal(host, NAME).read()
        if record is not None:
            before = [*record.before["running"].values(), *record.before["configured"].values()]
        else:
            settings = self.settings(asked)
            configured = self.loader.configured(host, self.file_name(asked), settings)
            before = [*running_keys(host, settings).values(), *configured.values()]
        hidden = [each for text in before for value in _HIDES.findall(text) for each in pciback.entries(value)]
        return tuple(each for each in pciback.normal(hidden) if each not in asked.addresses)

    def sample_survey(self) -> Mapping[str, str]:
        return {"update-grub": "yes", "there": "0000:03:00.0", "vital": "0000:00:01.1", "driver": "built in"}

    def judge(self, survey: Mapping[str, str], asked: Asked) -> tuple[Refusal, ...]:
        found = [*_of_devices(survey, asked)]
        if others := survey.get("others", "").split():
            found.append(Refusal(
                code="hides-others",
                message=f"the kernel's command line hides {listed(others)} as well, which dom0 would have again",
                hint=f"name all of them: devices={','.join((*others, *asked.devices))}",
            ))  # fmt: skip
        if survey["driver"] == "module":
            found.append(Refusal(
                code="driver-is-module",
                message="xen-pciback is a module on this host: the kernel does not read its arguments before other "
                "drivers took the device",
                hint="at run time `xl pci-assignable-add` does it until the next start",
            ))  # fmt: skip
        return tuple(found)

    def seen(self, host: Host, asked: Asked) -> tuple[Evidence, ...]:
        assignable = ask(host, "xl", "pci-assignable-list").split()
        found = []
        for device in asked.addresses:
            driver = host.run(["readlink", f"{DEVICES}/{device}/driver"]).stdout.strip()
            found.append(same(f"driver of {device}", "pciback", PurePosixPath(driver).name))
            found.append(same(f"{device} can be given to a guest, by xl", True, device in assignable))
        return tuple(found)


def _of_devices(survey: Mapping[str, str], asked: Asked) -> tuple[Refusal, ...]:
    found = []
    there, vital = survey["there"].split(), survey["vital"].split()
    for device in asked.devices:
        at = address(device)
        if not at and not _CARD.fullmatch(device):
            found.append(Refusal(code="no-address", message=f"{device} is no PCI address, and no name of a card",
                                 hint="write it as lspci prints it: 03:00.0, or 0000:03:00.0"))  # fmt: skip
        elif not at:
            found.append(Refusal(code="no-device", message=f"the host has no network card {device} on its PCI bus",
                                 hint="ip link lists cards, lspci devices"))  # fmt: skip
        elif at not in there:
            found.append(Refusal(code="no-device", message=f"the host has no PCI device {device}",
                                 hint="lspci lists them"))  # fmt: skip
        elif at in vital:
            found.append(Refusal(code="in-use", message=f"{device} carries dom0's root or the way to this host",
                                 hint="give guests another device: without this one the host is dead"))  # fmt: skip
    return tuple(found)


def _on_kernels_line(value: str, *remarks: str) -> BootSettings:
    return BootSettings(kernel_keys=("xen-pciback.hide",), kernel=(f"xen-pciback.hide={value}",), grub=remarks)


class HideState(BootState):
    """Where xen-pciback is a module: `files` are ours, `module` is what modprobe and the devices say."""

    passing: ClassVar[frozenset[str]] = frozenset({"survey", "module"})

    files: Files = Field(default_factory=dict)
    module: Module | None = None

    @property
    def of_kernel(self) -> list[str]:
        """What the running kernel's command line hides: modprobe takes it for the module's options, behind files'."""
        return [word.partition("=")[2] for word in " ".join(self.running.values()).split()]

    @property
    def kernel_before(self) -> str | None:
        """The same without us. None where it names none: then it need not be changed."""
        said = re.findall(rf"^{re.escape(_WAS)}(.*)$", self.configured.get("drop-in", ""), re.MULTILINE)
        return next(iter([*said, *self.of_kernel[-1:]]), None)

    def others(self, module: Module) -> tuple[str, ...]:
        """What is hidden without us."""
        if self.kernel_before is not None:
            return pciback.entries(self.kernel_before)
        return pciback.of_files(module, self.files, len(self.of_kernel))


class _Xl(_Hide):
    """By the kernel's command line where the driver is built in, else by modprobe, whose options the command line only
    has to agree with where it names the driver itself."""

    state = HideState

    def __init__(self) -> None:
        super().__init__(Grub())
        survey = {**self.sample_survey(), "driver": "module"}
        self.sample = HideState(configured={"drop-in": ""}, running={}, survey=survey,
                                files=dict.fromkeys(pciback.PATHS), module=pciback.SAMPLE)  # fmt: skip

    def look(self, host: Host, asked: Asked) -> HideState:
        found = super().look(host, asked)
        state = HideState(configured=found.configured, running=found.running, survey=found.survey)
        if found.survey["driver"] != "module":
            return state
        return state.model_copy(update={"files": pciback.files(host), "module": pciback.look(host, asked.addresses)})

    def refusals(self, state: BootState, asked: Asked) -> tuple[Refusal, ...]:
        if not isinstance(state, HideState) or state.module is None:
            return super().refusals(state, asked)
        found = [*_of_devices(state.survey, asked)]
        if state.kernel_before is not None:
            found += self.loader.refusals(state.survey)
        if state.module.built_in:
            found.append(Refusal(
                code="driver-built-in",
                message=f"the driver of {listed(state.module.built_in)} is built into the kernel: it has the device "
                "before any module is there",
                hint="`xl pci-assignable-add`, or the procedure pci-assign, takes it from there until the next start",
            ))  # fmt: skip
        if missing := [tool for tool in pciback.TOOLS if tool not in state.module.tools]:
            found.append(Refusal(
                code="no-initramfs-tools",
                message=f"the host has no {listed(missing)}: its initrds are not made by initramfs-tools, and drivers "
                "in them would have the devices first",
                hint="in a lab say xen.pciback_hide in the lab file",
            ))  # fmt: skip
        return tuple(found)

    def actions(self, state: BootState, asked: Asked) -> tuple[Action, ...]:
        if not isinstance(state, HideState) or state.module is None:
            return super().actions(state, asked)
        module = state.module
        hidden = pciback.together(state.others(module), asked.addresses)
        held = all(module.bound.get(address(word)) == "pciback" for word in asked.devices)
        starts_so = held and pciback.same_devices(module.hidden, hidden)
        if starts_so and not any(state.files.values()):
            return ()  # the host's own settings say the same already
        writes = pciback.writes(state.files, pciback.wanted(module, state.files, hidden))
        loader: tuple[Action, ...] = ()
        if state.kernel_before is not None:
            settings = _of_module(state, hidden)
            loader = self.loader.set(self.name, state.configured, settings)
            loader += self.loader.apply(settings) if loader or not starts_so else ()
        if starts_so and not writes and not loader:
            return ()
        judges = (pciback.judge(module, state.files, hidden), *loader, *pciback.REBUILD,
                  pciback.in_initrds(module, state.files))  # fmt: skip
        return (*writes, *judges, *(() if starts_so else (Reboot(_WHY),)))

    def undo(self, state: BootState, before: BootState, asked: Asked) -> tuple[Action, ...]:
        if not isinstance(state, HideState) or not isinstance(before, HideState) or state.module is None:
            return super().undo(state, before, asked)
        writes = pciback.writes(state.files, before.files)
        loader: tuple[Action, ...] = self.loader.restore(self.name, state.configured, before.configured)
        restart = state.running != before.running
        restart |= not pciback.same_devices(state.module.hidden, state.others(state.module))
        if not writes and not loader and not restart:
            return ()
        if loader or state.running != before.running:
            loader += self.loader.apply(None)
        return (*writes, *loader, *pciback.REBUILD, *((Reboot(_WHY),) if restart else ()))

    def check(self, world: World, host: Host, asked: Asked) -> tuple[Evidence, ...]:
        state = self.look(host, asked)
        if state.module is None:
            return super().check(world, host, asked)
        hidden = pciback.together(state.others(state.module), asked.addresses)
        found = [_hides(hidden, state.module)]
        if state.kernel_before is not None:
            settings = _of_module(state, hidden)
            found += [same("dom0 kernel started with", *pair) for pair in
                      zip(settings.running().values(), running_keys(host, settings).values(), strict=True)]  # fmt: skip
        return (*found, *self.seen(host, asked))

    def check_undone(self, world: World, host: Host, before: BootState, asked: Asked) -> tuple[Evidence, ...]:
        found = super().check_undone(world, host, before, asked)
        state = self.look(host, asked)
        if state.module is None or not isinstance(before, HideState) or before.module is None:
            return found
        others = state.others(state.module)
        had = before.module.bound
        free = [at for at in asked.addresses if had.get(at) != "pciback" and not pciback.covers(others, at)]
        return (
            *found,
            _hides(others, state.module),
            *(same(f"xen-pciback has {at}", False, state.module.bound.get(at) == "pciback") for at in free),
        )


def _of_module(state: HideState, hidden: tuple[str, ...]) -> BootSettings:
    """The command line with all that is to be hidden, and a remark that says what it had before."""
    return _on_kernels_line(pciback.joined(hidden), f"{_WAS}{state.kernel_before}")


def _hides(hidden: tuple[str, ...], module: Module) -> Evidence:
    return same("xen-pciback was loaded to hide", listed(pciback.normal(hidden)), listed(pciback.normal(module.hidden)))


PROCEDURE = Procedure(
    name=NAME,
    title="PCI devices kept for guests",
    summary="PCI devices are taken by xen-pciback before dom0's drivers see them, so that they can be given to guests. "
    "Where it is built into the kernel, as on XCP-ng, its command line says which. Where it is a module, as on Debian, "
    "modprobe's options do, in the initrds as well, and the drivers that would take the devices wait for it; devices "
    "that other settings hide stay hidden. A network card's name is that from before: others may have it afterwards.",
    options=Asked,
    ways={"xl": _Xl(), "xe": _Hide(XenCmdline())},
    sources=(
        "Debian wiki: Xen, Configure PCI pass-through Parameters",
        "NetBSD Xen HowTo: PCI passthrough",
        "XCP-ng guide: PCI passthrough",
        "modprobe.d(5): options, softdep; update-initramfs(8)",
    ),
    refuses={
        "no-update-grub": "the kernel's command line has to change, and the host is no Debian host (plain Xen)",
        "no-address": "it is no PCI address",
        "no-device": "the host has no such device, or no such card",
        "in-use": "dom0's root disk or the way to the host hangs on it",
        "hides-others": "the kernel's command line hides devices that are not named (xen-pciback built in)",
        "driver-is-module": "xen-pciback is a module (xe)",
        "driver-built-in": "the device's driver is built into the kernel, and xen-pciback is not (plain Xen)",
        "no-initramfs-tools": "the host's initrds are made by something else, such as dracut (plain Xen)",
    },
    drill=Drill(
        options={"devices": "03:00.0"},
        reason="it needs a second network card: nestlab procedure drill two-dom0 pci-hide devices=eth2 --node alpha",
    ),
    dead=(
        Dead(
            says="GRUB_CMDLINE_XEN=\"dom0_mem=512M pciback.hide=(01:08.1)(01:09.2)",
            why="pciback.hide was never an argument of the hypervisor: it is the dom0 kernel's, and is called "
            "xen-pciback.hide since Linux 2.6.32 (the quote is not closed either)",
        ),
        Dead(
            says="the module's name in /etc/initramfs/modules",
            why="the file is /etc/initramfs-tools/modules; what it names is loaded behind the drivers that udev "
            "asks for: these wait only when softdep says so",
        ),
        Dead(
            says="install e1000e /sbin/modprobe xen-pciback; ...",
            why="softdep e1000e pre: xen-pciback says the same, and is followed where an initrd is made",
        ),
    ),
)  # fmt: skip
