"""Run a command on a machine whose memory stays what it is.

    sudo .venv/bin/python -m ci.bench.steady COMMAND [ARGUMENT...]

A virtual machine may give its free memory back to its host (free page reporting). Memory that comes anew then takes
seconds per GiB, so that a copy of 6 GB took two to six seconds by where its pages happened to lie, and larger pieces,
the better way elsewhere, up to thirteen. While the command runs, one page in each 4 MiB is held, so that no free block
is large enough to be given back, after all of the memory was touched once. Nothing is written back by force meanwhile
that fits in memory. Ends with the command's status, and leaves the settings as they were.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import mmap
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from ci.bench.media import end

PAGE = mmap.PAGESIZE
SPARE = 3 << 29
"""Bytes that are left to the system and to others while the rest is touched."""
_REPORTED = Path("/sys/module/page_reporting/parameters/page_reporting_order")
_LARGEST_ORDER = 10
_FRAME = (1 << 55) - 1
_AT_ONCE = 64 << 20
SETTINGS = {
    _REPORTED: str(_LARGEST_ORDER),
    # The held pages stay where they are.
    Path("/proc/sys/vm/compact_unevictable_allowed"): "0",
    Path("/proc/sys/vm/compaction_proactiveness"): "0",
    Path("/proc/sys/vm/dirty_ratio"): "80",
    Path("/proc/sys/vm/dirty_background_ratio"): "70",
}


@contextlib.contextmanager
def settings() -> Iterator[None]:
    before = {path: path.read_text().strip() for path in SETTINGS if path.exists()}
    if int(before.get(_REPORTED, _LARGEST_ORDER)) >= _LARGEST_ORDER:
        before.pop(_REPORTED, None)  # nobody asks for free memory
    try:
        for path in before:
            path.write_text(SETTINGS[path])
        yield
    finally:
        for path, value in before.items():
            path.write_text(value)


def available() -> int:
    """Bytes."""
    with Path("/proc/meminfo").open() as lines:
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable"))


@contextlib.contextmanager
def held() -> Iterator[int]:
    """One page of each largest block of the memory; how many."""
    Path("/proc/sys/vm/drop_caches").write_text("3")
    size = available() // _AT_ONCE * _AT_ONCE
    with mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.madvise(mmap.MADV_NOHUGEPAGE)
        start = ctypes.c_char.from_buffer(memory)
        base = ctypes.addressof(start)
        del start
        touched = 0
        while touched < size and available() > SPARE:  # others may take some meanwhile
            ctypes.memset(base + touched, 1, _AT_ONCE)
            touched += _AT_ONCE
        pages = one_in_each_block(base, touched)
        mlock = ctypes.CDLL(None, use_errno=True).mlock
        after = 0
        for page in [*pages, touched]:
            if page > after:
                memory.madvise(mmap.MADV_DONTNEED, after, page - after)
            if page < touched and mlock(ctypes.c_void_p(base + page), ctypes.c_size_t(PAGE)):
                raise OSError(ctypes.get_errno(), "cannot hold a page in memory")
            after = page + PAGE
        yield len(pages)


def one_in_each_block(base: int, size: int) -> list[int]:
    """Offsets of pages in the mapping."""
    found: dict[int, int] = {}
    with Path("/proc/self/pagemap").open("rb", buffering=0) as table:
        for offset in range(0, size, _AT_ONCE):
            entries = array.array("Q", os.pread(table.fileno(), _AT_ONCE // PAGE * 8, (base + offset) // PAGE * 8))
            for number, entry in enumerate(entries):
                found.setdefault((entry & _FRAME) >> _LARGEST_ORDER, offset + number * PAGE)
    return sorted(found.values())


def main() -> int:
    if len(sys.argv) < 2 or os.geteuid() != 0:
        print(__doc__, file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, end)
    with settings(), held() as pages:
        print(f"steady: {pages} pages are held", file=sys.stderr)
        with subprocess.Popen(sys.argv[1:]) as command:
            try:
                return command.wait()
            except BaseException:
                command.terminate()  # it may have things to clear away
                raise


if __name__ == "__main__":
    raise SystemExit(main())
