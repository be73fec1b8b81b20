"""Power-on to ready: the running domains of a lab, with their ports and consoles."""

from __future__ import annotations

import functools
import json
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from builder.drivers.boot import BootFollower
from builder.drivers.virt import Domain
from builder.errors import HostLacks, LabError, NodeFailed, TimedOut
from builder.events import Emit, about
from builder.images.store import Image
from builder.lifecycle.install import Inserted
from builder.lifecycle.plan import NodePlan
from builder.lifecycle.request import UpOptions
from builder.lifecycle.site import Site
from builder.lifecycle.state import FIRMWARE, LabFolder
from builder.lifecycle.steps import Json, Step, digest
from builder.lifecycle.watching import End, watched
from builder.model.lab import MediumSource, Node
from builder.model.plan import Boot
from builder.model.runtime import Accelerator, DirectBoot, NicPorts, SshTarget, UefiFirmware, Wiring
from builder.paths import Places, locked, write_atomic

SCREEN = "screen.png"
"""In the node's folder: what was on the screen of an installation, and of any boot that failed."""
_LATE: Mapping[Accelerator, float] = {"kvm": 60, "tcg": 180}
"""Seconds that any phase may take on a busy machine, however short it is on a quiet one. Measured under emulation: a
dom0's kernel that takes 15 s alone took more than 90 s with three machines on two cores."""


@dataclass
class _Running:
    """A node that was wired: what it holds until it is stopped. The paths of `wiring` are ours, those of `powered` are
    the site's."""

    plan: NodePlan
    wiring: Wiring
    target: SshTarget
    domain: Domain | None = None
    powered: tuple[Node, Wiring] | None = None
    phase: str | None = None
    # Where the machine goes away at a reboot, it cannot be told from a power-off: what was planned is believed.
    ends_by: End = "power-off"


class Powered(NamedTuple):
    """A node as it was powered on: its disks, and their files, are in the order in which they were plugged in."""

    node: Node
    wiring: Wiring
    domain: Domain


