"""What is checked before a lab file is parsed, and what happens around it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from builder.errors import LabFileError, Problem
from builder.model.load import MAX_BYTES, MOST_PROBLEMS, load_lab, read_lab
from tests.support.lab_files import SYSTEMS, lab_of, problems_of
from tests.support.pace import assert_quick

GOOD = "name: t\nnodes: {a: {system: host}}\n"


def refused(path: Path) -> tuple[Problem, ...]:
    with pytest.raises(LabFileError) as caught:
        read_lab(path, SYSTEMS)
    assert caught.value.file == path
    return caught.value.problems


def test_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(GOOD)
    assert read_lab(path, SYSTEMS).name == "t"
    assert read_lab(str(path), SYSTEMS) == read_lab(path, SYSTEMS)


def test_ten_megabytes_are_refused_without_parsing(tmp_path: Path) -> None:
    path = tmp_path / "big.yaml"
    path.write_bytes(b"# " + b"x" * 10_000_000)
    with assert_quick(0.5):
        (problem,) = refused(path)
    assert problem.code == "lab-file-size"
    assert problem.message == "the file has 10,000,002 bytes, and a lab file has 4,194,304 at most"


def test_file_of_the_greatest_size_is_read(tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(GOOD + "#" * (MAX_BYTES - len(GOOD)))
    assert read_lab(path, SYSTEMS).name == "t"


def test_missing_file(tmp_path: Path) -> None:
    (problem,) = refused(tmp_path / "none.yaml")
    assert problem.code == "lab-file" and "No such file" in problem.message


def test_folder(tmp_path: Path) -> None:
    (problem,) = refused(tmp_path)
    assert problem.code == "lab-file" and problem.message == "this is a folder"


def test_pipe_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    (problem,) = refused(path)
    assert problem.message == "this is not a regular file"


def test_device_that_never_ends() -> None:
    (problem,) = refused(Path("/dev/zero"))
    assert problem.message == "this is not a regular file"


def test_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(GOOD)
    path.chmod(0)
    user = os.geteuid()
    os.seteuid(user or 65534)  # root may read everything
    try:
        (problem,) = refused(path)
    finally:
        os.seteuid(user)
    assert problem.hint.startswith("make it readable: chmod")


def test_latin_1() -> None:
    (problem,) = problems_of("name: t\ndescription: café\n".encode("latin-1"))
    assert (problem.code, problem.line, problem.column) == ("lab-encoding", 2, 17)
    assert problem.message == "byte 0xe9 at offset 24 is not UTF-8 text"
    assert "iconv" in problem.hint


def test_offset_counts_the_byte_order_mark_and_columns_do_not() -> None:
    (problem,) = problems_of(b"\xef\xbb\xbfname: \xff\n")
    assert (problem.line, problem.column) == (1, 7) and "offset 9" in problem.message


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16(encoding: str) -> None:
    mark = {"utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}.get(encoding, b"")
    (problem,) = problems_of(mark + GOOD.encode(encoding))
    assert problem.code == "lab-encoding" and "UTF-16" in problem.message


def test_byte_order_mark_and_windows_line_ends_are_tolerated() -> None:
    plain = lab_of(GOOD)
    assert lab_of("\ufeff" + GOOD) == plain
    assert lab_of(GOOD.replace("\n", "\r\n")) == plain
    (problem,) = problems_of("\ufeffname: T\r\nnodes: {a: {system: host}}\r\n")
    assert (problem.line, problem.column) == (1, 7)


def test_every_control_character_is_shown() -> None:
    found = problems_of("name: a\x01b\nx: \x0c\n\x85y: \x9f\n")
    assert [(p.line, p.column, p.message) for p in found] == [
        (1, 8, "the control character U+0001 stands here"),
        (2, 4, "the control character U+000C stands here"),
        (4, 4, "the control character U+009F stands here"),
    ]


def test_problems_are_cut_to_what_can_be_read() -> None:
    nodes = "".join(f"  n{number}: {{system: host, cpus: 0}}\n" for number in range(500))
    found = problems_of(f"name: t\nnodes:\n{nodes}")
    assert len(found) == MOST_PROBLEMS + 1
    assert found[-1].code == "lab-more" and found[-1].message == "450 more problems are not shown"
    assert [problem.line for problem in found[:-1]] == list(range(3, MOST_PROBLEMS + 3))


def test_problems_of_yaml_are_cut_as_well() -> None:
    found = problems_of("name: t\nnodes: {" + "a: 1, " * 500 + "*x : 1}\n")
    assert len(found) == MOST_PROBLEMS + 1 and found[-1].code == "lab-more"


def test_every_tab_is_shown() -> None:
    found = problems_of("name: t\nnodes:\n\ta:\n\t\tsystem: host\n")
    assert [(p.line, p.column, p.code) for p in found] == [(3, 1, "lab-tab"), (4, 1, "lab-tab")]


def test_tabs_that_indent_nothing_are_no_mistake() -> None:
    assert lab_of("name: t\t# a\tb\ndescription: |\n  a\tb\nnodes:\t{a: {system: host}}\n").description == "a\tb\n"


def test_relative_paths_start_at_the_lab_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "labs"
    folder.mkdir()
    (folder / "t.yaml").write_text("name: t\nnodes: {a: {system: host, source: {medium: iso/x.iso}}}\n")
    monkeypatch.chdir(tmp_path)
    source = load_lab("labs/t.yaml", SYSTEMS).lab.node("a").source
    assert source.path == str(folder / "iso/x.iso")
