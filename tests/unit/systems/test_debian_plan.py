"""What Debian decides about a node: arguments by layer, bridges, what is in the image and what is the node's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.errors import LabError
from builder.model.lab import KernelSettings, Node
from builder.model.plan import SystemPlan
from builder.model.units import GIB, KIB, MIB
from builder.systems.debian.system import Debian
from builder.systems.dom0 import bridge_names
from tests.support.nodes import debian_node, disk, nic, xen


def plan(node: Node) -> SystemPlan:
    return Debian().plan(node)


def image_file(node: Node, path: str) -> str:
    recipe = plan(node).recipe
    assert recipe is not None
    return next(file.content for file in recipe.files if file.path == path)


def seed_file(node: Node, path: str) -> str:
    return next(file.content for file in plan(node).seed if file.path == path)


def test_named_settings_and_verbatim_ones_reach_xen_in_order() -> None:
    node = debian_node(
        xen=xen(
            dom0_memory=1536 * MIB, dom0_vcpus_pin=True, loglvl="all", guest_loglvl="all/all", noreboot=True,
            console="com1,vga", arguments=("ucode=scan", "loglvl=info"),
        )
    )  # fmt: skip
    assert plan(node).boot_args.hypervisor == (
        "dom0_mem=1536M,max:1536M", "dom0_max_vcpus=2", "dom0_vcpus_pin", "com1=115200,8n1", "console=com1,vga",
        "loglvl=all", "guest_loglvl=all/all", "noreboot", "ucode=scan", "loglvl=info",
    )  # fmt: skip


def test_what_was_not_asked_for_is_not_there() -> None:
    arguments = plan(debian_node()).boot_args.hypervisor
    assert arguments == ("dom0_mem=1024M,max:1024M", "dom0_max_vcpus=2", "com1=115200,8n1", "console=com1")


def test_the_users_kernel_arguments_come_last_and_repeat_freely() -> None:
    node = debian_node(kernel=KernelSettings(arguments=("mitigations=auto", "console=tty0")))
    kernel = plan(node).boot_args.kernel
    assert kernel[0] == "console=hvc0"
    assert kernel[-2:] == ("mitigations=auto", "console=tty0")
    assert kernel.index("mitigations=off") < kernel.index("mitigations=auto")


def test_dom0_memory_is_exact_or_refused() -> None:
    assert "dom0_mem=786433K,max:786433K" in plan(debian_node(xen=xen(dom0_memory=786433 * KIB))).boot_args.hypervisor
    with pytest.raises(LabError, match="whole number of KiB"):
        plan(debian_node(xen=xen(dom0_memory=GIB + 1)))


def test_memory_that_xen_could_not_grant_is_refused() -> None:
    assert plan(debian_node(memory=2 * GIB, xen=xen(dom0_memory=2 * GIB - 256 * MIB)))
    with pytest.raises(LabError, match="does not fit"):
        plan(debian_node(memory=2 * GIB, xen=xen(dom0_memory=2 * GIB - 255 * MIB)))


def test_firmware_that_cannot_boot_from_the_disk_is_refused() -> None:
    for bus in ("lsilogic", "lsisas1068"):
        with pytest.raises(LabError, match="UEFI firmware cannot boot"):
            plan(debian_node(firmware="uefi", disks=(disk(bus=bus),)))
    assert plan(debian_node(firmware="uefi", disks=(disk(bus="ide"), disk("data", bus="lsilogic"))))
    with pytest.raises(LabError, match="sectors of 512 bytes"):
        plan(debian_node(disks=(disk(sector="4Kn"),)))
    assert plan(debian_node(disks=(disk(sector="512e"), disk("data", sector="4Kn"))))
    with pytest.raises(LabError, match="needs a disk"):
        plan(debian_node(disks=()))


def test_nodes_that_differ_in_name_cards_and_addresses_share_the_image() -> None:
    one = plan(debian_node())
    other = plan(
        debian_node(
            name="dom0-b", memory=8 * GIB, cpus=4, management_mac="52:54:00:00:00:09",
            nics=(nic(1, addresses=("10.0.0.2/24",)), nic(2)), disks=(disk(size=64 * GIB), disk("data")),
        )
    )  # fmt: skip
    assert one.recipe == other.recipe
    assert one.seed != other.seed


def test_firmware_does_not_change_the_image() -> None:
    assert plan(debian_node()).recipe == plan(debian_node(firmware="uefi", disks=(disk(bus="ide"),))).recipe


@pytest.mark.parametrize(
    "changes",
    [
        {"xen": xen(dom0_memory=2 * GIB)},
        {"xen": xen(bridge="br0")},
        {"xen": xen(pciback_hide=("03:00.0",))},
        {"kernel": KernelSettings(arguments=("quiet",))},
        {"release": "12"},
    ],
    ids=["memory", "bridge", "pciback", "kernel", "release"],
)
def test_what_the_image_holds_changes_the_image(changes: dict[str, object]) -> None:
    assert plan(debian_node()).recipe != plan(debian_node(**changes)).recipe


def test_one_debian_object_does_not_mix_up_nodes() -> None:
    """Rendered files are kept per settings; the second plan must not get the first one's."""
    debian = Debian()
    big = debian_node(xen=xen(dom0_memory=2 * GIB))
    debian.plan(debian_node())
    assert debian.plan(big) == plan(big)


