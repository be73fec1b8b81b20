"""What a server gives out besides whole images: files inside them, and small files of its own."""

from __future__ import annotations

import http.client
from pathlib import Path

import pytest

from builder.media.edits import Put
from builder.media.plan import GraftPlan, plan_edits
from builder.media.sinks.http import ImageServer
from tests.unit.media import made


@pytest.fixture
def plan(tmp_path: Path) -> GraftPlan:
    files = {**made.FILES, "/repodata/repomd.xml": b"<repomd/>" * 900}
    return plan_edits(made.iso(tmp_path / "src.iso", files), [Put("/readme.txt", b"another text\n")])


def ask(server: ImageServer, path: str, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection(*server.address, timeout=10)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read(), dict(answer.getheaders())
    finally:
        connection.close()


def test_files_inside_an_image_are_those_of_the_plan(plan: GraftPlan) -> None:
    with ImageServer({"h.iso": plan}, trees=("h.iso",)) as server:
        assert ask(server, "/h.iso/readme.txt")[:2] == (200, b"another text\n")
        assert ask(server, "/h.iso/isolinux/vmlinuz")[1] == made.FILES["/isolinux/vmlinuz"]
        assert ask(server, "/h.iso/repodata/repomd.xml", Range="bytes=9-17")[:2] == (206, b"<repomd/>")
        assert ask(server, "/h.iso/empty")[:2] == (200, b"")
        for path in (
            "/h.iso/absent",
            "/h.iso/repodata",
            "/h.iso/",
            "/h.iso/../h.iso",
            "/h.iso/%2e%2e/x",
            "/h.iso/a%00b",
        ):
            assert ask(server, path)[0] == 404, path


def test_tags_tell_files_apart(plan: GraftPlan) -> None:
    with ImageServer({"h.iso": plan}, trees=("h.iso",)) as server:
        tags = {ask(server, f"/h.iso{path}")[2]["ETag"] for path in ("", "/readme.txt", "/isolinux/vmlinuz")}
        assert len(tags) == 3


def test_without_being_asked_nothing_inside_is_served(plan: GraftPlan) -> None:
    with ImageServer({"h.iso": plan}) as server:
        assert ask(server, "/h.iso/readme.txt")[0] == 404


def test_small_files_beside_images(plan: GraftPlan) -> None:
    with ImageServer({"h.iso": plan}, {"h/answerfile.xml": b"<a/>", "v.iso": b"CD" * 99}) as server:
        status, body, headers = ask(server, "/h/answerfile.xml")
        assert (status, body, headers["Content-Type"]) == (200, b"<a/>", "text/plain; charset=utf-8")
        assert ask(server, "/v.iso", Range="bytes=-2")[:2] == (206, b"CD")
        assert ask(server, "/v.iso")[2]["Content-Type"] == "application/x-iso9660-image"


@pytest.mark.parametrize("wanted", ["bytes=" + "9" * 5000 + "-", "bytes=\u0661-\u0662"])
def test_ranges_that_are_no_numbers(wanted: str, plan: GraftPlan) -> None:
    with ImageServer({"h.iso": plan}, {"f": b"content"}) as server:
        connection = http.client.HTTPConnection(*server.address, timeout=10)
        connection.putrequest("GET", "/f")
        connection.putheader("Range", wanted.encode())
        connection.endheaders()
        assert connection.getresponse().read() == b"content"
        connection.close()


def test_ipv6(plan: GraftPlan) -> None:
    with ImageServer({"h.iso": plan}, {"f": b"six"}, host="::1") as server:
        assert server.url("f") == f"http://[::1]:{server.address[1]}/f"
        assert ask(server, "/f")[1] == b"six"