class Boots:
    """The lab's domains. Thread-safe per node: two nodes may boot at once, one node boots once at a time.

    `use` is called before anything is booted: it tells the site that the guests run at."""

    def __init__(self, places: Places, lab_id: str, folder: LabFolder, emit: Emit) -> None:
        self._places = places
        self._lab_id = lab_id
        self._folder = folder
        self._emit = emit
        self._site: Site | None = None
        self._running: dict[str, _Running] = {}
        self._orders: dict[str, tuple[str, ...]] = {}
        self._options = UpOptions.model_validate({})

    def use(self, options: UpOptions, site: Site) -> None:
        self._options = options
        self._site = site

    @property
    def site(self) -> Site:
        assert self._site is not None
        return self._site

    def target(self, node: str) -> SshTarget | None:
        running = self._running.get(node)
        return running.target if running else None

    def phase(self, node: str) -> str | None:
        running = self._running.get(node)
        return running.phase if running else None

    def console_socket(self, node: str) -> str | None:
        running = self._running.get(node)
        return running.wiring.console_socket if running else None

    def is_running(self, node: str) -> bool:
        running = self._running.get(node)
        return running is not None and running.domain is not None and running.domain.is_running()

    def boot(
        self, plan: NodePlan, step: Step, accelerator: Accelerator, stop: threading.Event, *,
        direct: Image | None = None, inserted: Inserted | None = None,
    ) -> Json:  # fmt: skip
        """Power the node on and follow this boot to its end; returns the seconds each phase took.

        `direct` has the kernel to be started, `inserted` is what an installation finds in the drives.

        Raises NodeFailed with a named cause, TimedOut with the phase and the last console lines, Interrupted.
        """
        boot = Boot.model_validate(step.inputs["boot"])
        running = self._wire(plan, accelerator, boot, direct, inserted)
        if any(phase.signal == "reboot" for phase in boot.phases):
            running.ends_by = "reboot"
        node = plan.name
        console = Path(running.wiring.console_log)
        start = console.stat().st_size if console.exists() else 0
        domain = self._power_on(running, inserted, about(self._emit, node=node, step=step.id), stop)
        look = functools.partial(self.site.screenshot, domain, self._folder.node(node) / SCREEN)
        known = _Timings(self._places.cache / "timings.json", digest([step.name, plan.system.system,
                         plan.system.release, plan.node.cpus, boot.name, accelerator]))  # fmt: skip
        several = len(plan.system.boots) > 1

        def seen(phase: str) -> None:
            running.phase = f"{boot.name}: {phase}" if several else phase

        try:
            with watched(domain, running.target, running.ends_by, inserted, self.site.is_reached, look) as signals:
                seconds = BootFollower(
                    console,
                    boot.phases,
                    node=node,
                    emit=about(self._emit, node=node, step=step.id, seen=seen),
                    signals=signals,
                    offset=start,
                    # Weights are seconds under emulation on an idle host; KVM is several times quicker.
                    scale=self._options.timeout_scale * (6.0 if accelerator == "tcg" else 2.0),
                    expected=known.read(),
                    least=_LATE[accelerator] * self._options.timeout_scale,
                ).follow(stop)
        except (NodeFailed, TimedOut):
            look()
            raise
        known.write(seconds)
        if boot.on_reboot == "end":
            domain.destroy()
            running.domain = None
        return seconds

    def _power_on(self, running: _Running, inserted: Inserted | None, tell: Emit, stop: threading.Event) -> Domain:
        """Pictures and reports of an earlier power-on are none of this one's."""
        node = running.plan.node
        running.powered = self._in_order(node, self.site.settle(running.wiring, tell, stop))
        xml = self.site.definition(*running.powered)
        folder = self._folder.node(node.name)
        write_atomic(folder / "domain.xml", xml, mode=0o600)
        for old in (folder / SCREEN, (folder / SCREEN).with_suffix(".ppm")):
            old.unlink(missing_ok=True)
        if inserted is not None:
            inserted.forget()
        running.domain = self.site.start(xml, running.wiring)
        return running.domain

    def switch_ports(self, node: str, network: str) -> list[int]:
        """The switch's ends of a running node's cards on a network. Raises LabError when there are none."""
        running = self._need(node)
        ports = [
            ports.switch
            for nic, ports in zip(running.plan.node.nics, running.wiring.nics, strict=True)
            if nic.network == network
        ]
        if not ports:
            raise LabError(f"{node} has no card on network {network}", hint="see the node's `networks:`")
        return ports

    def wired(self, node: str) -> tuple[NicPorts, ...]:
        """The ports of a running node's cards, in their order; none when it does not run."""
        return self._running[node].wiring.nics if self.is_running(node) else ()

    def powered(self, node: str) -> Powered:
        """Raises LabError for a node that does not run."""
        running = self._need(node)
        assert running.domain is not None and running.powered is not None
        return Powered(*running.powered, running.domain)

    def disk_path(self, node: str, disk: str) -> str:
        """The file that the node's QEMU has it in."""
        return self.site.path(self._folder.disk(node, disk))

    def order_disks(self, node: str, disks: Sequence[str]) -> None:
        """In which order the node's disks are plugged in from its next power-on."""
        self._orders[node] = tuple(disks)

    def disk_order(self, node: Node) -> list[str]:
        """That order; the one of the lab file when there is no other that still fits."""
        names = [disk.name for disk in node.disks]
        order = self._orders.get(node.name, ())
        return list(order) if sorted(order) == sorted(names) else names

    def _in_order(self, node: Node, wiring: Wiring) -> tuple[Node, Wiring]:
        known = {disk.name: (disk, path) for disk, path in zip(node.disks, wiring.disks, strict=True)}
        ordered = [known[name] for name in self.disk_order(node)]
        return (
            node.model_copy(update={"disks": tuple(disk for disk, _ in ordered)}),
            wiring.model_copy(update={"disks": tuple(path for _, path in ordered)}),
        )

    def _need(self, node: str) -> _Running:
        running = self._running.get(node)
        if running is None or running.domain is None or not running.domain.is_running():
            raise LabError(f"{node} is not running", hint="nestlab status")
        return running

    def stop(self, node: str) -> None:
        """Power off and give back ports. Works for a node that never started."""
        running = self._running.get(node)
        if running is None:
            return
        if running.domain is not None:
            running.domain.destroy()
        for ports in running.wiring.nics:
            self.site.cables.remove(ports.switch)
        self.site.release([running.wiring.ssh_port, *(p for n in running.wiring.nics for p in (n.qemu, n.switch))])
        del self._running[node]

    def close(self) -> None:
        for node in list(self._running):
            self.stop(node)

    def _wire(
        self, plan: NodePlan, accelerator: Accelerator, boot: Boot, direct: Image | None, inserted: Inserted | None
    ) -> _Running:
        """Ports, paths and identity of one start. A second boot of the same `up` keeps its ports."""
        node = plan.node
        machine = self.site.machine_type(node.machine)
        before = self._running.get(plan.name)
        if before is not None:
            ssh_port, nics = before.wiring.ssh_port, before.wiring.nics
        else:
            ssh_port, *rest = self.site.claim(1 + 2 * len(node.nics))
            nics = tuple(NicPorts(qemu=a, switch=b) for a, b in zip(rest[::2], rest[1::2], strict=True))
            for nic, ports in zip(node.nics, nics, strict=True):
                self.site.cables.add(ports.switch, qemu=ports.qemu, network=nic.network, vlan=nic.vlan, trunk=nic.trunk)
        folder = self._folder.node(plan.name)
        run_dir = self._places.run(self._lab_id)
        wiring = Wiring(
            lab=self._lab_id,
            domain=self.site.domain_name(plan.name),
            uuid=str(uuid.uuid5(uuid.NAMESPACE_URL, str(folder))),
            accelerator=accelerator,
            machine_type=machine,
            disks=tuple(str(self._folder.disk(node.name, disk.name)) for disk in node.disks),
            console_log=str(folder / "console.log"),
            console_socket=str(run_dir / f"c{_short(plan.name)}"),
            ssh_port=ssh_port,
            nics=nics,
            direct=_direct(direct, plan, self._folder.disks(plan.name)),
            uefi=ovmf(self._folder.disks(node.name), self.site.has_file) if node.firmware == "uefi" else None,
            install=None if inserted is None else inserted.media,
            screen=isinstance(node.source, MediumSource),
            on_reboot=boot.on_reboot,
        )
        keys = folder / "ssh"
        target = SshTarget(
            host="127.0.0.1",
            port=self.site.reach(ssh_port),
            user=plan.system.ssh_user,
            identity_file=str(keys / "id_ed25519"),
            known_hosts=str(keys / "known_hosts"),
            control_path=str(run_dir / f"s{_short(plan.name)}"),
            host_key_alias=self.site.domain_name(plan.name),
        )
        running = _Running(plan=plan, wiring=wiring, target=target)
        self._running[plan.name] = running
        return running


