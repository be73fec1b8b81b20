"""The shell scripts of pci-hide, run by the real shell on trees as the kernel makes them, with tools that answer so."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from builder.procedures import pciback
from builder.procedures.pci_hide import _CARDS, _VITAL
from builder.procedures.pciback import OPTIONS, WAIT
from tests.support.fake_host import FakeHost

FIRST, CARD, OTHER, DISK = "0000:00:03.0", "0000:00:04.0", "0000:00:05.0", "0000:00:10.0"


@pytest.mark.parametrize(("others", "devices", "together"), [
    ((), (CARD,), (CARD,)),
    (("00:04.0",), (CARD, OTHER), ("00:04.0", OTHER)),
    (("0000:00:04.*",), (CARD,), ("0000:00:04.*",)),
    (("0000:00:*.*", "0A:00.0"), (OTHER, "0000:0a:00.0"), ("0000:00:*.*", "0A:00.0")),
])  # fmt: skip
def test_no_device_is_named_twice(others: tuple[str, ...], devices: tuple[str, ...], together: tuple[str, ...]) -> None:
    """Forms that pcistub_init() of drivers/xen/xen-pciback/pci_stub.c takes."""
    assert pciback.together(others, devices) == together


def sh(script: str, tmp_path: Path, *words: str, **programs: str) -> tuple[int, str, str]:
    """The real shell with these programs before all others, and a tree of its own below tmp_path."""
    (tmp_path / "bin").mkdir(exist_ok=True)
    for name, text in programs.items():
        (tmp_path / "bin" / name.replace("_", "-")).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / "bin" / name.replace("_", "-")).chmod(0o755)
    for place in ("/sys/", "/boot/", "/proc/cmdline", "/var/tmp/"):
        script = script.replace(place, f"{tmp_path}{place}")
    env = {**os.environ, "PATH": f"{tmp_path}/bin:/usr/bin:/bin", "SSH_CONNECTION": "10.0.0.2 40000 10.0.0.1 22"}
    done = subprocess.run(["sh", "-c", script, "sh", *words], capture_output=True, text=True, check=False, env=env)
    return done.returncode, done.stdout, done.stderr


def tree(tmp_path: Path) -> Path:
    """/sys as the kernel makes it: a card of e1000, a virtio one, one below USB; and bridges."""
    sys, bus = tmp_path / "sys", tmp_path / "sys/devices/pci0000:00"
    for path in (FIRST, f"{CARD}/virtio1", "0000:00:14.0/usb1/1-1/1-1:1.0", DISK):
        (bus / path).mkdir(parents=True)
    (sys / "bus/pci/devices").mkdir(parents=True)
    (sys / "class/net").mkdir(parents=True)
    for at, alias in ((FIRST, "d0000100Esv*bc02sc00i00"), (CARD, "d00001000sv*"), (DISK, "d00007010sv*bc01sc01i80")):
        (sys / "bus/pci/devices" / at).symlink_to(bus / at)
        (bus / at / "modalias").write_text(f"pci:v00008086{alias}\n")
    for name, module in (("e1000", "e1000"), ("virtio-pci", "virtio_pci"), ("xhci_hcd", "xhci_pci")):
        (sys / "bus/pci/drivers" / name).mkdir(parents=True)
        (sys / "module" / module).mkdir(parents=True)
        (sys / "bus/pci/drivers" / name / "module").symlink_to(sys / "module" / module)
        if module != "virtio_pci":  # built in on Debian 13: the kernel has a folder for it, and no state of loading
            (sys / "module" / module / "initstate").write_text("live\n")
    for at, driver in ((FIRST, "e1000"), (CARD, "virtio-pci"), (DISK, "xhci_hcd")):
        (bus / at / "driver").symlink_to(sys / "bus/pci/drivers" / driver)
    for name, device in (("eth0", FIRST), ("eth1", f"{CARD}/virtio1"), ("usb0", "0000:00:14.0/usb1/1-1/1-1:1.0")):
        (bus / device / "net" / name).mkdir(parents=True)
        (bus / device / "net" / name / "device").symlink_to(bus / device)
        (sys / "class/net" / name).symlink_to(bus / device / "net" / name)
    return sys


# modprobe -R and -c of kmod 30 and 34 on Debian 12 and 13: names of modules, one a line; `-c` says the same of softdep
# and options in both, with no space before `post:`, then dumps its indexes.
KMOD = """\
case "$*" in
"-q -R pci:v00008086d0000100Esv"*) echo e1000 ;;
"-q -R pci:v00008086d00007010sv"*) printf 'ata_generic\\nata_generic\\n' ;;
-c) cat <<'END'
# /etc/modprobe.d/fbdev-blacklist.conf
blacklist arkfb
options xen_pciback hide=(0000:01:00.0) passthrough=1
options xen_pciback passthrough=0
options xen_pciback hide="(0000:0a:00.0) (0000:0b:00.0)"
softdep mlx4_core pre: ib_corepost: mlx4_en
softdep cifs \n\
# End of configuration files. Dumping indexes now:

