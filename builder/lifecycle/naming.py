"""The names by which running nodes know each other: see systems/names.py for what they are."""

from __future__ import annotations

from collections.abc import Callable

from builder.drivers.ssh_host import SshHost
from builder.model.lab import Lab
from builder.model.runtime import SshTarget
from builder.systems.names import HOSTS, hosts_text


class Naming:
    """Keeps /etc/hosts true on nodes that run already when others join the lab, and on those that were installed. Each
    node is looked at once after its power-on, and again when the names have changed."""

    def __init__(self) -> None:
        self._told: dict[str, str] = {}

    def forget(self, node: str) -> None:
        """What it was told may be gone: it is powered on anew."""
        self._told.pop(node, None)

    def tell(self, lab: Lab, target: Callable[[str], SshTarget | None]) -> None:
        """Raises LabError for a node that cannot be reached or written to."""
        for node in lab.nodes:
            names = hosts_text(lab, node)
            reached = target(node.name)
            if reached is None or names == self._told.get(node.name, ""):
                continue
            host = SshHost(node.name, reached)
            before = host.run(["cat", HOSTS]).stdout
            after = hosts_text(lab, node, before)
            if after != before:
                host.write(HOSTS, after.encode())
            self._told[node.name] = names
