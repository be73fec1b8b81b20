"""`nestlab media` with everything that is wrong with its options: refused, said, and nothing written."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from builder.cli.boundary import guarded
from tests.unit.cli.media_here import Run, here_fixture, run_fixture  # noqa: F401 - fixtures


def assert_refused(argv: Sequence[str | Path], words: str, here: Path, status: int) -> None:
    """By the boundary that users meet: a message, no traceback, and nothing written."""
    before = {path: path.stat().st_mtime_ns for path in here.rglob("*")}
    err = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stderr", err)
        ended = guarded(["media", *map(str, argv)])
    said = err.getvalue()
    assert ended == status, said
    assert words in said
    assert "hint: " in said or "usage: " in said
    assert "Traceback" not in said
    assert {path: path.stat().st_mtime_ns for path in here.rglob("*")} == before


BUILD = ("build", "--iso", "rhel.iso")
WRONG_CALL, WRONG_MEDIUM = 2, 1
"""Exit statuses: what was named cannot be meant; a medium, or this machine, is not up to what was asked."""
CALLS: list[tuple[tuple[str, ...], str]] = [
    (("inspect", "absent"), "No such file"),
    (("inspect", "folder"), "folder"),
    (("inspect", "pipe"), "not a file"),
    (("build", "-o", "x"), "which medium?"),
    (BUILD, "where to?"),
    ((*BUILD, "--in-place", "-o", "x"), "--in-place has no --out"),
    ((*BUILD, "-o", "-", "--format", "qcow2"), "cannot be streamed"),
    ((*BUILD, "-o", "rhel.iso"), "the source itself"),
    ((*BUILD, "-o", "folder"), "is a folder"),
    ((*BUILD, "-o", "pipe"), "not a regular file"),
    ((*BUILD, "-o", "link"), "symbolic link"),
    ((*BUILD, "-o", "absent/x"), "is not there"),
    ((*BUILD, "-o", "x", "--sbom", "x"), "two of the files"),
    ((*BUILD, "-o", "x", "--sbom", "rhel.iso"), "the source itself"),
    ((*BUILD, "-o", "x", "--sbom", "pipe"), "not a regular file"),
    ((*BUILD, "-o", "ks.cfg", "--add", "ks.cfg:/ks"), "a file that goes on the medium"),
    ((*BUILD, "-o", "x", "--add", "ks.cfg"), "LOCAL:/IN/IMAGE"),
    ((*BUILD, "-o", "x", "--add", "absent:/x"), "No such file"),
    ((*BUILD, "-o", "x", "--add", "pipe:/x"), "neither a file nor a folder"),
    ((*BUILD, "-o", "x", "--add", "links:/x"), "neither a file nor a folder"),
    ((*BUILD, "-o", "x", "--add", "loop:/x"), "neither a file nor a folder"),
    (("volume", "-o", "v.iso", "--add", "many:/x"), "more than 67108864 bytes in all"),
    ((*BUILD, "-o", "x", "--add-initrd", "pipe:/x"), "neither a file nor a folder"),
    ((*BUILD, "-o", "x", "--answer", "empty"), "empty or not text"),
    ((*BUILD, "-o", "x", "--answer", "garbage"), "not text in UTF-8"),
    ((*BUILD, "-o", "x", "--answer", "huge"), "more than"),
    ((*BUILD, "-o", "x", "--answer", "pipe"), "neither a file nor a folder"),
    ((*BUILD, "-o", "x", "--answer", "lab.yaml", "--ssh-key", "private"), "private key"),
    ((*BUILD, "-o", "x", "--answer", "ks.cfg", "--ssh-key", "ks.cfg"), "not a public key"),
    ((*BUILD, "-o", "x", "--ssh-key", "key.pub"), "give --answer"),
    ((*BUILD, "-o", "x", "--title", "linux"), "--title says which entries"),
    ((*BUILD, "-o", "x", "--initrd", "repack"), "none are given"),
    (("build", "lab.yaml", "-o", "x"), "made for one node"),
    (("build", "lab.yaml", "nobody", "-o", "x"), "has no node nobody"),
    (("build", "lab.yaml", "ready", "-o", "x"), "needs no medium"),
    (("build", "lab.yaml", "el", "-o", "x", "--answer", "ks.cfg"), "made from the lab file"),
    (("build", "lab.yaml", "el", "-o", "x", "--volume", "x"), "two of the files"),
    ((*BUILD, "-o", "x", "--volume", "y"), "no second volume is needed"),
    (("build", "lab.yaml", "el", "-o", "x", "--mac", "zz"), "'zz' is no MAC address"),
    (("build", "lab.yaml", "el", "-o", "x", "--mac", "other=3c:ec:ef:00:00:01"), "has no node other"),
    ((*BUILD, "-o", "x", "--mac", "3c:ec:ef:00:00:01"), "--mac is for a node's answers"),
    (("serve", "lab.yaml", "--mac", "3c:ec:ef:00:00:01"), "whose card is it?"),
    (("volume", "-o", "v.iso", "--kickstart", "ks.cfg", "--ssh-key", "key.pub"), "are for LAB NODE"),
    (("undo", "absent"), "not a regular file"),
    (("serve",), "which medium?"),
    (("serve", "--iso", "absent"), "No such file"),
    (("serve", "lab.yaml", "nobody"), "has no node nobody"),
    (("write", "rhel.iso", "absent"), "cannot look at"),
    (("write", "rhel.iso", "ks.cfg"), "is not a disk"),
    (("write", "absent", "ks.cfg"), "No such file"),
    (("volume", "-o", "v.iso"), "nothing to put on it"),
    (("volume", "-o", "link", "--kickstart", "ks.cfg"), "symbolic link"),
    (("volume", "-o", "pipe", "--kickstart", "ks.cfg"), "not a regular file"),
    (("volume", "-o", "v.iso", "--kickstart", "ks.cfg", "--preseed", "ks.cfg"), "one kind of answers"),
    (("volume", "-o", "v.iso", "--meta-data", "ks.cfg"), "belong to --user-data"),
    (("volume", "lab.yaml", "xen", "-o", "v.iso"), "needs no second volume"),
    (("pxe", "--iso", "rhel.iso", "--out", "net", "--source", "http://x/", "--mac", "zz"), "no MAC address"),
]  # fmt: skip
MEDIA: list[tuple[tuple[str, ...], str]] = [
    (("inspect", "empty"), "too short"),
    (("inspect", "garbage"), "not an ISO 9660 image"),
    (("inspect", "huge"), "not an ISO 9660 image"),
    ((*BUILD, "-o", "x", "--title", "nobody", "--append", "x"), "no boot entry is called nobody"),
    ((*BUILD, "-o", "x", "--append-xen", "x=1"), "no boot entry loads a hypervisor"),
    (("undo", "rhel.iso"), "there is no rhel.iso.undo"),
    (("undo", "spoilt.iso"), "not an undo journal"),
    (("serve", "--iso", "rhel.iso", "--host", "no.such.host.invalid"), "cannot listen"),
    (("volume", "-o", "v.iso", "--user-data", "ks.cfg"), "first line"),
    (("volume", "-o", "v.iso", "--kickstart", "ks.cfg", "--label", "a b"), "label"),
    (("pxe", "--iso", "rhel.iso", "--out", "net"), "fetches the rest of itself"),
]  # fmt: skip
CASES = [*((*case, WRONG_CALL) for case in CALLS), *((*case, WRONG_MEDIUM) for case in MEDIA)]


@pytest.fixture
def clutter(here: Path) -> Path:
    """Everything that is not what it is taken for."""
    (here / "folder").mkdir()
    (here / "empty").touch()
    (here / "garbage").write_bytes(bytes(range(256)) * 400)
    os.mkfifo(here / "pipe")
    (here / "huge").touch()
    os.truncate(here / "huge", 5 << 30)
    (here / "link").symlink_to("ks.cfg")
    (here / "links").mkdir()
    (here / "links/out").symlink_to("/etc/hostname")
    (here / "loop").mkdir()
    (here / "loop/again").symlink_to(".")
    (here / "many").mkdir()
    for name in ("a", "b"):
        (here / "many" / name).touch()
        os.truncate(here / "many" / name, 40 << 20)
    (here / "private").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n")
    (here / "spoilt.iso").write_bytes(b"x")
    (here / "spoilt.iso.undo").write_bytes(b"junk")
    return here


@pytest.mark.parametrize(("argv", "words", "status"), CASES, ids=[" ".join(argv) for argv, _words, _status in CASES])
def test_refusals(argv: tuple[str, ...], words: str, status: int, clutter: Path) -> None:
    assert_refused(argv, words, clutter, status)


def test_another_systems_medium_is_refused(here: Path) -> None:
    argv = ["build", "lab.yaml", "el", "--iso", "xcpng.iso", "-o", "out.iso"]
    assert_refused(argv, "XCP-ng 8.3.0, and el is rhel", here, WRONG_CALL)


def test_a_file_that_may_not_be_read(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read everything, so that the kernel's refusal is made up."""

    def refuse(*_args: object, **_kwargs: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.open", refuse)
    assert_refused(("inspect", "rhel.iso"), "Permission denied", here, WRONG_CALL)


@pytest.mark.parametrize("word", ["a\x01b", "x" * 3000], ids=["control", "long"])
def test_what_cannot_be_done_in_a_menu_changes_nothing(word: str, here: Path) -> None:
    assert_refused((*BUILD, "-o", "x.iso", "--append", word), "argument", here, WRONG_MEDIUM)
