"""Bytes come over whole by each of the ways they can, and a file that ends early is told."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from builder.media.errors import MediaError
from builder.media.sinks import copying

STEP = copying._STEP
CONTENT = random.Random(4).randbytes(3 * STEP + 12_345)
Way = Callable[[int, int, int, int, int], int]
WAYS = (copying._by_file_system, copying._by_mapping, copying._by_reading)


@contextmanager
def pair(folder: Path) -> Iterator[tuple[int, int]]:
    (folder / "source").write_bytes(CONTENT)
    with ExitStack() as stack:
        source = stack.enter_context((folder / "source").open("rb"))
        target = stack.enter_context((folder / "target").open("w+b"))
        yield source.fileno(), target.fileno()


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize(("at", "to"), [(0, 0), (1, 0), (0, 2048), (4097, 777), (2 * STEP, STEP - 1)])
def test_each_way_moves_what_it_says(tmp_path: Path, way: Way, at: int, to: int) -> None:
    with pair(tmp_path) as (source, target):
        moved = way(source, at, target, to, 2 * STEP if at < STEP else 5000)
    assert moved > 0
    assert (tmp_path / "target").read_bytes() == bytes(to) + CONTENT[at : at + moved]


@pytest.mark.parametrize(("at", "to", "length"), [(0, 0, len(CONTENT)), (2048, 6144, 2 * STEP + 99), (3, 1, STEP)])
@pytest.mark.parametrize("itself", [False, True], ids=["memory", "file-system"])
def test_a_range_comes_over_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int, to: int, length: int, itself: bool
) -> None:
    monkeypatch.setattr(copying, "_may_copy_itself", lambda *_: itself)
    with pair(tmp_path) as (source, target):
        copying.copy_range(source, at, target, to, length)
    assert (tmp_path / "target").read_bytes() == bytes(to) + CONTENT[at : at + length]


def test_a_file_that_cannot_be_mapped_is_read(tmp_path: Path) -> None:
    with Path("/proc/version").open("rb") as source, (tmp_path / "target").open("w+b") as target:
        length = len(os.pread(source.fileno(), 4096, 0))
        assert copying._by_mapping(source.fileno(), 0, target.fileno(), 0, length) == 0
        copying._copy(source.fileno(), 0, target.fileno(), 0, length)
    assert (tmp_path / "target").read_bytes() == Path("/proc/version").read_bytes()


@pytest.mark.parametrize("itself", [False, True], ids=["memory", "file-system"])
def test_a_file_that_ends_early_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, itself: bool) -> None:
    monkeypatch.setattr(copying, "_may_copy_itself", lambda *_: itself)
    with pair(tmp_path) as (source, target), pytest.raises(MediaError, match="shorter"):
        copying._copy(source, STEP, target, 0, len(CONTENT))


def test_a_mapped_file_that_shrinks_is_an_error_and_no_signal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.pwrite

    def shrunk(fd: int, data: memoryview, to: int) -> int:
        os.truncate(tmp_path / "source", 8192)
        return write(fd, data, to)

    with pair(tmp_path) as (source, target):
        monkeypatch.setattr("os.pwrite", shrunk)
        with pytest.raises(MediaError, match="shorter"):
            copying._copy(source, 0, target, 0, len(CONTENT))


def test_a_full_disk_is_said_as_such() -> None:
    with (
        Path("/proc/self/exe").open("rb") as source,
        Path("/dev/full").open("wb") as target,
        pytest.raises(OSError, match="No space"),
    ):
        copying._by_mapping(source.fileno(), 0, target.fileno(), 0, 8192)