alias symbol:ERST xen_pciback
softdep late pre: no
END
;;
*) exit 1 ;;
esac
"""


def test_the_script_reads_devices_and_modprobes_settings(tmp_path: Path) -> None:
    sys = tree(tmp_path)
    programs = {"modprobe": KMOD, "update_initramfs": ":", "unmkinitramfs": ":"}
    status, said, problems = sh(pciback._LOOK, tmp_path, FIRST, CARD, DISK, "0000:09:00.0", **programs)
    assert (status, problems) == (0, "")
    assert said.splitlines() == [
        f"device {FIRST} e1000 e1000", "would e1000", f"device {CARD} none virtio-pci",
        f"device {DISK} xhci_pci xhci_hcd", "would ata_generic", "would ata_generic",
        "tool update-initramfs", "tool unmkinitramfs",
        "options xen_pciback hide=(0000:01:00.0) passthrough=1", "options xen_pciback passthrough=0",
        'options xen_pciback hide="(0000:0a:00.0) (0000:0b:00.0)"',
        "softdep mlx4_core pre: ib_corepost: mlx4_en", "softdep cifs ",
    ]  # fmt: skip

    found = pciback.look(FakeHost({"sh -c": said}), [FIRST, CARD, DISK])
    assert found.bound == {FIRST: "e1000", CARD: "virtio-pci", DISK: "xhci_hcd"}
    assert found.built_in == (CARD,) and found.drivers == ("ata_generic", "e1000", "xhci_pci")
    assert found.options == ("(0000:01:00.0)", "(0000:0a:00.0) (0000:0b:00.0)")
    assert pciback.of_files(found, {}, 0) == ("0000:0a:00.0", "0000:0b:00.0")
    assert pciback.of_files(found, {}, 1) == ("0000:01:00.0",)
    assert pciback._softdep("mlx4_core", found.softdeps, "") == (
        "softdep mlx4_core pre: xen-pciback ib_core post: mlx4_en")  # fmt: skip
    ours = "softdep mlx4_core pre: xen-pciback ib_core post: mlx4_en\n"
    assert pciback._softdep("mlx4_core", [ours.replace(" post", "post")], ours) == "softdep mlx4_core pre: xen-pciback"

    (sys / "module/xen_pciback/parameters").mkdir(parents=True)
    (sys / "module/xen_pciback/parameters/hide").write_text("(0000:03:00.0)(04:00.1)\n")
    assert "hidden (0000:03:00.0)(04:00.1)\n" in sh(pciback._LOOK, tmp_path, **programs)[1]


def test_a_cards_name_is_its_device_on_the_bus(tmp_path: Path) -> None:
    tree(tmp_path)
    said = sh(_CARDS, tmp_path, "eth0", "eth1", "usb0", "eth7", "..")[1]
    assert said == f"eth0 {FIRST}\neth1 {CARD}\nusb0 1-1:1.0\n"


def test_all_that_carries_the_way_to_the_host_is_found(tmp_path: Path) -> None:
    """A bridge over a VLAN over a bond over two cards."""
    net = tree(tmp_path) / "class/net"
    for above, below in (("xenbr0", ("bond0.10",)), ("bond0.10", ("bond0",)), ("bond0", ("eth0", "eth1"))):
        (net / above).mkdir()
        for name in below:
            (net / above / f"lower_{name}").mkdir()
    (net / "xenbr0/brif/bond0.10").mkdir(parents=True)
    route = "echo '10.0.0.2 dev xenbr0 src 10.0.0.1 uid 0 '"
    status, said, _ = sh(_VITAL, tmp_path, ip=route, lsblk=":", findmnt="echo /dev/sda1")
    assert status == 0
    assert set(re.findall(r"pci0000:00/([^/\n]+)/", said)) == {FIRST, CARD}


INITRD = "initrd.img-6.12.117+deb13-amd64"


@pytest.mark.parametrize("below", ["", "main/"])
@pytest.mark.parametrize(("change", "problem"), [
    ({}, ""),
    ({"etc/options": "options xen-pciback hide=(0000:09:00.0)\n"}, f"{INITRD} does not hold"),
    ({"etc/options": None}, f"{INITRD} does not hold"),
    ({"lib/modules/xen-pciback.ko.xz": None}, f"{INITRD} holds xhci_pci and not xen-pciback"),
    ({"lib/modules/xen-pciback.ko.xz": None, "lib/modules/xhci-pci.ko.xz": None}, ""),
])  # fmt: skip
def test_an_initrd_is_looked_into(tmp_path: Path, below: str, change: Mapping[str, str | None], problem: str) -> None:
    """unmkinitramfs puts what is behind early archives into main/, where there are some: unmkinitramfs(8)."""
    wait, options = tmp_path / "etc/wait", tmp_path / "etc/options"
    inside = {"etc/options": "options xen-pciback hide=(0000:00:04.0)\n", "lib/modules/xhci-pci.ko.xz": "",
              "lib/modules/xen-pciback.ko.xz": ""}  # fmt: skip
    for folder in ("boot", "etc", "var/tmp"):
        (tmp_path / folder).mkdir(parents=True)
    for name in (INITRD, INITRD.replace("initrd.img", "vmlinuz"), "initrd.img-gone", f"{INITRD}.bak"):
        (tmp_path / "boot" / name).touch()
    options.write_text(inside["etc/options"])
    for path, text in {**inside, **change}.items():
        if text is not None:
            made = tmp_path / "inside" / below / str(tmp_path).lstrip("/") / path
            made.parent.mkdir(parents=True, exist_ok=True)
            made.write_text(text)
    status, _, said = sh(
        pciback._INITRDS, tmp_path, str(wait), str(options), "e1000", "xhci_pci",
        unmkinitramfs=f'[ "$1" = {tmp_path}/boot/{INITRD} ] && cp -r {tmp_path}/inside/. "$2"',
    )  # fmt: skip
    assert (status, problem in said) == (int(bool(problem)), True), said
    assert list((tmp_path / "var/tmp").iterdir()) == []


def test_a_host_without_an_initrd_is_told(tmp_path: Path) -> None:
    (tmp_path / "boot").mkdir()
    assert sh(pciback._INITRDS, tmp_path, WAIT, OPTIONS)[0] == 1


# As kmod 30 prints it: all options of a module behind its file, those of the command line last; what a driver waits for
# before it.
DEPENDS = """\
[ "$1" = -q ] && shift
path=/lib/modules/6.1.0-56-amd64/kernel/drivers
case $2 in
xen-pciback) echo "insmod $path/xen/xen-pciback/xen-pciback.ko hide=(a) passthrough=1 hide=(0000:00:04.0) " ;;
e1000) echo "insmod $path/xen/xen-pciback/xen-pciback.ko hide=(a) "; echo "insmod $path/net/e1000.ko " ;;
r8169) echo "insmod $path/net/phy/realtek.ko "; echo "insmod $path/net/r8169.ko " ;;
xenbus) echo "builtin xenbus" ;;
*) exit 1 ;;
esac
"""


@pytest.mark.parametrize(("words", "line", "problem"), [
    (["(0000:00:04.0)", "e1000", "xenbus", "gone"], "quiet", ""),
    (["(0000:00:05.0)", "e1000"], "quiet", "modprobe would hide (0000:00:04.0), not (0000:00:05.0)"),
    (["(0000:00:05.0)", "e1000"], "xen-pciback.hide=(0000:00:04.0)", ""),
    (["(0000:00:04.0)", "e1000", "r8169"], "quiet", "r8169 would not wait"),
])  # fmt: skip
def test_modprobe_is_asked_what_it_makes_of_the_files(
    tmp_path: Path, words: list[str], line: str, problem: str
) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cmdline").write_text(f"root=/dev/sda1 ro {line}\n")
    status, _, said = sh(pciback._JUDGE, tmp_path, *words, modprobe=DEPENDS)
    assert (status, problem in said) == (int(bool(problem)), True), said
