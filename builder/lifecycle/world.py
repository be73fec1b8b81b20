"""The world around a lab's hosts, as procedures and tests see it: the hosts by name, and faults from outside them."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from builder.drivers.ssh_host import SshHost
from builder.errors import LabError
from builder.lifecycle.protocol import Channel, ask, connect
from builder.lifecycle.status import status
from builder.model.host import Host
from builder.model.runtime import DiskStatus, NodeStatus, PortStatus
from builder.paths import Places


class LabWorld:
    """Implements builder.procedures.engine.Machines for a lab that is up. Faults are done by the lab's keeper: see
    faults.py."""

    def __init__(self, lab_id: str, places: Places) -> None:
        self._lab_id = lab_id
        self._places = places
        self._hosts: dict[str, SshHost] = {}

    def host(self, name: str) -> Host:
        """Raises LabError for a node that the lab does not have, that is off, or that is not reachable by ssh."""
        if name not in self._hosts:
            node = self._status(name)
            target = node.ssh
            if node.state == "stopped":
                raise LabError(f"{name} is stopped", hint=f"nestlab up starts it; nestlab status {self._lab_id}")
            if target is None:
                raise LabError(f"{name} is {node.state}: there is no ssh to it", hint="nestlab status")
            self._hosts[name] = SshHost(name, target)
        return self._hosts[name]

    def running(self, node: str) -> bool:
        """False once the machine was powered off, by itself or from outside. Raises LabError for an unknown node."""
        return self._status(node).state in ("starting", "ready")

    def pull_disk(self, node: str, disk: str) -> bool:
        """Take a disk away from the running guest, as by hand: its controller finds nobody there any more. False when
        it is out already. Raises LabError: its bus cannot."""
        return bool(self._ask("pull-disk", node=node, disk=disk))

    def insert_disk(self, node: str, disk: str) -> bool:
        """Plug the same disk in again, in its old place; the firmware tries it last. A SCSI host of Linux has to be
        told to look: `echo - - - >/sys/class/scsi_host/host0/scan`."""
        return bool(self._ask("insert-disk", node=node, disk=disk))

    def order_disks(self, node: str, disks: Sequence[str]) -> bool:
        """Plug the node's disks in in this order from its next power-on. Every disk is named, the first one first."""
        return bool(self._ask("order-disks", node=node, disks=list(disks)))

    def disks(self) -> tuple[DiskStatus, ...]:
        """Every disk of every node."""
        return tuple(DiskStatus.model_validate(disk) for disk in self._ask("disks"))

    def cut_path(self, node: str, network: str, *, cut: bool = True) -> bool:
        """Unplug (or plug in again) the node's cards on a network, at the switch: the guest's link stays up."""
        return bool(self._ask("cut", node=node, network=network, cut=cut))

    def set_link(self, node: str, network: str, *, up: bool) -> bool:
        """Take the link of the node's cards on a network down, or bring it up: the guest sees its carrier go."""
        return bool(self._ask("link", node=node, network=network, up=up))

    def shape(self, node: str, network: str, *, delay_ms: float = 0, loss: float = 0) -> bool:
        """Hold back each frame that enters or leaves by the node's cards on a network (a round trip is late by twice
        the delay), and lose a part of them, 0 to 1."""
        return bool(self._ask("shape", node=node, network=network, delay_ms=delay_ms, loss=loss))

    def ports(self) -> tuple[PortStatus, ...]:
        """Every lab card of every node."""
        return tuple(PortStatus.model_validate(port) for port in self._ask("ports"))

    def capture(self, network: str, *, seconds: float) -> bytes:
        """The frames that pass on a network during the next `seconds`, as a pcap file."""
        pieces: list[bytes] = []
        self.capture_to(network, seconds=seconds, receiver=pieces.append)
        return b"".join(pieces)

    def capture_to(self, network: str, *, seconds: float, receiver: Callable[[bytes], object]) -> dict[str, int]:
        """The same, handed over in pieces as frames come. Returns how many `frames` there were, and how many were
        `missed` because there were too many at once. An interrupt (Ctrl-C) ends it, as the end of the time does."""
        channel = self._connect()
        try:
            with _interrupt_finishes(channel):
                counted: dict[str, int] = ask(channel, "capture", receiver=receiver, network=network, seconds=seconds)
        finally:
            channel.close()
        return counted

    def power_cycle(self, node: str) -> None:
        """Pull the plug and power the node on again; other nodes that are off stay off. Hosts of that name that were
        handed out are void: their port may be another one. Raises what `up` raises."""
        self._ask("power-off", node=node)
        self._hosts.pop(node, None)
        self._ask("power-on", node=node)

    def _status(self, name: str) -> NodeStatus:
        nodes = {node.name: node for node in status(self._lab_id, self._places).nodes}
        if name not in nodes:
            raise LabError(f"lab {self._lab_id} has no node {name}", hint=f"it has {', '.join(nodes)}")
        return nodes[name]

    def _ask(self, op: str, **arguments: Any) -> Any:
        channel = self._connect()
        try:
            return ask(channel, op, **arguments)
        finally:
            channel.close()

    def _connect(self) -> Channel:
        channel = connect(self._places.run(self._lab_id))
        if channel is None:
            raise LabError(f"lab {self._lab_id} is not up", hint="nestlab ls")
        return channel


@contextlib.contextmanager
def _interrupt_finishes(channel: Channel) -> Iterator[None]:
    """Ctrl-C withdraws the request, and what is under way is still received. Raised as usual it would tear the piece
    that is just being handed over. A second one is raised."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return

    def finish(*_: object) -> None:
        signal.signal(signal.SIGINT, before)
        channel.finish()

    signal.signal(signal.SIGINT, finish)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
