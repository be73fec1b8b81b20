"""Our judge of SUSE's answers: each code is found where something is wrong, and not in the answers it was made from.

Each case changes one thing in right answers; what is found besides is listed with it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from builder.systems.machine import Machine, MachineDisk
from builder.systems.suse.explained import DEAD
from builder.systems.suse.judge import CODES, judge_arguments, judge_autoyast
from builder.systems.suse.judge.dead import DEAD_WORDS
from tests.support.suse_right import EFI, GIB, RIGHT, machine


def codes(text: str, target: Machine | None = None) -> list[str]:
    return [finding.code for finding in judge_autoyast(text, "15.6", target or machine())]


FEEDBACK = '<source>true</source><feedback t="boolean">true</feedback>'
# Code, what stands there, what is put in its place (once), and what else that brings.
CHANGES: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("NLS001", "</profile>", "", ()),
    ("NLS001", "<profile", '<!DOCTYPE profile [<!ENTITY a "aaaa">]>\n<profile', ()),
    ("NLS002", ' xmlns="http://www.suse.com/1.0/yast2ns"', "", ()),
    ("NLS003", "<hostname>host</hostname>", "<hostname>host</hostname><hostnme>x</hostnme>", ()),
    ("NLS003", "<pattern>xen_server", "<patern>x</patern><pattern>xen_server", ()),
    ("NLS003", "  <report>", "  <raport/>\n  <report>", ()),
    ("NLS004", '<show t="boolean">', "<show>", ()),
    ("NLS004", '<timeout t="integer">', '<timeout t="boolean">', ()),
    ("NLS004", '<packages t="list">', "<packages>", ()),
    ("NLS004", "<boot_mbr>", '<boot_mbr t="boolean">', ()),
    ("NLS005", '<show t="boolean">true', '<show t="boolean">yes', ()),
    ("NLS005", "<bridge>yes", "<bridge>true", ()),
    ("NLS006", "  <report>", "  <report>x", ()),
    ("NLS010", '<confirm t="boolean">false', '<confirm t="boolean">true', ()),
    ("NLS010", '<confirm t="boolean">', "<confirm>", ("NLS004",)),
    ("NLS010", '<confirm t="boolean">false</confirm>', "", ()),
    ("NLS011", '<confirm_license t="boolean">false', '<confirm_license t="boolean">true', ()),
    ("NLS011", "<mode>", '<mode><confirm_base_product_license t="boolean">true</confirm_base_product_license>', ()),
    ("NLS012", '<timeout t="integer">10', '<timeout t="integer">0', ()),
    ("NLS012", '<timeout t="integer">10</timeout>', "", ()),
    ("NLS013", "<mode>", '<ask-list t="list"><ask/></ask-list><mode>', ()),
    ("NLS014", '<import_gpg_key t="boolean">true</import_gpg_key>', "", ()),
    ("NLS015", "<source>true</source>", FEEDBACK, ()),
    ("NLS016", "<filename>two", "<filename>one", ()),
    ("NLS017", '<halt t="boolean">true', '<halt t="boolean">false', ()),
    ("NLS018", "<mode>", '<mode><final_halt t="boolean">true</final_halt>', ()),
    ("NLS018", "<scripts>", '<scripts><post-scripts t="list"><script><source>x</source></script></post-scripts>', ()),
    ("NLS019", '<products t="list"><product>Leap</product></products>', "", ()),
    ("NLS020", "$6$a$b", "secret", ()),
    ("NLS020", '<encrypted t="boolean">true</encrypted>', "", ()),
    ("NLS021", "$6$a$b", "*", ()),
    ("NLS022", "<username>root", "<groups>wheel</groups><username>root", ()),
    ("NLS023", "<scripts>", '<scripts><init-scripts t="list"><script><source>x</source></script></init-scripts>', ()),
    ("NLS030", "<xen_append>", "<xen_append>loglvl=all ", ()),
    ("NLS030", "<xen_append>", "<xen_append>dom0_mem=1G ", ()),
    ("NLS031", "<xen_kernel_append>", "<xen_kernel_append>xen-pciback.hide=(0000:03:00.0) ", ()),
    ("NLS031", "<xen_kernel_append>", "<xen_kernel_append>quiet ", ()),
    ("NLS032", "console=hvc0", "console=ttyS0,115200", ()),
    ("NLS032", "console=hvc0 ", "", ()),
    ("NLS033", "console=ttyS0,115200n8", "console=ttyS0, 115200", ()),
    ("NLS034", "dom0_mem=2048M,max:2048M", "dom0_mem=2048M", ()),
    ("NLS034", "dom0_mem=2048M,max:2048M ", "", ()),
    ("NLS035", "<pattern>xen_server", "<pattern>kvm_server", ()),
    ("NLS036", 'autoballoon="off"', 'autoballoon="on"', ()),
    ("NLS036", "/etc/xen/xl.conf", "/etc/xen/xl.cnf", ()),
    ("NLS037", "grub2<", "grub2-efi<", ()),
    ("NLS038", "<service>xencommons.service</service>", "", ()),
    ("NLS039", "mac=00:16:3e:00:00:01", "bridge=br0", ()),
    ("NLS039", "00:16:3e:00:00:01", "52:54:00:00:00:01", ()),
    ("NLS040", "<package>kernel-default", "<package>kernel-xen", ()),
    ("NLS040", "<source>true", "<source>xm create web", ()),
    ("NLS040", "autoballoon=", "# xen2libvirt\nautoballoon=", ()),
    ("NLS041", "<service>xen-LIBXL_HOTPLUG_TIMEOUT.service</service>", "", ()),
    ("NLS042", "<file_contents>[Unit]</file_contents>", "<file_contents/>", ()),
    ("NLS043", "dom0_mem=2048M,max:2048M", "dom0_mem=1023M,max:2048M", ()),
    ("NLS043", "dom0_mem=2048M,max:2048M", "dom0_mem=min:2G,512000,max:2048M", ()),
    ("NLS050", "<mount>/</mount>", "<mount>/srv</mount>", ()),
    ("NLS051", "<device>/dev/sdb", "<device>/dev/sdz", ("NLS074",)),
    ("NLS051", "<device>/dev/sdb</device>", "", ("NLS074",)),
    ("NLS052", "<device>/dev/sda</device><disklabel>gpt</disklabel><use>all</use>",
     "<device>/dev/sda</device><disklabel>gpt</disklabel>", ()),
    ("NLS053", "<raid_name>/dev/md/pv", "<raid_name>/dev/md/pw", ("NLS056",)),
    ("NLS054", "<device>/dev/md/pv", "<device>/dev/md/pw", ("NLS053", "NLS053")),
    ("NLS055", "<raid_type>raid1<", "<raid_type>mirror<", ()),
    ("NLS055", "<raid_options><raid_type>raid1</raid_type></raid_options>", "", ()),
    ("NLS056", "<device>/dev/md/pv</device><disklabel>none</disklabel>\n      <raid_options><raid_type>raid1",
     "<device>/dev/md/pv</device><disklabel>none</disklabel>\n      <raid_options><raid_type>raid5", ()),
    ("NLS057", "<device>/dev/sdb", "<device>/dev/sda", ("NLS057", "NLS074")),
    ("NLS058", "<raid_type>raid1<", "<raid_type>raid0<", ()),
    ("NLS058", "<size>2GiB</size><mount>swap</mount>", "<size>2GiB</size><mount>/boot</mount>", ("NLS065",)),
    ("NLS059", "<raid_type>raid1</raid_type>", "<raid_type>raid1</raid_type><raid_name>/dev/md/x</raid_name>", ()),
    ("NLS060", "<raid_type>raid1</raid_type>", "<raid_type>raid1</raid_type><chunk_size>64</chunk_size>", ()),
    ("NLS061", "<lvm_group>vg</lvm_group>", "", ()),
    ("NLS062", "<lvm_group>vg", "<lvm_group>vh", ("NLS061",)),
    ("NLS063", "<lv_name>swap</lv_name>", "", ()),
    ("NLS064", "<size>2GiB", "<size>two gigs", ()),
    ("NLS065", "<mount>/boot<", "<mount>/<", ()),
    ("NLS065", "<lv_name>swap", "<lv_name>root", ()),
    ("NLS066", "<raid_name>/dev/md/boot</raid_name>", "<raid_name>/dev/md/boot</raid_name><mount>/x</mount>", ()),
    ("NLS067", "<size>1GiB", "<size>900GiB", ()),
    ("NLS069", '<partition><partition_id t="integer">263</partition_id><size>8MiB</size></partition>', "", ()),
    ("NLS070", "<size>1GiB", "<size>250MiB", ()),
    ("NLS080", "eth0</bridge_ports>", "eth7</bridge_ports>", ()),
    ("NLS080", "<name>eth0", "<name>eth7", ()),
    ("NLS081", "<prefixlen>24</prefixlen>", "", ()),
    ("NLS082", "<gateway>192.0.2.1", "<gateway>198.51.100.1", ()),
    ("NLS083", "<bootproto>none", "<bootproto>dhcp", ()),
    ("NLS083", "<interface><name>eth0", "<interface><name>br1</name><bridge_ports>eth0</bridge_ports></interface>\n"
     "      <interface><name>eth0", ()),
    ("NLS084", "<vlan_id>7", "<vlan_id>4095", ()),
    ("NLS084", "<etherdevice>br0", "<etherdevice>br9", ()),
    ("NLS085", "<name>eth0</name>", "<name>eth0</name><lladdr>52:54:00:00:00:01</lladdr>", ()),
    ("NLS086", "<hostname>host</hostname>", "", ()),
    ("NLS087", "<name>br0.7", "<name>averylongbridge0.7", ()),
)  # fmt: skip


@pytest.mark.parametrize(
    ("code", "old", "new", "besides"), CHANGES, ids=[f"{row[0]}-{number}" for number, row in enumerate(CHANGES)]
)
def test_one_wrong_thing_is_found(code: str, old: str, new: str, besides: tuple[str, ...]) -> None:
    assert old in RIGHT
    assert sorted(codes(RIGHT.replace(old, new, 1))) == sorted((code, *besides))


def test_nothing_is_found_in_what_is_right() -> None:
    assert codes(RIGHT) == []
    assert codes(EFI, machine("uefi")) == []
    for size in ("1G,max:1G", "1048576,max:2G", "min:512M,2048M,max:2048M", "-512M,max:4G"):
        assert codes(RIGHT.replace("2048M,max:2048M", size)) == []
    for line in ("<xen_append>", "<xen_kernel_append>"):
        assert codes(RIGHT.replace(line, f"{line}iommu=on crashkernel=128M ")) == []
    assert judge_autoyast(RIGHT.replace("sdb", "sdx").replace("eth0", "eth9"), "15.6") == ()


def test_what_uefi_starts_from() -> None:
    uefi = machine("uefi")
    assert codes(EFI.replace("<mount>/boot/efi</mount>", ""), uefi) == ["NLS068"]
    assert codes(EFI.replace("512MiB", "100MiB"), uefi) == ["NLS070"]
    assert codes(RIGHT, uefi) == ["NLS068", "NLS037"]


def test_what_depends_on_the_disks() -> None:
    assert codes(RIGHT.replace("gpt", "msdos"), machine(size=3 << 40)) == ["NLS071", "NLS071"]
    assert codes(RIGHT, machine(native=True)) == ["NLS072", "NLS072"]
    assert codes(RIGHT, machine(odd=True)) == ["NLS072", "NLS073", "NLS073"]
    assert codes(EFI, machine("uefi", odd=True)) == ["NLS073", "NLS073"]


def test_names_are_good_for_all_disks_or_for_none() -> None:
    third = dataclasses.replace(machine(), disks=(*machine().disks, MachineDisk("d2", "sdc", 100 * GIB, 512)))
    assert codes(RIGHT, third) == ["NLS074"]
    assert codes(RIGHT.replace("/dev/sd", "/dev/vd"), machine(prefix="vd")) == []
    (finding,) = judge_autoyast(RIGHT, "15.6", third)
    assert finding.where == f"autoinst.xml:{RIGHT[: RIGHT.index('<drive>')].count(chr(10)) + 1}"


OLD_STYLE = """\
    <drive>
      <device>/dev/md</device>
      <partitions t="list">
        <partition><partition_nr t="integer">1</partition_nr><mount>/srv</mount>
          <raid_options><raid_type>raid1</raid_type></raid_options></partition>
      </partitions>
    </drive>
