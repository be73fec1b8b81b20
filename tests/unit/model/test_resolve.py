"""Every value of a node, and which of the four layers it comes from."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from builder.model.lab import ImageSource, MediumSource, medium_variable
from builder.model.units import GIB, MIB
from tests.support.lab_files import lab_of


def test_values_of_a_node_that_says_nothing() -> None:
    node = lab_of("name: t\nnodes: {a: {system: host}}\n").node("a")
    assert (node.release, node.cpus, node.memory, node.firmware, node.machine) == ("9", 2, 4 * GIB, "bios", "pc")
    assert (node.cpu_model, node.management_nic) == ("host-passthrough", "e1000")
    (disk,) = node.disks
    assert (disk.name, disk.size, disk.bus, disk.sector) == ("disk0", 16 * GIB, "lsilogic", "512n")
    assert (node.nics, node.raid, node.after, node.source) == ((), (), (), ImageSource())
    assert (node.xen.dom0_memory, node.xen.dom0_max_vcpus, node.xen.dom0_vcpus_pin) == (GIB, 2, False)
    assert (node.xen.com1, node.xen.console, node.xen.bridge) == ("115200,8n1", "com1", "xenbr0")


def test_later_layers_win() -> None:
    """cpus from nestlab, memory from the system, firmware from the lab, machine from the node."""
    lab = lab_of("""\
name: t
defaults: {system: host, firmware: uefi, machine: q35, xen: {noreboot: true, bridge: lab0}}
nodes:
  a: {machine: pc, xen: {bridge: node0}}
  b:
""")
    a, b = lab.nodes
    assert (a.cpus, a.memory, a.firmware, a.machine) == (2, 4 * GIB, "uefi", "pc")
    assert (a.xen.dom0_memory, a.xen.noreboot, a.xen.bridge) == (GIB, True, "node0")
    assert (b.machine, b.xen.noreboot, b.xen.bridge) == ("q35", True, "lab0")


def test_an_iommu_has_the_machine_and_the_disks_that_work_with_it() -> None:
    """The documented machine and bus (pc; lsilogic, or IDE with UEFI) give way, what the lab or the node says does
    not."""
    lab = lab_of("""\
name: t
defaults: {system: host, disks: [{size: 8GiB}, {size: 8GiB, bus: virtio}]}
nodes:
  a: {iommu: true}
  b: {iommu: true, firmware: uefi, machine: q35}
  c: {iommu: false}
""")
    seen = [(node.iommu, node.machine, [disk.bus for disk in node.disks]) for node in lab.nodes]
    assert seen == [
        (True, "q35", ["sata", "virtio"]),
        (True, "q35", ["sata", "virtio"]),
        (False, "pc", ["lsilogic", "virtio"]),
    ]
    shared = lab_of("name: t\ndefaults: {system: host, iommu: true}\nnodes: {a: {}, b: {iommu: false}}\n")
    assert [(node.iommu, node.machine) for node in shared.nodes] == [(True, "q35"), (False, "pc")]


def test_lists_replace_and_arguments_add_up() -> None:
    lab = lab_of("""\
name: t
networks: {x: {}, y: {}}
defaults:
  system: host
  disks: [{size: 8GiB}, {size: 9GiB}]
  networks: [x, y]
  xen: {arguments: lab=1 lab=2, pciback_hide: ['00:01.0']}
  kernel: {arguments: [lab]}
nodes:
  a:
    disks: [{size: 10GiB}]
    networks: []
    xen: {arguments: [node=1], pciback_hide: []}
    kernel: {arguments: node quiet}
  b: {}
