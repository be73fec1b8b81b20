"""Plans: what they hold, what they cost, and what is refused. Read back by pycdlib."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.media.compare import compare
from builder.media.edits import Arguments, Edit, Extend, Overlay, Put, from_model
from builder.media.errors import MediaError
from builder.media.extract import extract
from builder.media.initrd import OverlayFile
from builder.media.inspect import inspect
from builder.media.iso9660 import both32
from builder.media.manifests import listed, updated
from builder.media.medium import open_medium
from builder.media.plan import GraftPlan, plan_edits
from builder.media.sinks import write_file
from builder.media.view import SECTOR, Source, SourcePart
from builder.model.plan import MediaEdit
from tests.unit.media import made


@pytest.fixture
def src(tmp_path: Path) -> Path:
    return made.iso(tmp_path / "src.iso")


def written(plan: GraftPlan, tmp_path: Path) -> Path:
    out = tmp_path / "out.iso"
    write_file(plan, out)
    return out


def test_no_edits_is_the_source(src: Path) -> None:
    plan = plan_edits(src, [])
    assert plan.is_noop
    assert plan.written == 0
    assert [(s.offset, s.length, s.payload) for s in plan.segments()] == [(0, src.stat().st_size, SourcePart(0))]


def test_segments_cover_the_image_once(src: Path) -> None:
    edits: list[Edit] = [Put("/a", b"a" * 9000), Put("/readme.txt", b"other"), Extend("/isolinux/vmlinuz", b"more")]
    plan = plan_edits(src, edits)
    at = 0
    for segment in plan.segments():
        assert segment.offset == at
        assert segment.length > 0
        if isinstance(segment.payload, bytes):
            assert len(segment.payload) == segment.length
        at = segment.end
    assert at == plan.size
    assert plan.size % SECTOR == 0
    with plan.open() as image:
        whole = b"".join(image.pieces(0, image.size))
        for start, end in ((0, 1), (2047, 2049), (plan.cut - 1, plan.cut + 1), (plan.size - 1, plan.size), (5, 5)):
            assert b"".join(image.pieces(start, end)) == whole[start:end]


def test_content_that_fits_stays_in_place(src: Path, tmp_path: Path) -> None:
    plan = plan_edits(src, [Put("/readme.txt", b"shorter", "old")])
    assert plan.size == src.stat().st_size
    assert not plan.runs
    assert plan.written <= 3 * SECTOR
    assert made.content(written(plan, tmp_path), "/readme.txt") == b"shorter"


def test_a_big_file_made_small_costs_little(src: Path, tmp_path: Path) -> None:
    plan = plan_edits(src, [Put("/isolinux/initrd.img", b"small", "old")])
    assert plan.written <= 4 * SECTOR
    assert made.content(written(plan, tmp_path), "/isolinux/initrd.img") == b"small"


@pytest.mark.parametrize("block", [0, 1, 2])
@pytest.mark.parametrize("edited", ["/isolinux/vmlinuz", "/readme.txt"])
def test_a_file_that_shares_blocks_is_not_written_over(block: int, edited: str, src: Path, tmp_path: Path) -> None:
    """Some programs let small files lie in others, or equal ones in one place. In every tree the other file stays."""
    data = bytearray(src.read_bytes())
    with Source(src) as source:
        for tree in open_medium(source).trees:
            kernel, readme = tree.find("/isolinux/vmlinuz"), tree.find("/readme.txt")
            assert kernel is not None and readme is not None
            at = readme.record.offset
            data[at + 2 : at + 18] = both32(kernel.record.extent + block) + both32(1500)
    src.write_bytes(data)
    other = {"/isolinux/vmlinuz": "/readme.txt", "/readme.txt": "/isolinux/vmlinuz"}[edited]
    before = made.content(src, other)
    plan = plan_edits(src, [Put(edited, b"new" * 400, "old")])
    assert made.contents(written(plan, tmp_path), (edited, other)) == {edited: b"new" * 400, other: before}


def test_the_same_content_changes_nothing(src: Path) -> None:
    assert plan_edits(src, [Put("/readme.txt", b"read me\n", "old")]).is_noop


@pytest.mark.parametrize("size", [0, 1, 2047, 2048, 2049, 70_000])
def test_sizes_at_block_edges(size: int, src: Path, tmp_path: Path) -> None:
    data = bytes(n % 251 for n in range(size))
    edits: list[Edit] = [
        Put("/readme.txt", data),
        Put("/new", data),
        Put("/empty", data),
        Extend("/isolinux/vmlinuz", data),
    ]
    out = written(plan_edits(src, edits), tmp_path)
    for path in ("/readme.txt", "/new", "/empty"):
        assert made.content(out, path) == data
    assert made.content(out, "/isolinux/vmlinuz") == made.FILES["/isolinux/vmlinuz"] + data


def test_local_files_are_taken_by_reference(src: Path, tmp_path: Path) -> None:
    big = tmp_path / "big.bin"
    big.write_bytes(b"0123456789" * 50_000)
    plan = plan_edits(src, [Put("/big.bin", big)])
    assert plan.bytes_read < 200_000
    assert made.content(written(plan, tmp_path), "/big.bin") == big.read_bytes()
    big.write_bytes(b"other")
    with pytest.raises(MediaError, match=r"big\.bin changed"):
        write_file(plan, tmp_path / "second.iso")
    assert not (tmp_path / "second.iso").exists()


def test_edits_see_earlier_ones(src: Path, tmp_path: Path) -> None:
    edits: list[Edit] = [
        Put("/dir/x", b"1", "new"), Extend("/dir/x", b"2"), Put("/dir/y", b"3", "new"), Extend("/dir/x", b"4"),
        Put("/isolinux/isolinux.cfg", b"label other\nkernel vmlinuz\nappend initrd=initrd.img\n", "old"),
        Arguments(kernel=("late",)),
    ]  # fmt: skip
    out = written(plan_edits(src, edits), tmp_path)
    assert made.content(out, "/dir/x") == b"124"
    assert made.content(out, "/dir/y") == b"3"
    assert made.content(out, "/isolinux/isolinux.cfg").endswith(b"append initrd=initrd.img late\n")


def test_many_folders_grow_and_nest(tmp_path: Path) -> None:
    src = made.iso(tmp_path / "src.iso")
    content = {f"/d{n % 7}/sub{n % 3}/file-{n}": str(n).encode() * n for n in range(200)}
    out = written(plan_edits(src, [Put(p, d) for p, d in content.items()]), tmp_path)
    assert made.contents(out, content) == content
    report = inspect(out)
    assert report.trees[0].entries == report.trees[1].entries


def test_a_second_graft_on_the_first(src: Path, tmp_path: Path) -> None:
    first = tmp_path / "first.iso"
    write_file(plan_edits(src, [Put("/a", b"1" * 5000), Overlay((OverlayFile("/x", b"1"),))]), first)
    out = written(
        plan_edits(first, [Put("/b", b"2" * 5000), Put("/a", b"3"), Overlay((OverlayFile("/y", b"2"),))]), tmp_path
    )
    assert made.content(out, "/a") == b"3"
    assert made.content(out, "/b") == b"2" * 5000
    assert b"070701" in made.content(out, "/isolinux/initrd.img")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (Put("/readme.txt", b"", "new"), "is on the medium already"),
        (Put("/absent", b"", "old"), "is not on the medium"),
        (Put("/isolinux", b""), "folder or a link"),
        (Put("/", b""), "folder|names no file"),
        (Put("/readme.txt/below", b""), "is a file, not a folder"),
        (Extend("/absent", b""), "is not a file on the medium"),
        (Put("/isolinux/isolinux.bin", b"x"), "what the firmware boots"),
        (Put("/" + "x" * 256, b""), "256 bytes"),
        (Put("/a/b/c/d/e/f/g/h/i", b""), "8 levels"),
        (Arguments(kernel=("x",), titles=("absent",)), "no boot entry is called absent"),
        (Arguments(hypervisor=("x",)), "no boot entry loads a hypervisor"),
        (Overlay((OverlayFile("/x", b""),), "/absent"), "is not a file on the medium"),
        (Put("/x", Path("/nonexistent/file")), "cannot read"),
    ],
)
def test_edits_that_cannot_be_done(edit: Edit, message: str, src: Path) -> None:
    before = src.read_bytes()
    with pytest.raises(MediaError, match=message) as caught:
        plan_edits(src, [edit])
    assert caught.value.hint
    assert src.read_bytes() == before


def test_planning_does_not_write(src: Path) -> None:
    src.chmod(0o444)
    before = (src.read_bytes(), src.stat().st_mtime_ns, sorted(src.parent.iterdir()))
    plan_edits(src, [Put("/a", b"x" * 9000), Arguments(kernel=("x",))])
    assert (src.read_bytes(), src.stat().st_mtime_ns, sorted(src.parent.iterdir())) == before


def test_the_same_edits_give_the_same_bytes(src: Path) -> None:
    edits: list[Edit] = [Put("/a/b", b"x"), Overlay((OverlayFile("/x", b"1"),)), Arguments(kernel=("y",))]
    first, second = plan_edits(src, edits), plan_edits(src, edits)
    assert first == second


def test_a_systems_edits_are_translated() -> None:
    edits = from_model(
        [
            MediaEdit(kind="add", path="/a", content="1"),
            MediaEdit(kind="initrd", path="/etc/x", content="2", mode=0o600),
            MediaEdit(kind="replace", path="/b", content="3"),
            MediaEdit(kind="arguments", arguments=("k",), remove=("quiet",)),
            MediaEdit(kind="arguments", arguments=("h",), layer="hypervisor"),
        ]
    )
    assert edits == (
        Put("/a", b"1", "any"), Put("/b", b"3", "old"), Arguments(("k",), (), ("quiet",)), Arguments((), ("h",)),
        Overlay((OverlayFile("/etc/x", b"2", 0o600),)),
    )  # fmt: skip


def test_a_plan_costs_little(tmp_path: Path) -> None:
    """Reads follow the folders and what is edited, never the files."""
    files = {f"/pool/{n:04}": b"x" * 4000 for n in range(500)} | made.FILES
    src = made.iso(tmp_path / "src.iso", files)
    plan = plan_edits(src, [Put("/a", b"x"), Arguments(kernel=("x",)), Overlay((OverlayFile("/x", b"1"),))])
    assert src.stat().st_size > 2_000_000
    assert plan.bytes_read < 400_000


def test_lists_of_checksums_in_their_spellings() -> None:
    text = f"{'a' * 32}  ./isolinux/x\n{'B' * 64} *boot/y\n# comment\n[checksums]\nimages/z = sha256:{'c' * 64}\n"
    found = listed(text)
    assert [(item.path, item.algorithm) for item in found.values()] == [
        ("/isolinux/x", "md5"), ("/boot/y", "sha256"), ("/images/z", "sha256"),
    ]  # fmt: skip
    new = updated(text, {"/boot/y": lambda algorithm: algorithm[0] * 64, "/images/z": lambda _algorithm: "d" * 64})
    assert new == text.replace("B" * 64, "s" * 64).replace("c" * 64, "d" * 64)


def test_a_signed_list_is_left_and_told(tmp_path: Path) -> None:
    sums = f"{'a' * 32}  ./readme.txt\n".encode()
    src = made.iso(tmp_path / "src.iso", {**made.FILES, "/md5sum.txt": sums, "/md5sum.txt.asc": b"signature"})
    plan = plan_edits(src, [Put("/readme.txt", b"new")])
    assert plan.stale == ("/md5sum.txt",)
    assert inspect(src).manifests[0].stale == ("/readme.txt",)


def test_a_plan_is_read_like_a_medium(src: Path, tmp_path: Path) -> None:
    """What a plan will make can be inspected, compared and taken apart before a byte is written."""
    plan = plan_edits(src, [Put("/dir/new", b"n" * 5000), Put("/readme.txt", b"new"), Arguments(kernel=("x=1",))])
    out = written(plan, tmp_path)
    told, real = inspect(plan), inspect(out)
    assert told.menus == real.menus
    assert told.trees == real.trees
    assert compare(plan, out).same == real.trees[0].entries * 2 - 4, "all files of both trees, folders aside"
    found = compare(src, plan)
    assert {path.partition(":")[2] for path in found.added} == {"/dir/new"}
    assert {path.partition(":")[2] for path in found.changed} == {"/readme.txt", "/isolinux/isolinux.cfg"}
    got = {"/dir/new": tmp_path / "new", "/isolinux/vmlinuz": tmp_path / "vmlinuz", "/empty": tmp_path / "empty"}
    assert extract(plan, got) == 5000 + 6000
    assert got["/dir/new"].read_bytes() == b"n" * 5000
    assert got["/isolinux/vmlinuz"].read_bytes() == made.FILES["/isolinux/vmlinuz"]
    assert got["/empty"].read_bytes() == b""
    with pytest.raises(MediaError, match="not a file on the medium"):
        extract(plan, {"/readme.txt": tmp_path / "first", "/absent": tmp_path / "second"})
    assert not (tmp_path / "first").exists()
