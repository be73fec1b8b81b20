"""Domains on the embedded driver: started, watched, ended; and ended when their keeper cannot end them any more."""

from __future__ import annotations

import contextlib
import difflib
import os
import queue
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.drivers.embed import leftovers, share_capabilities
from builder.drivers.virt import Domain, DomainError, DomainEvent, Libvirt
from builder.drivers.virt_errors import DomainGone
from builder.hypervisors.kvm import domain_xml
from builder.images.store import Image
from builder.run import process_start_time
from tests.support.guests import Guest, guest
from tests.support.kvm_cases import CASES, node
from tests.support.repo import some

pytestmark = pytest.mark.integration

BARE = CASES["tcg-bios-no-lab-nic"]


def bare_xml(folder: Path, name: str, *, port: int) -> str:
    """A machine without disk or kernel: it stays in its firmware."""
    one = node(name=name, nics=(), disks=())
    return domain_xml(one, BARE.wire(folder, port=port, domain=f"t-{name}", uuid=_uuid(name)).model_copy(
        update={"disks": (), "machine_type": "pc"}))  # fmt: skip


def _uuid(name: str) -> str:
    return f"6f1f0f34-5d5c-4e0a-9a0c-{name.encode().hex():0>12.12}"


@pytest.fixture(scope="module")
def running(embedded: Libvirt, tiny_image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    with guest(embedded, tiny_image, tmp_path_factory.mktemp("g"), node(name="g", nics=(), disks=())) as up:
        yield up


def test_a_domain_is_found_by_its_mark_and_name(running: Guest, embedded: Libvirt) -> None:
    assert [d.name for d in embedded.ours("tests")] == [running.domain.name]
    assert embedded.ours("other lab") == []
    found = embedded.find(running.domain.name)
    assert found is not None and found.uuid == running.domain.uuid
    assert found.mark == {"lab": "tests", "node": "g", "expires": "0"}
    assert (found.pid, found.start_time) == (running.domain.pid, running.domain.start_time)
    assert embedded.find("nothing") is None


def test_its_process_is_known(running: Guest) -> None:
    pid = running.domain.pid
    assert pid is not None and running.domain.start_time == process_start_time(pid)
    assert running.domain.name.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    assert os.sched_getaffinity(pid) == os.sched_getaffinity(0), "not left on the CPU that libvirt was opened on"


def test_the_management_card_is_the_first(running: Guest) -> None:
    running.await_ssh()
    said = running.host.run(["readlink", "-f", "/sys/class/net/eth0/device"]).stdout
    assert said.strip().endswith("0000:00:03.0")


def test_paused_and_resumed(running: Guest) -> None:
    running.domain.pause()
    assert running.domain.is_running()
    assert running.domain.qmp("query-status")["status"] == "paused"
    running.domain.resume()
    assert running.domain.qmp("query-status")["status"] == "running"


def test_qemu_refuses_in_its_own_words(running: Guest) -> None:
    with pytest.raises(DomainError, match="g: QEMU refuses no-such-command"):
        running.domain.qmp("no-such-command")


def test_reset_boots_it_again_with_its_console_going_on(running: Guest) -> None:
    before = running.console.stat().st_size
    running.domain.reset()
    running.await_ready(before)
    assert running.console.stat().st_size > before


def test_the_same_name_twice_is_refused(running: Guest, embedded: Libvirt) -> None:
    with pytest.raises(DomainError, match="already") as caught:
        embedded.start(running.xml)
    assert "nestlab reap" in str(caught.value.hint)


def test_a_guest_that_powers_off_or_reboots_is_noticed(embedded: Libvirt, tiny_image: Image, tmp_path: Path) -> None:
    events: queue.Queue[DomainEvent] = queue.Queue()
    stop = embedded.watch(events.put)
    try:
        with guest(embedded, tiny_image, tmp_path / "g", node(name="p", nics=(), disks=())) as one:
            assert events.get(timeout=5).kind == "started"
            endings: list[str] = []
            stop_telling = one.domain.on_ending(endings.append)
            size = one.console.stat().st_size
            one.await_ssh()
            one.host.run(["sh", "-c", "(sleep 1; reboot -f) >/dev/null 2>&1 &"])
            assert events.get(timeout=20) == DomainEvent(one.domain.name, "reboot")
            one.await_ready(size)
            assert one.domain.is_running()
            assert set(endings) == {"guest-reset"}  # twice: Linux asks for it in two ways
            one.await_ssh()
            one.host.run(["sh", "-c", "(sleep 1; poweroff -f) >/dev/null 2>&1 &"])
            kinds = [events.get(timeout=20).kind]
            while kinds[-1] == "reboot":  # the reset that a reboot asks for is told too
                kinds.append(events.get(timeout=20).kind)
            assert kinds[-1] == "shutdown"
            # libvirt ends QEMU after that, which QEMU tells as well
            assert [end for end in endings if end.startswith("guest-")][-1] == "guest-shutdown"
            stop_telling()
            deadline = time.monotonic() + 5
            while one.domain.is_running():
                assert time.monotonic() < deadline
                time.sleep(0.05)
            one.domain.destroy()  # a domain that is gone is fine
            with pytest.raises(DomainGone, match="p: QEMU does not answer query-status"):
                one.domain.qmp("query-status")
            assert embedded.find(one.domain.name) is None
    finally:
        stop()


def test_one_that_is_just_ending_does_not_run_any_more(embedded: Libvirt, tmp_path: Path) -> None:
    """Asked again and again while QEMU goes: its monitor closes before its process is gone."""
    answers: queue.Queue[bool | DomainError] = queue.Queue()

    def ask(domain: Domain) -> None:
        try:
            while domain.is_running():
                time.sleep(0.001)
            answers.put(False)
        except DomainError as error:
            answers.put(error)

    for number in range(8):
        xml = bare_xml(tmp_path, f"e{number}", port=20993).replace("<on_reboot>restart", "<on_reboot>destroy")
        domain = embedded.start(xml)
        asking = [threading.Thread(target=ask, args=(domain,)) for _ in range(3)]
        for thread in asking:
            thread.start()
        time.sleep(0.2)
        with contextlib.suppress(DomainGone):  # it may be gone before it has answered
            domain.qmp("system_reset")
        for thread in asking:
            thread.join(20)
        domain.destroy()
    assert [answers.get(timeout=1) for _ in range(8 * 3)] == [False] * 24


def test_destroying_takes_less_than_half_a_second(embedded: Libvirt, tmp_path: Path) -> None:
    """The sub-reaper's doing: without it 1.4 to 2 s, under a process 1 that reaps rarely."""
    domain = embedded.start(bare_xml(tmp_path, "quick", port=20990))
    assert domain.pid is not None
    began = time.monotonic()
    domain.destroy()
    assert time.monotonic() - began < 0.5
    assert process_start_time(domain.pid) is None
    assert not Path(f"/proc/{domain.pid}").exists(), "dead, and waited for"


def test_a_start_that_fails_says_why_and_leaves_nothing(embedded: Libvirt, tmp_path: Path) -> None:
    xml = bare_xml(tmp_path, "wrong", port=20991).replace("rtl8139,netdev", "rtl8139zz,netdev")
    xml = xml.replace('value="e1000,netdev', 'value="e1000zz,netdev')
    with pytest.raises(DomainError, match=r"wrong: cannot be started: .*e1000zz"):
        embedded.start(xml)
    assert embedded.find("t-wrong") is None
    with pytest.raises(DomainError, match=r"No such file"):
        one = node(name="nodisk", nics=())
        embedded.start(domain_xml(one, BARE.wire(tmp_path, port=20992, domain="t-nodisk").model_copy(
            update={"disks": (str(tmp_path / "none.qcow2"),), "machine_type": "pc"})))  # fmt: skip


def test_children_of_others_are_left_to_them() -> None:
    """The reaper waits for orphans only: what subprocess starts keeps its status, in a session of its own or not."""
    for new_session in (False, True):
        many = [
            subprocess.Popen([sys.executable, "-c", f"raise SystemExit({n})"], start_new_session=new_session)
            for n in range(5)
        ]
        time.sleep(0.3)
        assert [process.wait(5) for process in many] == list(range(5))


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
