"""What integration tests share: one embedded libvirt (a process can open one only), the tiny image."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from builder.drivers.virt import Libvirt, become_subreaper, embed_uri, leftovers, prepare_root, share_capabilities
from builder.images.build import build
from builder.images.hosts import read_host
from builder.images.store import Image, ImageStore
from builder.model.plan import Recipe
from builder.paths import Places

_LONGEST = (
    "test_installation", "test_lifecycle", "test_remote_broken", "test_plans", "test_net", "test_libvirt",
    "test_image_tiny", "test_remote",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take minutes are begun first, so that no processor waits for the last of them."""
    items.sort(key=lambda item: _LONGEST.index(item.path.stem) if item.path.stem in _LONGEST else len(_LONGEST))


def nobody(*_: Any, **__: Any) -> None:
    """Nobody listens to these events."""


@pytest.fixture(scope="session")
def embedded() -> Iterator[Libvirt]:
    """libvirt in this process, which becomes a sub-reaper for it. What tests left running fails the session."""
    cache = Places.from_environment(os.environ).cache / "qemu-caps"
    root = Path(tempfile.mkdtemp(prefix="nle-", dir="/tmp"))
    become_subreaper()
    prepare_root(root, cache)
    connection = Libvirt.open(embed_uri(root))
    yield connection
    share_capabilities(root, cache)
    connection.close()
    left = leftovers(root)
    shutil.rmtree(root)
    assert left == ()


@pytest.fixture(scope="session")
def tiny_image() -> Image:
    """Kernel and memory root for guests that are up in seconds, from the user's image cache."""
    cache = Places.from_environment(os.environ).cache
    recipe = Recipe(kind="initramfs", release="bookworm", modules=("sym53c8xx", "sd_mod"))
    return build(recipe, read_host(tools=False), ImageStore(cache), work=cache / "work", emit=nobody)
