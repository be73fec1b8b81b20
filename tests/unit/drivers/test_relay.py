"""A console that comes over libvirt. Its stream is stood in for: one that waits, ends, and breaks when told to."""

from __future__ import annotations

import os
import queue
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.drivers.console import attach
from builder.drivers.relay import ConsoleRelay


class Guest:
    """The stream of a guest: `says` what comes, `heard` what was typed. None is an error of libvirt's."""

    def __init__(self) -> None:
        self.says: queue.Queue[bytes | None] = queue.Queue()
        self.heard: queue.Queue[bytes] = queue.Queue()

    def recv(self, _size: int) -> bytes:
        data = self.says.get(timeout=10)
        if data is None:
            raise RuntimeError("stream had I/O failure")
        return data

    def send(self, data: bytes) -> int:
        self.heard.put(data[:3])  # libvirt may take a part
        return len(data[:3])

    def abort(self) -> None:
        self.says.put(None)


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[tuple[Guest, ConsoleRelay]]:
    made = Guest()
    relay = ConsoleRelay(made, tmp_path / "log", tmp_path / "s", name="a")
    yield made, relay
    relay.close()
    assert not (tmp_path / "s").exists()


def holds(log: Path, data: bytes) -> bool:
    deadline = time.monotonic() + 5
    while log.read_bytes() != data and time.monotonic() < deadline:
        time.sleep(0.01)
    return log.read_bytes() == data


def test_all_of_it_is_kept_behind_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"before\n")
    made = Guest()
    relay = ConsoleRelay(made, tmp_path / "log", tmp_path / "s", name="a")
    made.says.put(b"SeaBIOS\r\n")
    made.says.put(b"\xff\x00login: ")
    made.says.put(b"")
    assert holds(tmp_path / "log", b"before\nSeaBIOS\r\n\xff\x00login: ")
    relay.close()


def test_a_person_reads_and_types(tmp_path: Path, guest: tuple[Guest, ConsoleRelay]) -> None:
    stdin, typing = os.pipe()
    shown, stdout = os.pipe()
    guest[0].says.put(b"login: ")
    assert holds(tmp_path / "log", b"login: ")
    os.write(typing, b"root\r\x1d")
    assert attach(tmp_path / "s", tmp_path / "log", stdin=stdin, stdout=stdout) == "escape"
    assert os.read(shown, 100) == b"login: "
    assert guest[0].heard.get(timeout=5) + guest[0].heard.get(timeout=5) == b"root\r"
    for fd in (stdin, typing, shown, stdout):
        os.close(fd)


def test_the_second_person_waits_for_the_first(tmp_path: Path, guest: tuple[Guest, ConsoleRelay]) -> None:
    with socket.socket(socket.AF_UNIX) as first, socket.socket(socket.AF_UNIX) as second:
        for each in (first, second):
            each.settimeout(5)
            each.connect(str(tmp_path / "s"))
        first.sendall(b"1")
        assert guest[0].heard.get(timeout=5) == b"1"
        guest[0].says.put(b"one")
        assert first.recv(10) == b"one"
        first.close()
        second.sendall(b"2")
        assert guest[0].heard.get(timeout=5) == b"2"
        guest[0].says.put(b"two")
        assert second.recv(10) == b"two"


def test_the_end_of_the_guest_is_the_end_of_the_connection(tmp_path: Path, guest: tuple[Guest, ConsoleRelay]) -> None:
    with socket.socket(socket.AF_UNIX) as person:
        person.settimeout(5)
        person.connect(str(tmp_path / "s"))
        person.sendall(b"1")
        guest[0].heard.get(timeout=5)
        guest[0].says.put(None)
        assert person.recv(10) == b""
