"""The shelf: whole or not there, never deleted under a user, least used goes first."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from builder.errors import LabError
from builder.images.store import Image, ImageStore

KEYS = [letter * 64 for letter in "abc"]


def put(store: ImageStore, key: str, size: int = 8192) -> Image:
    with store.building(key) as folder:
        (folder / "disk.qcow2").write_bytes(os.urandom(size))
        return store.publish(folder, key, {"kind": "disk", "disk": "disk.qcow2", "root_label": "r", "release": "13"})


def test_found_again_with_its_paths(tmp_path: Path) -> None:
    store = ImageStore(tmp_path)
    assert store.find(KEYS[0]) is None
    image = put(store, KEYS[0])
    assert image == ImageStore(tmp_path).find(KEYS[0])
    assert image.disk == tmp_path / "images" / KEYS[0] / "disk.qcow2" and image.disk.is_file()
    assert image.size >= 8192
    began = time.perf_counter()
    for _ in range(100):
        store.find(KEYS[0])
    assert (time.perf_counter() - began) / 100 < 0.005


def test_a_build_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    store = ImageStore(tmp_path)
    with pytest.raises(RuntimeError), store.building(KEYS[0]) as folder:
        (folder / "disk.qcow2").write_bytes(b"half")
        raise RuntimeError
    assert store.find(KEYS[0]) is None
    assert [path.name for path in store.root.iterdir()] == [".locks"]


def test_what_a_killed_builder_left_goes_with_the_next_build_or_prune(tmp_path: Path) -> None:
    store = ImageStore(tmp_path)
    (store.root / f".new-{KEYS[0]}-12345678").mkdir(parents=True)
    (store.root / f".new-{KEYS[1]}-12345678").mkdir()
    put(store, KEYS[0])
    store.prune(1 << 40)
    assert not list(store.root.glob(".new-*"))
    assert store.find(KEYS[0]) is not None


def test_a_folder_without_its_files_is_not_published(tmp_path: Path) -> None:
    store = ImageStore(tmp_path)
    with pytest.raises(LabError, match="disk is missing"), store.building(KEYS[0]) as folder:
        store.publish(folder, KEYS[0], {"kind": "disk", "disk": "disk.qcow2"})
    assert store.find(KEYS[0]) is None


def test_a_manifest_of_another_version_or_a_torn_one_is_no_image(tmp_path: Path) -> None:
    store = ImageStore(tmp_path)
    image = put(store, KEYS[0])
    assert image.disk is not None
    manifest = image.disk.parent / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"version": 99}))
    assert store.find(KEYS[0]) is None
    manifest.write_text("{")
    assert store.find(KEYS[0]) is None and store.ls() == ()


def test_prune_takes_the_longest_unused_and_never_one_in_use(tmp_path: Path) -> None:
    store = ImageStore(tmp_path)
    for age, key in zip((300, 200, 100), KEYS, strict=True):
        image = put(store, key, size=100_000)
        assert image.disk is not None
        os.utime(image.disk.parent / "lease", (time.time() - age,) * 2)
    assert [image.key for image in store.ls()] == KEYS
    holder = subprocess.Popen(
        [
            *(sys.executable, "-c"),
            "import sys; from pathlib import Path; from builder.images.store import ImageStore\n"
            "with ImageStore(Path(sys.argv[1])).in_use(sys.argv[2]): print('held', flush=True); sys.stdin.read()",
            *(str(tmp_path), KEYS[0]),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        assert [image.key for image in store.ls()] == [KEYS[1], KEYS[2], KEYS[0]]
        assert store.prune(0, keep=[KEYS[1]]) == (KEYS[2],)
        assert not store.remove(KEYS[0])
    finally:
        holder.kill()
        holder.wait()
    # the kernel let go of the mark with its holder
    assert store.prune(0) == (KEYS[1], KEYS[0])
    assert store.ls() == ()
    with pytest.raises(LabError, match="no image"):
        store.take(KEYS[0])
