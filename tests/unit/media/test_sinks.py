"""Every sink gives the same image; none leaves half of one, or touches the source."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from builder.media.edits import Edit, Overlay, Put
from builder.media.errors import MediaError, WrongPath
from builder.media.initrd import OverlayFile
from builder.media.plan import GraftPlan, plan_edits
from builder.media.sinks import apply_in_place, undo_in_place, write_file, write_qcow2, write_stream
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


# -- new files


def test_a_file_is_the_image(plan: GraftPlan, src: Path, tmp_path: Path) -> None:
    before = src.read_bytes()
    done = write_file(plan, tmp_path / "out.iso", durable=True)
    assert (tmp_path / "out.iso").read_bytes() == made.planned(plan)
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
    assert out.read_bytes() == made.planned(plan)


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
    assert bytes(got) == made.planned(plan)


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
    before, wanted, times = src.read_bytes(), made.planned(plan), src.stat().st_mtime_ns
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
