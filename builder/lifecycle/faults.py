"""What is done to a running lab from outside its hosts: cables and links, latency and loss, captures, disks, power.

Lives in the keeper, which calls `answer` for every request that it does not know itself. All of it is idempotent, and
says (`changed`) whether there was anything to do.
"""

from __future__ import annotations

import base64
import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from builder.drivers.devices import boot_turns, insert_disk, links, plugged_disks, pull_disk, set_link
from builder.drivers.switch import PortState
from builder.drivers.virt import Domain
from builder.errors import LabError
from builder.hypervisors.kvm import domain_xml
from builder.lifecycle.booting import Boots
from builder.lifecycle.protocol import Channel, notice_withdrawal
from builder.model.lab import Lab, Node
from builder.model.runtime import DiskStatus, PortStatus

T = TypeVar("T")
LONGEST_CAPTURE = 3600.0
"""Seconds."""
_PIECE = 8 << 20  # bytes of a capture that wait to be sent: a network that carries more for long loses some
_TURN = 0.2  # seconds
_LINE = 48 << 10  # bytes


class Faults:
    """`hang_up` ends the shared ssh connection of a node. `use` tells the lab as it is meant to be."""

    def __init__(self, boots: Boots, hang_up: Callable[[str], None]) -> None:
        self._boots = boots
        self._hang_up = hang_up
        self._lab: Lab | None = None
        self._one = threading.Lock()  # two that change the same device at once would each see the old state

    def use(self, lab: Lab) -> None:
        self._lab = lab

    def answer(self, op: str, request: dict[str, Any], channel: Channel, leaving: threading.Event) -> Any:
        """The result of a request. Raises LabError for one that cannot be, or that nobody knows."""
        if op == "capture":
            return self._capture(request["network"], float(request["seconds"]), channel, leaving)
        known: dict[str, Callable[..., Any]] = {
            "ports": self._ports,
            "cut": self._cut,
            "link": self._link,
            "shape": self._shape,
            "disks": self._disks,
            "pull-disk": self._pull_disk,
            "insert-disk": self._insert_disk,
            "order-disks": self._order_disks,
            "power-off": self._power_off,
        }
        if op not in known:
            raise LabError(
                f"the keeper does not know how to {op}", hint="this lab was started by another version of nestlab"
            )
        with self._one:
            return known[op](**{key: value for key, value in request.items() if key not in ("v", "op")})

    # Networks.

    def _ports(self) -> list[dict[str, Any]]:
        """Every lab card, those of nodes that do not run among them."""
        states = self._boots.site.cables.states()
        found = []
        for node in self._need_lab().nodes:
            up = self._seen(node.name, links)
            wired = () if up is None else self._boots.wired(node.name)
            for number, nic in enumerate(node.nics):
                state = states.get(wired[number].switch) if wired else None
                state = state or PortState(cut=False, delay=0, loss=0, counters={})
                status = PortStatus(
                    network=nic.network, mtu=nic.mtu, node=node.name, card=number + 1, mac=nic.mac, vlan=nic.vlan,
                    trunk=nic.trunk, running=bool(wired), link=bool(wired and up and up.get(nic.mac)), cut=state.cut,
                    delay_ms=round(state.delay * 1000, 3), loss=state.loss, counters=state.counters,
                )  # fmt: skip
                found.append(status.model_dump(mode="json"))
        return found

    def _cut(self, node: str, network: str, cut: bool) -> bool:
        changed = False
        for port, state in self._states(node, network):
            changed |= state.cut != cut
            self._boots.site.cables.cut(port, cut)
        return changed

    def _link(self, node: str, network: str, up: bool) -> bool:
        self._states(node, network)
        running = self._boots.powered(node)
        cards = [nic.mac for nic in running.node.nics if nic.network == network]
        return [True for mac in cards if set_link(running.domain, mac, up=up)] != []

    def _shape(self, node: str, network: str, delay_ms: float, loss: float) -> bool:
        changed = False
        for port, state in self._states(node, network):
            changed |= (state.delay, state.loss) != (delay_ms / 1000, loss)
            self._boots.site.cables.impair(port, delay_ms=delay_ms, loss=loss)
        return changed

    def _states(self, node: str, network: str) -> list[tuple[int, PortState]]:
        """The node's ports on a network. Raises LabError: nothing of that name, or it does not run."""
        self._node(node)
        self._need_network(network)
        ports = self._boots.switch_ports(node, network)
        states = self._boots.site.cables.states()
        if not states.keys() >= {*ports}:
            raise LabError(f"{node} is just being started or stopped", hint="nestlab status tells when it is ready")
        return [(port, states[port]) for port in ports]

    def _capture(self, network: str, seconds: float, channel: Channel, leaving: threading.Event) -> dict[str, int]:
        """Sends the pcap file in pieces as frames come, until the time is over, or the client or the lab goes."""
        self._need_network(network)
        withdrawn = threading.Event()
        notice_withdrawal(channel, withdrawn)
        end = time.monotonic() + min(seconds, LONGEST_CAPTURE)
        capture = self._boots.site.cables.capture(network, limit=_PIECE)
        try:
            while (left := end - time.monotonic()) > 0 and not leaving.is_set():
                _send(channel, capture.take())
                if withdrawn.wait(min(left, _TURN)):
                    break
        finally:
            rest = self._boots.site.cables.end_capture(network, capture)
        _send(channel, rest)
        return {"frames": capture.frames, "missed": capture.missed}

    # Disks and power.

    def _disks(self) -> list[dict[str, Any]]:
        found = []
        for node in self._need_lab().nodes:
            seen = self._seen(node.name, lambda domain: (plugged_disks(domain), boot_turns(domain)))
            plugged, turns = seen or ({}, {})
            order = self._boots.disk_order(node)
            for disk in node.disks:
                path = self._boots.disk_path(node.name, disk.name)
                status = DiskStatus(
                    node=node.name, name=disk.name, bus=disk.bus, size=disk.size, running=seen is not None,
                    plugged=path in plugged, place=order.index(disk.name) + 1, turn=turns.get(path, 0),
                )  # fmt: skip
                found.append(status.model_dump(mode="json"))
        return found

    def _pull_disk(self, node: str, disk: str) -> bool:
        self._need_disk(node, disk)
        return pull_disk(self._boots.powered(node).domain, self._boots.disk_path(node, disk))

    def _insert_disk(self, node: str, disk: str) -> bool:
        self._need_disk(node, disk)
        running = self._boots.powered(node)
        path = self._boots.disk_path(node, disk)
        definition = ET.fromstring(domain_xml(running.node, running.wiring))  # noqa: S314 - made by us
        for element in definition.iterfind("devices/disk"):
            source = element.find("source")
            if source is not None and source.get("file") == path:
                return insert_disk(running.domain, element, path)
        raise LabError(f"{node}: disk {disk} came after its last power-on", hint=f"nestlab up --recreate {node}")

    def _order_disks(self, node: str, disks: Sequence[str]) -> bool:
        """From the next power-on. The disk that the node starts from stays the first."""
        found = self._node(node)
        names = [disk.name for disk in found.disks]
        if sorted(disks) != sorted(names):
            raise LabError(
                f"{node} has the disks {', '.join(names) or 'none'}; an order names each of them once",
                hint=f"{' '.join(names)} is the one of the lab file",
            )
        if disks and disks[0] != names[0]:
            raise LabError(f"{node} starts from disk {names[0]}, which has to stay the first",
                           hint="change the order of the others")  # fmt: skip
        changed = list(disks) != self._boots.disk_order(found)
        self._boots.order_disks(node, disks)
        return changed

    def _power_off(self, node: str) -> bool:
        """Pull the plug: nothing is told to the guest."""
        self._node(node)
        if self._seen(node, _pull_the_plug) is None:
            return False
        self._hang_up(node)
        return True

    def _seen(self, node: str, look: Callable[[Domain], T]) -> T | None:
        """What there is to see of a node; None when it is off, also when it ends by itself at this very moment."""
        try:
            return look(self._boots.powered(node).domain)
        except LabError:
            if self._boots.is_running(node):
                raise
            return None

    def _need_disk(self, node: str, disk: str) -> None:
        names = [one.name for one in self._node(node).disks]
        if disk not in names:
            raise LabError(f"{node} has no disk {disk}", hint=f"it has {', '.join(names) or 'none'}")

    def _node(self, name: str) -> Node:
        lab = self._need_lab()
        for node in lab.nodes:
            if node.name == name:
                return node
        raise LabError(
            f"lab {lab.name} has no node {name}", hint=f"it has {', '.join(node.name for node in lab.nodes)}"
        )

    def _need_network(self, name: str) -> None:
        lab = self._need_lab()
        names = [network.name for network in lab.networks]
        if name not in names:
            raise LabError(f"lab {lab.name} has no network {name}", hint=f"it has {', '.join(names) or 'none'}")

    def _need_lab(self) -> Lab:
        if self._lab is None:
            raise LabError("the lab is only just starting", hint="nestlab status tells when it is ready")
        return self._lab


def _pull_the_plug(domain: Domain) -> bool:
    domain.destroy()
    return True


def _send(channel: Channel, data: bytes) -> None:
    """In lines of a size that is read at once. Raises OSError when the client has gone."""
    for at in range(0, len(data), _LINE):
        channel.send({"data": base64.b64encode(data[at : at + _LINE]).decode()})
