"""Where a lab's guests run: this machine, or another one that is reached by ssh (see there.py).

A site gives what belongs to the machine that QEMU runs on: its libvirt, its ports and the switch between its guests,
its files, its memory. All else of a lab is here: what is planned and known of it, and every file as it was made.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from builder.drivers.ports import PortTable
from builder.drivers.switch import PortState, Switch
from builder.drivers.virt import Domain, Libvirt, embed_uri, prepare_root, share_capabilities
from builder.events import Emit
from builder.hypervisors.kvm import domain_xml
from builder.lifecycle import accelerator
from builder.lifecycle.accelerator import AcceleratorVerdict
from builder.lifecycle.doctor_ground import Ground
from builder.lifecycle.doctor_room import available_memory
from builder.model.lab import Node
from builder.model.runtime import Wiring
from builder.paths import Places


class Recording(Protocol):
    """Frames of one network that are being recorded: see drivers.frames.Capture."""

    @property
    def frames(self) -> int: ...
    @property
    def missed(self) -> int: ...
    def take(self) -> bytes: ...


R = TypeVar("R", bound=Recording)


class Cables(Protocol[R]):
    """The switch between the guests, wherever it is: see drivers.switch.Switch."""

    def networks(self, mtus: Mapping[str, int]) -> None: ...
    def add(
        self, port: int, *, qemu: int, network: str, vlan: int | None = None, trunk: Sequence[int] = ()
    ) -> None: ...
    def remove(self, port: int) -> None: ...
    def cut(self, port: int, cut: bool = True) -> None: ...
    def impair(self, port: int, *, delay_ms: float = 0, loss: float = 0) -> None: ...
    def states(self) -> dict[int, PortState]: ...
    def capture(self, network: str, *, limit: int = ...) -> R: ...
    def end_capture(self, network: str, capture: R) -> bytes: ...


class Site(Protocol):
    """One machine, for one lab. Every method may be called from any thread.

    Whatever asks another machine raises LabError when that cannot be reached any more.
    """

    @property
    def keeps_disks(self) -> bool:
        """Whether what a guest writes is in the lab's folder here, where an image can be made of it."""

    @property
    def cables(self) -> Cables[Any]: ...

    def domain_name(self, node: str) -> str:
        """Of no other lab that runs there."""

    def is_reached(self) -> bool:
        """Whether it can still be asked anything."""

    def machine_type(self, machine: str) -> str:
        """The versioned machine that `pc` or `q35` stands for there."""

    def claim(self, count: int) -> tuple[int, ...]:
        """Ports of its 127.0.0.1, free for TCP and UDP. Raises HostLacks."""

    def release(self, ports: Sequence[int]) -> None:
        """Give them back, with what leads to them."""

    def reach(self, port: int) -> int:
        """The port of our 127.0.0.1 that leads to this one of its."""

    def answer(self, port: int) -> int:
        """The port of its 127.0.0.1 that leads to this one of ours."""

    def has_file(self, path: str) -> bool:
        """Whether there is such a file of its own (firmware, say)."""

    def path(self, file: Path) -> str:
        """Where it has a file of the lab's folder."""

    def settle(self, wiring: Wiring, tell: Emit, stop: threading.Event, /) -> Wiring:
        """See that it has every file that a start of a node takes; the wiring as it is to be rendered for it.

        Raises HostLacks where it has no room, Interrupted."""

    def definition(self, node: Node, wiring: Wiring) -> str:
        """The domain that its libvirt is given. Raises LabError for what this machine cannot have."""

    def start(self, xml: str, wiring: Wiring, /) -> Domain:
        """Start a node; what it says on its console goes to `wiring.console_log`, ours. Raises DomainError."""

    def screenshot(self, domain: Domain, to: Path) -> None:
        """Keep what is on its screen as the PNG `to` (or PPM), whole; an older one stays where there is no screen, no
        guest or no room. Never raises."""

    def accelerator(self, kernels: Sequence[Path], stop: threading.Event) -> AcceleratorVerdict:
        """What guests run on there, by proof."""

    def memory(self) -> int | None:
        """Bytes that are free for guests; None when it does not tell."""

    def close(self) -> None:
        """Leave nothing of the lab behind. Its guests must be gone already."""


class Here:
    """This machine: `connect` names its libvirt daemon; without one the lab has a libvirt of its own."""

    keeps_disks = True

    def __init__(self, places: Places, lab_id: str, connect: str | None = None) -> None:
        self._places = places
        self._lab_id = lab_id
        self._connect = connect
        self._guard = threading.Lock()
        self._libvirt: Libvirt | None = None
        self._ports = PortTable()
        self._switch = Switch()

    @property
    def cables(self) -> Switch:
        return self._switch

    def domain_name(self, node: str) -> str:
        return f"nestlab-{self._lab_id}-{node}"

    def is_reached(self) -> bool:
        return True

    def machine_type(self, machine: str) -> str:
        return self._open().machine_type(machine)

    def claim(self, count: int) -> tuple[int, ...]:
        return self._ports.claim(count)

    def release(self, ports: Sequence[int]) -> None:
        self._ports.release(ports)

    def reach(self, port: int) -> int:
        return port

    def answer(self, port: int) -> int:
        return port

    def has_file(self, path: str) -> bool:
        return Path(path).is_file()

    def path(self, file: Path) -> str:
        return str(file)

    def settle(self, wiring: Wiring, _tell: Emit, _stop: threading.Event) -> Wiring:
        return wiring

    def definition(self, node: Node, wiring: Wiring) -> str:
        return domain_xml(node, wiring)

    def start(self, xml: str, _wiring: Wiring) -> Domain:
        domain = self._open().start(xml)
        if self._connect is None:  # what libvirt learned of QEMU spares the next lab four seconds
            share_capabilities(self._root, self._places.cache / "qemu-caps")
        return domain

    def screenshot(self, domain: Domain, to: Path) -> None:
        domain.screenshot(to)

    def accelerator(self, kernels: Sequence[Path], stop: threading.Event) -> AcceleratorVerdict:
        return accelerator.verdict(self._places, kernels=kernels, stop=stop)

    def memory(self) -> int | None:
        return available_memory(Ground(self._places))

    def close(self) -> None:
        self._switch.close()
        self._ports.release()
        if self._libvirt is not None:
            self._libvirt.close()
            self._libvirt = None

    @property
    def _root(self) -> Path:
        return self._places.run(self._lab_id) / "l"

    def _open(self) -> Libvirt:
        with self._guard:
            if self._libvirt is None:
                uri = self._connect
                if uri is None:
                    prepare_root(self._root, self._places.cache / "qemu-caps")
                    uri = embed_uri(self._root)
                self._libvirt = Libvirt.open(uri)
            return self._libvirt
