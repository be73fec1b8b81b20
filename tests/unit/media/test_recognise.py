"""Installers told by their own files."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.media.inspect import inspect
from tests.unit.media import made

CASES: list[tuple[str, dict[str, bytes], tuple[str, str, str]]] = [
    ("xcp-ng 8.2", {
        "/.treeinfo": b"[platform]\nname = XCP\nversion = 3.2.0\n[branding]\nname = XCP-ng\nversion = 8.2.1\n",
    }, ("xcpng", "XCP-ng", "8.2.1")),
    ("xenserver", {
        "/.treeinfo": b"[platform]\nname = XCP\nversion = 3.4.0\n[branding]\nname = XenServer\nversion = 8\n",
    }, ("xcpng", "XenServer", "8")),
    ("xcp-ng netinstall", {"/install.img": b"BZh9", "/boot/xen.gz": b"\x1f\x8b"}, ("xcpng", "", "")),
    ("el9", {
        "/.treeinfo": b"[release]\nname = Rocky Linux\nversion = 9.4\n[general]\nfamily = Rocky Linux\n",
        "/.discinfo": b"1714000000.1\n9.4\nx86_64\n",
    }, ("rhel", "Rocky Linux", "9.4")),
    ("el6", {"/.discinfo": b"1400000000.1\nCentOS 6.10\nx86_64\n1\n"}, ("rhel", "CentOS", "6.10")),
    ("debian", {
        "/.disk/info": b'Debian GNU/Linux 12.5.0 "Bookworm" - Official amd64 NETINST with firmware 20240210-11:27',
    }, ("debian", "Debian GNU/Linux", "12.5.0")),
    ("debian testing", {
        "/.disk/info": b'Debian GNU/Linux testing "Trixie" - Official Snapshot amd64 NETINST 20250101-11:27',
    }, ("debian", "Debian GNU/Linux", "testing")),
    ("leap", {"/media.1/products": b"/ openSUSE-Leap 15.6-1\n"}, ("suse", "openSUSE-Leap", "15.6")),
    ("sles", {"/media.1/products": b"/ SLES15-SP5 15.5-0\n"}, ("suse", "SLES15-SP5", "15.5")),
    ("suse by treeinfo", {
        "/.treeinfo": b"[general]\nfamily = openSUSE Leap\nversion = 15.6\n",
    }, ("suse", "openSUSE Leap", "15.6")),
    ("netbsd", {
        "/netbsd": b"kernel",
        "/boot.cfg": b"banner=Welcome to the NetBSD/amd64 10.1 installation CD\nmenu=Install:boot netbsd\n",
    }, ("netbsd", "NetBSD", "10.1")),
    ("nothing known", {"/readme.txt": b"x"}, ("unknown", "", "")),
    ("treeinfo that is none", {"/.treeinfo": b"\xff\xfe[[[ =\n=\n"}, ("unknown", "", "")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "files", "expected"), CASES, ids=[case[0] for case in CASES])
def test_installers(name: str, files: dict[str, bytes], expected: tuple[str, str, str], tmp_path: Path) -> None:
    found = inspect(made.iso(tmp_path / "x.iso", files)).installer
    assert (found.family, found.name, found.release) == expected
    assert (found.told_by in files) or expected[0] == "unknown"


def test_a_report_holds_what_is_there(tmp_path: Path) -> None:
    path = made.iso(tmp_path / "x.iso")
    report = inspect(path)
    assert (report.volume_id, report.size) == ("MADE", path.stat().st_size)
    assert [(t.kind, t.base) for t in report.trees] == [("rock ridge", 0), ("joliet", 0)]
    # Files, the folder, and the catalog: both trees show the same.
    assert {t.entries for t in report.trees} == {len(made.FILES) + 2}
    assert [(b.platform, b.emulation, b.bootable) for b in report.boot_images] == [("BIOS", "none", True)]
    assert [(m.path, m.loader, m.entries[0].title) for m in report.menus] == [
        ("/isolinux/isolinux.cfg", "isolinux", "linux")
    ]
    assert [(i.path, i.packing, i.module) for i in report.initrds] == [("/isolinux/initrd.img", "gzip", False)]
    assert (report.tables, report.partitions, report.implanted_md5, report.udf, report.hfs) == (
        (),
        (),
        "",
        False,
        False,
    )
