"""Domain definitions, judged by who reads them: libvirt's schema, its parser, and a QEMU that really starts."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path

import libvirt
import pytest
from lxml import etree

from builder.drivers.ports import FIRST, LAST, PortTable
from builder.drivers.virt import Libvirt
from builder.hypervisors.kvm import domain_xml
from tests.support.kvm_cases import CASES, Case

pytestmark = pytest.mark.integration
SCHEMA = Path("/usr/share/libvirt/schemas/domain.rng")


@functools.cache
def schema() -> etree.RelaxNG:
    return etree.RelaxNG(etree.parse(SCHEMA))


@pytest.mark.parametrize("name", CASES)
def test_schema(name: str) -> None:
    case = CASES[name]
    schema().assertValid(etree.fromstring(domain_xml(case.node, case.wire())))


def test_the_schema_judge_is_not_blind() -> None:
    case = CASES["tcg-bios-lsi"]
    right = domain_xml(case.node, case.wire())
    wrong = right.replace('cache="unsafe"', 'cache="unsave"')
    assert wrong != right
    assert not schema().validate(etree.fromstring(wrong))


@pytest.mark.parametrize("name", CASES)
def test_libvirt_defines_it(name: str) -> None:
    case = CASES[name]
    connection = libvirt.open("test:///default")
    try:
        domain = connection.defineXMLFlags(domain_xml(case.node, case.wire()), libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
        kept = etree.fromstring(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
        assert len(kept.findall("devices/disk")) == len(case.node.disks) + _drives(case)
        assert len(kept.findall("devices/interface")) == len(case.node.nics)
    finally:
        connection.close()


def _drives(case: Case) -> int:
    return 2 if "install" in case.wiring else int("cdrom" in case.wiring)


def materials(case: Case, folder: Path) -> None:
    """The files that the definition names. Nothing runs in them: the domain starts paused."""
    for name, size in (*((disk.name, disk.size) for disk in case.node.disks), ("medium", 1 << 16)):
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", folder / f"{name}.qcow2", str(size)], check=True)
    for name in ("kernel", "initrd", "install.iso"):
        (folder / name).write_bytes(bytes(1 << 16))
    (folder / "kernel").write_bytes(_bz_image())


def _bz_image() -> bytes:
    """The least that QEMU takes for a Linux kernel: it reads the header before the first instruction runs."""
    image = bytearray(1 << 16)
    image[0x1F1] = 4  # setup sectors
    image[0x1FE:0x200] = b"\x55\xaa"
    image[0x202:0x206] = b"HdrS"
    image[0x206:0x208] = (0x20C).to_bytes(2, "little")
    image[0x211] = 1  # loaded high
    image[0x22C:0x230] = (0x7FFFFFFF).to_bytes(4, "little")
    image[0x238:0x23C] = (2048).to_bytes(4, "little")
    return bytes(image)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.startable])
def test_qemu_starts_with_it(name: str, embedded: Libvirt, tmp_path: Path) -> None:
    """Bad device models, bus limits and double PCI slots pass schema and parser, and fail here."""
    case = CASES[name]
    materials(case, tmp_path)
    with PortTable() as ports:
        first = in_a_row(ports, 1 + 2 * len(case.node.nics))
        machine = embedded.machine_type(case.node.machine)
        wiring = case.wire(tmp_path, port=first, domain=f"t-{name}", machine_type=machine)
        domain = embedded.start(domain_xml(case.node, wiring), paused=True)
        try:
            assert domain.is_running()
            assert domain.mark == {"lab": "demo", "node": "n1", "expires": "1800000000"}
            devices = {device["qdev_id"] for device in _pci(domain.qmp("query-pci")["value"])}
            assert len([d for d in devices if d.startswith("net")]) == len(case.node.nics)
        finally:
            domain.destroy()
        assert not domain.is_running()


def in_a_row(ports: PortTable, count: int) -> int:
    """The first of that many ports: the wiring of a case counts up."""
    rows = (range(first, first + count) for first in range(FIRST, LAST - count, count))
    return next(row.start for row in rows if ports.claim_exactly(row))


def _pci(buses: list[dict[str, list[dict[str, str]]]]) -> list[dict[str, str]]:
    return [device for bus in buses for device in bus["devices"]]
