"""Every sink gives the same image; none leaves half of one, or touches the source."""

from __future__ import annotations

import fcntl
import http.client
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from builder.media.edits import Edit, Overlay, Put
from builder.media.errors import MediaError, WrongPath
from builder.media.initrd import OverlayFile
from builder.media.plan import GraftPlan, plan_edits
from builder.media.sinks import apply_in_place, undo_in_place, write_file, write_qcow2, write_stream
from builder.media.sinks.http import ImageServer, Request
from builder.media.sinks.inplace import journal_of
from tests.unit.media import made

EDITS: list[Edit] = [
    Put("/new.bin", bytes(range(256)) * 300), Put("/readme.txt", b"changed"), Overlay((OverlayFile("/x", b"y"),)),
]  # fmt: skip


@pytest.fixture
def src(tmp_path: Path) -> Path:
    return made.iso(tmp_path / "src.iso")


@pytest.fixture
def plan(src: Path) -> GraftPlan:
    return plan_edits(src, EDITS)


def image_of(plan: GraftPlan) -> bytes:
    with plan.open() as image:
        return b"".join(image.pieces(0, image.size))


# -- new files


def test_a_file_is_the_image(plan: GraftPlan, src: Path, tmp_path: Path) -> None:
    before = src.read_bytes()
    done = write_file(plan, tmp_path / "out.iso", durable=True)
    assert (tmp_path / "out.iso").read_bytes() == image_of(plan)
    assert done.size == plan.size
    assert src.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.iso", "src.iso"]


def test_an_old_file_is_replaced_in_one_step(plan: GraftPlan, tmp_path: Path) -> None:
    out = tmp_path / "out.iso"
    out.write_bytes(b"old")
    holder = out.open("rb")
    write_file(plan, out)
    assert holder.read() == b"old", "who had the old file open keeps it"
    holder.close()
    assert out.read_bytes() == image_of(plan)


