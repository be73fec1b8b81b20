"""The files of guests, each read by whom it is for: Xen's parser, libvirt and its schema, shells, systemd."""

from __future__ import annotations

import functools
import subprocess
from dataclasses import replace
from pathlib import Path

import libvirt
import pytest
from lxml import etree

from builder.model.lab import Guest
from builder.systems.guests.start import disk_names
from tests.support.domains import CASES, KEY, Case, file_disk, guest, made
from tests.support.xl import XlDomain, read_domain

pytestmark = pytest.mark.integration
SCHEMA = Path("/usr/share/libvirt/schemas/domain.rng")
XL = {name: case for name, case in CASES.items() if case.guest.manager == "xl"}
LIBVIRT = {name: case for name, case in CASES.items() if case.guest.manager == "libvirt"}


def text(case: Case, ending: str) -> str:
    return next(file.content for file in case.files if file.path.endswith(ending))


def read_by_xen(content: str, folder: Path) -> XlDomain:
    file = folder / "guest.cfg"
    file.write_text(content)
    return read_domain(file)


@pytest.mark.parametrize("name", XL)
def test_xen_reads_what_was_asked_for(name: str, tmp_path: Path) -> None:
    case = XL[name]
    it = case.guest
    suffix = "/etc/xen/web" if case.system == "netbsd" else "/etc/xen/web.cfg"
    found = read_by_xen(text(case, suffix), tmp_path)
    assert found.complaint == ""
    assert (found.strings["name"], found.strings["type"]) == (it.name, it.type)
    assert (found.numbers["vcpus"], found.numbers["memory"]) == (it.vcpus, it.memory >> 20)
    assert found.numbers.get("maxmem") == (it.maxmem and it.maxmem >> 20)
    assert found.disks == [
        [disk.path, name, disk.format, not disk.readonly] for name, disk in zip(disk_names(it), it.disks, strict=True)
    ]
    assert found.lists["vif"] == [f"mac={vif.mac}, bridge={vif.bridge}" for vif in it.vifs]
    assert found.lists.get("pci", []) == list(it.pci)
    assert started(found) == wanted(it)


def started(found: XlDomain) -> tuple[str | None, ...]:
    return tuple(found.strings.get(key) for key in ("bootloader", "kernel", "ramdisk", "boot"))


def wanted(it: Guest) -> tuple[str | None, ...]:
    grub = {"pv": "grub-x86_64-xen.bin", "pvh": "grub-i386-xen_pvh.bin"}.get(it.type)
    return {
        "disk": (None, None, None, "c"),
        "pygrub": ("pygrub", None, None, None),
        "pvgrub2": (None, f"/usr/lib/grub-xen/{grub}", None, None),
        "grub-xen": (None, it.kernel, None, None),
        "kernel": (None, it.kernel, it.ramdisk, None),
        "dom0-kernel": (None, "/vmlinuz", "/initrd.img", None),
    }[it.boot]


def test_the_judge_is_not_blind(tmp_path: Path) -> None:
    right = text(CASES["xl-pv-kernel"], ".cfg")
    assert read_by_xen(right, tmp_path).complaint == ""
    for old, new in (("format=raw", "format=row"), ("access=rw", "access=wr"), ('"pv"', "pv")):
        assert read_by_xen(right.replace(old, new, 1), tmp_path).complaint
    device = text(CASES["xl-pv-pci"], ".cfg")
    assert read_by_xen(device.replace("03:00.0", "03:00", 1), tmp_path).complaint


@pytest.mark.parametrize("name", [name for name in XL if "install" in name])
def test_xen_reads_the_installation(name: str, tmp_path: Path) -> None:
    found = read_by_xen(text(XL[name], "-install.cfg"), tmp_path)
    assert found.complaint == ""
    assert found.strings["on_reboot"] == "destroy", "a reboot would install again"
    assert found.strings["kernel"].startswith("/var/lib/nestlab/guests/web/")


@functools.cache
def schema() -> etree.RelaxNG:
    return etree.RelaxNG(etree.parse(SCHEMA))


@pytest.mark.parametrize("name", LIBVIRT)
def test_definitions_fit_libvirts_schema(name: str) -> None:
    found = [file for file in LIBVIRT[name].files if file.path.endswith(".xml")]
    assert found
    for file in found:
        schema().assertValid(etree.fromstring(file.content))


def test_the_schema_judge_is_not_blind() -> None:
    right = text(CASES["libvirt-pv-kernel"], ".xml")
    assert not schema().validate(etree.fromstring(right.replace('machine="xenpv"', 'machine="xen-pv"')))
    assert not schema().validate(etree.fromstring(right.replace('bus="xen"', 'bus="zen"')))


