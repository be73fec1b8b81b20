"""What else is decided for an XCP-ng host: arguments by layer, delivery, boots, and what is refused."""

from __future__ import annotations

import re
import shlex
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from builder.errors import LabError
from builder.media.edits import Arguments, from_model
from builder.media.menus.common import Change
from builder.media.menus.grub import edit_grub
from builder.media.menus.isolinux import edit_isolinux
from builder.model.lab import ImageSource, KernelSettings, RaidArray
from builder.model.load import parse_lab
from builder.model.plan import SystemPlan
from builder.model.units import GIB
from builder.paths import data_dir
from builder.systems import traits
from builder.systems.xcpng.judge import judge_arguments
from builder.systems.xcpng.options import XcpngInstall
from builder.systems.xcpng.releases import RELEASES as TABLE
from builder.systems.xcpng.system import Xcpng
from tests.support.nodes import disk, nic, xen
from tests.support.rhel import text_file
from tests.support.xcpng import RELEASES, STATIC, xcpng_node


def plan(release: str = "8.3", **changes: Any) -> SystemPlan:
    return Xcpng().plan(xcpng_node(release, **changes))


def kernel_of(made: SystemPlan) -> tuple[str, ...]:
    (edit,) = [edit for edit in made.media_edits if edit.layer == "kernel"]
    assert {"no-repo-gpgcheck", "no-gpgcheck", "console="} <= set(edit.remove)
    return edit.arguments


def xen_of(made: SystemPlan) -> tuple[str, ...]:
    (edit,) = [edit for edit in made.media_edits if edit.layer == "hypervisor"]
    return edit.arguments


def test_the_row_names_the_releases_of_the_table() -> None:
    assert Xcpng.traits.releases == tuple(TABLE) and set(TABLE) == set(RELEASES)


@pytest.mark.parametrize("release", RELEASES)
def test_the_installer_is_started_on_both_layers(release: str) -> None:
    made = plan(release)
    assert kernel_of(made) == (
        "install", "rt_answerfile=file:///answerfile.xml", "atexit=poweroff", "console=tty0", "console=hvc0",
    )  # fmt: skip
    assert xen_of(made) == ("com1=115200,8n1", "console=com1")


# Lines as they stand on the media, consoles in their usual order.
GRUB = """\
menuentry "install" {
    multiboot2 /boot/xen.gz dom0_max_vcpus=1-16 dom0_mem=max:8192M com1=115200,8n1 console=com1,vga
    module2 /boot/vmlinuz console=hvc0 console=tty0 no-repo-gpgcheck
    module2 /install.img
}
"""
ISOLINUX = """\
default install
label install
  kernel mboot.c32
  append /boot/xen.gz dom0_mem=max:8192M com1=115200,8n1 console=com1,vga --- /boot/vmlinuz console=hvc0 console=tty0 \
--- /install.img
"""


@pytest.mark.parametrize("release", RELEASES)
def test_the_edited_menus_start_the_installer_on_the_serial_console(release: str) -> None:
    """The media room carries the edits out; our judge reads what then stands on the lines. Twice gives the same."""
    edits = from_model(plan(release, install={"sources": ["http://x.example/"], "network": STATIC}).media_edits)
    grub, isolinux = GRUB, ISOLINUX
    for edit in (*edits, *edits):
        assert isinstance(edit, Arguments)
        change = Change(kernel=edit.kernel, hypervisor=edit.hypervisor, remove=edit.remove)
        grub, isolinux = edit_grub(grub, change), edit_isolinux(isolinux, change)
    words = [shlex.split(line) for line in grub.splitlines()]
    hypervisor = next(line[2:] for line in words if line[:1] == ["multiboot2"])
    kernel = next(line[2:] for line in words if line[:2] == ["module2", "/boot/vmlinuz"])
    parts = [part.split() for part in next(line for line in isolinux.splitlines() if "append" in line).split("---")]
    for xen_line, dom0_line in ((hypervisor, kernel), (parts[0][2:], parts[1][1:])):
        assert judge_arguments(xen_line, dom0_line, release) == ()
        assert [word for word in xen_line if word.startswith(("com1", "console"))] == [
            "com1=115200,8n1",
            "console=com1",
        ]
        assert [word for word in dom0_line if word.startswith("console")] == ["console=tty0", "console=hvc0"]
        assert len(set(dom0_line)) == len(dom0_line) and "dom0_mem=max:8192M" in xen_line