def test_the_mode_follows_the_umask(plan: GraftPlan, tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        write_file(plan, tmp_path / "out.iso")
    finally:
        os.umask(old)
    assert (tmp_path / "out.iso").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("behind", ["real.iso", "nothing.iso"])
def test_a_symbolic_link_is_refused(behind: str, plan: GraftPlan, tmp_path: Path) -> None:
    (tmp_path / "real.iso").write_bytes(b"somebody's")
    link = tmp_path / "link.iso"
    link.symlink_to(behind)
    for write in (write_file, write_qcow2):
        with pytest.raises(WrongPath, match="symbolic link"):
            write(plan, link)
    assert link.is_symlink()
    assert (tmp_path / "real.iso").read_bytes() == b"somebody's"
    assert not (tmp_path / "nothing.iso").exists()


@pytest.mark.parametrize("how", ["same", "hard link", "dots"])
def test_the_source_is_no_target(how: str, plan: GraftPlan, src: Path, tmp_path: Path) -> None:
    target = tmp_path / "other.iso"
    if how == "same":
        target = src
    elif how == "hard link":
        target.hardlink_to(src)
    else:
        target = tmp_path / "sub" / ".." / "src.iso"
        (tmp_path / "sub").mkdir()
    before = src.read_bytes()
    for write in (write_file, write_qcow2):
        with pytest.raises(WrongPath, match="the source itself"):
            write(plan, target)
    assert src.read_bytes() == before


@pytest.mark.parametrize("where", ["folder", "absent/out.iso", "fifo", "loop"])
def test_places_that_take_no_file(where: str, plan: GraftPlan, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(WrongPath) as caught:
        write_file(plan, tmp_path / where)
    assert caught.value.hint


@pytest.mark.parametrize("name", ["x" * 255, "\u00e4" * 127, "\U0001f4bf" * 63])
@pytest.mark.parametrize("write", [write_file, write_qcow2])
def test_a_name_as_long_as_names_may_be(
    name: str, write: Callable[[GraftPlan, Path], object], plan: GraftPlan, tmp_path: Path
) -> None:
    """Also where a file of that name is there already: what takes its place has a name of its own before."""
    out = tmp_path / name
    for _ in range(2):
        write(plan, out)
        assert out.read_bytes()[:4] in (b"QFI\xfb", bytes(4))
    assert len(list(tmp_path.iterdir())) == 2
    with pytest.raises(WrongPath, match="too long"):
        write(plan, tmp_path / f"{name}{name}")


def test_a_changed_source_is_noticed(plan: GraftPlan, src: Path, tmp_path: Path) -> None:
    with src.open("r+b") as file:
        file.seek(100_000)
        file.write(b"changed")
    for write in (write_file, write_qcow2):
        with pytest.raises(MediaError, match="changed since the plan"):
            write(plan, tmp_path / "out")
    with pytest.raises(MediaError, match="changed since the plan"):
        apply_in_place(plan)
    assert not (tmp_path / "out").exists()
    assert not journal_of(src).exists()


def test_a_replaced_source_is_noticed(plan: GraftPlan, src: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(src.read_bytes())
    os.utime(other, ns=(src.stat().st_atime_ns, src.stat().st_mtime_ns))
    other.rename(src)
    with pytest.raises(MediaError, match="changed since the plan"):
        write_file(plan, tmp_path / "out.iso")


# -- streams


def test_a_stream_is_the_image(plan: GraftPlan, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    got = bytearray()

    def read() -> None:
        while piece := os.read(reader, 65536):
            got.extend(piece)

    thread = threading.Thread(target=read)
    thread.start()
    assert write_stream(plan, writer) == plan.size
    os.close(writer)
    thread.join()
    os.close(reader)
    assert bytes(got) == image_of(plan)


def test_a_reader_that_goes_away(plan: GraftPlan) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        with pytest.raises(BrokenPipeError):
            write_stream(plan, writer)
    finally:
        os.close(writer)


# -- in place


def test_in_place_and_back(plan: GraftPlan, src: Path) -> None:
    before, wanted, times = src.read_bytes(), image_of(plan), src.stat().st_mtime_ns
    apply_in_place(plan)
    assert src.read_bytes() == wanted
    undo_in_place(src)
    assert src.read_bytes() == before
    assert src.stat().st_mtime_ns == times
    assert not journal_of(src).exists()


def test_in_place_is_asked_once(plan: GraftPlan, src: Path) -> None:
    apply_in_place(plan)
    with pytest.raises(MediaError, match="changed in place before"):
        apply_in_place(plan_edits(src, EDITS))
    with pytest.raises(MediaError, match="there is no"):
        undo_in_place(src.with_name("other.iso")) if src.with_name("other.iso").write_bytes(b"x") else None


def test_one_change_at_a_time(plan: GraftPlan, src: Path) -> None:
    """Whoever else is at it has the file locked: two journals of one image would take back neither change."""
    with src.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(MediaError, match="being changed by another process"):
            apply_in_place(plan)
        assert not journal_of(src).exists()
    apply_in_place(plan)
    with src.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(MediaError, match="being changed by another process"):
            undo_in_place(src)
    undo_in_place(src)


@pytest.mark.parametrize("kind", ["pipe", "folder", "link", "dangling link"])
def test_what_is_no_journal_is_left_alone(kind: str, plan: GraftPlan, src: Path, tmp_path: Path) -> None:
    """A pipe is not waited for, and nothing is written through a link."""
    before, journal, other = src.read_bytes(), journal_of(src), tmp_path / "other"
    other.write_bytes(b"somebody's")
    if kind == "pipe":
        os.mkfifo(journal)
    elif kind == "folder":
        journal.mkdir()
    else:
        journal.symlink_to(other if kind == "link" else "nothing")
    with pytest.raises(MediaError, match="changed in place before"):
        apply_in_place(plan)
    with pytest.raises(MediaError, match=r"cannot read|not an undo journal"):
        undo_in_place(src)
    assert (src.read_bytes(), other.read_bytes()) == (before, b"somebody's")
    assert os.path.lexists(journal)


def test_a_journal_of_before_permissions_were_kept(plan: GraftPlan, src: Path) -> None:
    before = src.read_bytes()
    apply_in_place(plan)
    head, _, rest = journal_of(src).read_bytes().partition(b'"mode": ')
    journal_of(src).write_bytes(head + rest.partition(b", ")[2])
    src.chmod(0o640)
    undo_in_place(src)
    assert src.read_bytes() == before
    assert src.stat().st_mode & 0o777 == 0o640


def test_a_spoilt_journal_changes_nothing(plan: GraftPlan, src: Path) -> None:
    apply_in_place(plan)
    now, journal = src.read_bytes(), journal_of(src)
    good = journal.read_bytes()
    for bad in (good[:-20], good[: len(good) // 2], b"other" + good, good[:200] + bytes((good[200] ^ 1,)) + good[201:]):
        journal.write_bytes(bad)
        with pytest.raises(MediaError):
            undo_in_place(src)
        assert src.read_bytes() == now
    journal.write_bytes(good)
    undo_in_place(src)


# -- HTTP


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
        assert (status, body) == (200, image_of(plan))
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
    whole = image_of(plan)
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
    whole = image_of(plan)
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


def test_addresses_are_as_programs_take_them(plan: GraftPlan) -> None:
    name = "my medium #1 100%.iso"
    with ImageServer({name: plan}) as server:
        address = server.url(name)
        assert not set(address) & set(" #")
        assert ask(server, address.partition(str(server.address[1]))[2], Range="bytes=0-0")[0] == 206


def test_a_port_in_use(plan: GraftPlan) -> None:
    with ImageServer({"a": plan}) as server, pytest.raises(MediaError, match="cannot listen"):
        ImageServer({"a": plan}, port=server.address[1])