""")
    a, b = lab.nodes
    assert [disk.size for disk in a.disks] == [10 * GIB] and [disk.size for disk in b.disks] == [8 * GIB, 9 * GIB]
    assert a.nics == () and [nic.network for nic in b.nics] == ["x", "y"]
    assert a.xen.arguments == ("system=1", "lab=1", "lab=2", "node=1")
    assert b.xen.arguments == ("system=1", "lab=1", "lab=2")
    assert (a.kernel.arguments, b.kernel.arguments) == (("lab", "node", "quiet"), ("lab",))
    assert (a.xen.pciback_hide, b.xen.pciback_hide) == ((), ("00:01.0",))


@pytest.mark.parametrize(
    ("written", "release"),
    [("8.10", "8.10"), ("8.1", "8.1"), ("9", "9"), ("'8.10'", "8.10"), ('"9"', "9")],
)  # fmt: skip
def test_release_is_what_was_written(written: str, release: str) -> None:
    assert lab_of(f"name: t\nnodes: {{a: {{system: host, release: {written}}}}}\n").node("a").release == release


def test_release_of_the_lab_is_for_the_system_of_the_lab() -> None:
    lab = lab_of(
        "name: t\ndefaults: {system: host, release: 8.10}\nnodes: {a: {}, b: {system: small}, c: {system: host}}\n"
    )
    assert [node.release for node in lab.nodes] == ["8.10", "1", "8.10"]


def test_names_that_yaml_1_1_would_change() -> None:
    lab = lab_of("name: on\ndefaults: {system: host}\nnodes: {no: {}, on: {after: [no]}, 1: {after: ['no', on]}}\n")
    assert (lab.name, [node.name for node in lab.nodes], lab.nodes[2].after) == ("on", ["no", "on", "1"], ("no", "on"))


def test_mac_that_yaml_1_1_would_read_as_a_number() -> None:
    lab = lab_of(
        "name: t\nnetworks: {l: }\nnodes: {a: {system: host, networks: [{network: l, mac: 52:54:00:11:22:33}]}}\n"
    )
    assert lab.nodes[0].nics[0].mac == "52:54:00:11:22:33"


def test_made_addresses() -> None:
    text = "name: t\nnetworks: {l: {}}\ndefaults: {system: host, networks: [l, l]}\nnodes: {a: , b: }\n"
    lab = lab_of(text)
    macs = [mac for node in lab.nodes for mac in (node.management_mac, *(nic.mac for nic in node.nics))]
    assert len(set(macs)) == 6
    assert all(re.fullmatch(r"52:54:00(:[0-9a-f]{2}){3}", mac) for mac in macs)
    assert lab == lab_of(text)
    assert macs[0] == "52:54:00:8b:ff:c5", "addresses are part of saved states and may never change"
    other = lab_of(text.replace("name: t", "name: u"))
    assert other.nodes[0].management_mac != macs[0]


def test_a_node_more_changes_no_address_of_the_others() -> None:
    lines = "name: t\nnetworks: {l: {}}\ndefaults: {system: host, networks: [l]}\nnodes:\n  a:\n  b:\n"
    assert lab_of(lines + "  c:\n").nodes[:2] == lab_of(lines).nodes


def test_given_address_is_kept_from_others() -> None:
    first = lab_of("name: t\nnodes: {a: {system: host}}\n").nodes[0].management_mac
    lab = lab_of(
        f"name: t\nnetworks: {{l: }}\nnodes: {{a: {{system: host, networks: [{{network: l, mac: '{first}'}}]}}}}\n"
    )
    assert lab.nodes[0].nics[0].mac == first and lab.nodes[0].management_mac != first


@pytest.mark.parametrize(
    ("said", "bus"),
    [
        ("firmware: bios", "lsilogic"),
        ("firmware: uefi", "ide"),
        ("firmware: uefi, machine: q35", "sata"),
        ("firmware: bios, machine: q35", "lsilogic"),
        ("firmware: uefi, disks: [{size: 8GiB, bus: virtio}]", "virtio"),
    ],
)
def test_disk_bus_follows_the_firmware(said: str, bus: str) -> None:
    assert lab_of(f"name: t\nnodes: {{a: {{system: host, {said}}}}}\n").nodes[0].disks[0].bus == bus


def test_share_of_dom0_that_nobody_asked_for_fits_a_small_node() -> None:
    node = lab_of("name: t\nnodes: {a: {system: host, cpus: 1, memory: 1025MiB}}\n").nodes[0]
    assert (node.xen.dom0_memory, node.xen.dom0_max_vcpus) == (512 * MIB, 1)
    node = lab_of("name: t\nnodes: {a: {system: small, cpus: 3, memory: 300MiB}}\n").nodes[0]
    assert (node.xen.dom0_memory, node.xen.dom0_max_vcpus) == (300 * MIB, 3)


def test_a_management_card_that_has_an_address() -> None:
    """No other card is given it, either."""
    text = "name: t\nnodes:\n  a: {system: host}\n  b: {system: host, management_mac: '3C:EC:EF:00:00:01'}\n"
    made, said = (node.management_mac for node in lab_of(text).nodes)
    assert made.startswith("52:54:00:") and said == "3c:ec:ef:00:00:01"
    other = lab_of(text.replace("3C:EC:EF:00:00:01", made)).nodes
    assert (other[1].management_mac, other[0].management_mac == made) == (made, False)


def test_cards() -> None:
    lab = lab_of("""\
name: t
networks: {lan: {mtu: 9000}, wan: }
nodes:
  a:
    system: host
    management_nic: virtio
    networks:
      - wan
      - network: lan
        model: e1000e
        mac: 52:54:00:AA:BB:CC
        trunk: [100, 200]
        addresses: [10.0.0.1/24, 'fd00::1/64']
        vlan_addresses: {100: [10.0.100.1/24], 200: []}
      - {network: lan, vlan: 7}
