"""Processes that keep domains on the embedded driver: killed at any moment, followed by the next, refused beside one
another; and what they learn of QEMU, shared."""

from __future__ import annotations

import difflib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.drivers.embed import leftovers, share_capabilities
from builder.run import process_start_time
from tests.support.guests import bare_xml
from tests.support.repo import some

pytestmark = pytest.mark.integration

OPENER = """
import sys, time
from pathlib import Path
from builder.drivers.virt import Libvirt, become_subreaper, embed_uri, prepare_root
root, cache = Path(sys.argv[1]), Path(sys.argv[2])
become_subreaper()
prepare_root(root, cache)
connection = Libvirt.open(embed_uri(root))
print("open", flush=True)
for xml in sys.argv[3:]:
    print(connection.start(Path(xml).read_text()).pid, flush=True)
if sys.stdin.readline().strip() == "close":
    connection.close()
    print("closed", flush=True)
time.sleep(60)
"""


@pytest.fixture
def root() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="nle-", dir="/tmp"))
    yield path
    leftovers(path)
    shutil.rmtree(path)


LEARNER = """
import sys
from pathlib import Path
from builder.drivers.virt import Libvirt, become_subreaper, embed_uri, prepare_root
become_subreaper()
prepare_root(Path(sys.argv[1]))
Libvirt.open(embed_uri(Path(sys.argv[1]))).machine_type("pc")
"""


@pytest.fixture(scope="module")
def learned() -> Iterator[Path]:
    """The root of a process that asked QEMU anew. Not this process: libvirt believes what was learned only with the
    same modules loaded, by the latest of their dates, and other tests here have it load more of them."""
    root = Path(tempfile.mkdtemp(prefix="nle-", dir="/tmp"))
    subprocess.run([sys.executable, "-c", LEARNER, str(root)], check=True, start_new_session=True)
    yield root
    leftovers(root)
    shutil.rmtree(root)


