"""Every layout of medium times every kind of edit, judged by readers that are not ours."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from builder.media.edits import Arguments, Edit, Extend, Overlay, Put
from builder.media.errors import MediaError
from builder.media.initrd import OverlayFile
from builder.media.plan import GraftPlan, plan_edits
from builder.media.sinks import write_file
from builder.media.view import SECTOR
from tests.integration import media_sources as media
from tests.integration.media_sources import Make, source_fixture  # noqa: F401 - a fixture

pytestmark = pytest.mark.integration


def names(layout: str) -> dict[str, str]:
    """Where things are on a layout."""
    if layout == "makefs":
        return {"menu": "/boot.cfg", "big": "/amd64/binary/sets/base.tgz", "folder": "/amd64/binary"}
    if layout == "plain":
        return {"menu": "/ISOLINUX/ISOLINUX.CFG", "big": "/ISOLINUX/VMLINUZ", "folder": "/BOOT"}
    return {"menu": "/isolinux/isolinux.cfg", "big": "/isolinux/vmlinuz", "folder": "/boot"}


def the_edits(layout: str, kind: str) -> tuple[list[Edit], dict[str, bytes]]:
    """Edits of a kind, and the content that the named files must then have."""
    at = names(layout)
    menu = b"menu=X:boot netbsd\n" if layout == "makefs" else b"default linux\n" + media.TREE_MENU.encode()
    if kind == "smaller":
        content = {at["big"]: b"short"}
    elif kind == "equal":
        content = {at["menu"]: menu}
    elif kind == "bigger":
        content = {at["big"]: media.noise(200_000, "bigger")}
    elif kind == "add":
        content = {"/answer.xml": b"<installation/>\n" * 10, f"{at['folder']}/new/deeper/file.txt": b"new folder"}
    else:
        folders = ("", at["folder"], "/fresh", "/fresh/one", "/fresh/two")
        content = {
            f"{folder}/added{n}.cnf": media.noise(n * 700 + 1, f"{folder}{n}") for folder in folders for n in range(9)
        }
    return [Put(path, data, "any") for path, data in content.items()], content


def check_untouched(src: Path, out: Path, plan: GraftPlan) -> None:
    """Every byte in front of the cut is the source's, but for the sectors that the plan lists."""
    old, new = src.read_bytes(), out.read_bytes()
    assert len(new) == plan.size
    changed = {
        s for s in range(plan.cut // SECTOR) if old[s * SECTOR : (s + 1) * SECTOR] != new[s * SECTOR : (s + 1) * SECTOR]
    }
    assert changed == {sector for sector in plan.patches if sector * SECTOR < plan.cut}


def shown(path: str, reading: media.Reading) -> str:
    """A path as the reader spells it; readers without Rock Ridge show capitals."""
    return path if path in reading.files else path.upper()


@pytest.mark.parametrize("kind", ["smaller", "equal", "bigger", "add", "many"])
@pytest.mark.parametrize("layout", media.LAYOUTS)
def test_edits_read_back(layout: str, kind: str, source: Make, tmp_path: Path) -> None:
    src, out = source(layout), tmp_path / "out.iso"
    edits, content = the_edits(layout, kind)
    before = hashlib.sha256(src.read_bytes()).hexdigest()
    plan = plan_edits(src, edits)
    write_file(plan, out)
    assert hashlib.sha256(src.read_bytes()).hexdigest() == before
    check_untouched(src, out, plan)

    old, new = media.by_xorriso(src), media.by_xorriso(out)
    for path, data in content.items():
        assert new.digest(shown(path, new)) == hashlib.sha256(data).hexdigest(), path
    touched = {shown(path, new) for path in content} | linked(old, content)
    untouched = old.files.keys() - touched
    assert len(untouched) >= (3 if layout == "makefs" else 30)
    for path in untouched:
        assert new.files[path] == old.files[path], path
        # What xorriso reports of zisofs files is their size unpacked, which is not what lies there.
        assert layout == "zisofs" or new.digest(path) == old.digest(path), path
    assert new.files.keys() - old.files.keys() == {shown(path, new) for path in content} - old.files.keys()


def linked(reading: media.Reading, content: dict[str, bytes]) -> set[str]:
    """Other names of what was replaced."""
    places = {reading.files[p] for p in content if p in reading.files and reading.files[p].size}
    return {path for path, listed in reading.files.items() if listed in places}


@pytest.mark.parametrize("layout", media.LAYOUTS)
@pytest.mark.parametrize("tool", ["7z", "xorriso", "bsdtar"])
def test_45_files_in_5_folders_by_extractors(layout: str, tool: str, source: Make, tmp_path: Path) -> None:
    src, out = source(layout), tmp_path / "out.iso"
    edits, content = the_edits(layout, "many")
    write_file(plan_edits(src, edits), out)
    got = media.extracted(out, tmp_path / "x", tool)
    for path, data in content.items():
        name = path.upper() if layout == "plain" else path
        assert got.get(name) == hashlib.sha256(data).hexdigest(), path


@pytest.mark.parametrize("layout", [x for x in media.LAYOUTS if x not in ("no-rock-ridge", "plain")])
def test_rock_ridge_by_isoinfo(layout: str, source: Make, tmp_path: Path) -> None:
    check_isoinfo(layout, source(layout), tmp_path, "-R")


@pytest.mark.parametrize(
    "layout", ["xorriso", "genisoimage", "isohybrid", "apm", *media.APPENDED, "no-rock-ridge", "level4"]
)
def test_joliet_by_isoinfo(layout: str, source: Make, tmp_path: Path) -> None:
    check_isoinfo(layout, source(layout), tmp_path, "-J")


def check_isoinfo(layout: str, src: Path, tmp_path: Path, option: str) -> None:
    out = tmp_path / "out.iso"
    edits, content = the_edits(layout, "many")
    write_file(plan_edits(src, edits), out)
    old, new = media.by_isoinfo(src, option), media.by_isoinfo(out, option)
    assert len(old.files) > 3
    for path, data in content.items():
        assert new.digest(path) == hashlib.sha256(data).hexdigest(), path
    for path in old.files.keys() - content.keys():
        assert new.files[path] == old.files[path], path
    paths = media.sh("isoinfo", "-p", "-i", out)
    assert "FRESH" in paths.upper()


@pytest.mark.parametrize("layout", [x for x in media.LAYOUTS if x != "zisofs"])
def test_pycdlib_reads_it_back(layout: str, source: Make, tmp_path: Path) -> None:
    """zisofs apart, whose sources pycdlib does not open."""
    import pycdlib  # noqa: PLC0415 - only here

    out = tmp_path / "out.iso"
    edits, content = the_edits(layout, "many")
    write_file(plan_edits(source(layout), edits), out)
    disc = pycdlib.PyCdlib()
    disc.open(str(out))
    try:
        for path, data in content.items():
            name = {"rr_path": path}
            if layout == "no-rock-ridge":
                name = {"joliet_path": path}
            elif layout == "plain":
                name = {"iso_path": f"{path.upper()};1"}
            target = tmp_path / "one"
            disc.get_file_from_iso(str(target), **name)
            assert target.read_bytes() == data
    finally:
        disc.close()


@pytest.mark.parametrize("layout", [*media.LAYOUTS, "udf"])
def test_no_edits_give_the_same_bytes(layout: str, source: Make, tmp_path: Path) -> None:
    src, out = source(layout), tmp_path / "out.iso"
    plan = plan_edits(src, [])
    assert plan.is_noop
    write_file(plan, out)
    assert out.read_bytes() == src.read_bytes()


def test_udf_bridge_is_refused(source: Make) -> None:
    with pytest.raises(MediaError, match="UDF"):
        plan_edits(source("udf"), [Put("/x", b"x")])


@pytest.mark.parametrize("layout", media.HYBRID)
def test_hard_links_follow_in_every_tree(layout: str, source: Make, tmp_path: Path) -> None:
    src, out = source(layout), tmp_path / "out.iso"
    write_file(plan_edits(src, [Put(media.INITRD, b"\xfd7zXZ\0changed", "old")]), out)
    readings = [media.by_xorriso(out), media.by_isoinfo(out, "-R")]
    if layout != "grub-mkrescue":
        readings.append(media.by_isoinfo(out, "-J"))
    for reading in readings:
        for path in (media.INITRD, "/images/pxeboot/initrd.img"):
            assert reading.digest(path) == hashlib.sha256(b"\xfd7zXZ\0changed").hexdigest()


@pytest.mark.parametrize("layout", ["offset16", "ubuntu"])
def test_the_second_tree_of_offset_media(layout: str, source: Make, tmp_path: Path) -> None:
    """With partition_offset the partition holds a volume of its own: its tree must show the edits too."""
    src, out, part = source(layout), tmp_path / "out.iso", tmp_path / "part.iso"
    edits, content = the_edits(layout, "many")
    edits.append(Put(media.INITRD, b"\xfd7zXZ\0changed", "old"))
    write_file(plan_edits(src, edits), out)
    part.write_bytes(out.read_bytes()[16 * SECTOR :])
    for reading in (media.by_xorriso(part), media.by_isoinfo(part, "-R"), media.by_isoinfo(part, "-J")):
        for path, data in content.items():
            assert reading.digest(path) == hashlib.sha256(data).hexdigest(), path
        assert reading.digest("/images/pxeboot/initrd.img") == hashlib.sha256(b"\xfd7zXZ\0changed").hexdigest()


def test_zisofs_content_is_replaced_not_extended(source: Make, tmp_path: Path) -> None:
    src, out = source("zisofs"), tmp_path / "out.iso"
    path = "/images/zipped.txt"
    with pytest.raises(MediaError, match="zisofs"):
        plan_edits(src, [Extend(path, b"more")])
    write_file(plan_edits(src, [Put(path, b"now plain\n", "old")]), out)
    assert media.extracted(out, tmp_path / "x", "xorriso")[path] == hashlib.sha256(b"now plain\n").hexdigest()


def test_long_names(source: Make, tmp_path: Path) -> None:
    """A name that needs a continuation area, and two that differ only behind what the plain tree can show."""
    out = tmp_path / "out.iso"
    content = {f"/{'x' * 200}{tail}": tail.encode() for tail in ("first", "second")} | {"/" + "y" * 255: b"longest"}
    write_file(plan_edits(source("xorriso"), [Put(p, d) for p, d in content.items()]), out)
    new = media.by_xorriso(out)
    for path, data in content.items():
        assert new.digest(path) == hashlib.sha256(data).hexdigest()
    assert media.by_isoinfo(out, "-R").files.keys() >= content.keys()


@pytest.mark.parametrize("layout", [x for x in media.LAYOUTS if x not in ("makefs", "zisofs")])
@pytest.mark.parametrize("how", ["append", "second"])
def test_overlays(layout: str, how: str, source: Make, tmp_path: Path) -> None:
    src, out = source(layout), tmp_path / "out.iso"
    old = media.by_xorriso(src)
    path = shown(media.INITRD, old)
    edits: list[Edit] = [
        Overlay((OverlayFile("/etc/answer.xml", b"<a/>"),), how="append" if how == "append" else "second")
    ]
    write_file(plan_edits(src, edits), out)
    new = media.by_xorriso(out)
    data = out.read_bytes()
    if how == "append":
        now, was = new.files[path], old.files[path]
        joined = data[now.lba * SECTOR :][: now.size]
        assert joined.startswith(src.read_bytes()[was.lba * SECTOR :][: was.size])
        archive = joined[-(-was.size // 4) * 4 :]
    else:
        assert new.files[path] == old.files[path]
        now = new.files[shown("/nestlab.img", new)]
        archive = data[now.lba * SECTOR :][: now.size]
        menu = new.files[shown("/isolinux/isolinux.cfg", new)]
        assert b"initrd=initrd.img,/nestlab.img" in data[menu.lba * SECTOR :][: menu.size]
    (tmp_path / "cpio").mkdir()
    media.sh("cpio", "-id", "--quiet", cwd=tmp_path / "cpio", stdin=archive)
    assert (tmp_path / "cpio/etc/answer.xml").read_bytes() == b"<a/>"


def test_arguments_reach_every_menu(source: Make, tmp_path: Path) -> None:
    """isolinux, GRUB in the tree and GRUB inside the FAT boot image, in the tree and appended behind it."""
    for layout in ("xorriso", "isohybrid", "apm", *media.APPENDED):
        out = tmp_path / f"{layout}.iso"
        plan = plan_edits(source(layout), [Arguments(kernel=("inst.ks=cdrom:/ks.cfg", "a=1;b"))])
        write_file(plan, out)
        files = media.extracted(out, tmp_path / layout, "xorriso")
        assert files
        at = tmp_path / layout
        assert "quiet inst.ks=cdrom:/ks.cfg a=1;b\n" in (at / "isolinux/isolinux.cfg").read_text()
        wanted = "quiet inst.ks=cdrom:/ks.cfg 'a=1;b'\n"
        assert wanted in (at / "EFI/BOOT/grub.cfg").read_text()
        media.sh("grub-script-check", at / "EFI/BOOT/grub.cfg")
        for image in efi_images(out, tmp_path):
            assert wanted in media.sh("mtype", "-i", image, "::/EFI/BOOT/grub.cfg")
            media.sh("fsck.vfat", "-n", image)


def efi_images(iso: Path, tmp_path: Path) -> list[Path]:
    """The boot images as El Torito tells them, by xorriso."""
    out = []
    for line in media.reports(iso):
        if line.startswith("El Torito boot img") and "UEFI" in line:
            lba = int(line.split()[-1])
            image = tmp_path / f"{iso.stem}-{lba}.fat"
            image.write_bytes(iso.read_bytes()[lba * SECTOR :][: 1 << 20])
            out.append(image)
    assert out
    return out
