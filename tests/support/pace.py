"""Bounds on the processor's time that hold on slow and busy machines: what takes longer is measured against a fixed
piece of work, done at once after it. What hangs, or reads in quadratic time, is far over its bound on any machine."""

from __future__ import annotations

import gc
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

QUIET = 0.08  # seconds of the processor's time that `work` takes where these bounds were set, with nothing beside it
_LINE = re.compile(r"\s*(?:linux|initrd)\s+(\S+)")


def work() -> float:
    """What readers do: lines split, matched, taken apart. Returns seconds of the processor's time."""
    began = time.thread_time()
    text = "  linux /boot/vmlinuz quiet splash\n x y z\n" * 150_000
    found = [match[1] for line in text.splitlines() if (match := _LINE.match(line.rstrip()))]
    assert len(found) == 150_000
    return time.thread_time() - began


@contextmanager
def assert_quick(limit: float, what: object = "") -> Iterator[None]:
    """Fails when the block took more than `limit` seconds of the processor's time: of a quiet machine's, so on one that
    is three times slower just now, three times as many. `what` is told then. Only this thread counts, and garbage of
    tests before is not collected meanwhile: either may take seconds."""
    gc.disable()
    try:
        began = time.thread_time()
        yield
        taken = time.thread_time() - began
    finally:
        gc.enable()
    if taken > limit:
        slower = max(1.0, work() / QUIET)
        assert taken < limit * slower, (
            f"{what} took {taken:.2f} s of the processor's time, on a machine {slower:.1f} times slower"
        )