@pytest.mark.parametrize("name", LIBVIRT)
def test_libvirt_reads_what_was_asked_for(name: str) -> None:
    """By its test driver, which reads every domain but runs none of Xen: the type is what it is told to expect."""
    it = LIBVIRT[name].guest
    definition = etree.fromstring(text(LIBVIRT[name], "/web.xml"))
    definition.set("type", "test")
    for kind in definition.findall("os/type"):
        kind.text = "hvm"
        del kind.attrib["machine"]
    connection = libvirt.open("test:///default")
    try:
        domain = connection.defineXML(etree.tostring(definition).decode())
        kept = etree.fromstring(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
    finally:
        connection.close()
    assert domain.name() == it.name
    assert [each.get("dev") or each.get("file") for each in kept.findall("devices/disk/source")] == [
        disk.path for disk in it.disks
    ]
    assert [each.get("dev") for each in kept.findall("devices/disk/target")] == list(disk_names(it))
    assert [each.get("address") for each in kept.findall("devices/interface/mac")] == [vif.mac for vif in it.vifs]
    assert len(kept.findall("devices/hostdev")) == len(it.pci)
    assert kept.findtext("currentMemory") == str(it.memory >> 10)
    assert kept.findtext("memory") == str((it.maxmem or it.memory) >> 10)


MAKERS = [name for name, case in CASES.items() if any(file.mode == 0o755 for file in case.files)]


@pytest.mark.parametrize("name", MAKERS)
def test_scripts_are_clean(name: str, tmp_path: Path) -> None:
    for number, file in enumerate(file for file in CASES[name].files if file.mode == 0o755):
        script = tmp_path / str(number)
        script.write_text(file.content)
        done = subprocess.run(["shellcheck", "-s", "sh", script], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_disks_are_made_once_and_left_alone(tmp_path: Path) -> None:
    disks = (file_disk(0, path=f"{tmp_path}/a/one", size=3 << 20), file_disk(1, path=f"{tmp_path}/two", size=1 << 20))
    it = guest(boot="pygrub", disks=disks, made=made("debootstrap"))
    script = text(Case(it), "/make").partition("disk=")[0]
    subprocess.run(["sh", "-c", script], check=True)
    assert [Path(disk.path).stat().st_size for disk in disks] == [3 << 20, 1 << 20]
    Path(disks[1].path).write_text("mine")
    subprocess.run(["sh", "-c", script], check=True)
    assert Path(disks[1].path).read_text() == "mine"


TTYS = """\
console\t"/usr/libexec/getty Pc"\t\tvt100\toff secure
constty\t"/usr/libexec/getty Pc"\tvt100\ton secure
ttyE0\t"/usr/libexec/getty Pc"\t\tvt220\ton secure
tty00\t"/usr/libexec/getty default"\tunknown off secure
"""


def test_a_netbsd_tree_becomes_a_guests(tmp_path: Path) -> None:
    etc, dev = tmp_path / "etc", tmp_path / "dev"
    etc.mkdir()
    dev.mkdir()
    (etc / "ttys").write_text(TTYS)
    (etc / "wscons.conf").write_text("screen\t0\t-\tvt100\nscreen\t1\t-\tvt100\n#screen 2\nmux 1\n")
    (etc / "rc.conf").write_text("rc_configured=NO\nsshd=NO\n")
    (dev / "MAKEDEV").write_text('for node; do : >"$node"; done\n')
    kernel = tmp_path / "kernel"
    kernel.write_bytes(b"\x7fELF")
    keys = (f'{KEY} `id` $HOME "%s" \\\\ ;#', KEY)
    case = CASES["netbsd-host"]
    maker = made("netbsd-sets", release="10.1", mirror="http://x/", keys=keys)
    script = tmp_path / "inside"
    script.write_text(text(replace(case, guest=case.guest.model_copy(update={"made": maker})), "/inside"))
    for _ in range(2):
        subprocess.run(["sh", script, tmp_path, kernel], check=True)
    states = [line.split() for line in (etc / "ttys").read_text().splitlines()]
    assert [(words[0], "on" in words) for words in states] == [
        ("console", True), ("constty", False), ("ttyE0", False), ("tty00", False),
    ]  # fmt: skip
    assert [line for line in (etc / "wscons.conf").read_text().splitlines() if line[0] != "#"] == ["mux 1"]
    settings = (etc / "rc.conf").read_text().splitlines()
    assert settings.count("powerd=YES") == settings.count("rc_configured=YES") == settings.count("sshd=YES") == 1
    assert "sshd=NO" not in settings
    assert (tmp_path / "netbsd").read_bytes() == b"\x7fELF"
    assert {path.name for path in dev.iterdir()} == {"MAKEDEV", "xbd4", "xbd5"}
    assert (tmp_path / "root/.ssh/authorized_keys").read_text().splitlines() == list(keys)


def test_systemd_makes_the_links(tmp_path: Path) -> None:
    file = next(file for file in Case(guest(autostart=True)).files if file.path.endswith("nestlab-guests.conf"))
    conf = tmp_path / "etc/tmpfiles.d/nestlab-guests.conf"
    conf.parent.mkdir(parents=True)
    conf.write_text(file.content)
    subprocess.run(["systemd-tmpfiles", "--root", tmp_path, "--create", conf], check=True)
    assert (tmp_path / "etc/xen/auto/web").readlink() == Path("/etc/xen/web.cfg")


def test_without_autostart_there_are_no_links() -> None:
    assert [file.path for file in Case(guest()).files] == ["/etc/xen/web.cfg"]
