"""Images that lie. Each is refused by name, quickly, and nothing is written."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from builder.media.edits import Arguments, Edit, Overlay, Put
from builder.media.errors import MediaError
from builder.media.initrd import OverlayFile
from builder.media.inspect import inspect
from builder.media.medium import open_medium
from builder.media.plan import plan_edits
from builder.media.view import SECTOR, Source
from tests.support.pace import assert_quick
from tests.unit.media import made

Spoil = Callable[[bytearray, "Where"], None]


class Where:
    """Places in the sound image."""

    def __init__(self, path: Path) -> None:
        with Source(path) as source:
            medium = open_medium(source)
            tree = medium.trees[0]
            self.vd = tree.descriptor
            self.root = tree.root.extent * SECTOR
            self.records = {tree.name(hit.record): hit.record.offset for hit in tree.listing(tree.root)}
            folder = tree.folder("/isolinux")
            assert folder is not None
            self.folder = folder.extent * SECTOR
            self.files = {tree.name(hit.record): hit.record.offset for hit in tree.listing(folder)}
            self.catalog = medium.catalogs[0] * SECTOR
            self.joliet = medium.trees[1].descriptor


def put(data: bytearray, at: int, value: bytes) -> None:
    data[at : at + len(value)] = value


def name_of(data: bytearray, record: int, name: bytes) -> None:
    """Replace a record's Rock Ridge name by one of the same length."""
    at = data.index(b"NM", record)
    assert data[at + 2] - 5 >= len(name)
    extra = data[at + 2] - 5 - len(name)
    data[at + 2] -= extra
    put(data, at + 5, name + bytes(extra))


