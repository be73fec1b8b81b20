"""Guests in a lab file: what is filled in, and that what is right is not complained about."""

from __future__ import annotations

import json

import jsonschema  # type: ignore[import-untyped]  # ships no types
import pytest

from builder.errors import LabFileError
from builder.model.document import read_document
from builder.model.lab import Guest
from builder.model.load import parse_lab
from builder.model.schema import json_schema
from builder.model.units import MIB
from builder.systems import traits
from tests.support.lab_files import SYSTEMS, lab_of, problems_of

KEY = f"ssh-ed25519 {'A' * 60} somebody"


def text(*guests: str, node: str = "", system: str = "host") -> str:
    listed = "".join(f"      - {{{guest}}}\n" for guest in guests)
    return (
        f"name: t\nnetworks: {{lan: {{}}}}\nnodes:\n  a:\n    system: {system}\n    source: {{medium: x.iso}}\n"
        "    networks: [lan]\n    disks: [{name: x, size: 8GiB}, {name: y, size: 8GiB}]\n"
        f"{node}    guests:\n{listed}"
    )


def guests(*said: str, node: str = "", system: str = "host") -> tuple[Guest, ...]:
    return lab_of(text(*said, node=node, system=system)).node("a").guests


# The right neighbours of what tests/support/bad_labs.py has wrong.
RIGHT = {
    "least": text("name: w"),
    "several": text("name: v", "name: w, manager: libvirt"),
    "as much as there is": text("name: w, memory: 2816MiB, autostart: true"),
    "more than there is, one at a time": text("name: v, memory: 2GiB", "name: w, memory: 2GiB"),
    "maxmem": text("name: w, memory: 256MiB, maxmem: 256MiB"),
    "seven interfaces": text("name: w, vifs: [{}, {}, {}, {}, {}, {}, {bridge: xenbr1}]"),
    "pygrub": text("name: w, boot: pygrub, disks: [{size: 1GiB}]"),
    "pvh by pygrub": text("name: w, type: pvh, boot: pygrub, disks: [{size: 1GiB}]"),
    "pvgrub2": text("name: w, boot: pvgrub2, disks: [{size: 1GiB}]"),
    "grub-xen": text("name: w, boot: grub-xen, kernel: /grub.xen, disks: [{size: 1GiB}]"),
    "kernel": text("name: w, kernel: /k, ramdisk: /r, arguments: quiet"),
    "hvm": text("name: w, type: hvm, disks: [{size: 1GiB}], entropy: true"),
    "hvm by kernel": text("name: w, type: hvm, boot: dom0-kernel"),
    "netbsd": text("name: w, os: netbsd", system="installed"),
    "device": text("name: w, pci: ['03:00.0']", node="    xen: {pciback_hide: ['0000:03:00.0']}\n"),
    "array": text("name: w, disks: [{path: /dev/md/data}]", node="    raid: [{name: data, level: 1, disks: [x, y]}]\n"),
    "a disk to read": text("name: v, disks: [{path: /d}]", "name: w, disks: [{path: /d, readonly: true}]"),
    "qcow2": text("name: w, disks: [{path: /d.qcow2, format: qcow2}]"),
    "debootstrap": text(
        f"name: w, make: {{by: debootstrap, release: trixie, keys: ['{KEY}']}}, disks: [{{volume: vg0/w, size: 4GiB}}]"
    ),
    "xen-tools": text("name: w, make: {by: xen-tools}, disks: [{volume: vg0/w, size: 4GiB}]"),
    "installer": text(
        "name: w, make: {by: debian-installer, release: trixie, mirror: 'http://x/', preseed: 'http://x/p'}, "
        "boot: pygrub, disks: [{size: 4GiB}]"
    ),
    "sets": text(
        "name: w, os: netbsd, make: {by: netbsd-sets, release: '10.1', mirror: 'http://x/'}, disks: [{size: 4GiB}]",
        system="installed",
    ),
    "existing": text("name: w, make: {by: existing}, disks: [{path: /d}]"),
}


