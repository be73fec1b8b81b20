"""Archives for the initial RAM disk, and what the kernel makes of joined ones, by its own rules restated here."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from pathlib import Path

import pytest

from builder.media.edits import Edit, Overlay, Put
from builder.media.errors import MediaError
from builder.media.initrd import OverlayFile, Packing, archive, guard, layers, overlay_place, packing
from builder.media.plan import plan_edits
from tests.unit.media import made


def unpack(data: bytes) -> dict[str, bytes]:
    """init/initramfs.c: plain archives at multiples of 4, packed ones anywhere, zeros between. Later files win."""
    files: dict[str, bytes] = {}
    at = 0
    while at < len(data):
        if data[at] == 0:
            at += 1
        elif data[at : at + 6] == b"070701" and at % 4 == 0:
            at = _plain(data, at, files)
        else:
            inner, used = _unpacked(data[at:])
            place = 0
            while place < len(inner):
                place = place + 1 if inner[place] == 0 else _plain(inner, place, files)
            at += used
    return files


def _unpacked(data: bytes) -> tuple[bytes, int]:
    if data.startswith(b"\x1f\x8b"):
        machine = zlib.decompressobj(31)
        inner = machine.decompress(data)
        return inner, len(data) - len(machine.unused_data)
    other = bz2.BZ2Decompressor() if data.startswith(b"BZh") else lzma.LZMADecompressor()
    inner = other.decompress(data)
    return inner, len(data) - len(other.unused_data)


def _plain(data: bytes, at: int, files: dict[str, bytes]) -> int:
    while True:
        assert data[at : at + 6] == b"070701", "junk in compressed archive"
        fields = [int(data[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        size, name_length, mode = fields[6], fields[11], fields[1]
        name = data[at + 110 : at + 110 + name_length - 1].decode()
        body = -(-(at + 110 + name_length) // 4) * 4
        if name == "TRAILER!!!":
            return body
        if mode & 0o170000 == 0o100000:
            files[name] = data[body : body + size]
        at = -(-(body + size) // 4) * 4


OLD = archive([OverlayFile("/init", b"#!/bin/sh\n", 0o755), OverlayFile("/etc/old", b"old" * 333)])
PACKED: dict[Packing, bytes] = {
    "cpio": OLD,
    "gzip": gzip.compress(OLD),
    "bzip2": bz2.compress(OLD),
    "xz": lzma.compress(OLD, check=lzma.CHECK_CRC32),
}
MULTIBOOT = "menuentry x {\n multiboot2 /xen.gz\n module2 /vmlinuz\n module2 /isolinux/initrd.img\n}\n"


def test_an_archive_is_what_was_asked() -> None:
    files = unpack(archive([OverlayFile("a/b/c.txt", b"c"), OverlayFile("/top", b"", 0o600)]))
    assert files == {"a/b/c.txt": b"c", "top": b""}


def test_the_same_files_give_the_same_bytes() -> None:
    files = [OverlayFile("/b", b"2"), OverlayFile("/a", b"1")]
    assert archive(files) == archive(reversed(files))


@pytest.mark.parametrize("files", [["/../x"], [""], ["/a", "a"], ["/a", "/a/b"], ["/a\0b"]])
def test_paths_that_make_no_archive(files: list[str]) -> None:
    with pytest.raises(MediaError):
        archive([OverlayFile(path, b"") for path in files])


@pytest.mark.parametrize("kind", PACKED)
def test_packing_is_told_by_magic(kind: Packing) -> None:
    assert packing(PACKED[kind][:16]) == kind


def test_places() -> None:
    assert overlay_place("bzip2", "bzip2", module=True) == "behind"
    assert overlay_place("gzip", "gzip", module=False) == "behind"
    assert overlay_place("gzip", "gzip", module=True) == "guarded"
    assert overlay_place("cpio", "gzip", module=True) == "behind", "no loader unpacks what begins with a plain archive"
    assert overlay_place("xz", "xz", module=True) == "guarded"
    assert overlay_place("cpio", "lz4", module=False) == "in front"
    assert len(guard()) % 4096 == 0


@pytest.mark.parametrize("module", [False, True])
@pytest.mark.parametrize("kind", PACKED)
def test_the_kernel_sees_old_and_new_files(kind: Packing, module: bool, tmp_path: Path) -> None:
    """Read from the image by another reader, then unpacked as the kernel does. A module loader that unpacks what
    begins as gzip or xz must find something else in front."""
    files = {**made.FILES, "/isolinux/initrd.img": PACKED[kind]}
    if module:
        files["/boot/grub.cfg"] = MULTIBOOT.encode()
    src, out = made.iso(tmp_path / "src.iso", files), tmp_path / "out.iso"
    overlay = Overlay((OverlayFile("/etc/answer", b"new"), OverlayFile("/etc/old", b"changed")), how="append")
    with plan_edits(src, [overlay]).open() as image:
        out.write_bytes(b"".join(image.pieces(0, image.size)))
    joined = made.content(out, "/isolinux/initrd.img")
    seen = unpack(joined)
    assert seen == {"init": b"#!/bin/sh\n", "etc/old": b"changed", "etc/answer": b"new"}
    if module and kind in ("gzip", "xz"):
        assert packing(joined[:16]) == "cpio"
        assert joined[4096:].startswith(PACKED[kind])


MICROCODE = archive([OverlayFile("/kernel/x86/microcode/GenuineIntel.bin", b"m" * 5001)])
LZ4 = b"\x02\x21\x4c\x18" + b"packed" * 100


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (OLD, ("cpio", "cpio")), (LZ4, ("lz4", "lz4")), (MICROCODE + LZ4, ("cpio", "lz4")),
        (MICROCODE + bytes(3000) + gzip.compress(OLD), ("cpio", "gzip")), (MICROCODE + OLD, ("cpio", "cpio")),
        (MICROCODE + MICROCODE + bytes(9) + bz2.compress(OLD), ("cpio", "bzip2")),
        (OLD + bytes(9000), ("cpio", "cpio")), (b"", ("unknown", "unknown")),
        (MICROCODE + b"junk" * 9, ("cpio", "unknown")), (MICROCODE[:200], ("cpio", "unknown")),
        (b"070701" + b"z" * 300, ("cpio", "unknown")),
        (archive([OverlayFile(f"/{n}", b"x") for n in range(500)]), ("cpio", "cpio")),
    ],
)  # fmt: skip
def test_archives_in_front_are_looked_behind(data: bytes, expected: tuple[str, str]) -> None:
    assert layers(lambda offset, length: data[offset : offset + length], len(data)) == expected


@pytest.mark.parametrize("old", [LZ4, MICROCODE + LZ4])
def test_lz4_keeps_the_last_word(old: bytes, tmp_path: Path) -> None:
    src = made.iso(tmp_path / "src.iso", {**made.FILES, "/isolinux/initrd.img": old})
    plan = plan_edits(src, [Overlay((OverlayFile("/a", b"b"),))])
    assert any("lz4" in note for note in plan.notes)
    with plan.open() as image:
        (tmp_path / "out.iso").write_bytes(b"".join(image.pieces(0, image.size)))
    joined = made.content(tmp_path / "out.iso", "/isolinux/initrd.img")
    assert joined.startswith(b"070701")
    assert joined.endswith(old), "nothing may follow an lz4 stream"


def test_what_cannot_be_added_to(tmp_path: Path) -> None:
    src = made.iso(tmp_path / "src.iso", {**made.FILES, "/isolinux/initrd.img": b"no archive at all"})
    with pytest.raises(MediaError, match="not packed in any way"):
        plan_edits(src, [Overlay((OverlayFile("/a", b"b"),))])
    bare = made.iso(tmp_path / "bare.iso", {"/readme.txt": b"x"})
    with pytest.raises(MediaError, match="no boot menu names an initrd"):
        plan_edits(bare, [Overlay((OverlayFile("/a", b"b"),))])


def test_a_replaced_initrd_is_the_one_added_to(tmp_path: Path) -> None:
    src, out = made.iso(tmp_path / "src.iso"), tmp_path / "out.iso"
    edits: list[Edit] = [
        Put("/isolinux/initrd.img", PACKED["xz"], "old"),
        Overlay((OverlayFile("/n", b"1"),), how="append"),
    ]
    with plan_edits(src, edits).open() as image:
        out.write_bytes(b"".join(image.pieces(0, image.size)))
    assert unpack(made.content(out, "/isolinux/initrd.img"))["n"] == b"1"


BIG = lzma.compress(OLD, check=lzma.CHECK_CRC32) + bytes(2 << 20)
GRUB = "menuentry x {{\n linux /isolinux/vmlinuz\n {line}\n}}\n"


@pytest.mark.parametrize(
    ("line", "second"),
    [
        ("initrd /isolinux/initrd.img", True),
        ("initrd ($root)/isolinux/initrd.img", True),
        ("initrd $where", False),
        ("if true; then initrd /isolinux/initrd.img; fi", False),
        ("initrd /elsewhere.img", False),
    ],
)
def test_a_second_initrd_only_where_every_menu_is_understood(line: str, second: bool, tmp_path: Path) -> None:
    """Else the overlay goes into the initrd itself, which no loader can miss."""
    files = {**made.FILES, "/isolinux/initrd.img": BIG, "/boot/grub/grub.cfg": GRUB.format(line=line).encode()}
    plan = plan_edits(made.iso(tmp_path / "src.iso", files), [Overlay((OverlayFile("/a", b"b"),))])
    how = {item.path: item.how for item in plan.touched}
    assert ("/nestlab.img" in how) is second
    assert (how.get("/isolinux/initrd.img") == "initrd extended") is not second
