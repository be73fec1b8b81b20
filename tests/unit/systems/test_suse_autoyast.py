"""AutoYaST profiles as lxml reads them, for every case: what they say about disks, Xen, cards and accounts."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from lxml import etree

from builder.systems.machine import machine_of
from builder.systems.suse.judge import judge_autoyast
from builder.systems.suse.options import SuseInstall
from tests.support.rhel import HASH, KEY, RSA, text_file
from tests.support.suse import CASES, FULL, YAST, Case, suse_node

NAMES = [name for name, case in CASES.items() if case.node.release in YAST]
each_case = pytest.mark.parametrize("case", [CASES[name] for name in NAMES], ids=NAMES)
NS = "{http://www.suse.com/1.0/yast2ns}"
TYPE = "{http://www.suse.com/1.0/configns}type"


def root(text: str) -> Any:
    return etree.fromstring(text.encode())


def values(element: Any, path: str) -> list[str]:
    return [each.text or "" for each in element.findall("/".join(NS + name for name in path.split("/")))]


def one(element: Any, path: str) -> str:
    (value,) = values(element, path)
    return value


def drives(profile: Any, kind: str) -> list[Any]:
    return [each for each in profile.findall(f"{NS}partitioning/{NS}drive") if one(each, "type") == kind]


def interfaces(profile: Any) -> dict[str, dict[str, str]]:
    found = profile.findall(f"{NS}networking/{NS}interfaces/{NS}interface")
    return {one(each, "name"): {child.tag.removeprefix(NS): child.text or "" for child in each} for each in found}


@each_case
def test_our_judge_finds_nothing_that_is_not_expected(case: Case) -> None:
    options = SuseInstall.model_validate(case.node.install)
    machine = machine_of(case.node, options.disk_names, options.devices)
    found = judge_autoyast(case.text, case.node.release, machine)
    assert [finding.code for finding in found] == list(case.warned)


@each_case
def test_every_truth_number_and_list_has_its_type(case: Case) -> None:
    """Whatever is named as one: the names are those of the elements, not of a grammar of ours."""
    profile = root(case.text)
    truths = {
        "confirm", "second_stage", "halt", "show", "log", "initialize", "create", "format", "encrypted", "managed",
        "keep_install_network", "enable_firewall", "start_firewall", "install_recommended", "dhcp_hostname",
        "chrooted", "confirm_license", "ask_on_error", "self_update", "enable_snapshots",
    }  # fmt: skip
    lists = {
        "partitioning", "partitions", "interfaces", "packages", "patterns", "products", "users", "files", "enable",
        "net-udev", "routes", "nameservers", "authorized_keys", "chroot-scripts", "pre-scripts", "zones",
    }  # fmt: skip
    checked = 0
    for element in profile.iter(f"{NS}*"):
        name = element.tag.removeprefix(NS)
        wanted = "boolean" if name in truths else "list" if name in lists else None
        if wanted is not None:
            checked += 1
            assert element.get(TYPE) == wanted, name
    assert checked > 40
    for name in ("boot_mbr", "os_prober"):
        for element in profile.iter(NS + name):
            assert element.attrib == {}, name


@each_case
def test_xen_and_dom0_have_their_own_lines(case: Case) -> None:
    settings = root(case.text).find(f"{NS}bootloader/{NS}global")
    hypervisor, dom0, plain = (one(settings, name).split() for name in ("xen_kernel_append", "xen_append", "append"))
    assert hypervisor[0] == "dom0_mem=2048M,max:2048M" and {"com1=115200,8n1", "console=com1"} <= set(hypervisor)
    assert dom0[0] == "console=hvc0" and not any("ttyS" in word or word.startswith("dom0_") for word in dom0)
    assert plain == ["console=tty0", "console=ttyS0,115200n8"]
    loader = one(root(case.text), "bootloader/loader_type")
    assert loader == ("grub2-efi" if case.node.firmware == "uefi" else "grub2")
    assert case.plan.boot_args.hypervisor == tuple(hypervisor) and case.plan.boot_args.kernel == tuple(dom0)


@each_case
def test_disks_are_laid_out_by_the_nodes_arrays(case: Case) -> None:
    profile = root(case.text)
    level = case.node.raid[0].level if case.node.raid else None
    disks, arrays = drives(profile, "CT_DISK"), drives(profile, "CT_MD")
    assert len(disks) == (len(case.node.disks) if level is not None else 1)
    assert len({one(disk, "device") for disk in disks}) == len(disks)
    mounts = values(profile, "partitioning/drive/partitions/partition/mount")
    assert {"/", "/boot", "swap"} <= set(mounts) and len(set(mounts)) == len(mounts)
    efi, gpt = case.node.firmware == "uefi", case.node.install.get("label", "gpt") == "gpt"
    assert ("/boot/efi" in mounts) == efi
    for disk in disks:
        ids = values(disk, "partitions/partition/partition_id")
        assert ("259" in ids) == efi and ("263" in ids) == (gpt and not efi)
        assert values(disk, "partitions/partition/size").count("max") <= 1
    if level is None:
        assert not arrays
        return
    members = [values(disk, "partitions/partition/raid_name") for disk in disks]
    assert all(each == members[0] for each in members)
    names = [one(array, "device") for array in arrays]
    assert sorted(names) == sorted(members[0])
    levels = dict(zip(names, [one(array, "raid_options/raid_type") for array in arrays], strict=True))
    assert levels.pop("/dev/md/boot") == "raid1"
    assert set(levels.values()) == {f"raid{level}"}
    for array in arrays:
        chunk = values(array, "raid_options/chunk_size")
        assert chunk == (["512KiB"] if one(array, "raid_options/raid_type") != "raid1" else [])


@pytest.mark.parametrize(("count", "level", "member"), [(4, 10, 1024), (6, 10, 683), (3, 5, 1024), (2, 1, 2048)])
def test_arrays_for_swap_are_as_large_as_was_asked(count: int, level: Any, member: int) -> None:
    case = Case(suse_node("15.6", count, level, install={"layout": "plain", "swap": "2GiB"}))
    for disk in drives(root(case.text), "CT_DISK"):
        sizes = dict(zip(values(disk, "partitions/partition/raid_name")[1:],
                         values(disk, "partitions/partition/size")[2:], strict=True))  # fmt: skip
        assert sizes == {"/dev/md/swap": f"{member}MiB", "/dev/md/root": "max"}


def test_what_is_left_of_the_group_is_for_guests() -> None:
    profile = root(CASES["15.6-full"].text)
    (group,) = drives(profile, "CT_LVM")
    assert (one(group, "device"), one(group, "pesize")) == ("/dev/system", "32768KiB")
    assert values(group, "partitions/partition/size") == ["4096MiB", "20480MiB"]
    assert values(group, "partitions/partition/fstopt") == ["defaults,discard"]
    assert values(group, "partitions/partition/filesystem") == ["swap", "btrfs"]


@each_case
def test_cards_are_named_by_their_hardware_addresses_and_stand_below_bridges(case: Case) -> None:
    profile, node = root(case.text), case.node
    rules = profile.findall(f"{NS}networking/{NS}net-udev/{NS}rule")
    assert [(one(each, "name"), one(each, "value")) for each in rules] == [
        (f"eth{number}", mac) for number, mac in enumerate([node.management_mac, *(nic.mac for nic in node.nics)])
    ]
    listed = interfaces(profile)
    bridged = node.install.get("network", {}).get("bridged", True)
    bridges = {name: each for name, each in listed.items() if each.get("bridge") == "yes"}
    assert bool(bridges) == bridged
    below = [port for each in bridges.values() for port in each["bridge_ports"].split()]
    bonded = [value for each in listed.values() for key, value in each.items() if key.startswith("bonding_slave")]
    assert len(set(below + bonded)) == len(below + bonded)
    for name in below + bonded:
        assert listed[name]["bootproto"] == "none"
    if bridged:
        assert next(iter(bridges)) == node.xen.bridge
        assert {f"eth{number}" for number in range(len(rules))} <= set(below + bonded)


def test_addresses_of_the_management_card_and_of_the_lab() -> None:
    profile = root(CASES["15.6-network"].text)
    listed = interfaces(profile)
    assert (listed["xenbr0"]["ipaddr"], listed["xenbr0"]["prefixlen"]) == ("192.0.2.10", "24")
    assert (listed["xenbr1"]["ipaddr"], listed["xenbr1"]["mtu"], listed["eth1"]["mtu"]) == ("10.0.0.5", "9000", "9000")
    aliases = profile.findall(f".//{NS}aliases/{NS}alias0")
    assert [(one(each, "IPADDR"), one(each, "PREFIXLEN")) for each in aliases] == [("fd00::5", "64")]
    assert (listed["xenbr2.10"]["etherdevice"], listed["xenbr2.10"]["vlan_id"]) == ("xenbr2", "10")
    assert listed["xenbr2.10"]["ipaddr"] == "10.0.10.5" and listed["xenbr2.20"]["bootproto"] == "none"
    (route,) = profile.findall(f"{NS}networking/{NS}routing/{NS}routes/{NS}route")
    assert (one(route, "gateway"), one(route, "device")) == ("192.0.2.1", "xenbr0")
    assert values(profile, "networking/dns/nameservers/nameserver") == ["192.0.2.53", "192.0.2.54"]


def test_a_bond_stands_below_its_bridge_and_a_tag_on_top() -> None:
    listed = interfaces(root(CASES["15.6-bond"].text))
    assert listed["bond0"]["bonding_module_opts"] == "mode=802.3ad miimon=100"
    assert [listed["bond0"][f"bonding_slave{n}"] for n in range(2)] == ["eth1", "eth2"]
    assert listed["xenbr1"]["bridge_ports"] == "bond0" and listed["xenbr1"]["ipaddr"] == "10.0.0.5"
    assert listed["xenbr0.12"]["bootproto"] == "dhcp" and listed["xenbr0"]["bootproto"] == "none"
    assert listed["xenbr1.7"]["vlan_id"] == "7"


def test_everything_that_can_be_said_reaches_the_profile() -> None:
    profile = root(CASES["15.6-full"].text)
    said = {
        "language/language": ["de_DE"], "keyboard/keymap": ["de"], "timezone/timezone": ["Europe/Berlin"],
        "networking/dns/hostname": ["host-a.lab.example"], "general/mode/halt": ["false"],
        "ntp-client/ntp_servers/ntp_server/address": FULL["ntp"],
        "add-on/add_on_others/listentry/media_url": ["http://mirror.example/extra"],
        "firewall/enable_firewall": ["false"], "users/user/username": ["root", "alice", "bob"],
        "users/user/user_password": [HASH, HASH, "*"], "users/user/encrypted": ["true"] * 3,
        "users/user/authorized_keys/listentry": [KEY, RSA, KEY, RSA],
        "groups/group/groupname": ["wheel", "audio"], "groups/group/userlist": ["alice", "alice"],
        "software/patterns/pattern": ["base", "xen_server", "xen_tools", "documentation"],
        "services-manager/services/disable/service": ["fstrim.timer", "postfix.service"],
    }  # fmt: skip
    assert {path: values(profile, path) for path in said} == said
    assert {"vim", "tcpdump", "chrony", "sudo"} <= set(values(profile, "software/packages/package"))
    named = values(profile, "files/file/file_path")
    written = [path for path in named if not path.endswith("/")]
    files = dict(zip(written, values(profile, "files/file/file_contents"), strict=True))
    assert {f"{path.rpartition('/')[0]}/" for path in written} - {"/etc/"} == set(named) - set(written)
    assert set(files) == {
        "/etc/xen/xl.conf", "/etc/systemd/system/xen-LIBXL_HOTPLUG_TIMEOUT.service", "/etc/xen/web", "/etc/motd",
        "/etc/modprobe.d/50-nestlab-loop.conf", "/etc/dracut.conf.d/50-nestlab-pciback.conf",
        "/etc/sudoers.d/nestlab-alice",
    }  # fmt: skip
    assert files["/etc/motd"] == "<b> & ]]> \"'\n"
    assert "options loop max_loop=128\n" in files["/etc/modprobe.d/50-nestlab-loop.conf"]
    assert " 10\n" in files["/etc/systemd/system/xen-LIBXL_HOTPLUG_TIMEOUT.service"]
    assert 'force_drivers+=" xen-pciback "' in files["/etc/dracut.conf.d/50-nestlab-pciback.conf"]
    enabled = values(profile, "services-manager/services/enable/service")
    assert {"xen-LIBXL_HOTPLUG_TIMEOUT.service", "xencommons.service", "libvirtd.service"} <= set(enabled)
    line = one(profile, "bootloader/global/xen_append").split()
    assert line == ["console=hvc0", "xen-pciback.hide=(0000:03:00.0)(0001:04:00.1)", "mitigations=off"]


def test_scripts_of_the_users_stand_where_they_run() -> None:
    profile = root(CASES["15.6-full"].text)
    own = {}
    for stage in ("pre-scripts", "postpartitioning-scripts", "chroot-scripts", "init-scripts"):
        for script in profile.findall(f"{NS}scripts/{NS}{stage}/{NS}script"):
            own[one(script, "filename")] = (stage, one(script, "source"), values(script, "chrooted"))
    assert own["pre-1"] == ("pre-scripts", "echo pre\n", [])
    assert own["partitioned-1"] == ("postpartitioning-scripts", "lsblk\n", [])
    assert own["post-1"] == ("chroot-scripts", "echo 'in the host' && true < /dev/null\n", ["true"])
    assert own["post-2"] == ("chroot-scripts", "print('%d' % 1)\n", ["false"])
    assert own["first-boot-1"] == ("init-scripts", "#!/bin/sh\ntouch /root/started\n", [])


def test_copies_of_the_boot_loader_go_to_the_other_disks() -> None:
    profile = root(CASES["15.6-by-id"].text)
    (script,) = profile.findall(f"{NS}scripts/{NS}init-scripts/{NS}script")
    for number in (1, 2):
        assert f"/dev/disk/by-id/ata-QEMU_HARDDISK_disk{number}-part1" in one(script, "source")
    assert "autoyast2-installation" in values(profile, "software/packages/package")
    assert "/dev/disk/by-id/wwn-0x5000-part1" in one(script, "source") and "disk0-part" not in one(script, "source")
    assert not root(CASES["15.6-uefi-plain"].text).findall(f"{NS}scripts/{NS}init-scripts")


def test_modules_of_the_enterprise_medium() -> None:
    offline = root(CASES["sles15-bios-plain"].text)
    assert values(offline, "add-on/add_on_products/listentry/product_dir") == [
        "/Module-Basesystem", "/Module-Server-Applications",
    ]  # fmt: skip
    assert one(offline, "software/products/product") == "SLES"
    registered = root(CASES["sles15-registered"].text)
    assert values(registered, "suse_register/addons/addon/name") == [
        "sle-module-basesystem", "sle-module-server-applications",
    ]  # fmt: skip
    assert set(values(registered, "suse_register/addons/addon/version")) == {"15.6"}
    assert values(registered, "add-on/add_on_products/listentry/product") == []
    assert values(root(CASES["15.6-bios-plain"].text), "add-on/add_on_products/listentry/product") == []


@pytest.mark.parametrize("text", ["]]>", "]]", "a]]>b]]>c", "<![CDATA[x]]>", "&lt;", "\t\n  x  \n"])
def test_any_text_comes_back_from_a_script(text: str) -> None:
    case = Case(suse_node(install={"post": [{"file": text_file(text)}]}))
    scripts = root(case.text).findall(f"{NS}scripts/{NS}chroot-scripts/{NS}script")
    assert [one(each, "source") for each in scripts if one(each, "filename") == "post-1"] == [text]


@pytest.mark.parametrize("count", [2, 4, 6, 8, 30])
def test_any_even_number_of_disks(count: int) -> None:
    case = Case(suse_node("15.6", count, 10 if count > 2 else 1))
    devices = [one(disk, "device") for disk in drives(root(case.text), "CT_DISK")]
    letters = [chr(97 + n) for n in range(26)]
    wanted = [*letters, *("".join(pair) for pair in itertools.product(letters, letters))][:count]
    assert devices == [f"/dev/sd{each}" for each in wanted]