def test_bridges_carry_the_cards_in_order_by_mac() -> None:
    node = debian_node(
        nics=(
            nic(1, mtu=9000, addresses=("10.0.0.1/24", "fd00::1/64")),
            nic(2, trunk=(10, 20), vlan_addresses={10: ("10.0.10.1/24",)}),
        )
    )
    lines = [line.rstrip() for line in seed_file(node, "/etc/nestlab/network").splitlines() if line[0] != "#"]
    assert lines == [
        "bridge xenbr0 52:54:00:00:00:01 1500 dhcp",
        "bridge xenbr1 52:54:00:00:01:01 9000 10.0.0.1/24 fd00::1/64",
        "bridge xenbr2 52:54:00:00:01:02 1500",
        "vlan xenbr2 10 10.0.10.1/24",
        "vlan xenbr2 20",
    ]


def test_bridge_names_count_on_from_the_first() -> None:
    assert bridge_names("xenbr0", 3) == ("xenbr0", "xenbr1", "xenbr2")
    assert bridge_names("br7", 2) == ("br7", "br8")
    assert bridge_names("lan", 3) == ("lan", "lan1", "lan2")
    long = "abcdefghijklmn9"
    assert plan(debian_node(xen=xen(bridge=long)))
    with pytest.raises(LabError, match="longer than 15"):
        plan(debian_node(xen=xen(bridge=long), nics=(nic(1),)))
    with pytest.raises(LabError, match="longer than 15"):
        plan(debian_node(xen=xen(bridge="abcdefghijk0"), nics=(nic(1, trunk=(4000,)),)))


def test_the_toolstack_neither_balloons_nor_saves() -> None:
    xl = image_file(debian_node(), "/etc/xen/xl.conf").splitlines()
    assert 'autoballoon="off"' in xl
    assert 'vif.default.bridge="xenbr0"' in xl
    domains = image_file(debian_node(), "/etc/default/xendomains").splitlines()
    assert 'XENDOMAINS_SAVE=""' in domains
    assert "XENDOMAINS_RESTORE=false" in domains


def test_nobody_gets_in_with_a_password() -> None:
    sshd = image_file(debian_node(), "/etc/ssh/sshd_config.d/00-nestlab.conf").splitlines()
    assert {"PasswordAuthentication no", "KbdInteractiveAuthentication no", "PermitRootLogin prohibit-password"} <= set(
        sshd
    )
    recipe = plan(debian_node()).recipe
    assert recipe is not None
    assert ("usermod", "--password", "*", "root") in recipe.configure


def test_hidden_devices_are_told_to_the_module_and_the_kernel_and_loaded_first() -> None:
    node = debian_node(xen=xen(pciback_hide=("03:00.0", "0001:04:00.1")))
    hidden = "(0000:03:00.0)(0001:04:00.1)"
    settings = image_file(node, "/etc/modprobe.d/xen-pciback.conf").splitlines()
    assert f"options xen-pciback hide={hidden}" in settings
    assert {"softdep ahci pre: xen-pciback", "softdep xhci_pci pre: xen-pciback"} <= set(settings)
    assert f"xen-pciback.hide={hidden}" in plan(node).boot_args.kernel
    assert not [a for a in plan(node).boot_args.hypervisor if "pciback" in a]
    recipe = plan(node).recipe
    assert recipe is not None
    assert any("nestlab-pciback.service" in command for command in recipe.configure)


def test_without_hidden_devices_there_is_no_trace_of_pciback() -> None:
    recipe = plan(debian_node()).recipe
    assert recipe is not None
    assert "pciback" not in recipe.model_dump_json()


def test_a_users_template_changes_the_image(tmp_path: Path) -> None:
    mine = tmp_path / "debian/image/etc/xen/xl.conf"
    mine.parent.mkdir(parents=True)
    mine.write_text('autoballoon="auto"\n')
    recipe = Debian(tmp_path).plan(debian_node()).recipe
    assert recipe is not None
    assert recipe != plan(debian_node()).recipe
    assert [f.content for f in recipe.files if f.path == "/etc/xen/xl.conf"] == ['autoballoon="auto"\n']
