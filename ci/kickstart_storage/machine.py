"""The machine: one host of the product on plain Linux, by the host's own domain definition, with a root disk added."""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from builder.drivers.embed import leftovers, prepare_root, share_capabilities
from builder.drivers.ports import PortTable
from builder.drivers.reaper import become_subreaper
from builder.drivers.ssh import close_master, generate_keys, open_master, wait_banner
from builder.drivers.ssh_host import SshHost
from builder.drivers.virt import Domain, Libvirt, embed_uri
from builder.hypervisors.kvm import domain_xml
from builder.images import tiny
from builder.images.overlays import create_disk, create_overlay, write_seed
from builder.images.store import Image
from builder.lifecycle.booting import ovmf
from builder.model.lab import Disk, Node
from builder.model.plan import File
from builder.model.runtime import SshTarget, Wiring
from builder.model.units import GIB
from builder.paths import Places

START = 400
"""Seconds until ssh answers; 30 on a host that does little else."""


def with_root(node: Node) -> Node:
    """The node with a root disk that it starts from, on a bus where it takes no name from the node's own disks."""
    bus = "lsilogic" if any(disk.bus == "virtio" for disk in node.disks) else "virtio"
    root = Disk(name="testroot", size=2 * GIB, bus=bus, sector="512n")
    return node.model_copy(update={"disks": (root, *node.disks), "memory": GIB, "nics": ()})


class Machine:
    """One machine through its starts."""

    def __init__(self, libvirt: Libvirt, xml: str, host: SshHost) -> None:
        self.host = host
        self._libvirt = libvirt
        self._xml = xml
        self._domain: Domain | None = None

    def start(self) -> None:
        self._domain = self._libvirt.start(self._xml)
        connect(self.host.target)

    def stop(self) -> None:
        close_master(self.host.target)
        if self._domain is not None:
            self._domain.destroy()

    def restart(self) -> None:
        """Power off and on, once all is written: a shutdown would wait for the arrays' first synchronisation."""
        self.host.run(["sync"], timeout=300)
        self.stop()
        self.start()


@contextlib.contextmanager
def machine(node: Node, image: Image, folder: Path) -> Iterator[Machine]:
    """Running and answering to ssh. `folder` is short (sockets), and not empty afterwards: it holds the console."""
    assert image.disk is not None
    name = f"t-{node.name}-{uuid.uuid4().hex[:6]}"
    keys = generate_keys(folder / "ssh", name)
    disks = folder / "disks"
    disks.mkdir()
    whole = with_root(node)
    root, *others = (disks / f"{disk.name}.qcow2" for disk in whole.disks)
    create_overlay(image.disk, root)
    write_seed(
        root,
        (
            File(path=tiny.AUTHORIZED_KEYS, content=keys.identity_public.read_text(), mode=0o600),
            File(path=tiny.HOST_KEY, content=keys.host_key.read_text(), mode=0o600),
            File(path=tiny.HOSTNAME, content=f"{node.name}\n"),
        ),
    )
    for path, disk in zip(others, node.disks, strict=True):
        create_disk(path, disk.size)
    with PortTable() as table, _libvirt(folder / "v") as libvirt, contextlib.ExitStack() as stack:
        (port,) = table.claim(1)
        wiring = Wiring(
            lab="tests",
            domain=name,
            uuid=str(uuid.uuid4()),
            accelerator="tcg",
            machine_type=libvirt.machine_type(node.machine),
            disks=(str(root), *map(str, others)),
            console_log=str(folder / "console.log"),
            console_socket=str(folder / "c"),
            ssh_port=port,
            uefi=ovmf(folder) if node.firmware == "uefi" else None,
        )
        target = SshTarget(
            host="127.0.0.1",
            port=port,
            user="root",
            identity_file=str(keys.identity),
            known_hosts=str(keys.known_hosts),
            control_path=str(folder / "m"),
            host_key_alias=name,
        )
        running = Machine(libvirt, domain_xml(whole, wiring), SshHost(node.name, target))
        stack.callback(running.stop)
        running.start()
        yield running


def connect(target: SshTarget) -> None:
    """Open the connection that all commands share. Raises TimedOut, and LabError when ssh refuses."""
    wait_banner(target, time.monotonic() + START)
    open_master(target)


@contextlib.contextmanager
def _libvirt(root: Path) -> Iterator[Libvirt]:
    cache = Places.from_environment(os.environ).cache / "qemu-caps"
    become_subreaper()
    prepare_root(root, cache)
    with Libvirt.open(embed_uri(root)) as connection:
        yield connection
    share_capabilities(root, cache)
    if left := leftovers(root):
        raise RuntimeError(f"processes {left} were left by libvirt")