def test_a_card_is_brought_up_when_something_is_fetched() -> None:
    far = plan(install={"sources": ["http://mirror.example/xcp"]}, nics=(nic(1),))
    assert "network_device=52:54:00:00:00:01" in kernel_of(far)
    assert not any(argument.startswith("network_config") for argument in kernel_of(far))
    static = plan(install={"sources": ["nfs://files.example/xcp"], "network": STATIC})
    assert (
        "network_config=static:ip=192.0.2.10;netmask=255.255.255.0;gateway=192.0.2.1;dns=192.0.2.53,192.0.2.54;vlan=7"
        in kernel_of(static)
    )
    tagged = plan(install={"drivers": ["ftp://x.example/d"], "network": {"vlan": 9, "card": 1}}, nics=(nic(1),))
    assert {"network_device=52:54:00:00:01:01", "network_config=dhcp:vlan=9"} <= set(kernel_of(tagged))


def test_answers_in_the_ram_disk_or_served() -> None:
    inside = plan()
    assert {answer.delivery for answer in inside.answers} == {"initrd"}
    served = plan(install={"served_at": "http://192.0.2.9/a/"})
    assert {answer.delivery for answer in served.answers} == {"http"}
    assert {"rt_answerfile=http://192.0.2.9/a/answerfile.xml", "network_device=52:54:00:00:00:01"} <= set(
        kernel_of(served)
    )
    root = ET.fromstring(served.answers[0].content)
    assert [element.text for element in root.iter("script")] == [
        "http://192.0.2.9/a/filesystem-populated.sh", "http://192.0.2.9/a/installation-complete.sh",
    ]  # fmt: skip
    names = [answer.name for answer in inside.answers]
    assert names == ["answerfile.xml", "filesystem-populated.sh", "installation-complete.sh"]


def test_the_hosts_own_arguments_by_layer() -> None:
    made = plan(
        xen=xen(dom0_memory=4 * GIB, pciback_hide=("03:00.0",), arguments=("ucode=scan",)),
        kernel=KernelSettings(arguments=("mitigations=off",)),
    )
    assert made.boot_args.hypervisor == ("dom0_mem=4096M,max:4096M", "dom0_max_vcpus=2", "ucode=scan")
    assert made.boot_args.kernel == ("xen-pciback.hide=(0000:03:00.0)", "mitigations=off")


def test_an_upgrade_may_have_all_that_its_installer_reads() -> None:
    read = {"sources": ["https://mirror.example/xcp"], "network": STATIC, "network_backend": "bridge",
            "multipath": True, "at_start": [{"file": text_file("#!/bin/sh\n")}], "check_signatures": False}  # fmt: skip
    assert plan(install={"mode": "upgrade", **read}).findings == ()
    assert plan(install={"mode": "restore", "at_start": read["at_start"], "end": "shell"}).findings == ()


@pytest.mark.parametrize("mode", ["fresh", "upgrade", "restore"])
@pytest.mark.parametrize("end", ["poweroff", "reboot", "shell"])
def test_two_boots(mode: str, end: str) -> None:
    install, host = plan(install={"mode": mode, "end": end}).boots
    assert (install.medium, install.on_reboot, host.medium, host.phases[-1].signal) == (True, "end", False, "ssh")
    last = {"poweroff": "power-off", "reboot": "reboot", "shell": "console"}[end]
    assert install.phases[-1].signal == last
    for boot in (install, host):
        for phase in boot.phases:
            re.compile(phase.awaits)
            for cause in phase.causes:
                re.compile(cause.pattern)


# As the installer writes them, in this order.
LOG = """\
(XEN) Xen version 4.17.5-3 (mockbuild@) (gcc)
[    0.000000] Linux version 4.19.0+1
XCP-ng Setup - Version 8.3.0
Installer Version 10.10.19.xcpng.5-1
Processing XML answerfile setup.
Processing XML answerfile for installation.
DISPATCH: NEW PHASE: Preparing for installation...
DISPATCH: NEW PHASE: Reading package information...
DISPATCH: NEW PHASE: Completing installation...
Running script for stage filesystem-populated: file:///filesystem-populated.sh /tmp/root
The installation completed successfully.
nestlab: the host is installed
"""


def test_the_installers_log_passes_every_phase_in_order() -> None:
    lines = iter(LOG.splitlines())
    for phase in plan().boots[0].phases[:-1]:
        assert any(re.search(phase.awaits, line) for line in lines), phase.name


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("INSTALL FAILED.", "installation-failed"),
        ("AnswerfileException: Unknown mode, Fresh", "answers-refused"),
        ("RuntimeError: Missing interpreter in file:///x.", "script-refused"),
        ("nestlab: the host script failed at line 12", "host-script-failed"),
        ("Panic on CPU 0:", "xen-panic"),
    ],
)
def test_a_failure_is_known_by_its_line(line: str, cause: str) -> None:
    causes = [each for phase in plan().boots[0].phases for each in phase.causes if re.search(each.pattern, line)]
    assert {each.name for each in causes} == {cause}


