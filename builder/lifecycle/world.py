"""The world around a lab's hosts, as procedures and tests see it: the hosts by name, and faults from outside them."""

from __future__ import annotations

import base64
from typing import Any

from builder.drivers.ssh_host import SshHost
from builder.errors import LabError
from builder.lifecycle.protocol import ask, connect
from builder.lifecycle.status import status
from builder.model.host import Host
from builder.paths import Places


class LabWorld:
    """Implements builder.model.host.World for a lab that is up. Faults are done by the lab's keeper."""

    def __init__(self, lab_id: str, places: Places) -> None:
        self._lab_id = lab_id
        self._places = places
        self._hosts: dict[str, SshHost] = {}

    def host(self, name: str) -> Host:
        """Raises LabError for a node that the lab does not have, or that is not reachable by ssh."""
        if name not in self._hosts:
            nodes = {node.name: node for node in status(self._lab_id, self._places).nodes}
            if name not in nodes:
                raise LabError(f"lab {self._lab_id} has no node {name}", hint=f"it has {', '.join(nodes)}")
            target = nodes[name].ssh
            if target is None:
                raise LabError(f"{name} is {nodes[name].state}: there is no ssh to it", hint="nestlab status")
            self._hosts[name] = SshHost(name, target)
        return self._hosts[name]

    def pull_disk(self, node: str, disk: str) -> None:
        """Take a disk away from the running guest, as by hand: its controller finds nobody there any more."""
        self._ask("pull-disk", node=node, disk=disk)

    def cut_path(self, node: str, network: str, *, cut: bool = True) -> None:
        """Unplug (or plug in again) the node's cards on a network, at the switch: the guest's link stays up."""
        self._ask("cut", node=node, network=network, cut=cut)

    def capture(self, network: str, *, seconds: float) -> bytes:
        """The frames that pass on a network during the next `seconds`, as a pcap file (at most 16 MiB)."""
        return base64.b64decode(self._ask("capture", network=network, seconds=seconds))

    def _ask(self, op: str, **arguments: Any) -> Any:
        channel = connect(self._places.run(self._lab_id))
        if channel is None:
            raise LabError(f"lab {self._lab_id} is not up", hint="nestlab ls")
        try:
            return ask(channel, op, **arguments)
        finally:
            channel.close()
