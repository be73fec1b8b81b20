"""What is made for guests: word for word, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from builder.errors import LabError
from builder.model.lab import Guest
from builder.systems.debian.system import Debian
from builder.systems.guests.files import guest_files, guest_packages, started_with_host
from builder.systems.guests.hosts import HOSTS
from builder.systems.guests.start import disk_names
from builder.systems.suse.system import Suse
from tests.support.debian import install_node
from tests.support.domains import CASES, file_disk, guest, host, made, vif, volume
from tests.support.repo import ROOT, some
from tests.support.suse import suse_node


@pytest.mark.parametrize("name", CASES)
def test_files_are_what_they_were(name: str, golden: Callable[[str, str], None]) -> None:
    for file in some(CASES[name].files):
        golden(f"guests/{name}{file.path}", file.content)


def test_no_golden_file_is_left_of_what_is_made_no_more() -> None:
    wanted = {f"tests/golden/guests/{name}{file.path}" for name, case in CASES.items() for file in case.files}
    kept = {str(path.relative_to(ROOT)) for path in (ROOT / "tests/golden/guests").rglob("*") if path.is_file()}
    assert kept == wanted


def test_a_node_without_guests_has_nothing() -> None:
    node = host(system="tiny")
    assert (guest_files(node), guest_packages(node), started_with_host(node)) == ((), (), ())


def test_no_file_of_one_guest_is_anothers() -> None:
    maker = made("debian-installer", release="trixie", mirror="http://x/")
    several = (
        guest("a", autostart=True, disks=(file_disk(),), boot="pygrub", made=maker),
        guest("b", autostart=True, manager="libvirt", made=maker, disks=(volume(),), boot="pygrub"),
        guest("c"),
    )
    paths = [file.path for file in guest_files(host(*several))]
    assert len(paths) == len(set(paths)) == 8
    assert started_with_host(host(*several)) == ("a",)


def test_links_are_made_for_whoever_starts_the_guest() -> None:
    several = (guest("a", autostart=True), guest("b", autostart=True, manager="libvirt"), guest("c"))
    (file,) = (file for file in guest_files(host(*several)) if file.path == "/etc/tmpfiles.d/nestlab-guests.conf")
    assert [line.split() for line in file.content.splitlines() if line[0] != "#"] == [
        ["L", "/etc/xen/auto/a", "-", "-", "-", "-", "/etc/xen/a.cfg"],
        ["L", "/etc/libvirt/libxl/autostart/b.xml", "-", "-", "-", "-", "/etc/libvirt/libxl/b.xml"],
    ]


def test_the_clock_is_left_to_the_accelerator() -> None:
    """tsc_mode belongs to the machine that the host runs on, and no lab file knows that one."""
    assert all("tsc" not in file.content for case in CASES.values() for file in case.files)


@pytest.mark.parametrize(
    ("guests", "packages"),
    [
        ((guest(),), ()),
        ((guest(boot="pvgrub2", disks=(volume(),)),), ("grub-xen-host", "lvm2")),
        ((guest(manager="libvirt"),), ("libvirt-daemon-system", "libvirt-daemon-driver-xen", "libvirt-clients")),
        ((guest("a", made=made("debootstrap")), guest("b", made=made("debootstrap"))), ("debootstrap",)),
        ((guest(made=made("INSTALL_XEN3_DOMU")), guest("b", made=made("debian-installer"))), ("wget",)),
    ],
)
def test_the_host_gets_what_its_guests_need(guests: tuple[Guest, ...], packages: tuple[str, ...]) -> None:
    assert guest_packages(host(*guests)) == packages


def test_suses_grub_for_guests_is_where_its_package_puts_it() -> None:
    node = host(guest(boot="pvgrub2", disks=(volume(),)), system="suse", release="15.6")
    (config,) = [file.content for file in guest_files(node) if file.path.endswith(".cfg")]
    assert 'kernel = "/usr/share/grub2/x86_64-xen/grub.xen"\n' in config
    assert guest_packages(node) == ("grub2-x86_64-xen", "lvm2")


def test_every_package_belongs_to_something_that_can_be_asked_for() -> None:
    words = {"pvgrub2", "volume", "libvirt"}
    for row in HOSTS.values():
        assert set(row.packages) <= words | set(row.traits.makers)


@pytest.mark.parametrize(
    ("it", "system", "release", "message"),
    [
        (guest(), "tiny", "13", "has no guests from files"),
        (guest(), "xcpng", "8.3", "has no guests from files"),
        (guest(made=made("xen-tools"), disks=(volume(),)), "debian", "13", "has no package xen-tools"),
        (guest(boot="pvgrub2", type="pvh"), "suse", "15.6", "no package of this host brings a GRUB for PVH guests"),
        (guest(boot="pygrub", type="pvh", manager="libvirt"), "debian", "13", "runs pygrub for PV guests only"),
    ],
)
def test_what_cannot_be_made_is_refused(it: Guest, system: str, release: str, message: str) -> None:
    with pytest.raises(LabError, match=message) as caught:
        guest_files(host(it, system=system, release=release))
    assert caught.value.hint


def test_the_users_root_and_console_win() -> None:
    it = guest(disks=(volume(),), arguments=("root=/dev/xvda2", "console=tty0"), vifs=(vif(),))
    (file,) = guest_files(host(it))
    assert 'extra = "console=hvc0 root=/dev/xvda2 console=tty0"' in file.content.splitlines()


def test_disks_past_the_letters() -> None:
    it = guest(disks=tuple(file_disk(number) for number in range(28)))
    assert disk_names(it)[0] == "xvda"
    assert disk_names(it)[25:] == ("xvdz", "xvdaa", "xvdab")
    full = it.model_copy(update={"type": "hvm"})
    assert disk_names(full)[:5] == ("hda", "hdb", "hdc", "hdd", "xvde")


def test_a_users_template_stands_in_for_ours(tmp_path: Path) -> None:
    mine = tmp_path / "guests/domain.cfg"
    mine.parent.mkdir()
    mine.write_text("name = {{ guest.name | xl_string }}\n")
    (file,) = guest_files(host(guest()), tmp_path)
    assert file.content == 'name = "web"\n'


def test_an_installed_host_gets_the_files_and_packages_too() -> None:
    it = guest(boot="pvgrub2", disks=(file_disk(),), autostart=True, made=made("debootstrap"))
    node = install_node(guests=(it,), xen=host(it).xen)
    plan = Debian().plan(node)
    answers = {answer.name: answer.content for answer in plan.answers}
    assert plan.checks == ("test_debian_dom0.py", "test_debian_installed.py", "test_guests.py")
    for file in some(guest_files(node)):
        assert answers[f"nestlab/files{file.path}"] == file.content
        assert f"put {file.mode:04o} {file.path}" in answers["nestlab/late.sh"].splitlines()
    (packages,) = (line for line in answers["preseed.cfg"].splitlines() if "pkgsel/include" in line)
    assert {"grub-xen-host", "debootstrap"} <= set(packages.split())


@pytest.mark.parametrize("release", ["15.6", "16.0"])
def test_suse_carries_the_files_and_packages(release: str) -> None:
    it = guest(manager="libvirt", autostart=True)
    node = suse_node(release, guests=(it,))
    (answer,) = Suse().plan(node).answers
    for file in some(guest_files(node)):
        assert file.path in answer.content
    assert "/boot/vmlinuz" in answer.content
    assert all(name in answer.content for name in guest_packages(node))