"""


def test_arrays_of_the_old_way_have_numbers() -> None:
    first = '<partition><partition_id t="integer">263'
    member = '<partition><partition_id t="integer">253</partition_id><size>9GiB</size><raid_name>/dev/md/1</raid_name>'
    array = "    <drive>\n      <device>/dev/md/boot"
    text = RIGHT.replace(array, OLD_STYLE + array).replace(first, f"{member}</partition>\n        {first}")
    assert codes(text) == []
    without = text.replace('<partition_nr t="integer">1</partition_nr>', "")
    assert sorted(codes(without)) == ["NLS053", "NLS053", "NLS054", "NLS059"]


def test_findings_say_where() -> None:
    (finding,) = judge_autoyast(RIGHT.replace("<boot_mbr>", '<boot_mbr t="boolean">'), "15.6", machine())
    line = RIGHT[: RIGHT.index("<boot_mbr>")].count("\n") + 1
    assert (finding.where, finding.severity) == (f"autoinst.xml:{line}", "error")
    assert finding.hint == "leave the type out"


ARGUMENTS: tuple[tuple[str, tuple[str, ...], list[str]], ...] = (
    ("15.6", ("autoyast=label://OEMDRV/autoinst.xml", "console=tty0", "console=ttyS0,115200"), []),
    ("16.0", ("inst.auto=label://OEMDRV/autoinst.json", "inst.finish=poweroff", "console=ttyS0"), []),
    ("16.0", ("inst.auto=x", "inst.finish=reboot", "console=ttyS0"), ["NLS017"]),
    ("16.0", ("autoyast=x", "console=ttyS0"), ["NLS017", "NLS090", "NLS091"]),
    ("15.6", ("inst.auto=x", "inst.finish=halt", "console=ttyS0"), ["NLS090", "NLS091", "NLS091"]),
    ("sles15", ("autoyast=x", "console=ttyS0", "console=tty0"), ["NLS092"]),
    ("sles16", ("inst.auto=x", "inst.finish=halt"), ["NLS092"]),
)


@pytest.mark.parametrize(("release", "arguments", "found"), ARGUMENTS)
def test_installer_arguments(release: str, arguments: tuple[str, ...], found: list[str]) -> None:
    assert [finding.code for finding in judge_arguments(arguments, release)] == found


def test_every_code_is_found_somewhere_and_explained() -> None:
    here = Path(__file__)
    texts = [here.read_text(), here.with_name("test_suse_judge_agama.py").read_text()]
    assert set(re.findall(r"NLS[0-9]{3}", "".join(texts))) == set(CODES)
    assert all(code.explanation.endswith(".") and code.releases and code.source for code in CODES.values())


def test_old_words_are_explained_by_their_names() -> None:
    assert set(DEAD_WORDS) <= set(DEAD)
    samples = {
        "xen2libvirt": "xen2libvirt -r /x", "kernel-xen": "kernel-xen", "menu.lst": "/boot/grub/menu.lst",
        "xm/xend": "xm list", "/lib/tls": "mv /lib/tls /x", "modprobe.conf.local": "/etc/modprobe.conf.local",
        "init.d/pciback": "/etc/init.d/pciback start",
    }  # fmt: skip
    assert set(samples) == set(DEAD_WORDS)
    harmless = "kernel-default xl list /boot/grub2/grub.cfg /etc/modprobe.d/x.conf xmllint alarm clock"
    for name, pattern in DEAD_WORDS.items():
        assert pattern.search(samples[name]) and not pattern.search(harmless)


SAME: tuple[Callable[[str], str], ...] = (
    lambda text: text.replace(' t="', ' config:type="'),
    lambda text: text.replace(' t="', ' type="'),
    lambda text: re.sub(r"<source>(.*?)</source>", r"<source><![CDATA[\1]]></source>", text),
)


@pytest.mark.parametrize("respell", SAME)
def test_all_spellings_of_a_type_are_read(respell: Callable[[str], str]) -> None:
    assert codes(respell(RIGHT)) == []
