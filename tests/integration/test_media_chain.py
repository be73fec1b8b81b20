"""Grafts upon grafts, by chance: after each, every file the image should hold is read back by xorriso and isoinfo."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest

from builder.media.edits import Edit, Extend, Put
from builder.media.plan import plan_edits
from builder.media.sinks import write_file
from tests.integration import media_sources as media
from tests.integration.media_sources import Make, source_fixture  # noqa: F401 - a fixture

pytestmark = pytest.mark.integration

WORDS = (
    "a",
    "Bee",
    "see-dee",
    "naïve",
    "two words",
    "x" * 60,
    "UPPER.TXT",
    "many.dots.in.name",
    "_under",
    "0",
    "~tilde",
    "日本",
)
SIZES = (0, 1, 100, 2047, 2048, 2049, 10_000, 70_000)


def some_path(rng: random.Random, taken: set[str]) -> str:
    """A path whose folders are no files, with a name that no other differs from by case only."""
    while True:
        depth = rng.choice((0, 0, 1, 1, 2, 3))
        path = "".join(f"/{rng.choice(WORDS)}{rng.randrange(3)}.d" for _ in range(depth))
        path += f"/{rng.choice(WORDS)}{rng.randrange(40)}"
        if path.lower() not in taken:
            taken.add(path.lower())
            return path


def some_edits(rng: random.Random, model: dict[str, bytes], taken: set[str]) -> list[Edit]:
    """Edits by chance; `model` is changed as the image should be."""
    edits: list[Edit] = []
    for _ in range(rng.choice((1, 3, 12, 40))):
        data = rng.randbytes(rng.choice(SIZES))
        mine = [path for path in model if path != "/isolinux/isolinux.bin"]
        kind = rng.choice(("new", "new", "replace", "extend"))
        if kind == "new" or not mine:
            path = some_path(rng, taken)
            edits.append(Put(path, data, "new"))
            model[path] = data
        elif kind == "replace":
            path = rng.choice(mine)
            edits.append(Put(path, data, "old"))
            model[path] = data
        else:
            path = rng.choice(mine)
            edits.append(Extend(path, data))
            model[path] += data
    return edits


@pytest.mark.parametrize("layout", [x for x in media.LAYOUTS if x not in ("plain", "no-rock-ridge", "zisofs")])
def test_chains_of_edits(layout: str, source: Make, tmp_path: Path) -> None:
    rng = random.Random(layout)
    image, model, taken = source(layout), dict[str, bytes](), set[str]()
    vendor = media.by_xorriso(image)
    for number in range(4):
        edits = some_edits(rng, model, taken)
        out = tmp_path / f"{number}.iso"
        write_file(plan_edits(image, edits), out)
        image = out
        reading = media.by_xorriso(out)
        for path, data in model.items():
            assert reading.files[path].size == len(data), path
            assert reading.digest(path) == hashlib.sha256(data).hexdigest(), path
        for path, listed in vendor.files.items():
            if not path.endswith("boot.cat") and listed.size:
                assert reading.files[path] == listed, path
                assert reading.digest(path) == vendor.digest(path), path
        assert set(reading.files) == set(vendor.files) | set(model)
    got = media.extracted(image, tmp_path / "7z", "7z")
    assert {hashlib.sha256(data).hexdigest() for data in model.values()} <= set(got.values())
    listed_by_tar = media.sh("bsdtar", "-tf", image).count("\n")
    assert listed_by_tar >= len(vendor.files) + len(model)
    if layout not in ("grub-mkrescue", "no-joliet", "deep", "makefs"):
        joliet = media.by_isoinfo(image, "-J")
        held = {joliet.digest(path) for path in joliet.files}
        assert {hashlib.sha256(data).hexdigest() for data in model.values()} <= held
    before, after = media.reports(source(layout)), media.reports(image)
    assert len(before) == len(after)
