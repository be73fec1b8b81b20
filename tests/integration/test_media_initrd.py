"""Initrds with more files in them, by the programs that own the formats: small ones, and the Debian installer's own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from builder.media.edits import How, Overlay
from builder.media.errors import MediaError
from builder.media.extract import extract
from builder.media.initrd import OverlayFile, Packing
from builder.media.plan import plan_edits
from builder.media.repack import repack
from tests.integration import media_sources as media
from tests.support.debs import unpacked
from tests.support.repo import some

pytestmark = pytest.mark.integration

PACK: dict[Packing, tuple[str, ...]] = {
    "gzip": ("gzip", "-9n"), "bzip2": ("bzip2", "-9"), "xz": ("xz", "--check=crc32"), "lzma": ("xz", "--format=lzma"),
    "zstd": ("zstd", "-q", "-19"),
}  # fmt: skip
UNPACK: dict[Packing, tuple[str, ...]] = {
    "gzip": ("gzip", "-dc"), "bzip2": ("bzip2", "-dc"), "xz": ("xz", "-dc"), "lzma": ("xz", "--format=lzma", "-dc"),
    "zstd": ("zstd", "-q", "-dc"),
}  # fmt: skip
INSTALLER = "usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64"


def through(argv: tuple[str, ...], data: bytes) -> bytes:
    return subprocess.run(argv, input=data, capture_output=True, check=True).stdout


def archive_by_cpio(folder: Path) -> bytes:
    names = "\n".join(str(p.relative_to(folder)) for p in sorted(folder.rglob("*")))
    done = subprocess.run(
        ["cpio", "-o", "-H", "newc", "--quiet"], cwd=folder, input=names.encode(), capture_output=True, check=True
    )
    return done.stdout


def files_by_cpio(archives: bytes, into: Path) -> dict[str, bytes]:
    """What two archives in a row hold. cpio reads one at a time: the second begins behind the first's zeros."""
    into.mkdir()
    end = archives.index(b"TRAILER!!!") + 11
    second = archives.index(b"070701", end)
    for part in (archives[:second], archives[second:]):
        media.sh("cpio", "-idu", "--quiet", cwd=into, stdin=part)
    return {str(p.relative_to(into)): p.read_bytes() for p in some(into.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("kind", PACK)
def test_packed_anew_by_the_formats_own_programs(kind: Packing, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "init").write_bytes(b"#!/bin/sh\n")
    (root / "etc/noise").write_bytes(media.noise(3_000_001, "noise"))
    old = through(PACK[kind], archive_by_cpio(root))
    overlay = tmp_path / "more"
    (overlay / "etc").mkdir(parents=True)
    (overlay / "etc/answer").write_bytes(b"<a/>")
    stream = repack((old[at : at + 9999] for at in range(0, len(old), 9999)), kind, archive_by_cpio(overlay))
    found = files_by_cpio(through(UNPACK[kind], stream), tmp_path / "x")
    assert found == {
        "init": b"#!/bin/sh\n", "etc/noise": (root / "etc/noise").read_bytes(), "etc/answer": b"<a/>"
    }  # fmt: skip
    if kind == "xz":
        (tmp_path / "i.xz").write_bytes(stream)
        assert "CRC32" in media.sh("xz", "--robot", "--list", tmp_path / "i.xz"), "the only check the kernel knows"


@pytest.mark.parametrize("spoil", ["cut", "junk"])
def test_zstd_streams_that_lie(spoil: str, tmp_path: Path) -> None:
    good = through(PACK["zstd"], media.noise(200_000, "z"))
    with pytest.raises(MediaError, match="does not unpack"):
        repack([good[:-9] if spoil == "cut" else b"\x28\xb5\x2f\xfd" + b"junk" * 99], "zstd", b"")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("how", ["append", "second", "repack"])
def test_the_debian_installers_own_initrd(how: How, tmp_path: Path) -> None:
    """Real kernel and RAM disk on a medium made here: each way adds the answers, and nothing of theirs is lost."""
    source = unpacked("12", ["debian-installer-12-netboot-amd64"]) / INSTALLER
    root = tmp_path / "tree"
    (root / "isolinux").mkdir(parents=True)
    for name in ("linux", "initrd.gz"):
        (root / "isolinux" / name).write_bytes((source / name).read_bytes())
    (root / "isolinux/isolinux.bin").write_bytes((media.ISOLINUX / "isolinux.bin").read_bytes())
    (root / "isolinux/isolinux.cfg").write_text(
        "label install\n\tkernel linux\n\tappend vga=788 initrd=initrd.gz --- quiet\n"
    )
    src = media.build("no-joliet", root, tmp_path / "src.iso")
    plan = plan_edits(src, [Overlay((OverlayFile("/preseed.cfg", b"d-i a/b string c\n"),), how=how)])
    names = ["initrd.gz", *(["nestlab.img"] if how == "second" else [])]
    paths = {"initrd.gz": "/isolinux/initrd.gz", "nestlab.img": "/nestlab.img"}
    extract(plan, {paths[name]: tmp_path / name for name in names})
    whole = b"".join((tmp_path / name).read_bytes() for name in names)
    old = (source / "initrd.gz").read_bytes()
    if how == "repack":
        plain = through(UNPACK["gzip"], whole)
    else:
        assert whole.startswith(old)
        plain = through(UNPACK["gzip"], old) + whole[-(-len(old) // 4) * 4 if how == "append" else len(old) :]
    found = files_by_cpio(plain, tmp_path / "x")
    assert found["preseed.cfg"] == b"d-i a/b string c\n"
    assert len(found) > 500
    assert found["bin/busybox"].startswith(b"\x7fELF")
