"""Tiny guests run through the drivers, without lifecycle."""

from __future__ import annotations

import contextlib
import queue
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.drivers.boot import BootFollower
from builder.drivers.ports import PortTable
from builder.drivers.ssh import LabKeys, generate_keys, wait_banner
from builder.drivers.ssh_host import SshHost
from builder.drivers.switch import Switch
from builder.drivers.virt import Domain, Libvirt
from builder.hypervisors.kvm import domain_xml
from builder.images import tiny
from builder.images.store import Image
from builder.model.lab import Node
from builder.model.plan import Cause, File, Phase
from builder.model.runtime import DirectBoot, NicPorts, SshTarget, Wiring
from tests.support import kvm_cases

PHASES = (
    Phase(
        name="ready",
        awaits=tiny.READY,
        weight=60,
        causes=(Cause(pattern=tiny.FAILED, name="init-failed", message="init failed", cure=""),),
    ),
)


@dataclass(frozen=True, slots=True)
class Guest:
    """A guest that is ready. `xml` starts it anew after it ended."""

    domain: Domain
    wiring: Wiring
    host: SshHost
    keys: LabKeys
    xml: str

    @property
    def console(self) -> Path:
        return Path(self.wiring.console_log)

    def await_ready(self, offset: int = 0) -> None:
        await_ready(self.console, offset)

    def await_ssh(self) -> None:
        wait_banner(self.host.target, time.monotonic() + 60)


def await_ready(console: Path, offset: int = 0) -> None:
    BootFollower(console, PHASES, "guest", _nobody, queue.Queue(), offset).follow()


def _nobody(*_: Any, **__: Any) -> None:
    """Nobody listens to these events."""


def seeds(keys: LabKeys, name: str, network: str) -> tuple[File, ...]:
    return (
        File(path=tiny.AUTHORIZED_KEYS, content=keys.identity_public.read_text(), mode=0o600),
        File(path=tiny.HOST_KEY, content=keys.host_key.read_text(), mode=0o600),
        File(path=tiny.HOSTNAME, content=f"{name}\n"),
        File(path=tiny.MANAGEMENT, content="10.0.2.15/24 10.0.2.2\n"),
        *([File(path=tiny.NETWORK, content=network)] if network else []),
    )


def bare_xml(folder: Path, name: str, *, port: int, disks: tuple[str, ...] = ()) -> str:
    """A machine without a kernel, and without a disk unless one is named: it stays in its firmware."""
    one = kvm_cases.node(name=name, nics=(), **({} if disks else {"disks": ()}))
    wiring = kvm_cases.CASES["tcg-bios-no-lab-nic"].wire(
        folder, port=port, domain=f"t-{name}", uuid=f"6f1f0f34-5d5c-4e0a-9a0c-{name.encode().hex():0>12.12}"
    )
    return domain_xml(one, wiring.model_copy(update={"disks": disks, "machine_type": "pc"}))


@contextlib.contextmanager
def guest(
    libvirt: Libvirt, image: Image, folder: Path, node: Node, *, network: str = "", switch: Switch | None = None
) -> Iterator[Guest]:
    """Boot a node (its first disk's bus must be one the image has) until it says that it is ready."""
    folder.mkdir(exist_ok=True)
    name = f"t-{node.name}-{uuid.uuid4().hex[:6]}"
    keys = generate_keys(folder / "ssh", name)
    assert image.kernel is not None and image.initrd is not None
    initrd = tiny.seed_initrd(image.initrd, seeds(keys, node.name, network), folder / "initrd")
    with PortTable() as table, contextlib.ExitStack() as stack:
        ssh_port, *rest = table.claim(1 + 2 * len(node.nics))
        ports = [NicPorts(qemu=a, switch=b) for a, b in zip(rest[::2], rest[1::2], strict=True)]
        for nic, pair in zip(node.nics, ports, strict=True):
            assert switch is not None
            switch.add(pair.switch, qemu=pair.qemu, network=nic.network, vlan=nic.vlan, trunk=nic.trunk)
            stack.callback(switch.remove, pair.switch)
        wiring = Wiring(
            lab="tests",
            domain=name,
            uuid=str(uuid.uuid4()),
            accelerator="tcg",
            machine_type=libvirt.machine_type(node.machine),
            disks=tuple(str(folder / f"{disk.name}.qcow2") for disk in node.disks),
            console_log=str(folder / "console.log"),
            console_socket=str(folder / "c"),
            ssh_port=ssh_port,
            nics=tuple(ports),
            direct=DirectBoot(kernel=str(image.kernel), initrd=str(initrd), arguments=" ".join(image.arguments)),
        )
        target = SshTarget(
            host="127.0.0.1",
            port=ssh_port,
            user="root",
            identity_file=str(keys.identity),
            known_hosts=str(keys.known_hosts),
            control_path=str(folder / "m"),
            host_key_alias=name,
        )
        xml = domain_xml(node, wiring)
        domain = libvirt.start(xml)
        stack.callback(domain.destroy)
        await_ready(Path(wiring.console_log))
        yield Guest(domain, wiring, SshHost(node.name, target), keys, xml)
