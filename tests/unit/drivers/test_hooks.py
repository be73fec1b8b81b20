"""Posts of an installation: what is taken, what is turned away, and what nobody can do to the listener."""

from __future__ import annotations

import contextlib
import http.client
import random
import socket
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.drivers import hooks
from builder.drivers.hooks import MOST_BODY, HookListener, Report
from builder.secrets import Secret


class Bench:
    """A listener, what it told, and posts to it."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.told: list[Report] = []
        self.listener = HookListener(self.told.append, log=log, secrets=[Secret("hunter22")])
        self.address = self.listener.argument("127.0.0.1").partition("=")[2]
        self.token = self.address.rpartition("/")[2]

    def post(self, path: str, body: bytes = b"", *, method: str = "POST", **headers: str) -> int:
        """The status of the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.listener.port, timeout=5)
        try:
            connection.request(method, path, body, {key.replace("_", "-"): value for key, value in headers.items()})
            return connection.getresponse().status
        finally:
            connection.close()

    def raw(self, data: bytes) -> bytes:
        """What comes back for these bytes, until the listener closes or nothing comes for a second."""
        with socket.create_connection(("127.0.0.1", self.listener.port), timeout=1) as guest:
            guest.sendall(data)
            with contextlib.suppress(OSError):
                guest.shutdown(socket.SHUT_WR)
            got = b""
            with contextlib.suppress(OSError):
                while part := guest.recv(4096):
                    got += part
            return got


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "installer.log")
    with made.listener:
        yield made


def test_the_argument_is_one_plain_word(bench: Bench) -> None:
    name, _, url = bench.listener.argument("10.0.2.2").partition("=")
    assert name == "nestlab.hooks"
    assert url == f"http://10.0.2.2:{bench.listener.port}/{bench.token}"
    assert len(bench.token) == 32
    assert bench.token.isalnum()


def test_a_report_is_told_and_kept(bench: Bench) -> None:
    assert bench.post(f"/{bench.token}/end/disks", b"the disks are ready\n") == 204
    assert bench.post(f"/{bench.token}/fail/base-system", b"it failed\nline 1\nline 2\n") == 204
    assert bench.told == [
        Report("end", "disks", "the disks are ready"),
        Report("fail", "base-system", "it failed", "line 1\nline 2"),
    ]
    lines = bench.log.read_text().splitlines()
    assert [line.partition(" s ")[2] or line for line in lines] == [
        "end disks: the disks are ready", "fail base-system: it failed", "| line 1", "| line 2",
    ]  # fmt: skip
    assert stat.S_IMODE(bench.log.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/{other}/end/disks", "POST"),
        ("/{token}x/end/disks", "POST"),
        ("/{token}", "POST"),
        ("/{token}/stop/disks", "POST"),
        ("/{token}/end/", "POST"),
        ("/{token}/end/../../etc/passwd", "POST"),
        ("/{token}/end/Disks", "POST"),
        ("/{token}/end/" + "a" * 41, "POST"),
        ("/{token}/end/disks?x=1", "POST"),
        ("/{token}/end/disks", "GET"),
        ("/{token}/end/disks", "PUT"),
        ("/{token}/end/disks", "DELETE"),
    ],
)
def test_what_is_no_report_is_turned_away(bench: Bench, path: str, method: str) -> None:
    asked = path.format(token=bench.token, other="0" * 32)
    assert bench.post(asked, b"x", method=method) in (404, 501)
    assert bench.told == []
    assert bench.log.read_text() == ""


@pytest.mark.parametrize(
    ("length", "status"),
    [(str(MOST_BODY + 1), 413), ("9" * 400, 413), ("-1", 411), ("1e3", 411), ("", 411), ("٣", 411)],
)
def test_a_length_that_is_none_or_too_large(bench: Bench, length: str, status: int) -> None:
    head = f"POST /{bench.token}/end/disks HTTP/1.0\r\nContent-Length: {length}\r\n\r\nbody"
    assert bench.raw(head.encode()).split()[1] == str(status).encode()
    assert bench.told == []


def test_a_body_as_large_as_allowed(bench: Bench) -> None:
    body = b"m\n" + b"x" * (MOST_BODY - 2)
    assert bench.post(f"/{bench.token}/fail/x", body) == 204
    assert len(bench.told[0].log) == MOST_BODY - 2


def test_a_body_cut_short_is_no_report(bench: Bench) -> None:
    bench.raw(f"POST /{bench.token}/end/disks HTTP/1.0\r\nContent-Length: 100\r\n\r\nhalf".encode())
    assert bench.told == []


