"""Our judges of the host's other files, of the script and of the machine: each code is found where one thing is wrong,
and nothing in the files it was made from."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from builder.model.units import GIB, MIB, TIB
from builder.systems.machine import Card, Machine, MachineDisk
from builder.systems.netbsd.judge import CODES, judge_end, judge_host, judge_host_files, judge_script
from tests.support.domains import guest
from tests.support.netbsd import dom0, netbsd_node
from tests.support.nodes import disk, nic

SHELL = shutil.which("sh") or "sh"

# Written by hand: not what the generator makes.
RIGHT = {
    "/boot.cfg": "menu=GENERIC:boot netbsd\ntimeout=5\n",
    "/etc/rc.conf": (
        "# rc.conf(5)\nif [ -r /etc/defaults/rc.conf ]; then\n\t. /etc/defaults/rc.conf\nfi\n"
        "rc_configured=YES\nhostname='a b'   # odd\nsshd=yes\nxencommons=\"YES\"\nnpf=YES\nxendomains=\"one two\"\n"
    ),
    "/etc/npf.conf": (
        "$ext = \"wm0\"\n$inside = { 10.0.0.0/24, 10.1.0.0/24 }\n"
        "map $ext dynamic 10.0.0.0/24 -> inet4(wm0)\n"
        'group "outside" on $ext {\n  pass stateful out final all\n  block in final proto tcp to any port 25\n'
        "  pass in final family inet4 proto tcp from any to inet4($ext) port ssh\n}\n"
        "group default {\n  pass final all\n}\n"
    ),
    "/etc/sysctl.conf": "# forwarding\nnet.inet.ip.forwarding=1\n",
    "/etc/ifconfig.wm0": "up\ninet 192.0.2.1 netmask 255.255.255.0\n",
    "/etc/ifconfig.vlan0": "create\nvlan 3 vlanif wm1\nup\n",
    "/etc/ifconfig.bridge0": "create\n!brconfig bridge0 add wm1\nup\n",
    "/etc/raid0.conf": (
        "START array\n2 0\nSTART disks\n/dev/wd0a\n/dev/wd1a\nSTART layout\n# units\n128 1 1 1\nSTART queue\nfifo 100\n"
    ),
    "/etc/fstab": "/dev/raid0a / ffs rw 1 1\n/dev/wd0b none swap sw 0 0\nkernfs /kern kernfs rw 0 0\n",
    "/etc/ttys": 'console "/usr/libexec/getty Pc" vt100 on secure\nttyE0 "/usr/libexec/getty Pc" vt220 off secure\n',
}  # fmt: skip
MACHINE = Machine(
    "bios", tuple(MachineDisk(f"d{n}", f"wd{n}", 16 * GIB, 512) for n in range(2)),
    (Card(0, "wm0", "52:54:00:00:00:01"), Card(1, "wm1", "52:54:00:00:00:02")), cards_in_order=True,
)  # fmt: skip


def codes(files: dict[str, str], target: Machine | None = MACHINE) -> list[str]:
    return sorted(finding.code for finding in judge_host_files(files, target))


# Code, file, what stands there, what is put in its place, and what else that brings.
CHANGES: tuple[tuple[str, str, str, str, tuple[str, ...]], ...] = (
    ("NLN021", "/boot.cfg", "boot netbsd", "prompt", ()),
    ("NLN030", "/etc/rc.conf", "sshd=yes", "sshd=yes; reboot", ("NLN036",)),
    ("NLN030", "/etc/rc.conf", "sshd=yes", "sshd = yes", ("NLN036",)),
    ("NLN030", "/etc/rc.conf", "'a b'", "'a b", ()),
    ("NLN030", "/etc/rc.conf", "'a b'", "a b", ()),
    ("NLN030", "/etc/rc.conf", "sshd=yes", "sshd=yes\nreboot", ()),
    ("NLN031", "/etc/rc.conf", "'a b'", "$(reboot)", ()),
    ("NLN031", "/etc/rc.conf", "'a b'", "`reboot`", ()),
    ("NLN031", "/etc/rc.conf", "'a b'", '"$HOME"', ()),
    ("NLN032", "/etc/rc.conf", "rc_configured=YES", "rc_configured=NO", ()),
    ("NLN033", "/etc/rc.conf", 'xencommons="YES"', "", ()),
    ("NLN034", "/etc/rc.conf", "sshd=yes", "sshd=yes\nxend=YES", ()),
    ("NLN036", "/etc/rc.conf", "sshd=yes", "sshd=no", ()),
    ("NLN040", "/etc/npf.conf", "pass final all", "let everything in", ()),
    ("NLN040", "/etc/npf.conf", "map $ext dynamic", "rdr $ext dynamic", ()),
    ("NLN040", "/etc/npf.conf", "group default {\n  pass final all\n}\n", "group default {\n  pass final all\n", ()),
    ("NLN040", "/etc/npf.conf", "group default {", "pass all\ngroup default {", ()),
    ("NLN041", "/etc/npf.conf", "group default {\n  pass final all\n}\n", "", ()),
    ("NLN042", "/etc/sysctl.conf", "=1", "=0", ()),
    ("NLN050", "/etc/ifconfig.bridge0", "create\n", "", ()),
    ("NLN050", "/etc/ifconfig.bridge0", "\nup\n", "\n", ()),
    ("NLN051", "/etc/ifconfig.bridge0", "!brconfig bridge0 add wm1\n", "", ()),
    ("NLN052", "/etc/ifconfig.bridge0", "add wm1", "add re0", ()),
    ("NLN052", "/etc/npf.conf", "map $ext", "map re0", ()),
    ("NLN060", "/etc/raid0.conf", "START queue\nfifo 100\n", "", ()),
    ("NLN060", "/etc/raid0.conf", "START array", "START rows", ("NLN060", )),
    ("NLN060", "/etc/raid0.conf", "fifo 100", "fifo", ()),
    ("NLN060", "/etc/raid0.conf", "128 1 1 1", "128 1 1", ()),
    ("NLN060", "/etc/raid0.conf", "\n2 0\n", "\n2 2 0\n", ()),
    ("NLN060", "/etc/raid0.conf", "START array", "2 0\nSTART array", ()),
    ("NLN061", "/etc/raid0.conf", "\n2 0\n", "\n3 0\n", ()),
    ("NLN061", "/etc/raid0.conf", "\n2 0\n", "\n1 3 0\n", ()),
    ("NLN062", "/etc/raid0.conf", "128 1 1 1", "128 1 1 0", ()),
    ("NLN063", "/etc/raid0.conf", "/dev/wd1a", "/dev/wd0e", ()),
    ("NLN063", "/etc/raid0.conf", "/dev/wd1a", "/dev/wd1", ()),
    ("NLN070", "/etc/fstab", " / ffs", " /usr ffs", ()),
    ("NLN071", "/etc/fstab", "/dev/wd0b", "/dev/sd0b", ()),
    ("NLN071", "/etc/raid0.conf", "/dev/wd1a", "/dev/wd4a", ()),
    ("NLN072", "/etc/fstab", "kernfs /kern kernfs rw 0 0\n", "", ()),
    ("NLN073", "/etc/ttys", "vt100 on", "vt100 off", ()),
)  # fmt: skip


@pytest.mark.parametrize(
    ("code", "file", "old", "new", "besides"), CHANGES, ids=[f"{c[0]}-{n}" for n, c in enumerate(CHANGES)]
)
def test_one_wrong_thing_is_found(code: str, file: str, old: str, new: str, besides: tuple[str, ...]) -> None:
    assert old in RIGHT[file]
    assert codes(RIGHT | {file: RIGHT[file].replace(old, new, 1)}) == sorted((code, *besides))


def test_nothing_is_found_in_what_is_right() -> None:
    assert codes(RIGHT) == []
    older = RIGHT["/etc/raid0.conf"].replace("\n2 0\n", "\n1 2 0\n")
    assert codes(RIGHT | {"/etc/raid0.conf": older}) == []


def test_what_is_missing_or_misnamed() -> None:
    assert codes({path: text for path, text in RIGHT.items() if path != "/etc/npf.conf"}) == ["NLN035"]
    assert codes({path: text for path, text in RIGHT.items() if path != "/etc/sysctl.conf"}) == ["NLN042"]
    renamed = {path.replace("bridge0", "xenbr0"): text for path, text in RIGHT.items()}
    assert codes(renamed, None) == ["NLN053"]
    assert codes(RIGHT | {"/etc/ifconfig.re3": "up\n"}) == ["NLN052"]


def test_without_a_machine_only_the_text_is_judged() -> None:
    assert codes({path: text.replace("wd0", "ld7").replace("wm1", "ixg3") for path, text in RIGHT.items()}, None) == []


def test_rc_conf_reads_as_a_shell_reads_it(tmp_path: Path) -> None:
    """What the judge lets pass gives a shell the same values; only the line for the defaults is left out here."""
    text = re.sub(r"if \[.*?fi\n", "", RIGHT["/etc/rc.conf"], flags=re.DOTALL) + "odd='it'\\''s \"so\"'\n"
    (tmp_path / "rc.conf").write_text(text)
    shown = subprocess.run(
        [SHELL, "-c", f'. {tmp_path}/rc.conf; printf "%s|" "$hostname" "$xendomains" "$odd"'],
        check=True, capture_output=True, text=True, env={},
    )  # fmt: skip
    assert shown.stdout == 'a b|one two|it\'s "so"|'
    assert codes(RIGHT | {"/etc/rc.conf": text}) == []


SCRIPT = "#!/bin/sh\nchroot /t /usr/sbin/usermod -p '$2a$10$x' root\nwhile read -r a; do :; done < f\nshutdown -p now\n"
SCRIPT_CHANGES = (
    ("NLN080", "#!/bin/sh", "#!/bin/ksh"),
    ("NLN080", "#!/bin/sh\n", "\n#!/bin/sh\n"),
    ("NLN081", "shutdown -p now", "exit 1"),
    ("NLN081", "shutdown -p now", "true || exit"),
    ("NLN082", "shutdown -p now", "read answer"),
    ("NLN084", "$2a$10$x", "$6$salt$hash"),
    ("NLN084", "$2a$10$x", "$y$j9T$salt$hash"),
    ("NLN084", "$2a$10$x", "$2b$10$x"),
    ("NLN085", "usermod -p '$2a$10$x' root", "true"),
)


@pytest.mark.parametrize(("code", "old", "new"), SCRIPT_CHANGES)
def test_one_wrong_thing_in_the_script(code: str, old: str, new: str) -> None:
    assert old in SCRIPT
    assert [finding.code for finding in judge_script(SCRIPT.replace(old, new))] == [code]
    assert judge_script(SCRIPT) == ()


def test_the_end_of_an_installation() -> None:
    assert [finding.code for finding in judge_end("reboot")] == ["NLN083"]
    assert judge_end("poweroff") == ()


def test_the_machine() -> None:
    def found(*disks: str, **changes: Any) -> list[str]:
        return [finding.code for finding in judge_host(netbsd_node(**changes), disks or ("disk0",))]

    assert found() == []
    assert found(firmware="uefi") == ["NLN090"]
    assert found(bus="virtio") == ["NLN091", "NLN091"]
    assert found(nics=(nic(1, model="virtio"),)) == ["NLN091"]
    large = (disk("disk0", size=3 * TIB), disk("disk1", size=3 * TIB, sector="4Kn"))
    assert found(disks=large) == ["NLN092"]
    assert found("disk0", "disk1", disks=large) == ["NLN092", "NLN092", "NLN094"]
    assert found(xen=dom0(dom0_memory=256 * MIB)) == ["NLN093"]
    assert found(xen=dom0(pciback_hide=("03:00.0",))) == ["NLN095"]
    given = (guest(os="netbsd", pci=("03:00.0",)), guest("b", pci=("04:00.0",)), guest("c", os="netbsd"))
    assert found(guests=given) == ["NLN096"]


def test_every_code_is_found_somewhere_and_explained() -> None:
    here = Path(__file__)
    texts = here.read_text() + here.with_name("test_netbsd_loader.py").read_text()
    assert set(re.findall(r"NLN[0-9]{3}", texts)) == set(CODES)
    assert all(code.explanation.endswith(".") and code.releases and code.source for code in CODES.values())