THREE = tuple(disk(f"disk{n}", size=100 * GIB) for n in range(3))
REFUSED: tuple[tuple[str, str, dict[str, Any], str], ...] = (
    ("no medium", "8.3", {"source": ImageSource()}, "installed from a medium"),
    ("host name of an upgrade", "8.3", {"install": {"mode": "upgrade", "hostname": "x", "ntp": ["a.example"]}},
     "hostname: nothing reads it with mode upgrade"),
    ("source of a restore", "8.2", {"install": {"mode": "restore", "sources": ["local"]}},
     "sources: nothing reads it with mode restore"),
    ("another bridge", "8.3", {"xen": xen(bridge="br7")}, "names its bridges itself"),
    ("no source", "8.3", {"install": {"sources": []}}, "names no place of packages"),
    ("no disk", "8.3", {"disks": ()}, "needs a disk"),
    ("RAID10", "8.3", {"raid": (RaidArray(name="r", level=10, disks=("disk0", "disk1", "disk2")),)}, "one RAID1 array"),
    ("RAID on XenServer", "xs8", {"raid": True}, "makes no arrays"),
    ("RAID without the first disk", "8.3", {"raid": (RaidArray(name="r", level=1, disks=("disk1", "disk2")),)},
     "does not hold the first disk"),
    ("the RAID trap", "8.3", {"raid": True, "install": {"guest_storage": True}}, "before it has made it"),
    ("guest disk that is not there", "8.3", {"install": {"guest_disks": ["disk9"]}}, "no disk disk9"),
    ("guest disk that is taken", "8.3", {"install": {"guest_disks": ["disk0"]}}, "disk0 is taken already"),
    ("guest disk twice", "8.3", {"install": {"guest_disks": ["disk1", "disk1"]}}, "disk1 is taken already"),
    ("guest disk in the array", "8.3", {"raid": True, "install": {"guest_disks": ["disk1"]}}, "disk1 is taken already"),
    ("largeblock on 8.2", "8.2", {"install": {"sr_type": "largeblock"}}, "has no largeblock"),
    ("4Kn with ext", "8.3", {"disks": (THREE[0], disk("disk1", sector="4Kn", size=100 * GIB)),
                             "install": {"guest_disks": ["disk1"]}}, "NLX036"),
    ("4Kn system", "8.3", {"disks": (disk("disk0", sector="4Kn", size=100 * GIB),)}, "NLX035"),
    ("small system disk", "8.3", {"disks": (disk("disk0", size=40 * GIB),)}, "NLX034"),
    ("virtio disk", "8.3", {"disks": (disk("disk0", bus="virtio", size=100 * GIB),)}, "NLX083"),
    ("virtio card", "8.3", {"management_nic": "virtio"}, "NLX083"),
    ("card that is not there", "8.3", {"install": {"network": {"card": 1}}}, "there is no card 1"),
    ("IPv6 as address", "8.3", {"install": {"network": {"address": "fd00::1/64"}}}, "is IPv4"),
    ("gateway without address", "8.3", {"install": {"network": {"gateway": "192.0.2.1"}}}, "comes with an address"),
    ("half of IPv6", "8.3", {"install": {"network": {"address6": "fd00::5/64"}}}, "come together"),
    ("gateway next door", "8.3", {"install": {"network": {"address": "192.0.2.5/24", "gateway": "198.51.100.1"}}},
     "NLX043"),
    ("ntp source on 8.2", "8.2", {"install": {"ntp_source": "dhcp"}}, "cannot be told"),
    ("servers and dhcp", "8.3", {"install": {"ntp": ["a"], "ntp_source": "dhcp"}}, "exclude each other"),
    ("manual without servers", "8.3", {"install": {"ntp_source": "manual"}}, "needs servers"),
    ("service on and off", "8.3", {"install": {"services_on": ["a"], "services_off": ["a"]}}, "on and off"),
    ("served nowhere", "8.3", {"install": {"delivery": "served"}}, "needs served_at"),
    ("script without interpreter", "8.3", {"install": {"at_files": [{"file": text_file("echo\n")}]}}, "NLX059"),
    ("python3 script", "8.3", {"install": {"at_end": [{"file": text_file("#!/usr/bin/python3\n")}]}}, "NLX059"),
    ("bare word for Xen", "8.3", {"xen": xen(dom0_memory=4 * GIB, arguments=("watchdog",))}, "watchdog has no value"),
    ("bare word for dom0", "8.3", {"kernel": KernelSettings(arguments=("quiet",))}, "quiet has no value"),
    ("a key twice", "8.3", {"kernel": KernelSettings(arguments=("a=1", "a=2"))}, "keeps one a only"),
    ("devices of nobody", "8.3", {"install": {"devices": {"disk7": "/dev/sdz"}}}, "names the disk 'disk7'"),
)  # fmt: skip


