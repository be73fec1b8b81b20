"""`nestlab image`: the shelf listed, pruned, and served from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from builder.cli.frame import root
from builder.images.hosts import read_host
from builder.images.keys import image_key
from builder.images.store import ImageStore
from builder.lifecycle.doctor_needs import missing_images, recipes_of
from builder.lifecycle.plan import plan_lab
from builder.model.load import read_lab
from builder.paths import Places
from builder.systems import load_system, traits

MIRROR = "http://mirror.example/debian"
Run = Callable[..., Result]


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path / "state", tmp_path / "cache", tmp_path / "run")


@pytest.fixture
def run(places: Places) -> Run:
    runner = CliRunner(env={"NESTLAB_STATE": str(places.state), "NESTLAB_CACHE": str(places.cache),
                            "NESTLAB_RUNTIME": str(places.runtime), "NESTLAB_DEBIAN_MIRROR": MIRROR})  # fmt: skip
    return lambda *arguments: runner.invoke(root, ["image", *arguments], standalone_mode=False)


def shelve(places: Places, key: str, size: int = 1 << 20) -> None:
    """An image of random bytes under that key: nothing here reads them."""
    store = ImageStore(places.cache)
    with store.building(key) as folder:
        (folder / "kernel").write_bytes(b"\1" * size)
        (folder / "initrd").write_bytes(b"\2")
        store.publish(folder, key, {"kind": "initramfs", "kernel": "kernel", "initrd": "initrd", "release": "13"})


def test_an_empty_shelf(run: Run) -> None:
    assert (run("ls").stdout, run("ls").stderr) == ("", "no image is in the cache\n")
    assert json.loads(run("ls", "-o", "json").output) == []
    assert json.loads(run("prune", "-o", "json").output) == []


def test_ls_and_prune(run: Run, places: Places) -> None:
    for key in ("a" * 64, "b" * 64):
        shelve(places, key)
    assert [row["key"][0] for row in json.loads(run("ls", "-o", "json").output)] == ["a", "b"]
    assert run("ls", "-o", "name").output.split() == ["a" * 64, "b" * 64]
    table = run("ls").output.splitlines()
    assert table[0].split() == ["IMAGE", "KIND", "RELEASE", "SIZE", "AGE", "UNUSED"]
    assert table[1].split()[:3] == ["a" * 12, "initramfs", "13"]
    assert json.loads(run("prune", "--max-size", "5MiB", "-o", "json").output) == []
    assert json.loads(run("prune", "--max-size", "1.5MiB", "-o", "json").output) == ["a" * 64]
    with ImageStore(places.cache).in_use("b" * 64):
        assert json.loads(run("prune", "--max-size", "0", "-o", "json").output) == []
    assert json.loads(run("prune", "--max-size", "0", "-o", "json").output) == ["b" * 64]


def test_a_lab_that_needs_no_image_is_told(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "metal.yaml"
    file.write_text("name: metal\nnodes: {a: {system: netbsd, source: {medium: x.iso}}}\n")
    done = run("build", str(file))
    assert (done.exception, done.stdout) == (None, "")
    assert "no node of lab metal boots from an image" in done.stderr


@pytest.mark.parametrize("size", ["5", "5GB", "-1GiB", "all"])
def test_sizes_need_a_unit(size: str, run: Run) -> None:
    error = run("prune", f"--max-size={size}").exception
    assert isinstance(error, click.BadParameter)


def test_what_is_on_the_shelf_is_not_built_again(run: Run, places: Places, tmp_path: Path) -> None:
    """And is what `plan` and `doctor` take for cached."""
    file = tmp_path / "demo.yaml"
    file.write_text("name: demo\nnodes: {a: {system: tiny}, b: {system: tiny}}\n")
    plan = plan_lab(read_lab(file, traits()), load_system)
    (recipe,) = recipes_of(plan)
    assert missing_images(plan, places, mirror=MIRROR) == (recipe,)
    key = image_key(recipe, read_host(mirror=MIRROR, tools=False))
    shelve(places, key)
    assert missing_images(plan, places, mirror=MIRROR) == ()
    done = run("build", str(file), "-o", "json")
    assert [image["key"] for image in json.loads(done.stdout)] == [key]
    assert done.stderr == ""