def _direct(image: Image | None, plan: NodePlan, disks: Path) -> DirectBoot | None:
    if image is None or image.kernel is None:
        return None
    arguments = (*image.arguments, *plan.system.boot_args.kernel)
    return DirectBoot(kernel=str(image.kernel), initrd=str(disks / "initrd"), arguments=" ".join(arguments))


def _is_file(path: str) -> bool:
    return Path(path).is_file()


def ovmf(disks: Path, is_there: Callable[[str], bool] = _is_file) -> UefiFirmware:
    """The site's OVMF, without Secure Boot (GRUB's multiboot2, which Xen needs, is not signed), with its variables in
    this folder.

    Raises HostLacks when it is not installed.
    """
    for code, variables in _OVMF:
        if is_there(code) and is_there(variables):
            return UefiFirmware(code=code, variables=str(disks / FIRMWARE), template=variables)
    raise HostLacks("UEFI firmware for guests is not installed", hint="apt-get install ovmf")


_OVMF = (
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
)


def _short(name: str) -> str:
    """Socket paths must stay short whatever the node is called."""
    return digest(name)[:8]


class _Timings:
    """How long phases took in earlier runs of the same kind, for progress. Losing them loses nothing."""

    def __init__(self, path: Path, key: str) -> None:
        self._path = path
        self._key = key

    def read(self) -> dict[str, float]:
        try:
            return {str(k): float(v) for k, v in json.loads(self._path.read_text()).get(self._key, {}).items()}
        except (OSError, ValueError, AttributeError):
            return {}

    def write(self, seconds: dict[str, float]) -> None:
        with locked(self._path.with_suffix(".lock")):
            try:
                known = json.loads(self._path.read_text())
            except (OSError, ValueError):
                known = {}
            if not isinstance(known, dict):
                known = {}
            known[self._key] = {phase: round(value, 2) for phase, value in seconds.items()}
            write_atomic(self._path, json.dumps(known, indent=1, sort_keys=True) + "\n")