@pytest.fixture(scope="module")
def capabilities(learned: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shared cache that holds what was learned there."""
    shared = tmp_path_factory.mktemp("caps")
    assert share_capabilities(learned, shared)
    assert not share_capabilities(learned, shared), "once is enough"
    return shared


def test_capabilities_that_were_learned_anew_replace_the_old_ones(
    capabilities: Path, learned: Path, tmp_path: Path
) -> None:
    """Or each lab would learn them anew, where the seed is of another processor or of a KVM that did not work."""
    shutil.copytree(capabilities, tmp_path / "shared")
    (seed,) = (tmp_path / "shared").rglob("*.xml")
    right = seed.read_bytes()
    seed.write_bytes(right.replace(b"<selfvers>", b"<selfvers>9"))
    assert share_capabilities(learned, tmp_path / "shared")
    assert seed.read_bytes() == right
    assert [path.name for path in (tmp_path / "shared").iterdir() if path.name.startswith(".")] == []


def opener(root: Path, capabilities: Path, xmls: list[Path]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", OPENER, str(root), str(capabilities), *map(str, xmls)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def mentions(root: Path) -> list[str]:
    """Processes that name the root, but for this one and dead ones not yet waited for by process 1."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            try:
                line = Path(f"/proc/{entry}/cmdline").read_bytes()
            except OSError:
                continue
            if os.fsencode(root) in line:
                found.append(f"{entry} {line[:80]!r}")
    return found


def definitions(folder: Path, count: int) -> list[Path]:
    paths = []
    for number in range(count):
        own = folder / f"k{number}"
        own.mkdir()
        paths.append(own / "domain.xml")
        paths[-1].write_text(bare_xml(own, f"k{number}", port=20980 + number))
    return paths


def test_what_a_killed_keeper_left_is_ended(root: Path, capabilities: Path, tmp_path: Path) -> None:
    keeper = opener(root, capabilities, definitions(tmp_path, 2))
    assert keeper.stdout is not None
    assert keeper.stdout.readline() == "open\n"
    pids = {int(keeper.stdout.readline()) for _ in range(2)}
    keeper.send_signal(signal.SIGKILL)
    keeper.wait()
    assert all(process_start_time(pid) is not None for pid in pids), "guests outlive their keeper"
    began = time.monotonic()
    assert set(leftovers(root)) == pids
    assert time.monotonic() - began < 2
    assert mentions(root) == []


def test_a_keeper_killed_at_any_moment_leaves_nothing(root: Path, capabilities: Path, tmp_path: Path) -> None:
    """Also while libvirt forks, QEMU is asked for its capabilities (every second round), or not yet in a pid file."""
    chance = random.Random(9)
    xmls = definitions(tmp_path, 2)
    ended = 0
    for number in range(48):
        if number >= 16 and ended > 4:
            break
        cache = capabilities if number % 2 else tmp_path / f"no-cache-{number}"
        keeper = opener(root, cache, xmls)
        time.sleep(chance.uniform(0.15, max(1.6, number / 6)))  # later moments, where a busy machine needs them
        keeper.send_signal(signal.SIGKILL)
        keeper.wait()
        ended += len(leftovers(root))
        deadline = time.monotonic() + 10
        while mentions(root) and time.monotonic() < deadline:
            time.sleep(0.05)  # a child of libvirt that was not yet QEMU finds its parent gone and ends
        assert mentions(root) == [], number
        shutil.rmtree(root)
        root.mkdir()
    assert ended > 4, "the moments were all too early to prove anything"


def test_no_dead_qemu_stays_with_the_keeper(root: Path, tmp_path: Path) -> None:
    """Asking QEMU for its capabilities leaves two dead processes behind each time."""
    keeper = opener(root, tmp_path / "no cache", definitions(tmp_path, 1))
    try:
        assert keeper.stdout is not None and keeper.stdout.readline() == "open\n"
        assert int(keeper.stdout.readline())
        deadline = time.monotonic() + 6
        while dead := [pid for pid in _children(keeper.pid) if process_start_time(pid) is None]:
            assert time.monotonic() < deadline, dead
            time.sleep(0.1)
    finally:
        keeper.kill()
        keeper.wait()


def _children(pid: int) -> list[int]:
    files = some(Path(f"/proc/{pid}/task").glob("*/children"))
    return [int(child) for file in files for child in file.read_text().split()]


def test_guests_outlive_their_keeper_and_the_next_process_finds_them(
    root: Path, capabilities: Path, tmp_path: Path
) -> None:
    first = opener(root, capabilities, definitions(tmp_path, 1))
    assert first.stdout is not None and first.stdin is not None
    assert first.stdout.readline() == "open\n"
    pid = int(first.stdout.readline())
    first.stdin.write("close\n")
    first.stdin.flush()
    assert first.stdout.readline() == "closed\n"
    first.kill()  # libvirt keeps an embedded root until the process ends, closed or not
    first.wait()
    script = (
        "import sys, time; from builder.drivers.virt import *; "
        "c = Libvirt.open(sys.argv[1]); time.sleep(0.5); d = c.find('t-k0'); print(d.pid, d.is_running()); "
        "d.destroy(); print(d.is_running())"
    )
    second = subprocess.run(
        [sys.executable, "-c", script, f"qemu:///embed?root={root}"], capture_output=True, text=True, check=False
    )
    assert second.stdout.split() == [str(pid), "True", "False"], second.stderr
    assert second.stderr == "", "libvirt's noise goes to the root's log"


def test_a_root_that_another_process_has_open_is_refused(root: Path, capabilities: Path) -> None:
    first = opener(root, capabilities, [])
    assert first.stdout is not None and first.stdout.readline() == "open\n"
    script = "import sys; from builder.drivers.virt import *; Libvirt.open(sys.argv[1])"
    second = subprocess.run(
        [sys.executable, "-c", script, f"qemu:///embed?root={root}"], capture_output=True, text=True, check=False
    )
    first.kill()
    first.wait()
    assert second.returncode != 0 and "another process has this lab's libvirt open" in second.stderr


def test_a_seeded_cache_saves_the_probing(capabilities: Path, root: Path, tmp_path: Path) -> None:
    """A second of QEMU answering questions, four where nothing reaps it. libvirt rewrites what it learned anew."""
    keeper = opener(root, capabilities, definitions(tmp_path, 1))
    try:
        assert keeper.stdout is not None and keeper.stdout.readline() == "open\n"
        (seeded,) = (root / "cache").rglob("*.xml")
        before, knew = seeded.stat(), seeded.read_text().splitlines()
        assert int(keeper.stdout.readline())
        # What it did not believe is in the difference: KVM that could not be used at the first look, for one.
        learned = list(difflib.unified_diff(knew, seeded.read_text().splitlines(), "seeded", "learned", lineterm=""))
        assert (seeded.stat().st_ino, seeded.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns), learned
    finally:
        keeper.kill()
        keeper.wait()
