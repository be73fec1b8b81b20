"""Authored volumes: what is refused, and what each installer's rule wants. Their reading is judged in integration."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from builder.media import author
from builder.media.errors import MediaError
from builder.media.inspect import inspect
from builder.media.medium import open_medium
from builder.media.view import Source


def test_labels_and_places_are_what_installers_look_for() -> None:
    assert author.kickstart_volume("text\n") == author.Volume("OEMDRV", {"/ks.cfg": b"text\n"})
    assert author.autoyast_volume("<p/>") == author.Volume("OEMDRV", {"/autoinst.xml": b"<p/>"})
    cloud = author.nocloud_volume("#cloud-config\n", "instance-id: a\n", network="version: 2\n")
    assert cloud.label == "cidata"
    assert sorted(cloud.files) == ["/meta-data", "/network-config", "/user-data"]
    assert author.preseed_volume("d-i x", more={"/late.sh": b"#!/bin/sh"}).files["/late.sh"] == b"#!/bin/sh"


def test_our_own_reader_agrees(tmp_path: Path) -> None:
    names = {
        "/ks.cfg": b"ks",
        "/scripts/a rather long name.sh": b"1",
        "/scripts/a rather long name.py": b"2",
        "/e": b"",
    }
    author.write_volume(author.Volume("OEMDRV", names), tmp_path / "v.iso")
    assert inspect(tmp_path / "v.iso").volume_id == "OEMDRV"
    assert (tmp_path / "v.iso").stat().st_mode & 0o777 == 0o600
    with Source(tmp_path / "v.iso") as source:
        medium = open_medium(source)
        assert {path: medium.small(path) for path in names} == names
        for tree in medium.trees:
            assert all(tree.find(path) is not None for path in names), tree.kind


@pytest.mark.parametrize("label", ["", "x" * 17, "a b", "ü", "a/b"])
def test_labels_that_are_not_safe_everywhere(label: str) -> None:
    with pytest.raises(MediaError, match="label"):
        author.author(author.Volume(label, {"/a": b""}))


@pytest.mark.parametrize("path", ["/", "../a", "/a\0"])
def test_paths_that_are_none(path: str) -> None:
    with pytest.raises(MediaError):
        author.author(author.Volume("A", {path: b""}))


def test_user_data_needs_its_first_line() -> None:
    with pytest.raises(MediaError, match="first line"):
        author.nocloud_volume("hostname: x\n", "")


def test_the_same_files_give_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    volume = author.Volume("OEMDRV", {"/ks.cfg": b"x", "/folder/deeper/file": b"y", "/" + "n" * 60: b"long"})
    first = author.author(volume)
    monkeypatch.setattr(time, "time", lambda: 2_000_000_000.0)
    assert author.author(volume) == first
    assert author.author(volume, when=1_700_000_000) != first
    assert b"1980010100000000" in first
