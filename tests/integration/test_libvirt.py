"""Domains on the embedded driver: started, watched, ended."""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.drivers.virt import Domain, DomainError, DomainEvent, Libvirt
from builder.drivers.virt_errors import DomainGone
from builder.images.store import Image
from builder.run import process_start_time
from tests.support.guests import Guest, bare_xml, guest
from tests.support.kvm_cases import node

pytestmark = pytest.mark.integration


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
        embedded.start(bare_xml(tmp_path, "nodisk", port=20992, disks=(str(tmp_path / "none.qcow2"),)))


def test_children_of_others_are_left_to_them() -> None:
    """The reaper waits for orphans only: what subprocess starts keeps its status, in a session of its own or not."""
    for new_session in (False, True):
        many = [
            subprocess.Popen([sys.executable, "-c", f"raise SystemExit({n})"], start_new_session=new_session)
            for n in range(5)
        ]
        time.sleep(0.3)
        assert [process.wait(5) for process in many] == list(range(5))
