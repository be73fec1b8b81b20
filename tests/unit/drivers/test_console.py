"""The console log as lines, and a person attached to the console."""

from __future__ import annotations

import os
import pty
import random
import socket
import termios
import threading
import time
from pathlib import Path

import pytest

from builder.drivers.console import ConsoleFollower, attach
from builder.errors import LabError


def fed(tmp_path: Path, *chunks: bytes) -> tuple[list[str], ConsoleFollower]:
    log = tmp_path / "console.log"
    log.write_bytes(b"")
    follower = ConsoleFollower(log)
    lines: list[str] = []
    for chunk in chunks:
        with log.open("ab") as file:
            file.write(chunk)
        lines += follower.read()
    return lines, follower


RAW = (
    b"\x1bc\x1b[?7l\x1b[2J\x1b[0mSeaBIOS (version 1.16.2)\r\n\r\n"
    b"\x1b[1;1HGNU GRUB\x1b[3;1H*Debian\x1b[4;1H Advanced\r"
    b"(XEN) Xen version 4.17\r\n"
    b"[    0.000000] \x1b[32mLinux\x1b[0m version 6.1 \xc3\xa9\r\r\n"
    b"\x1b]0;title\x07\x1b(Bdone\x08\x00\r\nlogin: "
)
LINES = [
    "SeaBIOS (version 1.16.2)", "GNU GRUB", "*Debian", " Advanced", "(XEN) Xen version 4.17",
    "[    0.000000] Linux version 6.1 é", "done",
]  # fmt: skip


def test_what_terminals_act_on_is_taken_out(tmp_path: Path) -> None:
    lines, follower = fed(tmp_path, RAW)
    assert lines == LINES
    assert follower.partial == "login: "
    assert follower.offset == len(RAW)


def test_how_the_log_grows_changes_nothing(tmp_path: Path) -> None:
    """Cut anywhere: within an escape, between CR and LF, within a character."""
    assert fed(tmp_path, *(RAW[i : i + 1] for i in range(len(RAW))))[0] == LINES
    chance = random.Random(7)
    for _ in range(200):
        cuts = sorted(chance.sample(range(len(RAW)), 6))
        chunks = [RAW[a:b] for a, b in zip([0, *cuts], [*cuts, len(RAW)], strict=True)]
        lines, follower = fed(tmp_path, *chunks)
        assert (lines, follower.partial) == (LINES, "login: "), cuts


def test_from_an_offset(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"old boot\nnew boot\n")
    assert ConsoleFollower(log, offset=9).read() == ["new boot"]


def test_a_log_that_is_not_there_yet(tmp_path: Path) -> None:
    follower = ConsoleFollower(tmp_path / "log")
    assert follower.read() == []
    (tmp_path / "log").write_bytes(b"now\n")
    assert follower.read() == ["now"]


@pytest.mark.parametrize("how", ["replaced", "cut"])
def test_a_log_that_is_rotated_is_read_from_its_start(tmp_path: Path, how: str) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"first log, longer\nhalf a li")
    follower = ConsoleFollower(log)
    assert follower.read() == ["first log, longer"]
    if how == "replaced":
        (tmp_path / "new").write_bytes(b"second log, that is even longer than the first\n")
        (tmp_path / "new").rename(log)
    else:
        log.write_bytes(b"second\n")
    assert [line[:6] for line in follower.read()] == ["second"]
    assert follower.partial == ""


def test_a_line_without_end_does_not_eat_memory(tmp_path: Path) -> None:
    lines, follower = fed(tmp_path, *[b"x" * 50_000] * 5, b"\nend\n")
    assert lines[-1] == "end"
    assert sum(map(len, lines)) == 250_000 + 3
    assert len(follower.partial) == 0


def test_lines_come_while_the_log_grows(tmp_path: Path) -> None:
    log, stop = tmp_path / "log", threading.Event()

    def write() -> None:
        for number in range(5):
            time.sleep(0.03)
            with log.open("ab") as file:
                file.write(b"line %d\n" % number)

    writer = threading.Thread(target=write)
    writer.start()
    seen = []
    for line in ConsoleFollower(log).lines(stop):
        seen.append(line)
        if line == "line 4":
            stop.set()
    writer.join()
    assert seen == [f"line {n}" for n in range(5)]


def test_following_a_quiet_log_costs_next_to_nothing(tmp_path: Path) -> None:
    log, stop = tmp_path / "log", threading.Event()
    log.write_bytes(b"")
    threading.Timer(1.0, stop.set).start()
    before = time.thread_time()
    assert list(ConsoleFollower(log).lines(stop)) == []
    assert time.thread_time() - before < 0.05


@pytest.fixture
def guest(tmp_path: Path) -> tuple[Path, socket.socket]:
    path = tmp_path / "console.sock"
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen(1)
    return path, server


def test_attached_both_ways_until_the_escape(guest: tuple[Path, socket.socket], tmp_path: Path) -> None:
    path, server = guest
    log = tmp_path / "console.log"
    log.write_bytes(b"earlier words\r\n")
    keyboard_out, keyboard_in = os.pipe()
    screen_out, screen_in = os.pipe()
    heard = []

    def play_guest() -> None:
        peer, _ = server.accept()
        peer.sendall(b"login: ")
        heard.append(peer.recv(100))
        peer.sendall(b"Password: ")
        os.write(keyboard_in, b"secret\x1dnot for the guest")
        heard.append(peer.recv(100))
        heard.append(peer.recv(100))

    player = threading.Thread(target=play_guest)
    player.start()
    os.write(keyboard_in, b"root\r")
    assert attach(path, log, stdin=keyboard_out, stdout=screen_in) == "escape"
    player.join(5)
    assert heard == [b"root\r", b"secret", b""]
    assert os.read(screen_out, 1000) == b"earlier words\r\nlogin: Password: "


def test_attached_until_the_guest_is_gone_and_the_terminal_is_as_before(guest: tuple[Path, socket.socket]) -> None:
    path, server = guest
    _, terminal = pty.openpty()
    before = termios.tcgetattr(terminal)
    during = []

    def play_guest() -> None:
        peer, _ = server.accept()
        time.sleep(0.1)
        during.append(termios.tcgetattr(terminal))
        peer.close()

    player = threading.Thread(target=play_guest)
    player.start()
    screen_out, screen_in = os.pipe()
    assert attach(path, stdin=terminal, stdout=screen_in) == "closed"
    player.join(5)
    assert during[0][3] & termios.ICANON == 0
    assert termios.tcgetattr(terminal) == before
    os.close(screen_out)


def test_attached_to_nothing(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="cannot be reached: No such file"):
        attach(tmp_path / "none.sock", stdin=0, stdout=1)
