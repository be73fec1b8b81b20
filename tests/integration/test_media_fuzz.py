"""Real media of every layout, spoilt where readers look. NESTLAB_FUZZ_SECONDS says for how long (nightly: 1800)."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from builder.media.compare import compare
from builder.media.edits import Arguments, Edit, Overlay, Put
from builder.media.errors import MediaError
from builder.media.initrd import OverlayFile
from builder.media.inspect import inspect
from builder.media.medium import open_medium
from builder.media.plan import plan_edits
from builder.media.sinks import write_file
from builder.media.view import SECTOR, Source
from tests.integration import media_sources as media
from tests.integration.media_sources import Make, source_fixture  # noqa: F401 - a fixture
from tests.support.pace import assert_quick

pytestmark = pytest.mark.integration

Record = Callable[[str, object], None]
EDITS: list[Edit] = [
    Put("/answer.xml", b"<a/>" * 900), Put("/new/folder/file", b"x"), Arguments(kernel=("ks=x",)),
    Overlay((OverlayFile("/x", b"y"),), how="append"),
]  # fmt: skip


def targets(path: Path) -> list[range]:
    """Where a reader's decisions come from: system area, descriptors, folders, path tables, catalog, boot image,
    menus."""
    with Source(path) as source:
        medium = open_medium(source)
        found = [range(0, 2 * SECTOR), range(16 * SECTOR, 20 * SECTOR), range(source.size - 34 * 512, source.size)]
        for tree in medium.trees:
            found += [
                range((f.extent + tree.base) * SECTOR, (f.extent + tree.base) * SECTOR + f.size)
                for f in tree.index().dirs.values()
            ]
            vd = source.read(tree.descriptor, SECTOR)
            block = int.from_bytes(vd[140:144], "little") + tree.base
            found.append(range(block * SECTOR, block * SECTOR + int.from_bytes(vd[132:136], "little")))
        found += [range(block * SECTOR, block * SECTOR + 128) for block in medium.catalogs]
        found += [range(i.block * SECTOR, i.block * SECTOR + 4096) for i in medium.boot_images]
        found += [range(at, at + length) for path in medium.menu_candidates() for at, length in medium.data(path) or ()]
    return [r for r in found if len(r)]


def spoil(data: bytearray, places: list[range], rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 1, 2, 3, 10, 50))):
        place = rng.choice(places)
        at = rng.randrange(place.start, min(place.stop, len(data)))
        kind = rng.randrange(4)
        if kind == 0:
            data[at] = rng.randrange(256)
        elif kind == 1:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            data[at : at + 4] = rng.choice((b"\xff\xff\xff\xff", bytes(4), b"\0\0\0\x80", rng.randbytes(4)))[
                : len(data) - at
            ]
        else:
            other = rng.choice(places).start
            length = rng.choice((1, 8, 64, 2048))
            piece = data[other : other + length]
            data[at : at + len(piece)] = piece[: len(data) - at]


def test_spoilt_media_never_crash_hang_or_write(
    source: Make, tmp_path: Path, record_testsuite_property: Record
) -> None:
    """An answer or a MediaError within two seconds, the source as it was. What is planned can also be read back."""
    seconds = float(os.environ.get("NESTLAB_FUZZ_SECONDS", "12"))
    seed = int(os.environ.get("NESTLAB_FUZZ_SEED", "1"))
    rng = random.Random(seed)
    layouts = [x for x in media.LAYOUTS if x != "grub-mkrescue"]
    originals = {layout: source(layout).read_bytes() for layout in layouts}
    places = {layout: targets(source(layout)) for layout in layouts}
    mutant, out = tmp_path / "mutant.iso", tmp_path / "out.iso"
    end, rounds, planned = time.monotonic() + seconds, 0, 0
    while time.monotonic() < end:
        layout = rng.choice(layouts)
        data = bytearray(originals[layout])
        spoil(data, places[layout], rng)
        mutant.write_bytes(data)
        rounds += 1
        with assert_quick(2, (seed, rounds, layout)):
            try:
                inspect(mutant)
            except MediaError as error:
                assert error.hint
            try:
                plan = plan_edits(mutant, EDITS[rng.randrange(len(EDITS)) :])
            except MediaError as error:
                assert error.hint
            else:
                planned += 1
                assert sum(s.length for s in plan.segments()) == plan.size
                assert plan.size < len(data) + (64 << 20)
                if rng.random() < 0.1:
                    write_file(plan, out)
        assert mutant.read_bytes() == data
    for name, count in (("seed", seed), ("rounds", rounds), ("planned", planned)):
        record_testsuite_property(name, count)
    assert rounds > seconds
    assert 0 < planned < rounds


@pytest.mark.parametrize("layout", ["level4", "xorriso", "offset16"])
def test_path_tables_that_lie_about_their_size(layout: str, source: Make, tmp_path: Path) -> None:
    """Found by the test above: two descriptors share a tree, and the second claims a table of gigabytes."""
    with Source(source(layout)) as opened:
        descriptors = [d for tree in open_medium(opened).trees for d in tree.descriptors]
    assert len(descriptors) > 1
    for descriptor in descriptors:
        data = bytearray(source(layout).read_bytes())
        data[descriptor + 132 : descriptor + 136] = b"\0\0\0\x7f"
        hostile = tmp_path / "hostile.iso"
        hostile.write_bytes(data)
        with assert_quick(1), pytest.raises(MediaError, match="path table claims"):
            plan_edits(hostile, [Put("/new/folder/file", b"x")])


@pytest.mark.parametrize("layout", media.LAYOUTS)
def test_comparing_tells_what_a_graft_did(layout: str, source: Make, tmp_path: Path) -> None:
    src, out = source(layout), tmp_path / "out.iso"
    assert compare(src, src).changed == ()
    write_file(plan_edits(src, [Put("/answer.xml", b"<a/>")]), out)
    found = compare(src, out)
    # The catalog tells where the appended partition is, which moved.
    assert all(path.endswith("/isolinux/boot.cat") and layout in media.APPENDED for path in found.changed)
    assert (found.moved, found.missing, found.boot, found.identity) == ((), (), (), True)
    assert {path.rpartition(":")[2].lower().rstrip(".") for path in found.added} == {"/answer.xml"}
    assert len(found.added) == len({path.partition(":")[0] for path in found.added})
    assert found.same > 3
    data = bytearray(out.read_bytes())
    name, listed = next((n, f) for n, f in sorted(media.by_xorriso(out).files.items()) if f.size > 5000)
    data[listed.lba * SECTOR + 4000] ^= 1
    out.write_bytes(data)
    assert any(path.lower().endswith(name.lower()) for path in compare(src, out).changed)
