"""Plans served over HTTP: ranges, tags, many at once, and requests that nobody means."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from pathlib import Path

import pytest

from builder.media.edits import Overlay, Put
from builder.media.errors import MediaError
from builder.media.initrd import OverlayFile
from builder.media.plan import GraftPlan, plan_edits
from builder.media.sinks.http import ImageServer, Request
from tests.unit.media import made


@pytest.fixture
def src(tmp_path: Path) -> Path:
    return made.iso(tmp_path / "src.iso")


@pytest.fixture
def plan(src: Path) -> GraftPlan:
    added = Put("/new.bin", bytes(range(256)) * 300)
    return plan_edits(src, [added, Put("/readme.txt", b"changed"), Overlay((OverlayFile("/x", b"y"),))])


@pytest.fixture
def served(plan: GraftPlan, src: Path) -> tuple[ImageServer, list[Request]]:
    seen: list[Request] = []
    other = plan_edits(src, [Put("/readme.txt", b"second machine")])
    return ImageServer({"host1.iso": plan, "a/host2.iso": other}, on_request=seen.append), seen


def connect(server: ImageServer) -> http.client.HTTPConnection:
    host, port = server.address
    return http.client.HTTPConnection(host, port, timeout=10)


def ask(server: ImageServer, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = connect(server)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def test_one_source_is_served_as_two_images(served: tuple[ImageServer, list[Request]], plan: GraftPlan) -> None:
    server, seen = served
    with server:
        status, headers, body = ask(server, "/host1.iso")
        assert (status, body) == (200, made.planned(plan))
        assert headers["Accept-Ranges"] == "bytes"
        assert ask(server, "/a/host2.iso")[2] != body
        assert ask(server, "/host1.iso", "HEAD")[1]["Content-Length"] == str(plan.size)
        assert ask(server, "/host1.iso", "HEAD")[2] == b""
        assert ask(server, "/absent.iso")[0] == 404
        assert ask(server, "/../src.iso")[0] == 404
        deadline = time.monotonic() + 20  # a request is told of when it has been answered
        while len(seen) < 6 and time.monotonic() < deadline:
            time.sleep(0.02)
    assert sorted(r.status for r in seen) == [200, 200, 200, 200, 404, 404], "each has a thread of its own"


@pytest.mark.parametrize(
    ("wanted", "status", "start", "end"),
    [
        ("bytes=0-0", 206, 0, 1), ("bytes=32768-34815", 206, 32768, 34816), ("bytes=-100", 206, -100, None),
        ("bytes=100-", 206, 100, None), ("bytes=5-99999999999", 206, 5, None), ("bytes=99999999999-", 416, 0, 0),
        ("bytes=-0", 416, 0, 0), ("bytes=9-5", 200, 0, None), ("bytes=0-1,5-6", 200, 0, None),
        ("bytes=-", 200, 0, None), ("words=1-2", 200, 0, None),
    ],
)  # fmt: skip
def test_ranges(
    wanted: str, status: int, start: int, end: int | None, served: tuple[ImageServer, list[Request]], plan: GraftPlan
) -> None:
    whole = made.planned(plan)
    with served[0] as server:
        got = ask(server, "/host1.iso", Range=wanted)
        assert (got[0], got[2]) == (status, whole[start:end] if status != 416 else b"")
        if status == 206:
            first = start if start >= 0 else plan.size + start
            assert got[1]["Content-Range"] == f"bytes {first}-{first + len(got[2]) - 1}/{plan.size}"


def test_a_stale_tag_gets_the_whole(served: tuple[ImageServer, list[Request]], plan: GraftPlan) -> None:
    with served[0] as server:
        tag = ask(server, "/host1.iso", "HEAD")[1]["ETag"]
        assert ask(server, "/a/host2.iso", "HEAD")[1]["ETag"] != tag
        assert ask(server, "/host1.iso", Range="bytes=0-1", If_Range=tag)[0] == 206
        assert ask(server, "/host1.iso", Range="bytes=0-1", If_Range='"other"')[0] == 200


def test_a_source_that_changes_is_not_served(served: tuple[ImageServer, list[Request]], src: Path) -> None:
    with served[0] as server:
        assert ask(server, "/host1.iso", Range="bytes=0-1")[0] == 206
        src.touch()
        assert ask(server, "/host1.iso", Range="bytes=0-1")[0] == 503


def test_many_at_once_on_one_connection_each(served: tuple[ImageServer, list[Request]], plan: GraftPlan) -> None:
    whole = made.planned(plan)
    wrong: list[int] = []

    def read(seed: int) -> None:
        connection = connect(server)
        for step in range(40):
            at = (seed * 7919 + step * 104729) % (plan.size - 5000)
            connection.request("GET", "/host1.iso", headers={"Range": f"bytes={at}-{at + 4999}"})
            if connection.getresponse().read() != whole[at : at + 5000]:
                wrong.append(at)
        connection.close()

    with served[0] as server:
        threads = [threading.Thread(target=read, args=(seed,)) for seed in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


def test_a_client_that_hangs_up_disturbs_nobody(served: tuple[ImageServer, list[Request]]) -> None:
    with served[0] as server:
        for _ in range(5):
            connection = connect(server)
            connection.request("GET", "/host1.iso")
            connection.getresponse().read(10)
            connection.close()
        begin = time.monotonic()
        assert ask(server, "/host1.iso", Range="bytes=0-1")[0] == 206
        assert time.monotonic() - begin < 1


@pytest.mark.parametrize(
    ("path", "status"),
    [("//host1.iso", 206), ("/host1.iso%00", 404), ("/%2e%2e/src.iso", 404), ("/host1.iso?a=b", 206), ("/%ff%fe", 404),
     ("/" + "a" * 60000, 404), ("/host1.iso/", 404)],
    ids=["slashes", "zero", "above", "query", "no text", "long", "folder"],
)  # fmt: skip
def test_requests_that_nobody_means(path: str, status: int, served: tuple[ImageServer, list[Request]]) -> None:
    with served[0] as server:
        assert ask(server, path, Range="bytes=0-0")[0] == status
        assert ask(server, "/host1.iso", Range="bytes=0-0")[0] == 206


def test_an_address_that_is_none(served: tuple[ImageServer, list[Request]]) -> None:
    """By hand: no client sends it."""
    with served[0] as server, socket.create_connection(server.address, timeout=10) as connection:
        connection.sendall(b"GET http://[x HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 400 ")


def test_addresses_are_as_programs_take_them(plan: GraftPlan) -> None:
    name = "my medium #1 100%.iso"
    with ImageServer({name: plan}) as server:
        address = server.url(name)
        assert not set(address) & set(" #")
        assert ask(server, address.partition(str(server.address[1]))[2], Range="bytes=0-0")[0] == 206


def test_a_port_in_use(plan: GraftPlan) -> None:
    with ImageServer({"a": plan}) as server, pytest.raises(MediaError, match="cannot listen"):
        ImageServer({"a": plan}, port=server.address[1])