def test_secrets_and_controls_are_taken_out(bench: Bench) -> None:
    hashed = "$6$abcdefgh$" + "x" * 86
    body = f"pass hunter22 \x1b[31mred\x00\x07\nhun\x00ter22\nroot:{hashed}:\n\u202eright\ufeff\r\nhttp://u:p@h/\xff"
    assert bench.post(f"/{bench.token}/fail/x", body.encode() + b"\xff\xfe") == 204
    report = bench.told[0]
    assert report.message == "pass *** [31mred"
    assert report.log.splitlines()[:4] == ["***", "root:***:", "right", "http://***@h/\xff\ufffd\ufffd"]
    kept = bench.log.read_text()
    assert [word for word in ("hunter22", hashed, "\x1b", "\x00") if word in kept] == []


def test_a_message_is_one_short_line(bench: Bench) -> None:
    bench.post(f"/{bench.token}/end/x", b"y" * 5000)
    assert bench.told[0].message == "y" * hooks.MOST_MESSAGE


def test_posts_at_the_same_time_are_told_one_at_a_time(tmp_path: Path) -> None:
    inside, most, told = 0, 0, []

    def tell(report: Report) -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        time.sleep(0.01)
        told.append(report)
        inside -= 1

    bench = Bench(tmp_path / "log")
    with HookListener(tell) as listener:
        bench.listener.close()
        bench.listener = listener
        bench.token = listener.argument("x").rpartition("/")[2]
        threads = [threading.Thread(target=bench.post, args=(f"/{bench.token}/end/p{n}", b"m")) for n in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert most == 1
    assert sorted(report.phase for report in told) == sorted(f"p{n}" for n in range(12))


def test_there_is_an_end_to_reports_and_to_the_log(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "_MOST_REPORTS", 3)
    bench.listener._room = 100
    answers = [bench.post(f"/{bench.token}/end/x", b"y" * 60) for _ in range(5)]
    assert answers == [204, 204, 204, 429, 429]
    assert len(bench.told) == 3
    assert 0 < bench.log.stat().st_size <= 100


def test_guests_that_only_hold_the_line_do_not_stop_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "_PATIENCE", 0.5)
    silent = [socket.create_connection(("127.0.0.1", bench.listener.port)) for _ in range(hooks._MOST_GUESTS + 4)]
    silent[0].sendall(b"POST /")
    deadline = time.monotonic() + 5
    status = 0
    while status != 204 and time.monotonic() < deadline:
        with contextlib.suppress(OSError, http.client.HTTPException):
            status = bench.post(f"/{bench.token}/end/x", b"m")
        time.sleep(0.1)
    for guest in silent:
        guest.close()
    assert status == 204


def test_closing_waits_for_nobody_and_nothing_is_told_afterwards(bench: Bench) -> None:
    guest = socket.create_connection(("127.0.0.1", bench.listener.port))
    guest.sendall(f"POST /{bench.token}/end/x HTTP/1.0\r\nContent-Length: 5\r\n\r\n12".encode())
    time.sleep(0.2)
    began = time.monotonic()
    bench.listener.close()
    assert time.monotonic() - began < 1.5
    with contextlib.suppress(OSError):
        guest.sendall(b"345")
    time.sleep(0.2)
    guest.close()
    assert bench.told == []
    with pytest.raises(OSError):
        bench.post(f"/{bench.token}/end/x", b"m")


def test_a_link_is_not_followed_to_write_the_log(tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):
        HookListener(lambda _: None, log=tmp_path / "log")
    assert not (tmp_path / "elsewhere").exists()


def test_no_bytes_do_harm(bench: Bench) -> None:
    """Bytes by chance, and right requests with bytes by chance in them: an answer or a closed line, and it goes on."""
    dice = random.Random(20261121)
    right = f"POST /{bench.token}/end/disks HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\nall well".encode()
    for round_ in range(150):
        if round_ % 3 == 0:
            data = dice.randbytes(dice.randrange(1, 400))
        else:
            changed = bytearray(right)
            for _ in range(dice.randrange(1, 6)):
                place = dice.randrange(len(changed))
                changed[place : place + dice.randrange(2)] = dice.randbytes(dice.randrange(3))
            data = bytes(changed)
        answer = bench.raw(data + b"\r\n\r\n")
        assert answer == b"" or answer.startswith((b"HTTP/1.", b"<!DOCTYPE"))
    for report in bench.told:
        assert report.kind in ("begin", "end", "fail")
        assert report.message.isprintable()
    assert bench.raw(b"POST /" + b"a" * 70000 + b" HTTP/1.0\r\n\r\n").split()[1:2] in ([b"414"], [])
    assert bench.raw(b"POST / HTTP/1.0\r\n" + b"a: b\r\n" * 500 + b"\r\n").split()[1:2] == [b"431"]
    assert bench.post(f"/{bench.token}/end/last", b"still there") == 204
    assert bench.told[-1] == Report("end", "last", "still there")
