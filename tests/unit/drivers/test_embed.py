"""The root of the embedded driver, and the search for what outlived a crash. No libvirt: QEMU is played by a program
that has its name and a command line that names the root."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.drivers.embed import MAX_ROOT, leftovers, on_one_cpu, prepare_root
from builder.errors import HostLacks


@pytest.fixture
def root() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="nle-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


def test_a_root_is_private_and_configured(root: Path) -> None:
    root.chmod(0o755)
    prepare_root(root)
    prepare_root(root)  # again is fine
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    conf = (root / "etc/qemu.conf").read_text()
    assert 'stdio_handler = "file"' in conf and f'user = "+{os.geteuid()}"' in conf


def test_a_root_too_long_for_sockets_is_refused() -> None:
    path = Path("/tmp") / ("x" * MAX_ROOT)
    with pytest.raises(HostLacks, match="longer than 40 bytes"):
        prepare_root(path)
    assert not path.exists()


PLAYER = """
import signal, sys, time
if sys.argv[1] == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
time.sleep(60)
"""


def play(root: Path, manner: str, name: str = "qemu-system-x86_64") -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [name, "-c", PLAYER, manner, f"socket,path={root}/lib/qemu/domain-1-x/monitor.sock"],
        executable=sys.executable,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdout.readline() == "up\n"
    return process


def test_every_qemu_of_the_root_is_ended_and_nothing_else(root: Path) -> None:
    meek, stubborn = play(root, "meek"), play(root, "stubborn")
    sister = play(Path(f"{root}0"), "meek")  # its root begins with the same letters
    editor = play(root, "meek", name="vim")
    try:
        began = time.monotonic()
        ended = leftovers(root, grace=0.3)
        assert set(ended) == {meek.pid, stubborn.pid}
        assert time.monotonic() - began < 3
        assert meek.wait(1) == -15 and stubborn.wait(1) == -9
        assert sister.poll() is None and editor.poll() is None
        assert leftovers(root) == ()
    finally:
        for process in (meek, stubborn, sister, editor):
            process.kill()
            process.wait()


def test_a_root_that_never_was_has_no_leftovers() -> None:
    assert leftovers(Path("/tmp/never-was")) == ()


def test_the_one_cpu_is_for_this_thread_and_this_time_only() -> None:
    before = os.sched_getaffinity(0)
    go, masks = threading.Event(), []

    def work() -> None:
        go.wait(5)
        masks.append(os.sched_getaffinity(0))

    with on_one_cpu():
        assert os.sched_getaffinity(0) == {min(before)}
        worker = threading.Thread(target=work)
        worker.start()
    go.set()
    worker.join()
    assert masks == [before] == [os.sched_getaffinity(0)]