""")
    plain, trunk, access = lab.nodes[0].nics
    assert (plain.network, plain.model, plain.mtu, plain.vlan, plain.trunk) == ("wan", "virtio", 1500, None, ())
    assert (trunk.mac, trunk.model, trunk.mtu, trunk.trunk) == ("52:54:00:aa:bb:cc", "e1000e", 9000, (100, 200))
    assert trunk.addresses == ("10.0.0.1/24", "fd00::1/64")
    assert trunk.vlan_addresses == {100: ("10.0.100.1/24",), 200: ()}
    assert access.vlan == 7


def test_one_address_on_two_vlans_is_no_mistake() -> None:
    lab = lab_of("""\
name: t
networks: {l: }
defaults: {system: host}
nodes:
  a: {networks: [{network: l, vlan: 5, addresses: [10.0.0.1/24]}]}
  b: {networks: [{network: l, trunk: [6], vlan_addresses: {6: [10.0.0.1/24]}}]}
""")
    assert len(lab.nodes) == 2


def test_raid_of_a_node_that_is_installed() -> None:
    lab = lab_of("""\
name: t
nodes:
  a:
    system: host
    source: {medium: /iso/x.iso}
    disks: [{size: 16GiB}, {size: 16GiB}, {name: c, size: 16GiB}, {name: d, size: 16GiB}]
    raid:
      - {name: md0, level: 10, disks: [disk0, disk1, c, d]}
""")
    (array,) = lab.nodes[0].raid
    assert (array.name, array.level, array.disks) == ("md0", 10, ("disk0", "disk1", "c", "d"))
    assert lab.nodes[0].source == MediumSource(path="/iso/x.iso")


def test_own_image_and_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    lab = lab_of(
        "name: t\nnodes: {a: {system: host, source: {image: ~/x.qcow2}}, b: {system: host, source: {image: y.qcow2}}}\n"
    )
    assert lab.nodes[0].source == ImageSource(path="/home/me/x.qcow2")
    assert lab.nodes[1].source == ImageSource(path=str(Path.cwd() / "y.qcow2"))
    assert lab_of("name: t\nnodes: {a: {system: host, source: image}}\n").nodes[0].source == ImageSource()


@pytest.mark.parametrize(("text", "seconds"), [("30m", 1800), ("12h", 43200), ("7d", 604800), ("never", 0)])
def test_lifetime(text: str, seconds: int) -> None:
    assert lab_of(f"name: t\nexpires: {text}\nnodes: {{a: {{system: host}}}}\n").expires == seconds
    assert lab_of("name: t\nnodes: {a: {system: host}}\n").expires == 43200


def test_waiting() -> None:
    """In `defaults:` it means every node but the one that is named."""
    lab = lab_of("name: t\ndefaults: {system: host, after: [a]}\nnodes: {a: , b: , c: {after: [b]}}\n")
    assert [node.after for node in lab.nodes] == [(), ("a",), ("b",)]


def test_a_long_chain_of_waiting_is_no_deep_recursion() -> None:
    nodes = "  n0:\n" + "".join(f"  n{number}: {{after: [n{number - 1}]}}\n" for number in range(1, 3000))
    text = f"name: t\ndefaults: {{system: small}}\nnodes:\n{nodes}"
    assert len(lab_of(text).nodes) == 3000


def test_node_of_an_unknown_name() -> None:
    with pytest.raises(KeyError):
        lab_of("name: t\nnodes: {a: {system: host}}\n").node("b")


def test_a_medium_is_a_file_an_address_or_what_the_environment_names() -> None:
    digest = "AB" * 32
    lab = lab_of(
        "name: t\ndefaults: {system: installed}\nnodes:\n"
        "  a: {source: medium}\n"
        f"  b: {{source: {{medium: 'https://x.example/d/x.iso', sha256: {digest}}}}}\n"
        f"  c: {{source: {{medium: /iso/x.iso, sha256: {digest}}}}}\n"
    )
    assert [node.source for node in lab.nodes] == [
        MediumSource(),
        MediumSource(url="https://x.example/d/x.iso", sha256=digest.lower()),
        MediumSource(path="/iso/x.iso", sha256=digest.lower()),
    ]
    assert [node.source.file_name for node in lab.nodes if isinstance(node.source, MediumSource)] == [
        "", "x.iso", "x.iso",
    ]  # fmt: skip


def test_variables_of_media_are_plain_names() -> None:
    assert medium_variable("xcpng", "8.3") == "NESTLAB_ISO_XCPNG_8_3"
    assert medium_variable("suse", "15-SP6") == "NESTLAB_ISO_SUSE_15_SP6"
