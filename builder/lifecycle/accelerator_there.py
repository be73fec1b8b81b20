"""The accelerator of another machine, by the same proof: a guest that its libvirt starts on KVM comes to user space."""

from __future__ import annotations

import contextlib
import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

from builder.drivers.virt import Domain
from builder.errors import LabError
from builder.lifecycle.accelerator import (
    ARGUMENTS,
    MEMORY,
    PROBE_SECONDS,
    AcceleratorVerdict,
    broken,
    guest,
    judged,
    remembered,
)
from builder.lifecycle.courier import Courier
from builder.lifecycle.far import Far
from builder.model.runtime import MARK_NAMESPACE
from builder.paths import Places, private_dir


def verdict_there(
    far: Far, places: Places, courier: Courier | None, probe: tuple[str, Path], kernels: Sequence[Path] = (),
    stop: threading.Event | None = None,
) -> AcceleratorVerdict:  # fmt: skip
    """From the cache when this boot of that machine has been probed. `probe` is the domain's name and the folder of the
    lab that takes its files; without a courier it is not made."""
    machine = far.outpost.ask("machine")
    if not machine["kvm"]:
        return AcceleratorVerdict(
            accelerator="tcg", proven=True, reason=f"{far.uri.destination} has no /dev/kvm",
            fix="there: modprobe kvm_intel || modprobe kvm_amd",
        )  # fmt: skip
    key = f"{far.uri.text} {machine['boot']}"
    probing = None if courier is None else (lambda: _probe(far, courier, probe, kernels, stop or threading.Event()))
    return remembered(places.cache / f"accelerator-{far.uri.host}.json", key, probing)


def _probe(
    far: Far, courier: Courier, probe: tuple[str, Path], kernels: Sequence[Path], stop: threading.Event
) -> AcceleratorVerdict:
    name, folder = probe
    made = guest(kernels, private_dir(folder) / "initrd")
    if isinstance(made, AcceleratorVerdict):
        return made
    kernel, initrd = map(courier.send, made)
    try:
        domain = far.libvirt.start(probe_xml(name, kernel, initrd), paused=True)
    except LabError as error:
        why = f"no guest starts on KVM there: {error.message}"
        return AcceleratorVerdict(accelerator="tcg", proven=False, reason=why)
    try:
        lines = _listen(domain, stop)
    finally:
        domain.destroy()
    if stop.is_set():
        return AcceleratorVerdict(accelerator="tcg", proven=False, reason="the probe was interrupted")
    return judged(lines) or broken(f"the probe guest did not reach user space in {PROBE_SECONDS} s", lines)


def _listen(domain: Domain, stop: threading.Event) -> list[str]:
    """What it says, until its verdict or the end of its time."""
    console = domain.console()
    said = bytearray()
    over = threading.Event()

    def read() -> None:
        with contextlib.suppress(Exception):  # libvirt's own, when the guest is gone
            while data := console.recv(4096):
                said.extend(data)
        over.set()

    reader = threading.Thread(target=read, name="probe", daemon=True)
    reader.start()
    domain.resume()
    deadline = time.monotonic() + PROBE_SECONDS
    lines: list[str] = []
    while time.monotonic() < deadline and not stop.is_set() and judged(lines) is None:
        ended = over.wait(0.1)
        text = bytes(said).decode(errors="replace")
        lines = text.splitlines() if ended else text.splitlines()[:-1]
        if ended:
            break
    with contextlib.suppress(Exception):  # as above
        console.abort()
    reader.join(5)
    return lines


def probe_xml(name: str, kernel: str, initrd: str) -> str:
    """The probe guest, as nodes are on KVM: the host's own CPU, the console as they have it."""
    domain = ET.Element("domain", {"type": "kvm"})

    def text(parent: ET.Element, tag: str, said: str, **attributes: str) -> None:
        ET.SubElement(parent, tag, attributes).text = said

    text(domain, "name", name)
    metadata = ET.SubElement(domain, "metadata")
    mark = {"xmlns:nestlab": MARK_NAMESPACE, "lab": "probe", "node": "probe", "expires": "0"}
    ET.SubElement(metadata, "nestlab:mark", mark)
    text(domain, "memory", str(MEMORY), unit="MiB")
    text(domain, "vcpu", "1")
    os_ = ET.SubElement(domain, "os")
    text(os_, "type", "hvm", arch="x86_64", machine="pc")
    for tag, said in (("kernel", kernel), ("initrd", initrd), ("cmdline", ARGUMENTS)):
        text(os_, tag, said)
    ET.SubElement(ET.SubElement(domain, "features"), "acpi")
    ET.SubElement(domain, "cpu", mode="host-passthrough", check="none")
    for tag in ("on_poweroff", "on_reboot", "on_crash"):
        text(domain, tag, "destroy")
    devices = ET.SubElement(domain, "devices")
    ET.SubElement(ET.SubElement(devices, "serial", type="pty"), "target", port="0")
    ET.SubElement(devices, "controller", type="usb", model="none")
    ET.SubElement(devices, "memballoon", model="none")
    ET.indent(domain)
    return ET.tostring(domain, encoding="unicode") + "\n"
