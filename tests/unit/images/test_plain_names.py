"""Folders with blanks in their names, for programs that split paths there."""

from __future__ import annotations

from pathlib import Path

from builder.images.workshop import plain_names


def test_folders_with_ordinary_names_are_told_as_they_are() -> None:
    said = {"CACHE": "/home/kim/.cache/nestlab/dib", "JOB": "/home/kim/.cache/nestlab/builds/build-1"}
    assert plain_names(said, [Path(path) for path in said.values()]) == {**said, "PLAIN": ""}


def test_only_odd_folders_are_renamed_wherever_they_are_named() -> None:
    said = {"PATH": "/my lab/.venv/bin:/usr/bin", "PYTHON": "/my lab/.venv/bin/python", "CACHE": "/var/cache/x"}
    assert plain_names(said, [Path("/var/cache/x"), Path("/my lab/.venv")]) == {
        "PATH": "/mnt/0/bin:/usr/bin",
        "PYTHON": "/mnt/0/bin/python",
        "CACHE": "/var/cache/x",
        "PLAIN": "/my lab/.venv",
    }


def test_of_two_folders_in_one_another_the_inner_one_is_found() -> None:
    values = plain_names({"A": "/a b/c/file", "B": "/a b/file"}, [Path("/a b"), Path("/a b/c")])
    assert (values["A"], values["B"]) == ("/mnt/1/file", "/mnt/0/file")
    assert values["PLAIN"] == "/a b\n/a b/c"