@pytest.mark.parametrize(("release", "changes", "why"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_cannot_work_is_refused(release: str, changes: dict[str, Any], why: str) -> None:
    node = xcpng_node(release, **changes)
    with pytest.raises(LabError, match=why) as caught:
        Xcpng().plan(node)
    assert caught.value.hint


def test_warnings_do_not_stop() -> None:
    assert [finding.code for finding in plan(firmware="uefi").findings] == ["NLX082"]
    assert [finding.severity for finding in plan(firmware="uefi").findings] == ["warning"]


def test_a_users_template_stands_in_and_is_judged(tmp_path: Path) -> None:
    mine = tmp_path / "xcpng/filesystem-populated.sh"
    mine.parent.mkdir()
    shipped = (data_dir("answerfiles") / "xcpng/filesystem-populated.sh").read_text()
    mine.write_text(shipped + "# mine\n")
    assert Xcpng(tmp_path).plan(xcpng_node()).answers[1].content.endswith("# mine\n")
    mine.write_text("#!/usr/bin/perl\n")
    with pytest.raises(LabError, match="NLX059"):
        Xcpng(tmp_path).plan(xcpng_node())


HOSTILE = (
    "x\n<script/>", "]]>", "<x>", "&amp;", "a b", 'a"b', "a'b", "a;b", "a#b", "a`id`b", "$(id)", "a\\b", "a\0b", "--x",
    "\u202eabc", "é", "a\tb", "", " ", "x" * 5000, "<!--", "<?xml?>", "%x;",
)  # fmt: skip
FIELDS: tuple[tuple[str, Any], ...] = (
    ("source", lambda v: {"sources": [v]}), ("url", lambda v: {"sources": ["http://" + v]}),
    ("driver", lambda v: {"drivers": [v]}), ("served", lambda v: {"served_at": f"http://x/{v}/"}),
    ("device", lambda v: {"devices": {"disk0": v}}),
    ("by-id", lambda v: {"devices": {"disk0": "/dev/disk/by-id/" + v}}),
    ("hostname", lambda v: {"hostname": v}), ("ntp", lambda v: {"ntp": [v]}), ("timezone", lambda v: {"timezone": v}),
    ("keyboard", lambda v: {"keyboard": v}), ("password", lambda v: {"root_password": v}),
    ("key", lambda v: {"root_keys": ["ssh-rsa " + "A" * 60 + " " + v]}), ("service", lambda v: {"services_on": [v]}),
    ("name server", lambda v: {"network": {"nameservers": [v]}}), ("gateway", lambda v: {"network": {"gateway": v}}),
    ("address6", lambda v: {"network": {"address6": v, "gateway6": "fd00::1"}}),
)  # fmt: skip


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("field", FIELDS, ids=[name for name, _ in FIELDS])
def test_hostile_text_is_refused_or_inert(field: tuple[str, Any], value: str) -> None:
    """What the type lets through changes no element of the answer file and adds no command to a script."""
    install = field[1](value)
    try:
        XcpngInstall.model_validate(install)
    except ValidationError:
        return
    made = Xcpng().plan(xcpng_node(install=install))
    root, plain = ET.fromstring(made.answers[0].content), ET.fromstring(plan().answers[0].content)
    added = {"driver-source", "ntp-server", "service", "name-server", "ntp"}
    assert [e.tag for e in root if e.tag not in added] == [e.tag for e in plain]
    if field[0] == "key":
        (line,) = [line for line in made.answers[1].content.splitlines() if "ssh-rsa" in line]
        words = shlex.split(line)
        assert words[1] == "ssh-rsa " + "A" * 60 + " " + value and words[2] == ">>"


@pytest.mark.parametrize(("memory", "dom0"), [(4, 2), (8, 4), (64, 4), (100, 8), (128, 8), (512, 8)])
def test_dom0_has_the_documented_memory_when_nobody_asks_for_another(memory: int, dom0: int) -> None:
    text = f"name: t\nnodes:\n  a: {{system: xcpng, memory: {memory}GiB, source: {{medium: x.iso}}}}\n"
    (node,) = parse_lab(text.encode(), traits()).lab.nodes
    assert node.xen.dom0_memory == dom0 * GIB
    codes = [finding.code for finding in Xcpng().plan(node).findings]
    assert "NLX080" not in codes
