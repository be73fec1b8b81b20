"""Keys: equal for equal inputs, other for each input that shapes the bytes, the tree's shared where it can be."""

from __future__ import annotations

import pytest

from builder.images.hosts import AptSource, HostInputs
from builder.images.keys import image_key, rootfs_key
from builder.model.plan import File, Recipe

SOURCE = AptSource(uri="http://mirror.example/debian", pocket="", components=("main",))
HOST = HostInputs(sources=(SOURCE,), tools={"mke2fs": "1.47.0"}, assets="a" * 64)
DISK = Recipe(kind="disk", release="13", elements=("nestlab-dom0",), packages=("b", "a"), root_size=1 << 30)


def test_equal_inputs_equal_keys() -> None:
    assert image_key(DISK, HOST) == image_key(Recipe.model_validate(DISK.model_dump()), HOST)
    assert len(image_key(DISK, HOST)) == 64


@pytest.mark.parametrize(
    "change",
    [
        {"release": "12"},
        {"packages": ("a",)},
        {"files": (File(path="/etc/motd", content="x"),)},
        {"configure": (("true",),)},
        {"root_size": 2 << 30},
        {"root_label": "other"},
        {"kind": "initramfs"},
    ],
)
def test_each_input_of_the_recipe_counts(change: dict[str, object]) -> None:
    assert image_key(DISK.model_copy(update=change), HOST) != image_key(DISK, HOST)


@pytest.mark.parametrize(
    "change",
    [
        {"assets": "b" * 64},
        {"tools": {"mke2fs": "1.47.2"}},
        {"sources": (SOURCE.model_copy(update={"uri": "http://else.example/debian"}),)},
    ],
)
def test_each_input_of_the_host_counts(change: dict[str, object]) -> None:
    assert image_key(DISK, HOST.model_copy(update=change)) != image_key(DISK, HOST)


def test_the_tree_is_shared_by_recipes_that_differ_in_files_only() -> None:
    other = DISK.model_copy(update={"files": (File(path="/etc/motd", content="x"),), "packages": ("a", "b", "b")})
    assert rootfs_key(other, HOST) == rootfs_key(DISK, HOST)
    assert image_key(other, HOST) != image_key(DISK, HOST)
    assert rootfs_key(DISK.model_copy(update={"release": "12"}), HOST) != rootfs_key(DISK, HOST)


def test_disk_tools_do_not_count_for_memory_roots() -> None:
    tiny = Recipe(kind="initramfs", release="13")
    assert image_key(tiny, HOST) == image_key(tiny, HOST.model_copy(update={"tools": {}}))
