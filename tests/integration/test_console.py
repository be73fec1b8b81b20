"""The console of a real guest: its log followed, a person attached, input going in."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.drivers.console import ConsoleFollower, attach
from builder.drivers.virt import Libvirt
from builder.images.store import Image
from tests.support.guests import Guest, guest
from tests.support.kvm_cases import node

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def running(embedded: Libvirt, tiny_image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    with guest(embedded, tiny_image, tmp_path_factory.mktemp("g"), node(name="c", nics=(), disks=())) as up:
        yield up


def test_firmware_and_kernel_are_in_the_log_line_by_line(running: Guest) -> None:
    """The log is written while nobody is attached, from the first word of the firmware on."""
    follower = ConsoleFollower(running.console)
    lines = follower.read()
    follower.close()
    assert any("SeaBIOS" in line for line in lines), lines[:20]
    assert any("nestlab-tiny: ready" in line for line in lines)
    assert not [line for line in lines if "\x1b" in line or "\r" in line]


def test_what_is_typed_reaches_the_guest_and_its_words_come_back(running: Guest) -> None:
    """A shell answers on the console; what it says goes to the person and to the log."""
    keyboard_out, keyboard_in = os.pipe()
    screen_out, screen_in = os.pipe()
    ended: list[str] = []
    person = threading.Thread(
        target=lambda: ended.append(attach(running.wiring.console_socket, stdin=keyboard_out, stdout=screen_in))
    )
    person.start()
    os.write(keyboard_in, b"echo heard:$((40 + 2))\r")
    seen = b""
    deadline = time.monotonic() + 20
    while b"heard:42" not in seen and time.monotonic() < deadline:
        if select.select([screen_out], [], [], 0.5)[0]:
            seen += os.read(screen_out, 4096)
    os.write(keyboard_in, b"\x1d")
    person.join(5)
    assert b"heard:42" in seen and ended == ["escape"]
    while b"heard:42" not in running.console.read_bytes():  # the log is another reader of the same words
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_second_person_after_the_first(running: Guest) -> None:
    for _ in range(2):
        keyboard_out, keyboard_in = os.pipe()
        _, screen_in = os.pipe()
        os.write(keyboard_in, b"\x1d")
        assert attach(running.wiring.console_socket, stdin=keyboard_out, stdout=screen_in) == "escape"


def test_the_guest_goes_away_under_the_person(embedded: Libvirt, tiny_image: Image, tmp_path: Path) -> None:
    with guest(embedded, tiny_image, tmp_path / "g", node(name="d", nics=(), disks=())) as one:
        keyboard_out, keyboard_in = os.pipe()
        _, screen_in = os.pipe()
        threading.Timer(0.5, one.domain.destroy).start()
        assert attach(one.wiring.console_socket, stdin=keyboard_out, stdout=screen_in) == "closed"
        os.close(keyboard_in)