@pytest.mark.parametrize("lab", RIGHT.values(), ids=list(RIGHT))
def test_what_is_right_is_not_complained_about(lab: str) -> None:
    assert problems_of(lab) == ()
    data = json.loads(json.dumps(read_document(lab).root))
    assert [error.message for error in jsonschema.Draft202012Validator(json_schema(SYSTEMS)).iter_errors(data)] == []


def test_every_value_is_filled_in() -> None:
    (guest,) = guests("name: w, disks: [{size: 1GiB}, {volume: vg0/w-data}], vifs: [{}, {bridge: xenbr1}]")
    assert (guest.type, guest.os, guest.manager, guest.boot) == ("pv", "linux", "xl", "dom0-kernel")
    assert (guest.vcpus, guest.memory, guest.maxmem) == (1, 256 * MIB, None)
    assert [disk.path for disk in guest.disks] == ["/var/lib/nestlab/guests/w/disk0.raw", "/dev/vg0/w-data"]
    assert [vif.bridge for vif in guest.vifs] == ["xenbr0", "xenbr1"]
    assert len({vif.mac for vif in guest.vifs}) == 2


def test_the_bridge_is_the_nodes_own() -> None:
    (guest,) = guests("name: w, vifs: [{}]", node="    xen: {bridge: br7}\n")
    assert guest.vifs[0].bridge == "br7"


def test_addresses_are_made_in_xens_range_and_stay() -> None:
    first, second = guests("name: v, vifs: [{}, {}]", "name: w, vifs: [{}]")
    macs = [vif.mac for guest in (first, second) for vif in guest.vifs]
    assert all(mac.startswith("00:16:3e:") for mac in macs)
    assert len(set(macs)) == 3
    assert guests("name: w, vifs: [{}]")[0].vifs == second.vifs, "an address depends on no other guest"


def test_a_made_address_gives_way_to_a_given_one() -> None:
    made = guests("name: w, vifs: [{}]")[0].vifs[0].mac
    first, second = guests(f"name: v, vifs: [{{mac: '{made}'}}]", "name: w, vifs: [{}]")
    assert first.vifs[0].mac == made != second.vifs[0].mac


@pytest.mark.parametrize(
    ("said", "boot", "kernel"),
    [
        ("type: pvh", "dom0-kernel", None),
        ("type: hvm, disks: [{size: 1GiB}]", "disk", None),
        ("kernel: /k", "kernel", "/k"),
        ("os: netbsd", "kernel", "/var/lib/nestlab/guests/w/netbsd-XEN3_DOMU.gz"),
        ("os: netbsd, type: pvh", "kernel", "/var/lib/nestlab/guests/w/netbsd-GENERIC.gz"),
        ("os: netbsd, type: hvm, disks: [{size: 1GiB}]", "disk", None),
    ],
)
def test_what_starts_a_guest_follows_from_what_it_is(said: str, boot: str, kernel: str | None) -> None:
    (guest,) = guests(f"name: w, {said}")
    assert (guest.boot, guest.kernel) == (boot, kernel)


def test_guests_of_defaults_are_those_of_every_node() -> None:
    lab = lab_of(
        "name: t\ndefaults: {system: host, guests: [{name: w, vifs: [{}]}]}\nnodes: {a: {}, b: {guests: []}}\n"
    )
    assert [len(node.guests) for node in lab.nodes] == [1, 0]


@pytest.mark.parametrize("system", [name for name, row in traits().items() if row.guests is None])
def test_systems_without_files_for_guests_say_why(system: str) -> None:
    lab = f"name: t\nnodes: {{a: {{system: {system}, source: {{medium: x.iso}}, guests: [{{name: w}}]}}}}\n"
    with pytest.raises(LabFileError) as caught:
        parse_lab(lab.encode(), traits())
    (told,) = [problem for problem in caught.value.problems if problem.code == "lab-no-guests"]
    assert ("own tools" in told.message) == traits()[system].xen
