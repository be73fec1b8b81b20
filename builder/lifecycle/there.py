"""A lab whose guests run on another machine, by that machine's libvirt (`--connect qemu+ssh://HOST/system`).

Everything is made here, as for a guest of this machine; just before a node starts, what its start takes is sent: files
of the lab's folder as the node's own, all others once by their digest. An overlay is sent with the path that its base
has there. What a guest writes stays there.

The lab's folder here says where it is (`l0.json`) before anything is there, so that `down` finds it whatever happens.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from builder.drivers.outpost_link import FarSwitch
from builder.drivers.ports import PortTable
from builder.drivers.relay import ConsoleRelay
from builder.drivers.ssh_l0 import FarUri
from builder.drivers.virt import Domain
from builder.events import Emit
from builder.hypervisors.kvm import domain_xml
from builder.lifecycle.accelerator import AcceleratorVerdict
from builder.lifecycle.accelerator_there import verdict_there
from builder.lifecycle.courier import Courier
from builder.lifecycle.far import Far, domain_name, id_there, is_elsewhere, owner_of, remove_record, write_record
from builder.model.lab import Node
from builder.model.runtime import DirectBoot, InstallMedia, UefiFirmware, Wiring
from builder.paths import Places


class There:
    """See site.Site. From its making to `close` the connection is open, and the lab's lock there is held.

    Raises HostLacks with what is wrong there, and LabError when another keeper has the lab.
    """

    keeps_disks = False

    def __init__(self, places: Places, lab_id: str, uri: FarUri, *, lifetime: int = 0) -> None:
        self._places = places
        self._folder = places.lab(lab_id)
        self._guard = threading.Lock()
        self._ports = PortTable()
        self._reached: dict[int, int] = {}
        self._relays: dict[str, ConsoleRelay] = {}
        self.id = id_there(places, lab_id)
        known = is_elsewhere(places, lab_id)
        self._far = Far(uri, places.run(lab_id))
        try:
            write_record(places, lab_id, uri)
            owner = owner_of(places, lab_id, lifetime)
            self._root = Path(self._far.outpost.ask("open", lab=self.id, owner=owner))
            self._far.end_domains(self.id)  # of a keeper that was killed
        except BaseException:
            if not known:  # nothing of it is there yet
                remove_record(places, lab_id)
            self._far.close()
            raise
        self._switch = FarSwitch(self._far.outpost)

    @property
    def cables(self) -> FarSwitch:
        return self._switch

    def domain_name(self, node: str) -> str:
        return domain_name(self.id, node)

    def is_reached(self) -> bool:
        return self._far.master.is_open and self._far.outpost.is_open

    def machine_type(self, machine: str) -> str:
        return self._far.libvirt.machine_type(machine)

    def claim(self, count: int) -> tuple[int, ...]:
        return tuple(self._far.outpost.ask("claim", count=count))

    def release(self, ports: Sequence[int]) -> None:
        for port in ports:
            with self._guard:
                here = self._reached.pop(port, None)
            if here is not None:
                self._far.master.unforward(here, port)
                self._ports.release([here])
        self._far.outpost.ask("release", ports=list(ports))

    def reach(self, port: int) -> int:
        with self._guard:
            if port not in self._reached:
                (here,) = self._ports.claim(1)
                self._far.master.forward(here, port)
                self._reached[port] = here
            return self._reached[port]

    def answer(self, port: int) -> int:
        return self._far.master.reverse(port)

    def has_file(self, path: str) -> bool:
        return bool(self._far.outpost.ask("has_file", path=path))

    def path(self, file: Path) -> str:
        return str(self._root / file.relative_to(self._folder))

    def settle(self, wiring: Wiring, tell: Emit, stop: threading.Event) -> Wiring:
        courier = Courier(self._places, self._folder, self._far.outpost, tell, stop)

        def send(path: str) -> str:
            return courier.send(Path(path))

        changes: dict[str, object] = {"disks": tuple(send(path) for path in wiring.disks)}
        if wiring.cdrom is not None:
            changes["cdrom"] = send(wiring.cdrom)
        if wiring.direct is not None:
            kernel, initrd = send(wiring.direct.kernel), send(wiring.direct.initrd)
            changes["direct"] = DirectBoot(kernel=kernel, initrd=initrd, arguments=wiring.direct.arguments)
        if wiring.install is not None:
            volume = wiring.install.volume
            changes["install"] = InstallMedia(
                medium=send(wiring.install.medium), volume=None if volume is None else send(volume)
            )
        if wiring.uefi is not None:
            variables = Path(wiring.uefi.variables)
            # libvirt makes them from the template when there are none; those of an installed host come along.
            placed = send(str(variables)) if variables.is_file() else courier.place(variables)
            changes["uefi"] = UefiFirmware(code=wiring.uefi.code, variables=placed, template=wiring.uefi.template)
        return wiring.model_copy(update=changes)

    def definition(self, node: Node, wiring: Wiring) -> str:
        return with_terminal(domain_xml(node, wiring))

    def start(self, xml: str, wiring: Wiring) -> Domain:
        before = self._relays.pop(wiring.domain, None)
        if before is not None:
            before.close()
        domain = self._far.libvirt.start(xml, paused=True)  # so that no word of it is missed
        try:
            self._relays[wiring.domain] = ConsoleRelay(
                domain.console(), Path(wiring.console_log), Path(wiring.console_socket), name=domain.node
            )
            domain.resume()
        except BaseException:
            domain.destroy()
            raise
        return domain

    def screenshot(self, domain: Domain, to: Path) -> None:
        domain.fetch_screen(to)

    def accelerator(self, kernels: Sequence[Path], stop: threading.Event) -> AcceleratorVerdict:
        courier = Courier(self._places, self._folder, self._far.outpost, _nobody, stop)
        probe = (self.domain_name("probe"), self._folder / "probe")
        return verdict_there(self._far, self._places, courier, probe, kernels, stop)

    def memory(self) -> int | None:
        free = self._far.outpost.ask("machine")["memory"]
        return None if free is None else int(free)

    def close(self) -> None:
        """Raises LabError when the machine cannot be reached, so that something of the lab may be left there."""
        try:
            for relay in self._relays.values():
                relay.close()
            self._far.take_away(self.id)
            remove_record(self._places, self._folder.name)
        finally:
            self._ports.release()
            self._far.close()


def with_terminal(xml: str) -> str:
    """The definition with a terminal for its console: libvirt 9 carries no other to us."""
    terminal = '<serial type="pty">\n      <target port="0" />\n    </serial>'
    made, count = re.subn(r"<serial .*?</serial>", terminal, xml, flags=re.DOTALL)
    assert count == 1
    return made


def _nobody(*_: Any, **__: Any) -> None:
    """What little the probe takes is sent without a word."""
