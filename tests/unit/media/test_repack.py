"""Initrds packed anew: what the kernel then finds, and archives that lie. zstd and foreign unpackers: integration."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from builder.media import repack as module
from builder.media.edits import Overlay
from builder.media.errors import MediaError
from builder.media.initrd import OverlayFile, Packing, archive, packed_at, packing
from builder.media.plan import plan_edits
from builder.media.repack import repack
from tests.unit.media import made
from tests.unit.media.test_initrd import MICROCODE, MULTIBOOT, OLD, PACKED, unpack

MORE = archive([OverlayFile("/etc/answer", b"new"), OverlayFile("/etc/old", b"changed")])
WANTED = {"init": b"#!/bin/sh\n", "etc/old": b"changed", "etc/answer": b"new"}
PACK: Mapping[Packing, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}
LZMA = lzma.compress(OLD, lzma.FORMAT_ALONE)


def pieces(data: bytes, step: int = 777) -> Iterator[bytes]:
    return (data[at : at + step] for at in range(0, len(data), step))


@pytest.mark.parametrize("kind", PACKED)
def test_one_stream_with_both(kind: Packing) -> None:
    made_anew = repack(pieces(PACKED[kind]), kind, MORE)
    assert packing(made_anew[:16]) == kind
    assert unpack(made_anew) == WANTED


def test_the_old_lzma_format() -> None:
    inner = lzma.decompress(repack(pieces(LZMA), "lzma", MORE), lzma.FORMAT_ALONE)
    assert unpack(inner) == WANTED


def test_xz_has_the_only_check_that_the_kernel_knows() -> None:
    stream = repack(pieces(PACKED["xz"]), "xz", MORE)
    assert stream[7] == lzma.CHECK_CRC32


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz"])
def test_several_streams_become_one(kind: Packing) -> None:
    second = PACK[kind](archive([OverlayFile("/b", b"2")]))
    stream = repack(pieces(PACKED[kind] + bytes(512) + second + bytes(100)), kind, MORE)
    assert unpack(stream) == {**WANTED, "b": b"2"}


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz"])
@pytest.mark.parametrize("spoil", ["cut", "changed", "junk behind"])
def test_streams_that_lie(kind: Packing, spoil: str) -> None:
    good = PACKED[kind]
    bad = {
        "cut": good[:-9],
        "changed": good[:60] + bytes((good[60] ^ 0x55,)) + good[61:],
        "junk behind": good + b"junk" * 9,
    }
    with pytest.raises(MediaError, match=r"does not unpack|breaks off"):
        repack(pieces(bad[spoil]), kind, MORE)


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz"])
def test_a_bomb_is_not_unpacked(kind: Packing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UNPACKED_MAX", 1 << 20)
    with pytest.raises(MediaError, match="unpacks to more than"):
        repack(pieces(PACK[kind](bytes(2 << 20))), kind, MORE)


@pytest.mark.parametrize("kind", ["lz4", "lzo", "unknown"])
def test_kinds_that_are_left(kind: Packing) -> None:
    with pytest.raises(MediaError, match="not packed anew"):
        repack([b"x"], kind, MORE)


@pytest.mark.parametrize("front", [b"", MICROCODE])
def test_on_a_medium(front: bytes, tmp_path: Path) -> None:
    """Also for a loader of hypervisors, which gets one packed stream, and behind microcode, which stays as it is."""
    old = front + PACKED["gzip"]
    files = {**made.FILES, "/isolinux/initrd.img": old, "/boot/grub.cfg": MULTIBOOT.encode()}
    files_in = (OverlayFile("/etc/answer", b"new"), OverlayFile("/etc/old", b"changed"))
    plan = plan_edits(made.iso(tmp_path / "src.iso", files), [Overlay(files_in, how="repack")])
    assert {item.path: item.how for item in plan.touched} == {"/isolinux/initrd.img": "initrd packed anew"}
    with plan.open() as image:
        (tmp_path / "out.iso").write_bytes(b"".join(image.pieces(0, image.size)))
    new = made.content(tmp_path / "out.iso", "/isolinux/initrd.img")
    assert new.startswith(front + b"\x1f\x8b")
    assert unpack(new) == {**(unpack(front) if front else {}), **WANTED}


def test_places_of_packed_archives() -> None:
    for data, at in ((PACKED["gzip"], 0), (MICROCODE + PACKED["xz"], len(MICROCODE)), (OLD, 0)):
        assert packed_at(lambda offset, length, data=data: data[offset : offset + length], len(data)) == at  # type: ignore[misc]
