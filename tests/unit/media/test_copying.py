"""Bytes come over whole by each of the ways they can, and a file that ends early is told."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from builder.media.errors import MediaError
from builder.media.sinks import copying

STEP = copying._LARGEST_FOLIO
CONTENT = random.Random(4).randbytes(3 * STEP + 12_345)


@contextmanager
def pair(folder: Path) -> Iterator[tuple[int, int]]:
    (folder / "source").write_bytes(CONTENT)
    with ExitStack() as stack:
        source = stack.enter_context((folder / "source").open("rb"))
        target = stack.enter_context((folder / "target").open("w+b"))
        yield source.fileno(), target.fileno()


@pytest.fixture(params=["kernel", "reading"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the system's own call, and where a file system has none."""

    def refuse(*_: int) -> int:
        raise OSError(errno.EXDEV, "not here")

    if request.param == "reading":
        monkeypatch.setattr("os.copy_file_range", refuse)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(("at", "to", "length"), [(0, 0, len(CONTENT)), (2048, 6144, 2 * STEP + 99), (3, 1, STEP)])
def test_a_range_comes_over_whole(tmp_path: Path, at: int, to: int, length: int) -> None:
    with pair(tmp_path) as (source, target):
        copying.copy_range(source, at, target, to, length)
    assert (tmp_path / "target").read_bytes() == bytes(to) + CONTENT[at : at + length]


@pytest.mark.usefixtures("way")
def test_a_file_that_ends_early_is_told(tmp_path: Path) -> None:
    with pair(tmp_path) as (source, target), pytest.raises(MediaError, match="shorter"):
        copying._copy(source, STEP, target, 0, len(CONTENT))


def test_a_file_that_only_can_be_read_is_read(tmp_path: Path) -> None:
    with Path("/proc/version").open("rb") as source, (tmp_path / "target").open("w+b") as target:
        copying._copy(source.fileno(), 0, target.fileno(), 0, len(os.pread(source.fileno(), 4096, 0)))
    assert (tmp_path / "target").read_bytes() == Path("/proc/version").read_bytes()


@pytest.mark.usefixtures("way")
def test_a_full_disk_is_said_as_such() -> None:
    with (
        Path("/proc/self/exe").open("rb") as source,
        Path("/dev/full").open("wb") as target,
        pytest.raises(OSError, match="No space"),
    ):
        copying._copy(source.fileno(), 0, target.fileno(), 0, 8192)