CASES: dict[str, tuple[Spoil, str]] = {
    "garbage": (lambda d, _w: put(d, 0, b"\xa5" * len(d)), "not an ISO 9660 image"),
    "no primary descriptor": (lambda d, w: put(d, w.vd, b"\xff"), "no primary|never end|not an ISO"),
    "descriptors without end": (lambda d, w: put(d, w.vd + 2 * SECTOR, bytes(SECTOR)), "break off"),
    "two primary descriptors": (lambda d, w: put(d, w.vd + SECTOR, bytes(d[w.vd : w.vd + SECTOR])), "second primary"),
    "blocks of 512": (lambda d, w: put(d, w.vd + 128, struct.pack("<H", 512)), "another size"),
    "root past the end": (lambda d, w: put(d, w.vd + 158, struct.pack("<I", 1 << 30)), "past the end"),
    "root of 4 GiB": (lambda d, w: put(d, w.vd + 166, struct.pack("<I", 0xFFFFFFFF)), "claims"),
    "root of no bytes": (lambda d, w: put(d, w.vd + 166, struct.pack("<I", 0)), "claims"),
    "folder that is its parent": (
        lambda d, w: put(d, w.records["isolinux"] + 2, struct.pack("<I", w.root // SECTOR)), "loop"),
    "file of 4 GiB": (lambda d, w: put(d, w.files["vmlinuz"] + 10, struct.pack("<I", 0xFFFFF000)), "past the end"),
    "file past the end": (lambda d, w: put(d, w.files["vmlinuz"] + 2, struct.pack("<I", 1 << 29)), "past the end"),
    "record over its block": (lambda d, w: put(d, w.files["vmlinuz"], b"\xff"), "broken record|past the end"),
    "record too short": (lambda d, w: put(d, w.files["vmlinuz"], b"\x05"), "broken record"),
    "no dots": (lambda d, w: put(d, w.folder, bytes(SECTOR)), "'\\.'"),
    "catalog with a wrong sum": (lambda d, w: put(d, w.catalog + 4, b"x"), "does not validate"),
    "boot image past the end": (lambda d, w: put(d, w.catalog + 40, struct.pack("<I", 1 << 28)), "past the end"),
    "catalog past the end": (
        lambda d, _w: put(d, d.index(b"EL TORITO") + 64, struct.pack("<I", 1 << 28)), "past the end"),
}  # fmt: skip


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made.iso(tmp_path_factory.mktemp("sound") / "sound.iso")


EDITS: list[Edit] = [
    Put("/isolinux/isolinux.cfg", b"label x\nkernel vmlinuz\nappend initrd=initrd.img\n"),
    Put("/new/file", b"n" * 3000),
    Overlay((OverlayFile("/a", b"b"),), "/isolinux/initrd.img"),
    Arguments(kernel=("x",)),
]


@pytest.mark.parametrize("name", CASES)
def test_lies_are_refused(name: str, sound: Path, tmp_path: Path) -> None:
    spoil, message = CASES[name]
    data = bytearray(sound.read_bytes())
    spoil(data, Where(sound))
    assert data != sound.read_bytes()
    hostile = tmp_path / "hostile.iso"
    hostile.write_bytes(data)
    for act in (lambda: inspect(hostile), lambda: plan_edits(hostile, EDITS)):
        with assert_quick(1), pytest.raises(MediaError, match=message) as caught:
            act()
        assert caught.value.hint
    assert hostile.read_bytes() == data


@pytest.mark.parametrize("name", [b"a/b", b"..", b".", b"a\0b"])
def test_names_that_lead_out(name: bytes, sound: Path, tmp_path: Path) -> None:
    data = bytearray(sound.read_bytes())
    name_of(data, Where(sound).files["vmlinuz"], name)
    hostile = tmp_path / "hostile.iso"
    hostile.write_bytes(data)
    with pytest.raises(MediaError, match="has the name"):
        inspect(hostile)
    with pytest.raises(MediaError, match="has the name"):
        plan_edits(hostile, [Put("/isolinux/zzz", b"looked for behind the bad name")])


def test_a_continuation_chain_without_end(sound: Path, tmp_path: Path) -> None:
    """A CE entry that points at itself."""
    data = bytearray(sound.read_bytes())
    record = Where(sound).files["vmlinuz"]
    at = data.index(b"NM", record)
    area = 60 * SECTOR
    data += bytes(max(0, area + SECTOR - len(data)))
    loop = b"CE\x1c\x01" + b"".join(struct.pack("<I", v) + struct.pack(">I", v) for v in (60, 0, 28))
    put(data, area, loop)
    room = data[record] - (at - record)
    put(data, record, bytes((data[record] + max(0, 28 - room),)))
    put(data, at, loop)
    hostile = tmp_path / "hostile.iso"
    hostile.write_bytes(data)
    with pytest.raises(MediaError):
        plan_edits(hostile, EDITS)


@pytest.mark.parametrize("length", [0, 1, 2047, 32 * 1024, 16 * SECTOR + 1, 17 * SECTOR, 18 * SECTOR, 25 * SECTOR])
def test_cut_short(length: int, sound: Path, tmp_path: Path) -> None:
    short = tmp_path / "short.iso"
    short.write_bytes(sound.read_bytes()[:length])
    with pytest.raises(MediaError):
        inspect(short)


@pytest.mark.parametrize("path", ["/../x", "a/../../b", "/a\0b"])
def test_paths_that_lead_out(path: str, sound: Path) -> None:
    with pytest.raises(MediaError, match="not a path inside"):
        plan_edits(sound, [Put(path, b"x")])


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="cannot read"):
        inspect(tmp_path / "absent.iso")
    with pytest.raises(MediaError, match="not a file"):
        inspect(tmp_path)


@pytest.mark.parametrize("seed", range(24))
def test_mutations_never_crash_or_hang(seed: int, sound: Path, tmp_path: Path) -> None:
    """Bytes changed anywhere in what a reader follows: an answer or a MediaError, within two seconds, and no write."""
    rng = random.Random(seed)
    original = sound.read_bytes()
    hostile = tmp_path / "mutant.iso"
    for _ in range(25):
        data = bytearray(original)
        for _ in range(rng.choice((1, 1, 2, 8, 40))):
            at = rng.randrange(16 * SECTOR, min(len(data), 60 * SECTOR))
            data[at] = rng.choice((0, 1, 0x7F, 0xFF, rng.randrange(256)))
        if rng.random() < 0.2:
            del data[rng.randrange(len(data)) :]
        hostile.write_bytes(data)
        for act in (lambda: inspect(hostile), lambda: plan_edits(hostile, EDITS)):
            try:
                with assert_quick(2):
                    act()
            except MediaError as error:
                assert error.hint
        assert hostile.read_bytes() == data
